"""Checks of the settings of jobs: whether they belong to the chosen job, and what it needs of others."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import PurePath

from ..data.folder_scan import is_image_name
from ..settings.config_tree import Config
from ..settings.fields import default_of, format_value, settings_of
from ..settings.job_settings import JOB_SETTINGS, Ensemble, Export, Head, Predict
from .from_trained_weights import has_trained_weights

# Jobs on an earlier run; those of the second kind export its network.
OF_RUNS, OF_EXPORTS = ("evaluate", "predict", "report", "leaderboard"), ("export", "benchmark", "publish")
# What each format needs, and the extra that installs it.
PACKAGES = {
    "onnx": (("onnx", "onnxscript", "onnxruntime"), "onnx"),
    "torch_export": ((), ""),
    "safetensors": (("safetensors",), "safetensors"),
}
SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors"}


def job_checks(config: Config) -> Iterator[str]:
    """Yield an error for each setting that does not fit the chosen job."""
    if config.job in (*OF_RUNS, *OF_EXPORTS) and config.run is None:
        yield f"job={config.job}: needs the folder of a run: run=FOLDER"
    yield from job_problems(config)
    if config.job == "ensemble" and config.ensemble.members and config.ensemble.best != Ensemble().best:
        yield "ensemble.best: applies to run=SWEEP only; leave it out"


def job_problems(config: Config, stored: Config | None = None) -> Iterator[str]:
    """Yield an error for each setting of a job that is invalid or has no effect.

    Settings of job=evaluate are stored in the run's folder for its evaluation, whatever the job. stored: the
    configuration of an earlier run, whose settings of other jobs are not given again and have no effect here.
    """
    for name in ("dense_size", "dense_stride"):
        value = getattr(config.evaluate, name)
        if value is not None and not config.evaluate.dense:
            yield f"evaluate.{name}={value}: applies to dense evaluation only; add evaluate.dense=true"
    if config.evaluate.shift is not None and config.evaluate.views not in ("shifts", "mirror_shifts"):
        yield (
            f"evaluate.shift={config.evaluate.shift}: applies to evaluate.views=shifts and mirror_shifts "
            "only; write null"
        )
    if config.evaluate.views_fraction < 1:
        given = f"evaluate.views_fraction={config.evaluate.views_fraction:g}"
        if config.evaluate.views == "none":
            yield f"{given}: has no effect without views; add evaluate.views=mirror_shifts, or leave it out"
        if config.data.target_kind() != "classes":
            yield f"{given}: applies to classes alone; leave it out"
    if config.evaluate.dense and config.evaluate.views != "none":
        yield f"evaluate.views={config.evaluate.views}: cannot be combined with evaluate.dense=true; keep one"
    if config.evaluate.dense and config.loss.name == "hierarchical_softmax":
        yield ("evaluate.dense=true: a hierarchical softmax has no convolutional form; write false")
    confirm = config.report.confirm
    for name, entry in settings_of(type(config.report)).items():
        value = getattr(config.report, name)
        is_without = name != "confirm" and not (confirm or (confirm is None and config.job == "report"))
        before = default_of(entry) if stored is None else getattr(stored.report, name)
        if value not in (default_of(entry), before) and is_without:
            yield f"report.{name}={format_value(value)}: applies to replays only; add report.confirm=true"
    if config.job == "train":
        yield from config.logger.missing_packages()
        yield from config.logger.destination_problems()
        yield from config.trainer.hook_problems()
    yield from _lr_range(config)
    yield from _predict(config)
    yield from _exports(config, stored)
    for job, settings in JOB_SETTINGS.items():
        in_training = {"check": config.trainer.check, "report": config.trainer.report}
        if job in (config.job, "evaluate") or (config.job == "train" and in_training.get(job, False)):
            continue
        for name, entry in settings_of(settings).items():
            value = getattr(getattr(config, job), name)
            before = default_of(entry) if stored is None else getattr(getattr(stored, job), name)
            if value not in (default_of(entry), before):
                yield f"{job}.{name}={format_value(value)}: applies to job={job} only; add job={job}"


def _predict(config: Config) -> Iterator[str]:
    if config.job != "predict":
        return
    settings, target = config.predict, config.data.target_kind()
    if not settings.images:
        yield (
            "predict.images: is not set; write predict.images=PATH, an image, a folder, a pattern in quotes, "
            "an .npz file, or - for names on standard input"
        )
    if is_image_name(PurePath(settings.file).name or "-"):
        yield f"predict.file={settings.file}: is the name of an image; let it end with .csv or .jsonl"
    yield from _table_name(settings)
    if settings.top != Predict().top and target != "classes":
        yield f"predict.top={settings.top}: has no effect on {target}, all of which are written; leave it out"
    if settings.explain and settings.sheet is False:
        yield "predict.explain=true: draws into the contact sheet; leave predict.sheet=false out"
    if settings.explain_method != Predict().explain_method and not settings.explain:
        yield f"predict.explain_method={settings.explain_method}: needs predict.explain=true"


def _table_name(settings: Predict) -> Iterator[str]:
    """Yield an error where the name of the table says another format than it would have."""
    ending = PurePath(settings.file).suffix.lower()
    named = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}.get(ending)
    if named is not None and settings.format not in (None, named):
        yield (
            f"predict.format={settings.format}: contradicts predict.file={settings.file}; leave the format "
            f"out, or let the name end with .{settings.format}"
        )
    if ending == ".json" and settings.format is None:
        yield f"predict.file={settings.file}: rows are lines of JSON or CSV; let it end with .jsonl or .csv"


def _lr_range(config: Config) -> Iterator[str]:
    if config.job != "lr_range":
        return
    if config.optim.name in ("lbfgs", "switch"):
        yield f"optim={config.optim.name}: has no single learning rate to test; write optim=sgd, or adam"
    if config.lr_range.smallest >= config.lr_range.largest:
        yield (
            f"lr_range.smallest={config.lr_range.smallest:g}: must be less than lr_range.largest="
            f"{config.lr_range.largest:g}"
        )


def _exports(config: Config, stored: Config | None) -> Iterator[str]:
    """Yield an error for each setting of a job that exports a network that it cannot follow."""
    if config.job not in OF_EXPORTS:
        return
    device = config.trainer.device
    if stored is not None and device not in (stored.trainer.device, "cpu", "auto"):
        yield f"trainer.device={device}: job={config.job} computes on the CPU in fp32; leave it out"
    if config.job == "publish":
        yield from _missing("job=publish", ("safetensors", "huggingface_hub"), "hf")
        if config.publish.repository is None and config.publish.folder is None:
            yield "job=publish: needs publish.repository=user/name, or publish.folder=PATH"
        if config.publish.private and config.publish.repository is None:
            yield "publish.private=true: has no effect without publish.repository"
    if config.job == "export":
        yield from _export(config)


def _export(config: Config) -> Iterator[str]:
    settings = config.export
    yield from missing_packages(settings.format)
    suffix = SUFFIXES[settings.format]
    if settings.file is not None and not settings.file.lower().endswith(suffix):
        yield f"export.file={settings.file}: the name of a file of {settings.format} ends in {suffix}"
    if settings.format == "safetensors" and not settings.preprocessing:
        yield (
            "export.preprocessing=false: has no effect on safetensors, which hold weights and statistics; "
            "leave it out"
        )
    if settings.quantize == "int8" and settings.format != "onnx":
        yield (
            f"export.quantize=int8: export.format={settings.format} has no int8 here; write "
            "export.format=onnx, or export.quantize=fp16"
        )
    if settings.quantize != "int8" and settings.calibration_images != Export().calibration_images:
        yield "export.calibration_images: applies to export.quantize=int8 only; leave it out"


def missing_packages(format: str) -> Iterator[str]:
    """Yield an error if packages are not installed that a format of export.format needs."""
    yield from _missing(f"export.format={format}", *PACKAGES[format])


def _missing(setting: str, packages: tuple[str, ...], extra: str) -> Iterator[str]:
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        yield f"{setting}: needs {' and '.join(missing)}; pip install 'cnntrain[{extra}]'"


def head_checks(config: Config) -> Iterator[str]:
    """Yield an error for each setting that does not fit job=head."""
    if config.job != "head":
        return
    if importlib.util.find_spec("sklearn") is None:
        yield "job=head: needs scikit-learn; pip install 'cnntrain[heads]'"
    if config.trainer.keep != "all":
        yield f"trainer.keep={config.trainer.keep}: job=head keeps its network alone anyway; leave it out"
    if config.loss.name != "softmax":
        yield f"loss={config.loss.name}: job=head has probabilities of a softmax; write loss=softmax"
    if not has_trained_weights(config):
        yield (
            f"job=head: the features of model={config.model.name} are random; write model=pretrained, or "
            "initialization=from_run initialization.run=FOLDER"
        )
    if not config.data.may_have_validation():
        yield "data.val_fraction=0: job=head chooses its setting on validation images; write 0.2"
    other, method = ("neighbours", "knn") if config.head.method == "ridge" else ("strengths", "ridge")
    if getattr(config.head, other) != getattr(Head(), other):
        yield f"head.{other}: has no effect with head.method={config.head.method}; write head.method={method}"
