"""A model card: what a network predicts, how it was trained, how good it is, its limits and its use.

Markdown with the header that the Hugging Face hub reads.
"""

from __future__ import annotations

import json
from typing import Any

from ..costs.units import group_digits
from ..metrics import DISPLAY, format_metric
from ..prediction.exported import ONNX, TORCH_EXPORT
from ..runs import file_names
from ..settings.fields import describe_changes
from .run_to_export import RunToExport
from .write_export import Exported

CARD = "MODEL_CARD.md"
# Of more classes, the card has no table of each.
MAX_CLASSES = 100
# The formats whose files predict without cnntrain.
RUNTIMES = {ONNX: "onnx", TORCH_EXPORT: "torch"}


def model_card(run: RunToExport, made: Exported, file: str, source: str | None = None) -> str:
    """Return the card of a run's network, exported into the file of this name.

    source: what `cnntrain.load` takes; by default the file, the run's folder where it has no preprocessing.
    """
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("cnntrain", "export"), trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters |= {"json": json.dumps, "cell": _cell}
    metadata = made.metadata
    own = file if metadata.preprocessing else "FOLDER_OF_THE_RUN"
    text = environment.get_template("model_card.md.j2").render(
        **_facts(run, made),
        file=file,
        source=source or own,
        dimensions=", ".join(map(str, metadata.image_shape)),
        runtime=RUNTIMES.get(made.suffix) if metadata.preprocessing else None,
    )
    return text.rstrip("\n") + "\n"


def _facts(run: RunToExport, made: Exported) -> dict[str, Any]:
    metadata, config = made.metadata, run.config
    height, width, channels = metadata.image_shape
    evaluation = _evaluation(run)
    validation, test = metadata.validation, metadata.test or {}
    return {
        "title": f"{config.model.name} trained on {config.data.name}",
        "network": metadata.network,
        "network_name": config.model.name,
        "version": metadata.cnntrain,
        "shape": f"{height}x{width} pixels and {channels} channel{'s' if channels > 1 else ''}",
        "what": f"one of {len(metadata.names)} classes" if metadata.target == "classes" else metadata.target,
        "target": metadata.target,
        "names": metadata.names,
        "data": _data(run),
        "data_name": config.data.name,
        "division": _division(run),
        "splits": {name: len(part) for name, part in run.splits.parts().items()},
        "command": metadata.command,
        "training": _training(run),
        "validation": validation,
        "test": test,
        "rows": [(DISPLAY[name][0], _values(name, validation, test)) for name in validation or test],
        "per_class": _per_class(evaluation),
        "evaluated": evaluation.get("images"),
        "findings": _findings(run),
        "limits": list(_limits(run, made)),
        "compared": _compared(made),
    }


def _data(run: RunToExport) -> str:
    data = run.config.data
    source = None if hasattr(data, "root") else data.source()  # root: where a known data set is kept
    return f"`data={data.name}`" + (f" ({source})" if source else "")


def _division(run: RunToExport) -> str:
    data = run.config.data
    if not len(run.splits.val):
        return "No images were set aside for validation."
    if data.folds is not None:
        return f"Validation images are fold {data.fold} of {data.folds} of the training images."
    rule = {"hash": "by a hash of their content", "name": "by their names"}.get(data.split_rule())
    return (
        "Unless the data set has validation images of its own, they were cut from its training images "
        f"(`data.val_fraction={data.val_fraction:g}`, `seed={run.config.seed}`"
        f"{f', {rule}' if rule else ''})."
    )


