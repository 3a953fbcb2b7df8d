"""The way from the overrides of a sweep to a checked search: what varies, over which values, and the rest."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..search.ranges import Parameter, Range, Values, parse_range, whole_numbers
from ..search.settings import Drawing, Search
from ..settings.config_tree import GROUPS, OF_SWEEPS, Config
from ..settings.fields import is_fixed, rule_of, setting_problems, settings_of, shorten, type_of
from .check import Checked
from .choice_files import EXPERIMENT, Choices, overridden_groups
from .compose import SWEEP_FOLDER, compose
from .cross_checks import objective_problems
from .option_table import OPTIONS
from .pipeline import all_problems, configure_job, given_twice
from .read_yaml import read_yaml
from .select_choices import HYDRA_SWEEPS, select
from .sweep_values import max_jobs, run_folder_problems, too_many, values_of

# The search where a range is given and none is named: it needs the fewest epochs (docs/search.md).
DEFAULT_OF_RANGES = "coarse_to_fine"
SWEEPS = Path("outputs/multirun")
# Longest part of a sweep's folder that names what varies.
MAX_NAME = 40


@dataclass(frozen=True)
class CheckedSweep:
    """A checked sweep.

    overrides: all of them, as given. common: those that all jobs share. given: the settings that overrides or
    the experiment set. space: what varies. base: the configuration that stands for those of all jobs, with
    the first value of each list, and with the settings of the search.
    """

    overrides: list[str]
    common: list[str]
    given: frozenset[str]
    space: dict[str, Parameter]
    base: Config
    folder: Path
    named_by_user: bool
    notices: list[str]
    choices: Choices

    @property
    def search(self) -> Search:
        """The settings of the search."""
        search: Search = self.base.search
        return search

    def job(self, settings: dict[str, str]) -> Checked:
        """Return the checked configuration of the job with these settings; raises ConfigError."""
        varied = [f"{key}={value}" for key, value in settings.items()]
        return configure_job([*self.common, *varied], self.choices)


def runs_by_hydra(overrides: list[str], choices: Choices) -> bool:
    """Return whether a sweep is Hydra's own: its launcher, sweeper or callbacks were chosen or changed."""
    if any(override.lstrip("+~").startswith(HYDRA_SWEEPS) for override in overrides):
        return True
    of_hydra = _of_experiment(overrides, choices).get("hydra")
    if not isinstance(of_hydra, dict):
        return False
    sweeper = of_hydra.get("sweeper")
    others = set(sweeper) - {"params"} if isinstance(sweeper, dict) else ()
    return bool(others or {"launcher", "callbacks"} & set(of_hydra))


