"""Step 4 of 4, check: every setting against its rule, and settings against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, DataError
from ..runs import file_names
from ..settings.config_tree import GROUPS, Config
from ..settings.fields import expanded, setting_problems
from ..settings.job_settings import JOB_SETTINGS
from ..settings.option import Notice
from . import stored_config
from .cross_checks import CROSS_CHECKS
from .from_trained_weights import set_from_trained_weights


@dataclass(frozen=True)
class Checked:
    """A checked configuration, which jobs take.

    notices: printed for the user. folder: that of a new run. named_by_user: whether the user
    named that folder.
    """

    config: Config
    notices: list[str]
    folder: Path
    named_by_user: bool


def check(config: Config, folder: Path, named_by_user: bool) -> Checked:
    """Return the configuration with its notices.

    Raises ConfigError with all problems; DataError where there are none but a missing run to start from.
    """
    lines = _lines(config)
    if problems := _without_notices(lines):
        raise ConfigError(problems)
    check_source_run(config)
    store_absolute_paths(config)
    return Checked(config, list(map(str, lines)), folder, named_by_user)


def problems_of(config: Config) -> list[str]:
    """Return the errors of a configuration: of each setting alone, or where there are none, of several."""
    return _without_notices(_lines(config))


def rule_problems(config: Config) -> list[str]:
    """Return a line for every setting that breaks its own rule, wherever its value came from."""
    parts = (*GROUPS, *JOB_SETTINGS)
    problems = setting_problems(config, "", skip=parts)
    return problems + [line for part in parts for line in setting_problems(getattr(config, part), f"{part}.")]


def option_problems(config: Config) -> list[str]:
    """Return errors for settings that contradict each other within one option."""
    return _without_notices(_option_lines(config))


def store_absolute_paths(config: Config) -> None:
    """Make the paths of a configuration absolute, so that its run can be continued from any folder."""
    for group in GROUPS:
        getattr(config, group).store_absolute_paths()


def check_source_run(config: Config) -> None:
    """Raise DataError if a run to initialize from or to imitate does not exist or has no checkpoint."""
    sources = {
        "initialization.run": config.initialization.source_run(),
        "regularization.teacher": config.regularization.teacher,
    }
    for setting, source in sources.items():
        if source is None or (setting == "regularization.teacher" and expanded(source).is_file()):
            continue
        stored_config.read(expanded(source), setting)
        if not (expanded(source) / file_names.CHECKPOINTS / file_names.BEST).is_file():
            raise DataError(
                f"{setting}={source}: has no best weights yet (checkpoints/best.pt); "
                "let the run finish an epoch"
            )


def _lines(config: Config) -> list[str]:
    """Return errors of settings alone; where there are none, errors and notices of several."""
    return rule_problems(config) or [
        *set_from_trained_weights(config),
        *_option_lines(config),
        *(line for cross_check in CROSS_CHECKS for line in cross_check(config)),
    ]


def _option_lines(config: Config) -> list[str]:
    """Return errors and notices of settings against each other within each option."""
    return [line for group in GROUPS for line in getattr(config, group).problems()]


def _without_notices(lines: list[str]) -> list[str]:
    return [line for line in lines if not isinstance(line, Notice)]
