"""The command line: sort the words, compose, check, hand over to a job, return the exit code.

Nothing here imports torch, so that help, completion and every configuration error answer at once.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import __version__
from .config import stored
from .config.checks import evaluation_problems, other_jobs_problems
from .config.choices import Choices
from .config.compose import CONFIG_NAME, Composer
from .config.help import help_text
from .config.overrides import find_setting_anywhere
from .config.root import Config
from .errors import ConfigError, UserError
from .interruption import sigterm_as_exception

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
class Command:
    """What stands on the command line: flags, and the words key=value."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code (errors.py lists them)."""
    try:
        with sigterm_as_exception():
            return _main(sys.argv[1:] if arguments is None else arguments)
    except ConfigError as error:
        for line in error.problems:
            print(f"cnntrain: {line}", file=sys.stderr)
        return error.exit_code
    except UserError as error:
        print(f"cnntrain: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read the output is gone (cnntrain | head); the last checkpoint stands.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except KeyboardInterrupt:
        print("cnntrain: interrupted", file=sys.stderr)
        return 130


def _main(arguments: list[str]) -> int:
    command = parse(arguments)
    choices = Choices(_user_folder(command))
    composer = Composer(choices)
    if "help" in command.flags:
        print(help_text(choices))
    elif "version" in command.flags:
        print(f"cnntrain {__version__}")
    elif "completion" in command.values:
        composer.hydra.shell_completion(CONFIG_NAME, [command.values["completion"]])
    elif "cfg" in command.values:
        _show(command, composer)
    elif (run := _run_of(command.words)) is not None:
        _on_earlier_run(command, run, choices)
    elif "multirun" in command.flags:
        return _sweep(command, composer)
    else:
        _start(command, composer)
    return 0


def parse(arguments: list[str]) -> Command:
    """Return the command line sorted into flags and words; raises ConfigError for unknown flags."""
    command, problems = Command(), []
    rest = iter(range(len(arguments)))
    for i in rest:
        argument = arguments[i]
        flag, equals, value = argument.partition("=")
        if argument in FLAGS:
            command.flags.add(FLAGS[argument])
        elif flag in FLAGS_WITH_VALUE and (equals or i + 1 < len(arguments)):
            command.values[FLAGS_WITH_VALUE[flag]] = value if equals else arguments[next(rest)]
        elif argument.startswith("-"):
            name = flag.lstrip("-").replace("-", "_")
            known = find_setting_anywhere(name)
            following = arguments[i + 1] if i + 1 < len(arguments) else ""
            if not equals and following and "=" not in following and not following.startswith("-"):
                value = arguments[next(rest)]
            written = f"{flag} {value}".rstrip()
            hint = f": write {known}={value or 'VALUE'}" if known else "; cnntrain --help lists them"
            problems.append(f"{written}: settings are written key=value, without dashes{hint}")
        else:
            command.words.append(argument)
    if problems:
        raise ConfigError(problems)
    return command


def _start(command: Command, composer: Composer) -> None:
    composed = composer.compose(command.words)
    for notice in composed.notices:
        print(f"notice    {notice}")
    from .jobs import start

    start(composed.config, Path(composed.run_folder), _names(command, "hydra.run.dir"))


def _sweep(command: Command, composer: Composer) -> int:
    composed = composer.compose_sweep(command.words)
    for notice in dict.fromkeys(notice for job in composed for notice in job.notices):
        print(f"notice    {notice}")
    from .jobs.sweep import sweep

    return sweep(composer, command.words, Path(composed[0].sweep_folder), _names(command, "hydra.sweep.dir"))


def _on_earlier_run(command: Command, run: Path, choices: Choices) -> None:
    if "multirun" in command.flags:
        raise ConfigError(["run=…: one run is continued at a time; leave -m out"])
    if "job=optimizers" in command.words:
        raise ConfigError([f"run={run}: job=optimizers needs no run; leave run=… out"])
    before = stored.read(run)
    words = [word for word in command.words if not word.startswith("run=")]
    if "job=evaluate" in words:
        config = _for_evaluation(before, words, choices)
        from .jobs.evaluate import evaluate

        evaluate(run, config)
    elif "job=summary" in words:
        config = stored.with_changes(before, words)
        from .jobs.summary import summarize_run

        summarize_run(run, config)
    else:
        config = stored.with_changes(before, words)
        if problems := [*evaluation_problems(config), *other_jobs_problems(config)]:
            raise ConfigError(problems)
        from .jobs.train import resume

        resume(run, before, config)


def _for_evaluation(config: Config, words: list[str], choices: Choices) -> Config:
    """Return a stored configuration for measuring: words of `data` change its data set, or name another."""
    of_data = [word for word in words if word.startswith(("data=", "data."))]
    config = stored.with_changes(config, [word for word in words if word not in of_data])
    if any(word.startswith("data=") for word in of_data):
        config.data = Composer(choices).compose(of_data).config.data
        return config
    return stored.with_changes(config, of_data, free=True)


def _show(command: Command, composer: Composer) -> None:
    kind = command.values["cfg"]
    if kind == "job":
        print(stored.to_yaml(composer.compose(command.words).config), end="")
    elif kind in ("hydra", "all"):
        composer.compose(command.words)
        composer.hydra.show_cfg(
            CONFIG_NAME, composer.hydra_words(command.words), kind, None, "resolve" in command.flags
        )
    else:
        raise ConfigError([f"--cfg {kind}: must be one of job, hydra, all"])


def _user_folder(command: Command) -> Path | None:
    if "config_dir" not in command.values:
        return None
    folder = Path(command.values["config_dir"]).resolve()
    if not folder.is_dir():
        raise ConfigError([f"--config-dir {command.values['config_dir']}: there is no such folder"])
    return folder


def _run_of(words: list[str]) -> Path | None:
    runs = [word.partition("=")[2] for word in words if word.startswith("run=")]
    return Path(runs[-1].strip("'\"")) if runs and runs[-1] not in ("", "null") else None


def _names(command: Command, key: str) -> bool:
    return any(word.lstrip("+").startswith(f"{key}=") for word in command.words)
