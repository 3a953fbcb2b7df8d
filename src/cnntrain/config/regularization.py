"""Settings of regularization (group `regularization`): the only home of each strength."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import fixed, setting


@dataclass
class Regularization:
    """Strengths of all penalties; they add up, and 0 switches one off. The files are presets."""

    name: str = fixed("strengths")
    l2: float = setting(0.0, "L2 penalty ½·l2·w², gradient l2·w (R1)", ge=0)
    l1: float = setting(0.0, "L1 penalty l1·|w|; weights become sparse (R2)", ge=0)
    elastic_l1: float = setting(0.0, "elastic net's share of |w| (R3)", ge=0)
    elastic_l2: float = setting(0.0, "elastic net's share of w², without the ½ (R3)", ge=0)
    weight_decay: float | None = setting(
        None, "decoupled decay w -= lr·weight_decay·w; null: the optimizer's own (adamw 0.01, others 0)", ge=0
    )
    dropout: float | None = setting(
        None, "share of units dropped in training; null: the network's own (R5)", ge=0, lt=1
    )
    label_smoothing: float = setting(0.0, "share of each target spread evenly over all classes", ge=0, lt=1)
    biases: bool = setting(
        False, "whether penalties and decay act on biases and normalization layers too (R6)"
    )
