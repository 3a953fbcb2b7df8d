"""report.html: what a run did, in one file that needs no server and no network."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data.image_set import ImageSet
from ..data.splits import Splits
from ..findings.run_record import RunRecord
from ..metrics import DISPLAY, format_metric
from ..settings.fields import format_value
from .pictures import run_curves
from .pictures.histogram_maps import histogram_maps
from .pictures.thumbnails import thumbnail
from .templates import render

# Pictures in a run's folder, with their captions.
PICTURES = {
    "images.png": "Training images as the network sees them",
    "filters.png": "Filters of the first layer",
    "preprocessing.png": "What preprocessing does",
    "decision_boundary.png": "Decision boundary",
}
# Larger pictures would make the page too large.
MAX_PICTURE_BYTES = 800_000


@dataclass(frozen=True)
class RunPage:
    """The contents of a run's page.

    findings: as in findings.json. without_findings: what to say if there are none. histograms: the rows of
    histograms.jsonl. splits: the images. command: the run's own. settings: its configuration as YAML. drawn:
    further pictures as PNG, by caption.
    """

    folder: Path
    findings: list[dict[str, Any]]
    without_findings: str
    record: RunRecord
    histograms: list[dict[str, Any]]
    splits: Splits
    command: str
    settings: str
    drawn: list[tuple[str, bytes]]

    def html(self) -> str:
        """Return the page."""
        curves, pictures, confusion = self._curves(), self._pictures(), self._confusion()
        suspects = self._with_thumbnails("train", "suspects")
        mistakes = self._with_thumbnails("val", "mistakes")
        calibration = self.record.evidence.get("val_calibration")
        sections = [("findings", "Findings"), ("summary", "Summary")]
        sections += [("curves", "Curves")] if curves else []
        sections += [("pictures", "Pictures")] if pictures else []
        sections += [("mistakes", "Mistakes")] if confusion or suspects or mistakes else []
        return render(
            "run_page.html.j2",
            title=f"Run {self.folder.name}",
            subtitle=f"{self.folder}, {self.record.summary.get('status', 'not finished')}",
            sections=[*sections, ("configuration", "Configuration")],
            findings=self.findings,
            without_findings=self.without_findings[:1].upper() + self.without_findings[1:] + ".",
            summary=self._summary(),
            curves=curves,
            pictures=pictures,
            confusion=confusion,
            suspects=suspects,
            mistakes=mistakes,
            calibration=None if calibration is None else run_curves.calibration_curve(calibration),
            command=self.command,
            settings=self.settings,
        )

    def _summary(self) -> list[tuple[str, str]]:
        """Return the rows of the summary, metrics as they are printed."""
        rows = []
        for name, value in self.record.summary.items():
            split, _, metric = name.partition("/")
            if isinstance(value, dict):
                rows.append((name, ", ".join(f"{key} {entry}" for key, entry in value.items())))
            elif metric and value is not None:
                rows.append((f"{split} {DISPLAY[metric][0]}", format_metric(metric, value).split()[-1]))
            else:
                rows.append((name.replace("_", " "), "–" if value is None else format_value(value)))
        noise = self.record.evidence.get("critical_batch_size")
        calibration = self.record.evidence.get("val_calibration")
        rows += (
            [] if noise is None else [("critical batch size", f"about {float(f'{noise:.2g}'):.0f} images")]
        )
        rows += (
            []
            if calibration is None
            else [("calibration error", f"{calibration['error']:.1%} in validation")]
        )
        return rows

    def _curves(self) -> list[tuple[str, str]]:
        metric = next(
            (
                name
                for row in self.record.epochs
                for name in row
                if name.startswith("train/") and not name.endswith("loss")
            ),
            "train/accuracy",
        ).removeprefix("train/")
        drawn = {
            "Loss of the data, without penalties": run_curves.loss_curve(
                self.record.steps, self.record.epochs
            ),
            "Training and validation, the gap shaded": run_curves.metric_curve(self.record.epochs, metric),
            "Learning rate and momentum": run_curves.rate_curve(self.record.steps),
            "Update : weight ratio by layer": run_curves.layer_curves(
                self.record.steps, "update_ratio", "update : weight", True
            ),
            "Gradient norm by layer": run_curves.layer_curves(
                self.record.steps, "gradient_norm", "gradient norm", True
            ),
            "Dead units by layer, over the validation split": run_curves.layer_curves(
                self.record.epochs, "dead_units", "fraction of units", False
            ),
            "Saturated activations by layer, over the validation split": run_curves.layer_curves(
                self.record.epochs, "saturated_activations", "fraction of activations", False
            ),
        }
        best_by = self.record.best_by
        if best_by is not None and best_by not in (metric, "loss"):
            caption = f"Validation {DISPLAY[best_by][0]}, by which the best epoch is chosen"
            drawn[caption] = run_curves.validation_curve(self.record.epochs, best_by)
        drawn |= {
            f"Histograms of {plural} by layer over the run": histogram_maps(
                self.histograms, kind, self._steps_per_epoch(), len(self.record.epochs)
            )
            for kind, plural in (("activation", "activations"), ("gradient", "gradients"))
        }
        return [(caption, svg) for caption, svg in drawn.items() if svg is not None]

    def _steps_per_epoch(self) -> float:
        last = self.record.epochs[-1] if self.record.epochs else {"step": 1, "epoch": 1}
        return float(last["step"] / last["epoch"])

    def _pictures(self) -> list[tuple[str, str]]:
        found = []
        for name, caption in PICTURES.items():
            file = self.folder / name
            if file.is_file() and file.stat().st_size <= MAX_PICTURE_BYTES:
                found.append((caption, base64.b64encode(file.read_bytes()).decode()))
        return found + [(caption, base64.b64encode(content).decode()) for caption, content in self.drawn]

    def _confusion(self) -> str | None:
        confusion = self.record.evidence.get("val_confusion")
        return run_curves.confusion_picture(confusion, self.splits.names) if confusion else None

    def _with_thumbnails(self, split: str, kind: str) -> list[dict[str, Any]]:
        """Return the images of one kind in the evidence, each with its picture."""
        found: list[dict[str, Any]] = self.record.evidence.get(f"{split}_{kind}", [])
        images: ImageSet = self.splits.parts()[split]
        chosen = images.subset(torch.tensor([one["index"] for one in found], dtype=torch.int64))
        pictures = [thumbnail(image) for chunk in chosen.chunks(len(found) or 1) for image in chunk]
        return [{**one, "picture": picture} for one, picture in zip(found, pictures, strict=True)]
