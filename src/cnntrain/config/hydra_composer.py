"""Hydra, where it is needed: to compose interpolations, to run sweeps, to complete and to show."""

from __future__ import annotations

import copy
import re
from functools import cache, cached_property
from pathlib import Path

from hydra._internal.hydra import Hydra
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..errors import ConfigError
from ..settings.config_tree import GROUPS, Config
from .choice_files import Choices
from .hydra_instance import create_hydra, store_all_schemas, store_schema
from .option_table import OPTIONS, name_of, typed
from .parse_override import parse_override, quoted
from .select_choices import Selection

CONFIG_NAME = "config"
# How Hydra says that a launcher or sweeper is missing, and the packages of those in its documentation.
PLUGIN = re.compile(r"Could not find 'hydra/(launcher|sweeper)/(\w+)'")
PLUGINS = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
    "ray_aws": "hydra-ray-launcher",
    "rq": "hydra-rq-launcher",
    "optuna": "hydra-optuna-sweeper",
    "ax": "hydra-ax-sweeper",
    "nevergrad": "hydra-nevergrad-sweeper",
}


class Composer:
    """Composes selections over our files and the user's; composed trees are cached.

    Files begin with a schema, schema/<group>/<name>, that Hydra finds in its ConfigStore. Storing all of
    them takes longer than composing a run, so a run stores those that it needs.
    """

    def __init__(self, choices: Choices):
        self.choices = choices
        self._trees: dict[tuple[str, ...], DictConfig] = {}

    @cached_property
    def hydra(self) -> Hydra:
        """The Hydra instance with our files and the user's on its search path; it also runs sweeps."""
        return create_hydra(self.choices.user_folder)

    def compose(self, selection: Selection) -> tuple[Config, Path]:
        """Return the typed configuration of a selection and the folder of its run; raises ConfigError."""
        try:
            tree = self._tree(selection)
            for key, value in selection.settings.items():
                in_mapping = isinstance(value, dict) or "." in key.partition(".")[2]
                OmegaConf.update(tree, key, value, merge=True, force_add=in_mapping)
            self._check_schemas(tree)
            plain = OmegaConf.masked_copy(tree, [str(key) for key in tree if key != "hydra"])
            return typed(plain), Path(str(tree.hydra.run.dir))
        except (HydraException, OmegaConfBaseException, RecursionError, YAMLError) as error:
            line = _one_line(error)
            raise ConfigError([f"{_interpolation_in_files(selection, line)}{line}"]) from error

    def sweep_folder(self, selection: Selection) -> Path:
        """Return the folder of a sweep whose first job is a selection; raises ConfigError."""
        try:
            return Path(str(self._tree(selection).hydra.sweep.dir))
        except (HydraException, OmegaConfBaseException, RecursionError, YAMLError) as error:
            raise ConfigError([_one_line(error)]) from error

    def complete(self, command: str) -> None:
        """Install, uninstall or answer tab completion, as Hydra's -sc COMMAND."""
        store_all_schemas()
        self.hydra.shell_completion(CONFIG_NAME, [command])

    def show(self, overrides: list[str], part: str, resolve: bool) -> None:
        """Print a part of the composed configuration as Hydra's --cfg: hydra or all."""
        store_all_schemas()
        self.hydra.show_cfg(CONFIG_NAME, hydra_overrides(overrides), part, None, resolve)

    def multirun(self, task: TaskFunction, overrides: list[str], folder: Path) -> list[JobReturn]:
        """Run a task for every job of a sweep by Hydra's sweeper and launcher; return their results."""
        store_all_schemas()
        in_folder = [*hydra_overrides(overrides), f"hydra.sweep.dir='{folder}'"]
        batches = self.hydra.multirun(CONFIG_NAME, task, in_folder, with_log_configuration=False)
        if isinstance(batches[0], list):
            return [job for batch in batches for job in batch]
        return list(batches)

    def swept_in_files(self, selection: Selection) -> dict[str, str]:
        """Return key → values of what an experiment's hydra.sweeper.params sweeps over."""
        try:
            params = self._tree(selection).hydra.sweeper.get("params") or {}
        except (HydraException, OmegaConfBaseException, YAMLError):
            return {}
        return {str(key): str(value) for key, value in params.items()}

    def _tree(self, selection: Selection) -> DictConfig:
        given = [f"{group}={choice.name}" for group, choice in selection.given.items()]
        folders = [f"{key}={quoted(folder)}" for key, folder in selection.folders.items()]
        key = (*given, *folders, *selection.hydra)
        if key not in self._trees:
            for group, choice in selection.chosen.items():
                if choice.schema is not None:
                    store_schema(group, choice.schema)
            self._trees[key] = self.hydra.compose_config(
                config_name=CONFIG_NAME,
                overrides=list(key),
                run_mode=RunMode.RUN,
                with_log_configuration=False,
            )
        return copy.deepcopy(self._trees[key])

    @staticmethod
    def _check_schemas(tree: DictConfig) -> None:
        for group in GROUPS:
            if OmegaConf.get_type(tree._get_node(group)) not in OPTIONS[group]:
                names = ", ".join(name_of(option) for option in OPTIONS[group])
                raise ConfigError(
                    [
                        f"{group}: the chosen file does not say which settings it has; begin it with "
                        f"`defaults: [NAME, _self_]`, NAME being one of {names}"
                    ]
                )


@cache
def composer_of(choices: Choices) -> Composer:
    """Return the composer over these choices, always the same one."""
    return Composer(choices)


def hydra_overrides(overrides: list[str]) -> list[str]:
    """Return overrides in Hydra's syntax: ++ only where a key is added to a mapping of free keys."""
    converted = []
    for override in overrides:
        key, equals, value = override.lstrip("+").partition("=")
        if equals and parse_override(override).error is not None:
            value = quoted(value)
        in_mapping = (key.count(".") >= 2 or value.startswith("{")) and not key.startswith("hydra.")
        converted.append(f"{'++' if in_mapping else ''}{key}{equals}{value}")
    return converted


def _interpolation_in_files(selection: Selection, message: str) -> str:
    """Return "FILE, line N: " of the interpolation in a user's file that a message is about, "" for none."""
    leaf = message.partition(":")[0].rpartition(".")[2]
    for choice in (*selection.chosen.values(), *selection.given.values()):
        if not choice.from_user:
            continue
        for number, line in enumerate(choice.path.read_text(encoding="utf-8").splitlines(), 1):
            if "${" in line and (line.strip().startswith(f"{leaf}:") or not leaf.isidentifier()):
                return f"{choice.path}, line {number}: "
    return ""


def _one_line(error: BaseException) -> str:
    """Return the innermost cause of Hydra's or OmegaConf's error on one line, with its key."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, RecursionError):
        return "an interpolation ${…} refers to itself"
    if match := PLUGIN.search(str(cause)):
        kind, name = match.groups()
        package = PLUGINS.get(name)
        install = f"pip install {package}" if package else "install the package that has it"
        return f"hydra/{kind}={name}: is not installed; {install}, or leave it out"
    key = getattr(cause, "full_key", None)
    text = " ".join(
        part.strip()
        for part in str(cause).splitlines()
        if not part.strip().startswith(("full_key", "object_type", "reference_type"))
    )
    return f"{key}: {text}" if key else text