def configure_sweep(overrides: list[str], choices: Choices) -> CheckedSweep:
    """Return a checked sweep; raises ConfigError with all problems.

    A grid is checked in all its combinations; other searches at the ends of each range, the others at their
    defaults.
    """
    if problems := [*run_folder_problems(overrides), *_subfolder_problems(overrides)]:
        raise ConfigError(problems)
    common, space = _split([*_swept_by_experiment(overrides, choices), *overrides], choices)
    if several := [key for key in space if key == OF_SWEEPS or key.startswith(f"{OF_SWEEPS}.")]:
        raise ConfigError([f"{several[0]}: has several values; a sweep is one search, start one for each"])
    chosen = OF_SWEEPS in overridden_groups(_of_experiment(overrides, choices))
    if any(isinstance(parameter, Range) for parameter in space.values()) and not chosen:
        common = [f"{OF_SWEEPS}={DEFAULT_OF_RANGES}", *common]
    # Settings of a group belong to one of the choices that are tried, so the first of each stands for them.
    firsts = [f"{key}={found.ends()[0]}" for key, found in space.items() if isinstance(found, Values)]
    selection = select([*common, *firsts], choices)
    of_search = [line for line in selection.problems if line.startswith((f"{OF_SWEEPS}.", f"{OF_SWEEPS}="))]
    if problems := [*selection.file_problems, *of_search]:
        raise ConfigError(problems)
    base = compose(selection, choices).config
    if problems := [*setting_problems(base.search, f"{OF_SWEEPS}."), *base.search.problems()]:
        raise ConfigError(problems)
    if base.search.folds is not None:
        set_by_user = {*selection.settings, *space} & {"data.folds", "data.fold"}
        if set_by_user:
            raise ConfigError([f"{min(set_by_user)}: search.folds sets it for every job; leave it out"])
        common.append(f"data.folds={base.search.folds}")
        base.data.folds = base.search.folds
    if problem := _not_comparable(base, space):
        raise ConfigError([problem])
    common = [entry for entry in common if not _is_of_search(entry)]
    if isinstance(base.search, Drawing):
        space = _space_in_files(base.search, choices) | space
    space = {key: whole_numbers(entry) if _is_whole(key, base) else entry for key, entry in space.items()}
    named = selection.folders.get(SWEEP_FOLDER)
    folder = Path(named) if named else SWEEPS / _name(common, space, base.search, choices)
    given = frozenset([*selection.settings, *space, *_trainer_of_experiment(overrides, choices)])
    sweep = CheckedSweep(overrides, common, given, space, base, folder, bool(named), [], choices)
    sweep.notices.extend([*_check(sweep, max_jobs(overrides, choices)), *given_twice(overrides)])
    if selection.problems:
        raise ConfigError(all_problems(selection))
    return sweep


def _not_comparable(base: Config, space: dict[str, Parameter]) -> str | None:
    """Return why jobs of a sweep could not be compared with each other, or None."""
    if "trainer.best_by" in space and base.search.objective is None:
        return (
            "trainer.best_by: has several values, by which jobs cannot be compared with each other; add "
            "search.objective=accuracy, or another metric of all jobs"
        )
    if base.trainer.budget_minutes is not None:
        return (
            f"trainer.budget_minutes={base.trainer.budget_minutes:g}: jobs of a sweep are compared after "
            "the same epochs; write trainer.epochs, or search.minutes for the whole search"
        )
    if isinstance(base.search, Drawing) and not base.data.may_have_validation():
        return f"search={base.search.name}: compares jobs by validation; write data.val_fraction=0.2"
    return None


