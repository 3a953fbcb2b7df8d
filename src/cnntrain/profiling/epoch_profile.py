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
from .layer_hooks import MEASURING
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
    of_step, of_layers = _per_step(measured)
    in_hooks = measured.seconds.get(MEASURING, 0.0) / measured.steps[DIVIDED]
    step, plain = sum(of_step.values()), measured.seconds_per_step()
    layers = [
        _layer_time(name, module, of_layers[name], multiply_adds.get(name, 0), counts, measured, speed)
        for name, module in network.named_modules()
        if name in of_layers
    ]
    hooks, distortion = (step + in_hooks) / plain - 1, step / plain - 1
    return EpochProfile(_parts(measured, counts, of_step), layers, counts, speed, hooks, distortion, measured)


def _parts(measured: Measured, counts: EpochCounts, of_step: dict[str, float]) -> dict[str, float]:
    """Return the seconds of each part of an epoch, from those of each part of a step."""
    seconds = measured.seconds
    recording = seconds[RECORDED] / measured.steps[RECORDED] - measured.seconds_per_step()
    parts = {part: counts.steps * of_step[part] for part in OF_STEPS if part in of_step}
    parts[DATA] += seconds[FIRST_BATCH]
    parts[RECORDS] = counts.records * max(0.0, recording) + seconds[RECORDS]
    if measured.evaluated:
        parts[EVALUATE] = seconds[EVALUATE] * counts.val_images / measured.evaluated
    parts[CHECKPOINT] = seconds[CHECKPOINT] * (1 + counts.checkpoints)
    parts[OTHER] = parts.pop(DIVIDED)
    return parts


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
    per_step: tuple[float, float],
    multiply_adds: int,
    counts: EpochCounts,
    measured: Measured,
    speed: MachineSpeed,
) -> LayerTime:
    """Return the row of a layer; per_step: its seconds forward and backward."""
    forward, backward = (counts.steps * seconds for seconds in per_step)
    total, traffic = max(forward + backward, 1e-12), measured.traffic[name]
    operations = 2 * traffic.products * multiply_adds * counts.images
    # The backward pass reads and writes gradients of the same sizes.
    passes = 2 if traffic.products > 1 else 1
    moved = passes * traffic.bytes * counts.steps / measured.steps[DIVIDED]
    of_product = operations / total / speed.flops if multiply_adds else None
    of_copy = moved / total / speed.bytes
    return LayerTime(name, kind_of(module, None), forward, backward, multiply_adds, of_product, of_copy)
