"""The optimizers of a run, one after the other (O11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import Optimizer


@dataclass(frozen=True)
class Stage:
    """An optimizer and the step from which it acts, with its learning rate and its own decoupled decay.

    searches_lines: its step evaluates loss and gradient several times. momentum: that of each step of the
    run, where it changes (O3).
    """

    from_step: int
    optimizer: Optimizer
    lr: float
    weight_decay: float
    searches_lines: bool = False
    momentum: Callable[[int], float] | None = None
