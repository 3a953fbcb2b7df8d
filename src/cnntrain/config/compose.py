"""From sorted words to the typed configuration: Hydra composes the files, then settings are laid over."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

from hydra import version as hydra_version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import ConfigError
from .checks import cross_checks, rule_problems
from .choices import EXPERIMENT, Choices, built_in_folder
from .files import file_problems
from .options import GROUPS, OPTIONS, register, typed
from .overrides import Selection, combinations, effective_choices, sort_words
from .root import Config

CONFIG_NAME = "config"


class _ConfigLoader(ConfigLoaderImpl):
    """Hydra's loader, which does not offer our schemas as choices in tab completion."""

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        found = super().get_group_options(group_name, results_filter, config_name, overrides)
        return [entry for entry in found if entry != "schema"]


@dataclass
class Composed:
    """One run's configuration, with where its folder goes and what the user should know."""

    config: Config
    run_folder: str
    sweep_folder: str
    notices: list[str]


class Composer:
    """Composes runs from words, collecting every problem before it gives up."""

    def __init__(self, choices: Choices):
        self.choices = choices
        self._trees: dict[tuple[str, ...], DictConfig] = {}

    @cached_property
    def hydra(self) -> Hydra:
        """Hydra itself, over our files and the user's; it also runs the jobs of a sweep."""
        register()
        hydra_version.setbase("1.3")
        path = create_config_search_path(str(built_in_folder()))
        if self.choices.user_folder is not None:
            path.prepend(
                "command-line", f"file://{self.choices.user_folder}", SearchPathQuery(provider="main")
            )
        GlobalHydra.instance().clear()
        hydra = Hydra("cnntrain", _ConfigLoader(path))
        GlobalHydra.instance().initialize(hydra)
        return hydra

    def compose(self, words: list[str]) -> Composed:
        """Return the checked configuration of one run; raises ConfigError with all problems."""
        selection, problems = sort_words(words, self.choices)
        chosen = effective_choices(selection, self.choices)
        users = {group: name for group, name in chosen.items() if self.choices.is_users(group, name)}
        if EXPERIMENT in selection.groups and self.choices.is_users(EXPERIMENT, selection.groups[EXPERIMENT]):
            users[EXPERIMENT] = selection.groups[EXPERIMENT]
        broken = [
            line for group, name in users.items() for line in file_problems(self.choices, group, name, chosen)
        ]
        if broken:
            raise ConfigError(problems + broken)
        try:
            tree = self._tree(selection)
            for key, value in selection.settings.items():
                in_mapping = isinstance(value, dict) or "." in key.partition(".")[2]
                OmegaConf.update(tree, key, value, merge=True, force_add=in_mapping)
            composed = self._typed(tree)
        except ConfigError as error:
            raise ConfigError(problems + error.problems) from error
        except (HydraException, OmegaConfBaseException, RecursionError) as error:
            raise ConfigError([*problems, _one_line(error)]) from error
        wrong = rule_problems(composed.config)
        if not wrong:
            # Also where words were wrong: the others stand, with defaults in place of the wrong ones.
            wrong, composed.notices = cross_checks(composed.config)
        if problems or wrong:
            raise ConfigError(problems + wrong)
        return composed

    def compose_sweep(self, words: list[str]) -> list[Composed]:
        """Return the configuration of every job of a sweep; raises ConfigError with all their problems."""
        jobs, problems = [], []
        for job in combinations([*words, *self._swept_in_files(words)], self.hydra.config_loader):
            try:
                jobs.append(self.compose(job))
            except ConfigError as error:
                problems += [line for line in error.problems if line not in problems]
        if problems:
            raise ConfigError(problems)
        return jobs

    def hydra_words(self, words: list[str]) -> list[str]:
        """Return the words as Hydra takes them: + only where a key is added to a free mapping."""
        plain = []
        for word in words:
            key, equals, value = word.lstrip("+").partition("=")
            inside_mapping = (key.count(".") >= 2 or value.startswith("{")) and not key.startswith("hydra.")
            plain.append(f"{'++' if inside_mapping else ''}{key}{equals}{value}")
        return plain

    def _swept_in_files(self, words: list[str]) -> list[str]:
        """Return what hydra.sweeper.params of an experiment sweeps over, less what the words say."""
        first = combinations(words, self.hydra.config_loader)[0]
        selection, _ = sort_words(first, self.choices)
        try:
            params = self._tree(selection).hydra.sweeper.get("params") or {}
        except (HydraException, OmegaConfBaseException):
            return []
        given = {word.partition("=")[0].lstrip("+") for word in words}
        return [f"{key}={value}" for key, value in params.items() if key not in given]

    def _tree(self, selection: Selection) -> DictConfig:
        words = [f"{group}={name}" for group, name in selection.groups.items()] + selection.hydra
        key = tuple(words)
        if key not in self._trees:
            self._trees[key] = self.hydra.compose_config(
                config_name=CONFIG_NAME,
                overrides=words,
                run_mode=RunMode.RUN,
                with_log_configuration=False,
            )
        return copy.deepcopy(self._trees[key])

    def _typed(self, tree: DictConfig) -> Composed:
        hydra = tree.hydra
        for group in GROUPS:
            node = tree._get_node(group)
            if OmegaConf.get_type(node) not in OPTIONS[group]:
                raise ConfigError(
                    [
                        f"{group}: the chosen file does not say which settings it has; begin it with "
                        "`defaults: [NAME, _self_]`, NAME being one of "
                        + ", ".join(self.choices.names(group))
                    ]
                )
        run_folder, sweep_folder = str(hydra.run.dir), str(hydra.sweep.dir)
        plain = OmegaConf.masked_copy(tree, [str(key) for key in tree if key != "hydra"])
        return Composed(typed(plain), run_folder, sweep_folder, [])


def _one_line(error: BaseException) -> str:
    """Return the innermost cause of Hydra's or OmegaConf's error on one line, with its key."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, RecursionError):
        return "an interpolation ${…} refers to itself"
    key = getattr(cause, "full_key", None)
    text = " ".join(
        part.strip()
        for part in str(cause).splitlines()
        if not part.strip().startswith(("full_key", "object_type", "reference_type"))
    )
    return f"{key}: {text}" if key else text
