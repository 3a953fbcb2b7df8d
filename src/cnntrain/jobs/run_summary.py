"""The summary of a run: summary.json, and the table printed at its end."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from ..assemble.run import Assembled
from ..metrics import DISPLAY, format_metric, printed
from ..settings.config_tree import Config
from ..training.memory_use import memory_row
from ..version import __version__


def run_summary(
    config: Config, assembled: Assembled, status: str, test: dict[str, float | None]
) -> dict[str, Any]:
    """Return the content of summary.json; test: the metrics on the test split, none where it was not read."""
    trainer, step = assembled.trainer, assembled.trainer.step
    progress = trainer.progress
    without_validation = dict.fromkeys(("val/loss", f"val/{trainer.metric_name}"))
    return {
        "status": status,
        "best_epoch": progress.best_epoch,
        "best_by": None if trainer.val_batches is None else trainer.best_by,
        "epochs": min(progress.epoch, trainer.settings.epochs),
        "stopped_early": progress.stopped_early,
        "steps": progress.step,
        **({"best_weights": progress.best_weights} if step.average is not None else {}),
        **(progress.best_values or without_validation),
        **test,
        "batch_size": assembled.parts.config.data.batch_size,
        **({"parts_per_batch": step.parts_per_batch} if step.parts_per_batch > 1 else {}),
        "parameters": step.update.parameter_count(),
        "wall_seconds": round(progress.wall_seconds, 3),
        "images_per_second": round(progress.images / max(progress.training_seconds, 1e-9), 1),
        **memory_row(step.compute.device),
        "device": str(step.compute.device),
        "precision": step.compute.precision,
        "seed": config.seed,
        "versions": versions(),
    }


def summary_table(summary: dict[str, Any]) -> str:
    """Return the metrics of the summary as printed."""
    best_by = summary["best_by"]

    def metrics(split: str) -> str:
        values = {
            name.removeprefix(split): value for name, value in summary.items() if name.startswith(split)
        }
        names = [*printed([name for name in values if name != "loss"], best_by), "loss"]
        return ", ".join(format_metric(name, values[name]) for name in names)

    best = f"{_best_epoch(summary)} of {summary['epochs']}"
    best += "" if best_by is None else f" by {DISPLAY[best_by][0]}"
    if summary.get("best_weights") == "average":
        best += ", the averaged weights"
    rows = [("best epoch", best)]
    if summary["val/loss"] is not None:
        rows.append(("validation", metrics("val/")))
    if "test/loss" in summary:
        rows.append(("test", metrics("test/")))
    speed = f"{summary['images_per_second']:.0f} images/s in training"
    rows.append(("time", f"{summary['wall_seconds']:.1f} s, {speed}"))
    return "\n" + "\n".join(f"  {name:<11}{value}" for name, value in rows) + "\n"


def summary_line(summary: dict[str, Any]) -> str:
    """Return the best epoch, its primary metric and the time on one line."""
    best = f"best epoch {_best_epoch(summary)} of {summary['epochs']}"
    return ", ".join([best, *primary_metrics(summary), f"{summary['wall_seconds']:.1f} s"])


def _best_epoch(summary: dict[str, Any]) -> int | float:
    """Return the epochs after which the network was best; the last may be a part of one."""
    epochs: int | float = min(summary["best_epoch"], summary["epochs"])
    return epochs


def primary_metrics(summary: dict[str, Any]) -> list[str]:
    """Return the primary metric of each split that was evaluated, as printed."""
    return [
        f"{split} {format_metric(name.removeprefix(prefix), summary[name])}"
        for split, prefix in (("validation", "val/"), ("test", "test/"))
        if (name := next((key for key in summary if key.startswith(prefix) and key != f"{prefix}loss"), ""))
        and summary[name] is not None
    ]


def versions() -> dict[str, str]:
    """Return the versions of the packages that a run's results depend on."""
    return {
        "cnntrain": __version__,
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": version("numpy"),
    }
