"""Training on answers that the model itself samples: what PPO and its relatives share. Names no stage.

`stream` hands out experience buffer by buffer and can be saved in the middle of one, `measure` takes log-probabilities
and values of answers (which `inference.rollout` samples), `rewards` scores them, `trainer` joins these with the shared
trainer. The reference that they are held to is that of every stage, `training.reference`.
"""
