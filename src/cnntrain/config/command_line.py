"""Step 1 of 4, parse: the program's arguments sorted into flags and overrides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from .setting_names import find_anywhere

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


@dataclass
class CommandLine:
    """The arguments of the program: flags, flags with a value, and overrides (key=value) in their order."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)

    def run(self) -> Path | None:
        """Return the folder of the earlier run that run=FOLDER names, or None."""
        runs = [value for key, _, value in map(_partition, self.overrides) if key == "run"]
        return Path(runs[-1].strip("'\"")) if runs and runs[-1] not in ("", "null") else None

    def job(self) -> str | None:
        """Return the job that job=NAME names, or None."""
        jobs = [value for key, _, value in map(_partition, self.overrides) if key == "job"]
        return jobs[-1] if jobs else None

    def overrides_of_run(self) -> list[str]:
        """Return the overrides beside run=FOLDER."""
        return [override for override in self.overrides if not override.startswith("run=")]

    def sets(self, key: str) -> bool:
        """Return whether an override sets `key`, with or without a leading +."""
        return any(override.lstrip("+").startswith(f"{key}=") for override in self.overrides)

    def user_folder(self) -> Path | None:
        """Return the folder of --config-dir, or None; raises ConfigError where there is no such folder."""
        if "config_dir" not in self.values:
            return None
        folder = Path(self.values["config_dir"]).resolve()
        if not folder.is_dir():
            raise ConfigError([f"--config-dir {self.values['config_dir']}: there is no such folder"])
        return folder


def parse(arguments: list[str]) -> CommandLine:
    """Return the arguments sorted into flags and overrides; raises ConfigError for unknown flags."""
    command, problems = CommandLine(), []
    remaining = iter(range(len(arguments)))
    for i in remaining:
        argument = arguments[i]
        flag, equals, value = argument.partition("=")
        if argument in FLAGS:
            command.flags.add(FLAGS[argument])
        elif flag in FLAGS_WITH_VALUE and (equals or i + 1 < len(arguments)):
            command.values[FLAGS_WITH_VALUE[flag]] = value if equals else arguments[next(remaining)]
        elif argument.startswith("-"):
            following = arguments[i + 1] if i + 1 < len(arguments) else ""
            if not equals and following and "=" not in following and not following.startswith("-"):
                value = arguments[next(remaining)]
            problems.append(_not_a_flag(flag, value))
        else:
            command.overrides.append(argument)
    if problems:
        raise ConfigError(problems)
    return command


def _not_a_flag(flag: str, value: str) -> str:
    known = find_anywhere(flag.lstrip("-").replace("-", "_"))
    hint = f": write {known}={value or 'VALUE'}" if known else "; cnntrain --help lists them"
    return f"{f'{flag} {value}'.rstrip()}: settings are written key=value, without dashes{hint}"


def _partition(override: str) -> tuple[str, str, str]:
    return override.partition("=")