def _split(overrides: list[str], choices: Choices) -> tuple[list[str], dict[str, Parameter]]:
    """Return the overrides with one value, and what the others vary over; raises ConfigError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from .hydra_composer import composer_of

    limit = max_jobs(overrides, choices)
    common: list[str] = []
    space: dict[str, Parameter] = {}
    problems: list[str] = []
    parser = None
    for text in overrides:
        key, equals, value = text.lstrip("+").partition("=")
        space.pop(key, None)
        try:
            found = parse_range(value) if equals else None
        except ValueError as error:
            problems.append(f"{shorten(text)}: {error}")
            continue
        if found is not None:
            space[key] = found
            continue
        if key.startswith("hydra.") or re.fullmatch(r"[\w./-]*", value):
            common.append(text)
            continue
        if parser is None:
            parser = OverridesParser.create(config_loader=composer_of(choices).hydra.config_loader)
        try:
            values = values_of(text, parser, limit)
        except ConfigError as error:
            problems += error.problems
            continue
        if values is None:
            common.append(text)
        else:
            space[key] = Values(tuple(dict.fromkeys(values)))
    if problems:
        raise ConfigError(problems)
    return common, space


def _check(sweep: CheckedSweep, limit: int) -> list[str]:
    """Return the notices of the jobs that are checked before the first starts; raises ConfigError."""
    search, space = sweep.search, sweep.space
    if problems := list(search.space_problems(space)):
        raise ConfigError(problems)
    if search.size(space) > limit:
        raise too_many(limit)
    notices: list[str] = []
    problems = []
    for settings in search.samples(space):
        try:
            job = sweep.job(settings)
            if wrong := list(objective_problems(search.objective, job.config)):
                raise ConfigError(wrong)
            notices += [notice for notice in job.notices if notice not in notices]
        except ConfigError as error:
            ends = [f"{key}={found.written()}" for key in settings if isinstance(found := space[key], Range)]
            of_range = f" (an end of {', '.join(ends)})" if ends else ""
            lines = [f"{line}{of_range}" for line in error.problems]
            problems += [line for line in lines if line not in problems]
    if problems:
        raise ConfigError(problems)
    return notices


def _subfolder_problems(overrides: list[str]) -> list[str]:
    interpolated = [
        f"{shorten(override)}: a sweep has one folder, whatever its jobs' settings; write a plain path"
        for override in overrides
        if override.lstrip("+").startswith(f"{SWEEP_FOLDER}=") and "${" in override
    ]
    return interpolated + [
        f"{shorten(override)}: jobs are numbered, so that a sweep can be continued; leave it out"
        for override in overrides
        if override.lstrip("+").startswith("hydra.sweep.subdir")
    ]


def _is_of_search(override: str) -> bool:
    key = override.lstrip("+").partition("=")[0]
    return key in (OF_SWEEPS, SWEEP_FOLDER) or key.startswith(f"{OF_SWEEPS}.")


def _of_experiment(overrides: list[str], choices: Choices) -> dict[str, Any]:
    """Return the content of the experiment that the overrides choose, {} where there is none."""
    names = [text.partition("=")[2] for text in overrides if text.lstrip("+").startswith(f"{EXPERIMENT}=")]
    experiment = choices.find(EXPERIMENT, names[-1]) if names else None
    content = {} if experiment is None else read_yaml(experiment.path)[0]
    return content if isinstance(content, dict) else {}


def _trainer_of_experiment(overrides: list[str], choices: Choices) -> list[str]:
    """Return the settings of the training loop that the experiment sets, by dotted key."""
    settings = _of_experiment(overrides, choices).get("trainer")
    return [f"trainer.{name}" for name in settings] if isinstance(settings, dict) else []


def _swept_by_experiment(overrides: list[str], choices: Choices) -> list[str]:
    """Return the overrides in an experiment's hydra.sweeper.params."""
    of_hydra = _of_experiment(overrides, choices).get("hydra")
    sweeper = of_hydra.get("sweeper") if isinstance(of_hydra, dict) else None
    params = sweeper.get("params") if isinstance(sweeper, dict) else None
    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    return [f"{key}={value}" for key, value in (params or {}).items() if str(key) not in given]


def _space_in_files(search: Drawing, choices: Choices) -> dict[str, Parameter]:
    """Return what `search.space` varies over, as a file has it; raises ConfigError."""
    texts = []
    for key, value in search.space.items():
        written = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        texts.append(f"{key}={written}")
    common, space = _split(texts, choices)
    if common:
        raise ConfigError([f"search.space: {common[0]}: has one value; write a range or a list"])
    return space


def _is_whole(key: str, base: Config) -> bool:
    """Return whether a setting takes whole numbers alone."""
    group, _, name = key.partition(".")
    options = [type(getattr(base, group)), *OPTIONS[group]] if group in GROUPS else [Config]
    leaf = name or key
    kinds = [str(type_of(option, leaf)) for option in options if leaf in settings_of(option)]
    return bool(kinds) and "int" in kinds[0] and "float" not in kinds[0]


def _name(common: list[str], space: dict[str, Parameter], search: Search, choices: Choices) -> str:
    """Return the name of a sweep's folder, always the same for the same sweep: what varies, and a hash.

    Settings that may change when it is continued, such as the number of jobs, do not enter it.
    """
    fixed = {
        name: getattr(search, name)
        for name, field in settings_of(type(search)).items()
        if rule_of(field).resume == "fixed" or is_fixed(field)
    }
    spaces = {key: parameter.written() for key, parameter in space.items()}
    text = repr((sorted(common), spaces, fixed, str(choices.user_folder)))
    leaves = "_".join(key.rpartition(".")[2] for key in space) or "one"
    return f"{leaves[:MAX_NAME].rstrip('_')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
