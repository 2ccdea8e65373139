"""BAdam (arXiv:2404.02827): Adam on one block of the model at a time, so that one block's states are in memory.

Blocks are the decoder's layers; what is outside them (embeddings, last norm, head) stays as it is. After every
`badam_switch_interval` steps the next block takes over with fresh states; only the active block asks for gradients.
Written here because the authors' package (badam 1.4) saves neither the active block nor its place, so that a run with
it cannot be resumed to the same numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from plugtune import RequestError


class BlockAdam(torch.optim.AdamW):
    """AdamW over the blocks of a model, one at a time.

    Args:
        blocks: the trained parameters of each block.
        interval: steps before the next block takes over; -1 for never.
        start: number of the first block; `None` for the first of the order.
        mode: ascending, descending, random (a new order each round) or fixed.
        verbose: 1 to say on stderr when blocks change.
        settings: of AdamW; `weight_decay` is for matrices, vectors have none.
    """

    def __init__(
        self, blocks: Sequence[Sequence[torch.nn.Parameter]], *, interval: int, start: int | None, mode: str,
        verbose: int = 0, **settings: Any,
    ) -> None:  # fmt: skip
        self.blocks, self.interval, self.mode, self.verbose = [list(b) for b in blocks], interval, mode, verbose
        decay = settings.pop("weight_decay", 0.0)
        every = [parameter for block in self.blocks for parameter in block]
        groups = [
            {"params": [p for p in every if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
        ]
        super().__init__([group for group in groups if group["params"]], **settings)
        self.steps, self.order = 0, [] if start is None else [start]
        self.active = -1
        self._next()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """A step of the active block; then perhaps the next block's turn."""
        loss = super().step(closure)
        self.steps += 1
        if self.mode != "fixed" and self.interval > 0 and self.steps % self.interval == 0:
            self.zero_grad()
            self.state.clear()
            self._next()
        return loss

    def _next(self) -> None:
        if not self.order:
            count = len(self.blocks)
            orders = {"descending": range(count - 1, -1, -1), "random": torch.randperm(count).tolist()}
            self.order = list(orders.get(self.mode, range(count)))
            if self.mode in ("ascending", "descending") and self.active >= 0:  # goes round from where it stands
                turn = self.order.index(self.active) + 1
                self.order = [*self.order[turn:], *self.order[:turn]]
        self._activate(self.order.pop(0))

    def _activate(self, number: int) -> None:
        self.active = number
        for place, block in enumerate(self.blocks):
            for parameter in block:
                parameter.requires_grad_(place == number)
        if self.verbose:
            print(f"BAdam: block {number} from step {self.steps}", file=sys.stderr)

    def state_dict(self) -> dict[str, Any]:
        """The states of the active block, and whose turn it is."""
        return {**super().state_dict(), "blocks": {"steps": self.steps, "active": self.active, "order": self.order}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the same block at the same place."""
        place = state_dict["blocks"]
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "blocks"})
        self.steps, self.order = int(place["steps"]), list(place["order"])
        self._activate(int(place["active"]))


def badam(model: Any, arguments: Any, options: Any) -> BlockAdam:
    """Block-wise Adam over the decoder's layers.

    Raises:
        RequestError: there are no such layers, there is no block of that number, or there are several processes.
    """
    if arguments.world_size > 1:
        raise RequestError(
            "BAdam runs in one process", where="use_badam",
            why="the processes bring together the gradients of the weights that are trained at the start",
            fix="use galore or apollo, or one process",
        )  # fmt: skip
    blocks = layers_of(model)
    start = options.badam_start_block
    if start is not None and start >= len(blocks):
        raise RequestError(f"badam_start_block is {start} and there are {len(blocks)} blocks",
                           where="badam_start_block", fix=f"count from 0 to {len(blocks) - 1}")  # fmt: skip
    inside = {id(parameter) for block in blocks for parameter in block}
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) in inside)
    return BlockAdam(
        blocks, interval=options.badam_switch_interval, start=start, mode=options.badam_switch_mode,
        verbose=options.badam_verbose, lr=arguments.learning_rate, betas=(arguments.adam_beta1, arguments.adam_beta2),
        eps=arguments.adam_epsilon, weight_decay=arguments.weight_decay,
    )  # fmt: skip


def layers_of(model: Any) -> list[list[torch.nn.Parameter]]:
    """The trained parameters of each decoder layer: of the module list that holds most of the weights.

    Raises:
        RequestError: there is none.
    """
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) > 1]
    if not lists:
        raise RequestError("the model has no list of layers", where="use_badam", fix="leave use_badam out")
    longest = max(lists, key=lambda found: sum(p.numel() for p in found.parameters()))
    layers = [[p for p in layer.parameters() if p.requires_grad] for layer in longest]
    return [layer for layer in layers if layer]
