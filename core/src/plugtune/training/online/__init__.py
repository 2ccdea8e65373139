"""Training on answers that the model itself samples: what PPO and its relatives share. Names no stage.

`stream` hands out experience buffer by buffer and can be saved in the middle of one, `measure` takes log-probabilities
and values of answers (which `inference.rollout` samples), `rewards` scores them, `reference` is the policy they are
held to, `trainer` joins these with the shared trainer.
"""
