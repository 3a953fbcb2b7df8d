"""Step 1 of 4, parse: the program's arguments are split into flags and overrides."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from ..settings.fields import expanded
from .choice_files import Choices
from .short_forms import written_out

FLAGS = {
    "-h": "help",
    "--help": "help",
    "--version": "version",
    "-m": "multirun",
    "--multirun": "multirun",
    "--resolve": "resolve",
}
FLAGS_WITH_VALUE = {
    "-cd": "config_dir",
    "--config-dir": "config_dir",
    "-c": "cfg",
    "--cfg": "cfg",
    "-sc": "completion",
    "--shell-completion": "completion",
}


@dataclass(frozen=True)
class CommandLine:
    """The arguments of the program.

    flags: those without a value. values: flags with a value, by name. user_folder: that of
    --config-dir. overrides: key=value in the given order, without run=FOLDER. run: FOLDER of run=FOLDER.
    job: NAME of job=NAME. in_full: the command without short forms, "" if it had none.
    """

    flags: frozenset[str] = frozenset()
    values: dict[str, str] = field(default_factory=dict)
    user_folder: Path | None = None
    overrides: list[str] = field(default_factory=list)
    run: Path | None = None
    job: str | None = None
    in_full: str = ""


def parse(arguments: list[str]) -> CommandLine:
    """Return the parsed arguments; raises ConfigError for unknown flags and a missing --config-dir."""
    flags, values, overrides, problems = set[str](), dict[str, str](), list[str](), list[str]()
    remaining = iter(range(len(arguments)))
    for i in remaining:
        argument = arguments[i]
        flag, equals, value = argument.partition("=")
        if argument in FLAGS:
            flags.add(FLAGS[argument])
        elif flag in FLAGS_WITH_VALUE and (equals or i + 1 < len(arguments)):
            values[FLAGS_WITH_VALUE[flag]] = value if equals else arguments[next(remaining)]
        elif argument in FLAGS_WITH_VALUE:
            problems.append(f"{argument}: needs a value, as in {argument} VALUE")
        elif argument.startswith("-"):
            following = arguments[i + 1] if i + 1 < len(arguments) else ""
            if not equals and following and "=" not in following and not following.startswith("-"):
                value = arguments[next(remaining)]
            problems.append(_not_a_flag(flag, value))
        else:
            overrides.append(argument)
    user_folder = Path(values["config_dir"]).resolve() if "config_dir" in values else None
    if user_folder is not None and not user_folder.is_dir():
        problems.append(f"--config-dir {values['config_dir']}: there is no such folder")
    if problems:
        raise ConfigError(problems)
    written, overrides = overrides, written_out(overrides, Choices(user_folder))
    run = _last_value(overrides, "run")
    if run == "":
        raise ConfigError(["run=: name the folder of a run, as in run=outputs/DATE/TIME"])
    return CommandLine(
        frozenset(flags),
        values,
        user_folder,
        [override for override in overrides if not override.startswith("run=")],
        expanded(run) if run and run != "null" else None,
        _last_value(overrides, "job"),
        "" if overrides == written else _command(flags, overrides),
    )


def _command(flags: set[str], overrides: list[str]) -> str:
    return shlex.join(["cnntrain", *(["-m"] if "multirun" in flags else []), *overrides])


def _not_a_flag(flag: str, value: str) -> str:
    from .unknown_names import find_anywhere, is_setting

    written = f"{flag} {value}".rstrip()
    if flag in ("-r", "--run", "--resume"):
        return f"{written}: write run={value or 'FOLDER'}"
    if flag in ("-v", "--verbose", "--debug"):
        return f"{written}: is not a flag; trainer.record_every_steps=1 writes each step to metrics.jsonl"
    name = flag.lstrip("-").replace("-", "_")
    known = name if is_setting(name) else find_anywhere(name.rpartition(".")[2])
    hint = f": write {known}={value or 'VALUE'}" if known else "; cnntrain --help lists them"
    return f"{written}: settings are written key=value, without dashes{hint}"


def _last_value(overrides: list[str], key: str) -> str | None:
    """Return the value of the last override of a key without quotes around it, or None."""
    values = [override.partition("=")[2] for override in overrides if override.startswith(f"{key}=")]
    if not values:
        return None
    value = values[-1]
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value
