"""The time of one epoch by part and by layer, from what was measured."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from torch import nn

from ..costs.layer_costs import kind_of
from ..instruments.instrument import (
    BACKWARD,
    CHECKPOINT,
    DATA,
    EVALUATE,
    FORWARD,
    LOSS,
    PREPROCESSING,
    UPDATE,
)
from .layer_hooks import MEASURING, LayerTraffic
from .machine_speed import MachineSpeed
from .measure import AUGMENTATION, DIVIDED, FIRST_BATCH, RECORDED, RECORDS, Measured

OTHER = "other"
OF_STEPS = (DATA, AUGMENTATION, PREPROCESSING, FORWARD, LOSS, BACKWARD, UPDATE, DIVIDED)

# The smallest share of the epoch of a kind of layers that is told.
SMALLEST_SHARE = 0.005


@dataclass(frozen=True)
class LayerTime:
    """A layer's seconds in an epoch, and what it does of what the machine could do.

    multiply_adds: for one image. of_product: its operations a second over those of a matrix product, None
    without multiply-adds. of_copy: the bytes of its inputs and outputs that it reads and writes at least,
    a second, over those of a copy.
    """

    name: str
    kind: str
    forward: float
    backward: float
    multiply_adds: int
    of_product: float | None
    of_copy: float

    @property
    def seconds(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward


@dataclass(frozen=True)
class KindTime:
    """The seconds of all layers of a kind, and how many there are."""

    kind: str
    layers: int
    forward: float
    backward: float

    @property
    def seconds(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward


@dataclass(frozen=True)
class EpochCounts:
    """How often what was measured happens in an epoch of a run.

    checkpoints: within the epoch, in addition to those after it.
    """

    steps: int
    images: int
    records: int
    val_images: int
    checkpoints: int


@dataclass(frozen=True)
class EpochProfile:
    """One epoch.

    parts: seconds by name, which add up to `seconds`. layers: the forward and backward passes of each, in the
    order of the network. hooks: by what fraction a step takes longer with the hooks of layers than without.
    distortion: what is left of it without the time that the hooks themselves took, which is in no part.
    measured: what this was reckoned from.
    """

    parts: dict[str, float]
    layers: list[LayerTime]
    counts: EpochCounts
    speed: MachineSpeed
    hooks: float
    distortion: float
    measured: Measured

    @property
    def seconds(self) -> float:
        """Of the whole epoch."""
        return sum(self.parts.values())

    def share(self, part: str) -> float:
        """Return the share of a part in the time of the epoch."""
        return self.parts.get(part, 0.0) / self.seconds

    def slowest(self) -> list[LayerTime]:
        """Return the layers, the slowest first."""
        return sorted(self.layers, key=lambda layer: -layer.seconds)

    def kinds(self) -> list[KindTime]:
        """Return the kinds of layers that take SMALLEST_SHARE of the epoch, the slowest first.

        The size of a convolution is no part of its kind.
        """
        by_kind: dict[str, list[LayerTime]] = {}
        for layer in self.layers:
            by_kind.setdefault(re.sub(r" \d+x\d+.*", "", layer.kind), []).append(layer)
        kinds = [
            KindTime(kind, len(some), sum(one.forward for one in some), sum(one.backward for one in some))
            for kind, some in by_kind.items()
        ]
        slowest = sorted(kinds, key=lambda kind: -kind.seconds)
        return [kind for kind in slowest if kind.seconds >= SMALLEST_SHARE * self.seconds]


def epoch_profile(
    measured: Measured,
    counts: EpochCounts,
    network: nn.Module,
    multiply_adds: dict[str, int],
    speed: MachineSpeed,
) -> EpochProfile:
    """Return the time of an epoch; multiply_adds: of each layer by name, for one image."""
    seconds, steps = measured.seconds, measured.steps
    of_step, layers = _per_step(measured)
    in_hooks = seconds.get(MEASURING, 0.0) / steps[DIVIDED]
    plain, recorded = measured.seconds_per_step(), seconds[RECORDED] / steps[RECORDED]
    of_whole_step = sum(of_step.values())
    parts = {part: counts.steps * of_step[part] for part in OF_STEPS if part in of_step}
    parts[DATA] += seconds[FIRST_BATCH]
    parts[RECORDS] = counts.records * max(0.0, recorded - plain) + seconds[RECORDS]
    if measured.evaluated:
        parts[EVALUATE] = seconds[EVALUATE] * counts.val_images / measured.evaluated
    parts[CHECKPOINT] = seconds[CHECKPOINT] * (1 + counts.checkpoints)
    parts[OTHER] = parts.pop(DIVIDED)
    modules = dict(network.named_modules())
    rows = [
        _layer_time(
            name,
            modules[name],
            (counts.steps * layers[name][0], counts.steps * layers[name][1]),
            counts,
            multiply_adds.get(name, 0),
            measured.traffic[name],
            speed,
        )
        for name in modules
        if name in layers
    ]
    return EpochProfile(
        parts,
        rows,
        counts,
        speed,
        hooks=(of_whole_step + in_hooks) / plain - 1,
        distortion=of_whole_step / plain - 1,
        measured=measured,
    )


def _per_step(measured: Measured) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return the seconds of each part of a step, and of each layer forward and backward."""
    parts: dict[str, float] = defaultdict(float)
    layers: dict[str, dict[str, float]] = {}
    for key, seconds in measured.seconds.items():
        part, name = key if isinstance(key, tuple) else (str(key), None)
        if part in OF_STEPS:
            parts[part] += seconds / measured.steps[DIVIDED]
        if name is not None:
            layers.setdefault(name, {FORWARD: 0.0, BACKWARD: 0.0})[part] += seconds / measured.steps[DIVIDED]
    return parts, {name: (times[FORWARD], times[BACKWARD]) for name, times in layers.items()}


def _layer_time(
    name: str,
    module: nn.Module,
    seconds: tuple[float, float],
    counts: EpochCounts,
    multiply_adds: int,
    traffic: LayerTraffic,
    speed: MachineSpeed,
) -> LayerTime:
    """Return the row of a layer; seconds: in an epoch, forward and backward."""
    total = max(sum(seconds), 1e-12)
    products = 2 * traffic.products * multiply_adds * counts.images
    # The backward pass reads and writes gradients of the same sizes.
    moved = (2 if traffic.products > 1 else 1) * traffic.bytes * counts.steps
    return LayerTime(
        name,
        kind_of(module, None),
        *seconds,
        multiply_adds,
        products / total / speed.flops if multiply_adds else None,
        moved / total / speed.bytes,
    )
