"""job=benchmark: size, accuracy and latency of a run's network and of the files it can be exported to."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..costs.units import format_bytes
from ..export.candidates import Candidate, Missing, candidates, loss_of, missing_lines, recommended
from ..export.comparison import metric
from ..export.latency import Latency, measure
from ..export.run_to_export import RunToExport, read_run
from ..metrics import DISPLAY, LOWER_IS_BETTER, format_metric
from ..output_streams import print_labelled
from ..runs.atomic_write import write_text
from ..runs.file_names import BENCHMARK
from ..settings.config_tree import Config

BATCHES = (1, 32)


def benchmark(path: Path, config: Config) -> None:
    """Measure the forms of a run's network, print a table and which to take, and write benchmark.json.

    config: that of the run with the user's overrides.
    """
    run, settings = read_run(path, config), config.benchmark
    threads = sorted({1, settings.threads or os.cpu_count() or 1})
    found, missing = candidates(run)
    metric_name, _ = metric(run.trained, run.expected, run.compared[1].labels)
    for count in threads:
        networks = {one.name: one.network(count) for one in found}
        for batch in BATCHES:
            latencies = measure(networks, _images(run, batch), count, settings.seconds)
            for one in found:
                one.latencies.append(latencies[one.name])
    print("\n".join(_table(found, threads, metric_name)) + "\n")
    chosen = {batch: recommended(found, batch, settings.points, metric_name) for batch in BATCHES}
    print_labelled(
        [
            *(_sentence(batch, one, found[0], metric_name) for batch, one in chosen.items()),
            f"rule      the smallest median latency among those that lose at most {settings.points:g} "
            f"{_unit(metric_name)}; of those within 5 %, the one that loses least",
            *(f"without   {line}" for line in missing_lines(missing)),
        ]
    )
    content = _content(found, metric_name, run, missing) | {
        "points": settings.points,
        "recommended": {str(batch): one.name for batch, one in chosen.items()},
    }
    file = path / BENCHMARK
    write_text(file, json.dumps(content, indent=1, allow_nan=False) + "\n")
    print(f"\n{file}", flush=True)


def _images(run: RunToExport, batch: int) -> Tensor:
    """Return the first images of the split that files are compared on, repeated where there are fewer."""
    first = next(iter(run.compared[1].chunks(batch)))
    return first.repeat(-(-batch // len(first)), 1, 1, 1)[:batch].contiguous()


def _table(found: list[Candidate], threads: list[int], metric_name: str) -> list[str]:
    """Return the lines of the table: latencies in milliseconds, as median and 95th percentile."""
    name = DISPLAY[metric_name][0]
    measured = [(batch, count) for batch in BATCHES for count in threads]
    columns = [f"{_count(batch, 'image')}, {_count(count, 'thread')}" for batch, count in measured]
    rows = [["", "size", name, "change", *columns]]
    for one in found:
        by_kind = {(latency.batch, latency.threads): latency for latency in one.latencies}
        value = format_metric(metric_name, one.value).removeprefix(name).strip()
        row = [one.name, format_bytes(one.bytes), value, _change(one, found[0], metric_name)]
        rows.append(row + [_milliseconds(by_kind[kind]) for kind in measured])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(text.rjust(width) if column else text.ljust(width) for column, (text, width) in cells)
        for cells in (enumerate(zip(row, widths, strict=True)) for row in rows)
    ]
    return [*lines, "", "latencies in ms: median, 95th percentile"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number > 1)}"


def _milliseconds(latency: Latency) -> str:
    return f"{1e3 * latency.p50:.3g}, {1e3 * latency.p95:.3g}"


def _change(one: Candidate, run: Candidate, metric_name: str) -> str:
    if one is run:
        return "–"
    lost = loss_of(one, run, metric_name)
    return f"{lost:+.2f} %" if metric_name in LOWER_IS_BETTER else f"{0 - lost:+.2f}"


def _sentence(batch: int, one: Candidate, run: Candidate, metric_name: str) -> str:
    what = "single images" if batch == 1 else f"batches of {batch}"
    best, own = one.latency(batch), run.latency(batch)
    text = f"take      for {what}: {one.name} with {_count(best.threads, 'thread')}, {1e3 * best.p50:.3g} ms"
    if one is run:
        return text
    change = f"{_change(one, run, metric_name)}{'' if metric_name in LOWER_IS_BETTER else ' points'}"
    return f"{text}, {own.p50 / best.p50:.1f} times as fast as the run ({DISPLAY[metric_name][0]} {change})"


def _unit(metric_name: str) -> str:
    name = DISPLAY[metric_name][0]
    return f"% of the {name}" if metric_name in LOWER_IS_BETTER else f"points of validation {name}"


def _content(
    found: list[Candidate], metric_name: str, run: RunToExport, missing: list[Missing]
) -> dict[str, Any]:
    split, images = run.compared
    return {
        "split": split,
        "images": len(images),
        "metric": metric_name,
        "rows": [
            {
                "name": one.name,
                "bytes": one.bytes,
                metric_name: one.value,
                "loses": loss_of(one, found[0], metric_name),
                "latencies": [asdict(latency) for latency in one.latencies],
            }
            for one in found
        ],
        "without": [asdict(one) for one in missing],
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }
