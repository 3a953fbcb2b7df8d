"""Settings of the services to which a run is logged (group `logger`); metrics.jsonl is always written."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..settings.fields import default_of, fixed, format_value, setting, settings_of
from ..settings.option import Option
from .destinations import mlflow_problem, trackio_problem, wandb_problem

# The classes that write to each service; settings, packages and extras of this package are called so.
SINKS = {
    "tensorboard": "cnntrain.logger.tensorboard:TensorBoard",
    "wandb": "cnntrain.logger.wandb:WeightsAndBiases",
    "mlflow": "cnntrain.logger.mlflow:MLflow",
    "trackio": "cnntrain.logger.trackio:Trackio",
}
# Services that know projects, names of runs and files; TensorBoard has a folder of events.
OF_PROJECTS = ("wandb", "mlflow", "trackio")
# Settings that apply to these services only.
APPLIES_TO = {
    "project": OF_PROJECTS,
    "run_name": OF_PROJECTS,
    "group": OF_PROJECTS,
    "tags": OF_PROJECTS,
    "checkpoint": OF_PROJECTS,
    "wandb_entity": ("wandb",),
    "wandb_mode": ("wandb",),
    "mlflow_uri": ("mlflow",),
    "finish_seconds": tuple(SINKS),
}


@dataclass
class Logger(Option):
    """Settings and methods common to all loggers."""

    finish_seconds: float = setting(
        60.0,
        "seconds that the program waits at its end until everything is logged; what is not by then is left "
        "out",
        gt=0,
        resume="free",
    )

    def sinks(self) -> dict[str, str]:
        """Return the services to which the run is logged, each with its `Sink`, as module:class."""
        raise NotImplementedError

    def missing_packages(self) -> Iterator[str]:
        """Yield an error for each service whose package is not installed."""
        yield from ()

    def destination_problems(self) -> Iterator[str]:
        """Yield an error for each service that cannot keep the run where the settings say."""
        yield from ()


@dataclass
class Loggers(Logger):
    """The services to which a run is logged; the files are presets of one each.

    Keys and passwords are read by the services' packages from where they keep them (`wandb login`,
    WANDB_API_KEY, MLFLOW_TRACKING_TOKEN, …) and are no settings.
    """

    former_names: ClassVar[tuple[str, ...]] = ("none", "tensorboard")

    name: str = fixed("loggers")
    tensorboard: bool = setting(False, "TensorBoard event files, in the run's folder", resume="free")
    wandb: bool = setting(False, "Weights & Biases", resume="free")
    mlflow: bool = setting(False, "MLflow", resume="free")
    trackio: bool = setting(False, "Trackio, in a local database", resume="free")
    project: str = setting(
        "cnntrain", "project of Weights & Biases and Trackio, experiment of MLflow", resume="free"
    )
    run_name: str | None = setting(
        None,
        "name of the run in a project; null: that of its folder, as in 2026-11-30/19-25-39 or sweep/0003",
        resume="free",
    )
    group: str | None = setting(
        None,
        "group of runs in a project; null: the jobs of a sweep form one under the name of its folder",
        resume="free",
    )
    tags: list[str] = setting([], "tags of the run", resume="free")
    checkpoint: bool = setting(
        True, "store the best network (best.pt) as an artifact when training is finished", resume="free"
    )
    wandb_entity: str | None = setting(
        None, "user or team of Weights & Biases; null: that of the login", resume="free"
    )
    wandb_mode: str | None = setting(
        None,
        "offline: written into the run's folder, for `wandb sync`; null: WANDB_MODE, else online",
        choices=("online", "offline"),
        resume="free",
    )
    mlflow_uri: str | None = setting(
        None,
        "server or database of MLflow; null: MLFLOW_TRACKING_URI, else MLflow's default, sqlite:///mlflow.db "
        "in the working folder; a continued run keeps its own",
        resume="free",
    )

    @classmethod
    def from_stored(cls, name: str) -> Loggers:
        return cls(tensorboard=name == "tensorboard")

    def sinks(self) -> dict[str, str]:
        return {name: path for name, path in SINKS.items() if getattr(self, name)}

    def problems(self) -> Iterator[str]:
        chosen, fields = self.sinks(), settings_of(type(self))
        for name, services in APPLIES_TO.items():
            value = getattr(self, name)
            if value != default_of(fields[name]) and not set(services) & set(chosen):
                needed = " or ".join(f"logger.{service}=true" for service in services)
                yield f"logger.{name}={format_value(value)}: has no effect without {needed}"
        if not self.project:
            yield "logger.project: is empty; write a name, such as cnntrain"
        if self.mlflow_uri is not None and urlsplit(self.mlflow_uri).password is not None:
            yield (
                "logger.mlflow_uri: has a password, which would be stored with the run; write the address "
                "without it, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )

    def destination_problems(self) -> Iterator[str]:
        checks = {
            "wandb": lambda: wandb_problem(self.project, self.tags),
            "mlflow": lambda: mlflow_problem(self.project, self.mlflow_uri),
            "trackio": trackio_problem,
        }
        found = [check() for service, check in checks.items() if service in self.sinks()]
        yield from (problem for problem in found if problem is not None)

    def missing_packages(self) -> Iterator[str]:
        for service in self.sinks():
            if not _is_installed(service):
                yield (
                    f"logger.{service}=true: needs the package {service}, which is not installed; "
                    f"pip install 'cnntrain[{service}]'"
                )


def _is_installed(package: str) -> bool:
    """Return whether a package is installed; a folder of that name in the working folder is none."""
    found: Any = importlib.util.find_spec(package)
    return found is not None and found.origin is not None
