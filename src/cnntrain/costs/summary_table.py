"""The costs of a network as printed lines, as Markdown and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .network_costs import NetworkCosts
from .units import format_bytes, group_digits

HEAD = (
    "layer",
    "kind",
    "output",
    "receptive field",
    "stride",
    "activations",
    "weights",
    "biases",
    "multiply-adds",
)
NUMERIC_COLUMNS = (5, 7, 8)


def _cells(costs: NetworkCosts) -> list[list[str]]:
    """Return the cells of the table as text: a row for each layer, then the totals."""
    rows = []
    for row in costs.rows:
        product = f"{row.product} = {group_digits(row.weights)}" if row.weights else row.product or "0"
        rows.append(
            [
                f"{_short(row.name)}{' *' if row.training_only else ''}",
                row.kind,
                "x".join(str(size) for size in (*row.shape[1:], row.shape[0])),
                "" if row.receptive_field is None else _sides(row.receptive_field),
                "" if row.stride is None else _sides(row.stride),
                group_digits(row.activations),
                product,
                group_digits(row.biases),
                group_digits(row.multiply_adds),
            ]
        )
    totals = [
        group_digits(costs.total(lambda row: row.activations)),
        group_digits(costs.total(lambda row: row.weights, with_auxiliary=True)),
        group_digits(costs.total(lambda row: row.biases, with_auxiliary=True)),
        group_digits(costs.total(lambda row: row.multiply_adds)),
    ]
    return [*rows, ["total", "", "", "", "", *totals]]


def lines(costs: NetworkCosts) -> list[str]:
    """Return the summary as printed lines."""
    cells = _cells(costs)
    widths = [max(len(row[column]) for row in [list(HEAD), *cells]) for column in range(len(HEAD))]

    def line(row: list[str]) -> str:
        padded = [
            cell.rjust(width) if column in NUMERIC_COLUMNS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    rule = "-" * len(line(list(HEAD)))
    table = [line(list(HEAD)), rule, *(line(row) for row in cells[:-1]), rule, line(cells[-1])]
    return [f"network   {costs.network}", "", *table, "", *_text_below_table(costs)]


def _text_below_table(costs: NetworkCosts) -> list[str]:
    """Return the lines below the table: totals, memory, notices."""
    training, prediction_peak = costs.memory.training, costs.memory.prediction_peak
    resident = costs.memory.resident
    fragmentation = (
        "" if resident is None else f", {format_bytes(resident)} with fragmentation of the C library's heap"
    )
    parameters = costs.total(lambda row: row.weights + row.biases, with_auxiliary=True)
    activations = costs.total(lambda row: row.activations)
    lines = [
        f"parameters  {group_digits(parameters)}; activations of one image {group_digits(activations)}, "
        f"{format_bytes(4 * activations)} in float32, twice that with their gradients",
        f"training    batch size {training.batch_size}, {costs.optimizer}, {costs.compute}:",
        f"              parameters {format_bytes(training.parameters)}, gradients "
        f"{format_bytes(training.gradients)}, optimizer state "
        f"{format_bytes(training.optimizer_state)},",
        f"              images {format_bytes(training.batch)}, saved for the backward pass "
        f"{format_bytes(training.activations)}",
        f"              peak {format_bytes(training.peak)}{fragmentation}",
        f"prediction  batch size {training.batch_size}: peak {format_bytes(prediction_peak)}",
    ]
    if costs.memory.largest_batch is not None:
        largest = costs.memory.largest_batch
        lines.append(
            f"batch       largest batch size that fits: data.batch_size={largest}"
            if largest
            else "batch       not even one image fits"
        )
    if any(row.training_only for row in costs.rows):
        lines.append("* in training only: not in the totals of activations and multiply-adds")
    return [*lines, *(f"notice      {notice}" for notice in costs.notices)]


def one_line(costs: NetworkCosts) -> str:
    """Return parameters, multiply-adds and the memory of training on one line."""
    parameters = costs.total(lambda row: row.weights + row.biases, with_auxiliary=True)
    multiply_adds = costs.total(lambda row: row.multiply_adds)
    memory = costs.memory.resident or costs.memory.training.peak
    return (
        f"{group_digits(parameters)} parameters, {group_digits(multiply_adds)} multiply-adds, "
        f"{format_bytes(memory)} in training with batches of {costs.memory.training.batch_size}"
    )


def markdown(costs: NetworkCosts) -> str:
    """Return the summary as Markdown."""
    alignments = ["---:" if column in NUMERIC_COLUMNS else "---" for column in range(len(HEAD))]
    rows = [list(HEAD), alignments, *_cells(costs)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    text = "\n".join(_text_below_table(costs))
    return f"# {costs.network}\n\n{table}\n\n```\n{text}\n```\n"


def _short(name: str) -> str:
    """Return a layer's name without the prefix "features." or "head." and without the suffix ".conv"."""
    return name.removeprefix("features.").removeprefix("head.").removesuffix(".conv")


def _sides(pair: tuple[int, int]) -> str:
    return f"{pair[0]}x{pair[1]}"


def to_json(costs: NetworkCosts) -> dict[str, Any]:
    """Return the content of network.json."""
    rows = []
    for row in costs.rows:
        entry = asdict(row)
        entry.pop("slide")
        rows.append(entry)
    return {
        "network": costs.network,
        "input": costs.input,
        "outputs": costs.outputs,
        "layers": rows,
        "activations": costs.total(lambda row: row.activations),
        "weights": costs.total(lambda row: row.weights, with_auxiliary=True),
        "biases": costs.total(lambda row: row.biases, with_auxiliary=True),
        "parameters": costs.total(lambda row: row.weights + row.biases, with_auxiliary=True),
        "multiply_adds": costs.total(lambda row: row.multiply_adds),
        "optimizer": costs.optimizer,
        "compute": costs.compute,
        "memory": {
            "training": asdict(costs.memory.training) | {"resident": costs.memory.resident},
            "prediction": {"peak": costs.memory.prediction_peak},
            "largest_batch": costs.memory.largest_batch,
        },
        "notices": costs.notices,
    }
