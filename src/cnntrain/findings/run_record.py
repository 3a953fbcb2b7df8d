"""What is known of a run when it is judged: its configuration, its rows of metrics.jsonl, its evidence."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..config import stored_config
from ..config.resolve_batch_size import with_batch_size
from ..errors import DataError
from ..runs import file_names
from ..runs.metrics_file import read_rows
from ..runs.run_folder import RunFolder
from ..settings.config_tree import Config
from .finding import Finding

Row = dict[str, Any]
# Two layers of 2n + d weights can give any n images of d pixels any labels (Zhang et al. 2017, theorem 1).
WEIGHTS_PER_IMAGE = 2


@dataclass(frozen=True)
class RunRecord:
    """A run as rules see it.

    status: finished, interrupted, diverged or failed. steps, epochs: its rows, of recorded steps and of
    epochs. evidence: what `gather_evidence` measured with its best network, {} where it has none. summary:
    that of the run, {} where it has none.
    """

    config: Config
    status: str
    steps: list[Row]
    epochs: list[Row]
    evidence: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def of_classes(self) -> bool:
        """Whether the labels are classes, to which most rules apply."""
        return bool(self.config.data.target_kind() == "classes")

    @property
    def batch_size(self) -> int:
        """The images per batch, a number also for data.batch_size=auto."""
        size = with_batch_size(self.config, self.evidence.get("train_images")).data.batch_size
        return int(size)

    @cached_property
    def train_accuracies(self) -> list[float]:
        """The accuracy of each epoch on training batches, augmented and with dropout."""
        return finite(self.epochs, "train/accuracy")

    @cached_property
    def train_losses(self) -> list[float]:
        """The mean data loss of each epoch, without penalties."""
        return finite(self.epochs, "train/data_loss")

    @cached_property
    def val_accuracies(self) -> list[float]:
        """The validation accuracy after each epoch."""
        return finite(self.epochs, "val/accuracy")

    @cached_property
    def val_losses(self) -> list[float]:
        """The validation loss after each epoch."""
        return finite(self.epochs, "val/loss")

    @cached_property
    def best_by(self) -> str | None:
        """The validation metric by which the best epoch is chosen, None without validation."""
        names = [name for row in self.epochs[:1] for name in row if name.startswith("val/")]
        primary = next((name.removeprefix("val/") for name in names if name != "val/loss"), None)
        return None if primary is None else self.config.trainer.selected_by(primary)

    @property
    def plain_accuracy(self) -> float | None:
        """The accuracy of the best network on training images, without augmentation and dropout."""
        value: float | None = self.evidence.get("train_accuracy")
        return value

    @property
    def chance(self) -> float:
        """The accuracy of always choosing the most frequent class."""
        counts = self.evidence.get("class_counts")
        return max(counts) / sum(counts) if counts else 0.1

    @property
    def learned(self) -> float:
        """How much of the way from chance to no error the training images were learned, at best.

        For values, by how much the data loss fell.
        """
        if not self.train_accuracies:
            first = self.first_loss
            return 1 - min(self.train_losses) / first if first and self.train_losses else 0.0
        best = max([*self.train_accuracies, self.plain_accuracy or 0.0], default=0.0)
        return (best - self.chance) / max(1e-9, 1 - self.chance)

    @property
    def classes(self) -> int:
        """The number of classes; 0 where labels are none."""
        return len(self.evidence.get("class_counts", []))

    @property
    def is_too_small(self) -> bool:
        """Whether the network has too few weights to learn any labels of its training images by heart.

        Where the number of weights is not known, it may be.
        """
        weights, images = self.summary.get("parameters"), self.evidence.get("train_images")
        return not weights or not images or weights < WEIGHTS_PER_IMAGE * images

    @property
    def first_loss(self) -> float | None:
        """The data loss of the first step."""
        value: float | None = self.steps[0].get("train/data_loss") if self.steps else None
        return value

    def of_layers(self, kind: str, row: Row) -> dict[str, float]:
        """Return the finite values of one kind in a row, such as update_ratio, by layer."""
        prefix = f"{kind}/"
        return {
            name.removeprefix(prefix): value
            for name, value in row.items()
            if name.startswith(prefix) and value is not None and math.isfinite(value)
        }

    @cached_property
    def update_ratios(self) -> list[float]:
        """The median update : weight ratio over the weights (not the biases), at each recorded step."""
        found = []
        for row in self.steps:
            ratios = self.of_layers("update_ratio", row)
            weights = [value for name, value in ratios.items() if name.endswith("weight")]
            if weights:
                found.append(statistics.median(weights))
        return found


Rule = Callable[[RunRecord], Finding | None]


def finite(rows: list[Row], name: str) -> list[float]:
    """Return the finite values of a column, in order."""
    values = [row.get(name) for row in rows]
    return [value for value in values if value is not None and math.isfinite(value)]


def read_record(folder: RunFolder, evidence: dict[str, Any]) -> RunRecord:
    """Return the record of the run in a folder, with the evidence measured of it.

    Raises DataError where its files cannot be read.
    """
    config = stored_config.read(folder.path)
    summary = folder.read_summary() or {}
    steps: list[Row] = []
    epochs: list[Row] = []
    for row in _rows(folder.metrics):
        (steps if "lr" in row else epochs).append(row)
    status = str(summary.get("status", "interrupted"))
    return RunRecord(config, status, steps, epochs, evidence, summary)


def _rows(file: Path) -> list[Row]:
    """Return the rows of metrics.jsonl; raises DataError where a line is none that a run writes."""
    rows = read_rows(file)
    for number, row in enumerate(rows, 1):
        if not all(_is_number(row.get(name)) for name in ("step", "epoch")):
            raise DataError(f"{file}: line {number} is no row of a run, which has a step and an epoch")
        wrong = [name for name, value in row.items() if value is not None and not _is_number(value)]
        if wrong:
            raise DataError(f"{file}: line {number} has {wrong[0]}={row[wrong[0]]!r}, which is no number")
    return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_evidence(folder: RunFolder) -> dict[str, Any]:
    """Return what was measured of a run when it was last judged, {} if it was not; raises DataError."""
    file = folder.path / file_names.EVIDENCE
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error}); remove it") from error
    return content if isinstance(content, dict) else {}