def _training(run: RunToExport) -> dict[str, str]:
    """Return the settings of the training by name, as the table of the card has them."""
    config, summary = run.config, run.summary
    augmentation = describe_changes(config.augmentation)
    if config.augmentation.name == "auto":
        augmentation = f"{config.data.default_augmentation()} (auto)"
    epochs = summary.get("epochs", config.trainer.epochs)
    rows = {
        "parameters": group_digits(sum(weight.numel() for weight in run.trained.network.parameters())),
        "epochs": f"{epochs}, the best one {summary.get('best_epoch')}",
        "batch": f"{run.trained.batch_size * config.trainer.accumulate_steps} images",
        "preprocessing": run.preprocessing(),
        "augmentation": augmentation,
        "initialization": describe_changes(config.initialization),
        "loss": describe_changes(config.loss),
        "regularization": describe_changes(config.regularization),
        "optimizer": describe_changes(config.optim),
        "schedule": describe_changes(config.schedule),
        "averaging": describe_changes(config.averaging),
        "seed": str(config.seed),
    }
    if "wall_seconds" in summary:
        device = f"{summary['device']}, {summary['precision']}"
        rows["time"] = f"{summary['wall_seconds']:.0f} s on {device}"
        rows["versions"] = ", ".join(f"{name} {value}" for name, value in summary["versions"].items())
    return rows


def _values(name: str, validation: dict[str, float | None], test: dict[str, float | None]) -> tuple[str, str]:
    """Return a metric of both splits as printed, without its name."""
    label = DISPLAY[name][0]
    printed = [
        format_metric(name, split.get(name)).removeprefix(label).strip() for split in (validation, test)
    ]
    return printed[0], printed[1]


def _evaluation(run: RunToExport) -> dict[str, Any]:
    """Return what job=evaluate wrote of the run's own test images, {} where it did not."""
    file = run.folder.path / f"evaluate-{run.config.data.name}-test.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _per_class(evaluation: dict[str, Any]) -> list[dict[str, str]]:
    rows = evaluation.get("per_class") or {}
    if len(rows) > MAX_CLASSES:
        return []
    return [
        {
            "name": name,
            "support": str(row["support"]),
            **{key: "–" if row[key] is None else f"{row[key]:.2%}" for key in ("precision", "recall", "f1")},
        }
        for name, row in rows.items()
    ]


def _findings(run: RunToExport) -> list[str] | None:
    """Return the sentences of findings.json, None where there is none."""
    try:
        content = json.loads((run.folder.path / file_names.FINDINGS).read_text(encoding="utf-8"))
        return [str(finding["sentence"]) for finding in content]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _limits(run: RunToExport, made: Exported) -> list[str]:
    """Return what a user of the network must not expect of it."""
    metadata = made.metadata
    height, width, _ = metadata.image_shape
    limits = [f"Images have to be brought to {height}x{width} pixels as the training images were."]
    if metadata.target == "classes" and not metadata.rejects:
        limits.append("Every image gets one of these classes, also an image that shows none of them.")
    if metadata.target != "values":
        limits.append(_calibration(run))
    if not metadata.preprocessing:
        limits.append(f"The file takes {metadata.inputs} and returns {metadata.outputs}.")
    return limits


def _calibration(run: RunToExport) -> str:
    """Return what is known of the calibration, by the evidence of job=report on validation images."""
    try:
        evidence = json.loads((run.folder.path / file_names.EVIDENCE).read_text(encoding="utf-8"))
        error = float(evidence["val_calibration"]["error"])
    except (OSError, ValueError, TypeError, KeyError):
        return "Nothing is known of how well its probabilities are calibrated; that was not measured."
    return (
        f"On validation images, its probabilities differ from the share of right answers by {error:.2%} on "
        "average (expected calibration error); on other images they may be farther off."
    )


def _compared(made: Exported) -> str:
    compared = made.comparison
    return (
        f"{made.describe_format()}. Read back and compared with the run on {compared.images} "
        f"{'validation' if compared.split == 'val' else 'training'} images: largest difference "
        f"{compared.difference:.2g}, {compared.equal:.2%} equal predictions, "
        f"{format_metric(compared.metric_name, compared.metric_of_file)} (run: "
        f"{format_metric(compared.metric_name, compared.metric_of_run).split()[-1]})."
    )


def _cell(text: str) -> str:
    """Return text for a table of Markdown."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
