"""The command line: parse the arguments, configure, hand the checked configuration to a job.

Nothing here imports torch before a job starts, so that help, completion and every configuration error
answer at once.
"""

from __future__ import annotations

import os
import sys

from .config import stored
from .config.changes import changed
from .config.choices import Choices
from .config.command_line import CommandLine, parse
from .config.compose import CONFIG_NAME, Composer
from .config.configure import configure, configure_sweep, hydra_overrides
from .config.help import help_text
from .errors import ConfigError, UserError
from .runs.signals import sigterm_as_exception
from .version import __version__


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code (errors.py lists them)."""
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
        # Whoever read the output has closed it (cnntrain | head); the last checkpoint is kept.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except KeyboardInterrupt:
        print("cnntrain: interrupted", file=sys.stderr)
        return 130


def _main(command: CommandLine) -> int:
    composer = Composer(Choices(command.user_folder()))
    if "help" in command.flags:
        print(help_text(composer.choices))
    elif "version" in command.flags:
        print(f"cnntrain {__version__}")
    elif "completion" in command.values:
        composer.hydra.shell_completion(CONFIG_NAME, [command.values["completion"]])
    elif "cfg" in command.values:
        _show_configuration(command, composer)
    elif command.run() is not None:
        _continue(command, composer)
    elif "multirun" in command.flags:
        return _sweep(command, composer)
    else:
        _start(command, composer)
    return 0


def _start(command: CommandLine, composer: Composer) -> None:
    """Start a job in a new folder."""
    checked = configure(command.overrides, composer)
    _print_notices(checked.notices)
    from .jobs.start import start

    start(checked)


def _sweep(command: CommandLine, composer: Composer) -> int:
    """Start a job for every combination of the values in the overrides."""
    sweep = configure_sweep(command.overrides, composer)
    _print_notices(sweep.notices())
    from .jobs.sweep import run_sweep

    return run_sweep(sweep, composer.hydra, hydra_overrides(command.overrides))


def _continue(command: CommandLine, composer: Composer) -> None:
    """Start a job on the run in an earlier folder."""
    run = command.run()
    assert run is not None
    if "multirun" in command.flags:
        raise ConfigError(["run=…: one run is continued at a time; leave -m out"])
    if command.job() == "optimizers":
        raise ConfigError([f"run={run}: job=optimizers needs no run; leave run=… out"])
    before = stored.read(run)
    config = changed(before, command.overrides_of_run(), composer)
    from .jobs.start import start_on_run

    start_on_run(run, before, config)


def _show_configuration(command: CommandLine, composer: Composer) -> None:
    part = command.values["cfg"]
    if part not in ("job", "hydra", "all"):
        raise ConfigError([f"--cfg {part}: must be one of job, hydra, all"])
    checked = configure(command.overrides, composer)
    if part == "job":
        print(stored.to_yaml(checked.config), end="")
    else:
        overrides = hydra_overrides(command.overrides)
        composer.hydra.show_cfg(CONFIG_NAME, overrides, part, None, "resolve" in command.flags)


def _print_notices(notices: list[str]) -> None:
    for notice in notices:
        print(f"notice    {notice}")
