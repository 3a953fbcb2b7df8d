"""A profile as printed lines and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..assemble.run import Parts
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
from .advice import Advice
from .epoch_profile import OTHER, EpochProfile, LayerTime
from .measure import AUGMENTATION, RECORDS

# The parts in the order of training, and what is in each.
PARTS = {
    DATA: "the images of a batch, or waiting for them",
    AUGMENTATION: "random changes of the images",
    PREPROCESSING: "normalization, resizing, mixing",
    FORWARD: "the network",
    LOSS: "the loss and the metric of the batch",
    BACKWARD: "gradients of the network and the loss",
    UPDATE: "penalties, clipping, optimizer, average",
    RECORDS: "rows of metrics.jsonl, instruments",
    EVALUATE: "validation after the epoch",
    CHECKPOINT: "checkpoints",
    OTHER: "between these parts",
}


def lines(profile: EpochProfile, found: list[Advice], most_layers: int) -> list[str]:
    """Return the profile as printed: parts, slowest layers, the machine, advice."""
    counts, measured = profile.counts, profile.measured
    steps = sum(measured.steps.values())
    text = [
        f"epoch     {_seconds(profile.seconds)}: {counts.steps} updates of {counts.images} images, reckoned "
        f"from {steps} in {sum(measured.seconds.values()):.1f} s",
        f"machine   matrix product {profile.speed.flops / 1e12:.3g} TFLOP/s, copy in memory "
        f"{profile.speed.bytes / 1e9:.3g} GB/s, timed just now",
        "",
        *_aligned(_part_cells(profile), left=(0, 3)),
    ]
    if profile.layers:
        text += ["", *_aligned(_kind_cells(profile), left=(0,))]
        text += ["", *_aligned(_layer_cells(profile, most_layers), left=(0, 1))]
        text += [
            "",
            "of product: operations a second over those of the matrix product; of copy: bytes of inputs and "
            "outputs a second over those of the copy.",
            f"A step with the hooks of layers took {1 + profile.hooks:.2f} times as long as without, "
            f"{1 + profile.distortion:.2f} times less their own time, which is in no part.",
        ]
    return [*text, "", *(f"try       {one.sentence()}" for one in found)]


def _part_cells(profile: EpochProfile) -> list[list[str]]:
    rows = [["part", "time", "share", ""]]
    rows += [
        [name, _seconds(profile.parts[name]), f"{profile.share(name):.1%}", meaning]
        for name, meaning in PARTS.items()
        if name in profile.parts
    ]
    return [*rows, ["sum", _seconds(profile.seconds), "100.0%", ""]]


def _kind_cells(profile: EpochProfile) -> list[list[str]]:
    rows = [["kind", "layers", "forward", "backward", "share"]]
    for one in profile.kinds():
        times = [_seconds(one.forward), _seconds(one.backward)]
        rows.append([one.kind, str(one.layers), *times, f"{one.seconds / profile.seconds:.1%}"])
    return rows


def _layer_cells(profile: EpochProfile, most: int) -> list[list[str]]:
    by_time = profile.slowest()
    rows = [["layer", "kind", "forward", "backward", "share", "multiply-adds", "of product", "of copy"]]
    rows += [_layer_row(layer, profile) for layer in by_time[:most]]
    if rest := by_time[most:]:
        forward, backward = sum(one.forward for one in rest), sum(one.backward for one in rest)
        rows.append(
            [
                f"{len(rest)} others",
                "",
                _seconds(forward),
                _seconds(backward),
                f"{(forward + backward) / profile.seconds:.1%}",
                f"{sum(one.multiply_adds for one in rest):,}".replace(",", " "),
                "",
                "",
            ]
        )
    return rows


def _layer_row(layer: LayerTime, profile: EpochProfile) -> list[str]:
    return [
        short_name(layer.name),
        layer.kind,
        _seconds(layer.forward),
        _seconds(layer.backward),
        f"{layer.seconds / profile.seconds:.1%}",
        f"{layer.multiply_adds:,}".replace(",", " "),
        "" if layer.of_product is None else f"{layer.of_product:.0%}",
        f"{layer.of_copy:.0%}",
    ]


def short_name(name: str) -> str:
    """Return a layer's name without the prefix "features." or "head."."""
    return name.removeprefix("features.").removeprefix("head.") or "(network)"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _aligned(rows: list[list[str]], left: tuple[int, ...]) -> list[str]:
    """Return the rows with their columns at equal widths; left: the columns of text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def to_json(profile: EpochProfile, found: list[Advice], parts: Parts) -> dict[str, Any]:
    """Return the content of profile.json; all times in seconds."""
    measured = profile.measured
    return {
        "device": parts.compute.describe(),
        "epoch": {"seconds": profile.seconds, "parts": profile.parts, **asdict(profile.counts)},
        "layers": [asdict(layer) for layer in profile.layers],
        "machine": {
            "matrix_product_flops": profile.speed.flops,
            "memory_copy_bytes_per_second": profile.speed.bytes,
        },
        "measured": {
            "seconds": sum(measured.seconds.values()),
            "steps": measured.steps,
            "parts": {
                " ".join(key) if isinstance(key, tuple) else str(key): seconds
                for key, seconds in measured.seconds.items()
            },
            "hooks": profile.hooks,
            "distortion": profile.distortion,
        },
        "advice": [asdict(one) for one in found],
    }
