"""The command line: parses the arguments, checks the configuration and starts a job with it.

Nothing here imports torch before a job starts, so that help, completion and configuration errors are
printed without delay.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .config.command_line import CommandLine, parse
from .errors import ConfigError, UserError
from .runs.signals import sigterm_as_exception
from .training.cpu_load import limit_spinning
from .version import __version__

if TYPE_CHECKING:
    from .config.compose import Composer


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code (errors.py lists them)."""
    limit_spinning()
    try:
        with sigterm_as_exception():
            return _main(parse(sys.argv[1:] if arguments is None else arguments))
    except ConfigError as error:
        for line in error.problems:
            print(f"cnntrain: {line}", file=sys.stderr)
        return error.exit_code
    except UserError as error:
        print(f"cnntrain: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The process that reads the output has closed it (cnntrain | head); the last checkpoint is kept.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except KeyboardInterrupt:
        print("cnntrain: interrupted", file=sys.stderr)
        return 130


def _main(command: CommandLine) -> int:
    if "version" in command.flags:
        print(f"cnntrain {__version__}")
        return 0
    if "help" in command.flags:
        from .config.help import help_text

        print(help_text(command.user_folder))
        return 0
    # Hydra takes a tenth of a second to import.
    from .config.choices import Choices
    from .config.compose import Composer

    composer = Composer(Choices(command.user_folder))
    if "completion" in command.values:
        composer.complete(command.values["completion"])
    elif "cfg" in command.values:
        _show_configuration(command, composer)
    elif command.run is not None:
        _start_on_run(command.run, command, composer)
    elif "multirun" in command.flags:
        return _start_sweep(command, composer)
    else:
        _start(command, composer)
    return 0


def _start(command: CommandLine, composer: Composer) -> None:
    """Start a job in a new folder."""
    from .config.configure import configure

    checked = configure(command.overrides, composer)
    _print_notices(checked.notices)
    from .jobs.start import start

    start(checked)


def _start_sweep(command: CommandLine, composer: Composer) -> int:
    """Start a job for every combination of the values in the overrides; return the exit code."""
    from .config.configure import configure_sweep

    sweep = configure_sweep(command.overrides, composer)
    _print_notices(sweep.notices())
    from .jobs.sweep import run_sweep

    return run_sweep(sweep, composer)


def _start_on_run(run: Path, command: CommandLine, composer: Composer) -> None:
    """Start a job on an earlier run."""
    from .config import stored
    from .config.changes import changed

    if "multirun" in command.flags:
        raise ConfigError(["run=…: only one run can be continued at a time; leave -m out"])
    if command.job == "optimizers":
        raise ConfigError([f"run={run}: job=optimizers needs no run; leave run=… out"])
    before = stored.read(run)
    config = changed(before, command.overrides, composer)
    from .jobs.start import start_on_run

    start_on_run(run, before, config)


def _show_configuration(command: CommandLine, composer: Composer) -> None:
    from .config import stored
    from .config.configure import configure

    part = command.values["cfg"]
    if part not in ("job", "hydra", "all"):
        raise ConfigError([f"--cfg {part}: must be one of job, hydra, all"])
    checked = configure(command.overrides, composer)
    if part == "job":
        print(stored.to_yaml(checked.config), end="")
    else:
        composer.show(command.overrides, part, "resolve" in command.flags)


def _print_notices(notices: list[str]) -> None:
    for notice in notices:
        print(f"notice    {notice}")
