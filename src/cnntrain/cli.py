"""The command line: parses the arguments, checks the configuration and starts a job with it.

Nothing here imports torch before a job starts, so that help, completion and configuration errors are
printed without delay.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .config.command_line import CommandLine, parse
from .errors import ConfigError, DataError, Interrupted, UserError
from .machine_errors import machine_error
from .output_streams import check_output, quiet_output, tolerant_output
from .runs.file_names import CONFIG, ENSEMBLE, JOB, SWEEP_FILE
from .settings.fields import problem, rule_of, settings_of, shorten
from .settings.job_settings import Evaluate
from .training.cpu_load import limit_spinning
from .training.process_place import TORCH_LOG, place
from .version import __version__

if TYPE_CHECKING:
    from .config.choice_files import Choices
    from .settings.config_tree import Config

# Words with which a command line may begin that are no jobs.
COMMANDS = ("checks", "copy", "cache")
# Limits of a message; a problem repeats what the user wrote, which may be of any length.
MAX_LINE, MAX_LINES = 1500, 50
# Settings with which standard output has nothing but what they say.
SILENT = ("trainer.quiet=true", "predict.file=-")


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code (errors.py lists them)."""
    limit_spinning()
    # Pictures are files; matplotlib fails when it is imported where this names a backend that it lacks.
    os.environ["MPLBACKEND"] = "agg"
    if (here := place()) is None:
        return _main_alone(arguments)
    os.environ.setdefault(*TORCH_LOG)
    from .jobs.ranks import run_with_others

    return run_with_others(here, lambda: _main_alone(arguments))


def _main_alone(arguments: list[str] | None) -> int:
    with tolerant_output():
        try:
            arguments = sys.argv[1:] if arguments is None else arguments
            if arguments and arguments[0] in COMMANDS:
                return _run_command(*arguments)
            return _main(parse(arguments))
        except ConfigError as error:
            for line in error.problems:
                _print_error(line)
            return error.exit_code
        except (UserError, Interrupted) as error:
            _print_error(str(error))
            return error.exit_code
        except KeyboardInterrupt:
            print("cnntrain: interrupted", file=sys.stderr)
            return 130
        except SystemExit as error:  # called in a network of the user's own
            _print_error(f"ended by sys.exit({error.code}) in Python code that was called")
            return 1
        except Exception as error:
            in_words = machine_error(error)
            if in_words is None:
                raise
            _print_error(str(in_words))
            return in_words.exit_code


def _run_command(name: str, *arguments: str) -> int:
    """Run a command that is no job."""
    check_working_folder()
    if name == "copy":
        from .commands.copy_choice import copy_choice
        from .config.choice_files import Choices

        copy_choice(list(arguments), Choices(None))
    elif name == "cache":
        from .commands.caches import manage_caches

        manage_caches(list(arguments))
    elif arguments:
        raise ConfigError([f"checks {shorten(' '.join(arguments))}: takes nothing more; did you mean check?"])
    else:
        from .commands.machine import print_machine

        print_machine()
    check_output(name)
    return 0


def check_working_folder() -> None:
    """Raise DataError if the working folder was removed; libraries fail on it in words of their own."""
    try:
        os.getcwd()
    except OSError as error:
        raise DataError("the working folder does not exist any more; change to another one (cd)") from error


def _print_error(message: str) -> None:
    """Print a message on standard error, without control characters and of limited length."""
    lines = [shorten(line, MAX_LINE) for line in message.splitlines()[:MAX_LINES]]
    print("cnntrain: " + "\n".join(lines), file=sys.stderr)


def _main(command: CommandLine) -> int:
    if (here := place()) is not None:
        from .config.started_together import as_started

        command = as_started(command, here)
    if "version" in command.flags:
        print(f"cnntrain {__version__}")
        check_output("--version")
        return 0
    if "help" in command.flags:
        from .config.help_text import help_text

        print(help_text(command.user_folder))
        check_output("--help")
        return 0
    check_working_folder()
    from .config.choice_files import Choices  # takes a tenth of a second to import

    choices = Choices(command.user_folder)
    if command.in_full and not command.values and not set(SILENT) & set(command.overrides):
        print(f"command   {command.in_full}", flush=True)
    if "completion" in command.values:
        from .config.hydra_composer import composer_of

        composer_of(choices).complete(_completion(command.values["completion"]))
        check_output("-sc")
        return 0
    if "resolve" in command.flags and "cfg" not in command.values:
        raise ConfigError(["--resolve: goes with --cfg hydra or --cfg all"])
    if "cfg" in command.values:
        _show_configuration(command, choices)
        check_output("--cfg")
        return 0
    if command.run is not None and "multirun" in command.flags and (command.run / SWEEP_FILE).is_file():
        return _continue_sweep(command.run, command)
    if command.run is not None and command.job == "predict" and "multirun" not in command.flags:
        _predict(command.run, command, choices)
    elif command.run is not None:
        start_on_run(command.run, command, choices)
    elif "multirun" in command.flags:
        return _start_sweep(command, choices)
    else:
        start(command, choices)
    return 0


def start(command: CommandLine, choices: Choices) -> Path | None:
    """Start a job in a new folder; return that of a training, None of other jobs."""
    from .config.pipeline import configure
    from .config.started_together import begun_before

    checked = configure(command.overrides, choices)
    from .jobs import dispatch

    with quiet_output(_is_quiet(checked.config)):
        _print_notices(checked.notices)
        if (before := begun_before(checked)) is not None:
            dispatch.start_on_run(checked.folder, before, checked.config)
            return checked.folder
        return dispatch.start(checked)


def _start_sweep(command: CommandLine, choices: Choices) -> int:
    """Start the jobs of a sweep; return the exit code."""
    from .config.sweep import configure_sweep, runs_by_hydra

    may_fork = "torch" not in sys.modules
    if runs_by_hydra(command.overrides, choices):
        from .config.hydra_sweep import configure_hydra_sweep

        by_hydra = configure_hydra_sweep(command.overrides, choices)
        _print_notices(by_hydra.notices())
        from .config.hydra_composer import composer_of
        from .jobs.hydra_sweep import run_hydra_sweep

        return run_hydra_sweep(by_hydra, composer_of(choices))
    sweep = configure_sweep(command.overrides, choices)
    if not _is_quiet(sweep.base):
        _print_notices(sweep.notices)
    from .jobs.sweep import run_sweep

    return run_sweep(sweep, may_fork)


def _continue_sweep(run: Path, command: CommandLine) -> int:
    """Go on with the sweep in a folder; return the exit code."""
    may_fork = "torch" not in sys.modules
    from .jobs.sweep import continue_sweep

    return continue_sweep(run, command.overrides, may_fork)


def start_on_run(run: Path, command: CommandLine, choices: Choices) -> None:
    """Start a job on an earlier run."""
    from .config import stored_config
    from .config.check import rule_problems
    from .config.cross_checks import epochs_problems
    from .config.equivalent_command import equivalent_command
    from .config.resume_overrides import changed
    from .config.what_is_named import is_sweep

    if "multirun" in command.flags:
        if (run / CONFIG).exists():
            raise ConfigError([f"run={run}: is a single run; leave -m out"])
        raise ConfigError([f"run={run}: holds no sweep; one that was just started may be joined in a moment"])
    if command.job == "optimizers":
        raise ConfigError([f"run={run}: job=optimizers needs no run; leave run=… out"])
    if command.job in ("report", "leaderboard") and is_sweep(run):
        _judge_sweep(run, command)
        return
    if command.job == "ensemble":
        _start_ensemble(run, command, choices)
        return
    if os.path.isfile(run / ENSEMBLE):  # False as well for what cannot be looked into
        _evaluate_ensemble(run, command)
        return
    if command.job == "leaderboard":
        raise DataError(f"run={run}: is not the folder of a sweep, whose jobs could be ranked")
    before = stored_config.read(run)
    if problems := rule_problems(before):
        raise DataError(f"{run / CONFIG}: {problems[0]}")
    if (wrong := stored_config.trains_nothing(before)) is not None:
        raise DataError(f"run={run}: {wrong}; train with: {equivalent_command(before, choices)}")
    if command.job in (None, "train") and (run / JOB).is_file():
        command_line = equivalent_command(before, choices)
        raise DataError(
            f"run={run}: is a job of a sweep, whose results would not know of a longer training; go on with "
            f"the sweep, cnntrain -m {shlex.quote(f'run={run.parent}')}, or start a run of its own: "
            f"{command_line}"
        )
    config = changed(before, command.overrides, choices)
    from .jobs import dispatch

    with quiet_output(_is_quiet(config)):
        if config.job == "train":
            known = list(epochs_problems(before))
            _print_notices([line for line in epochs_problems(config) if line not in known])
        dispatch.start_on_run(run, before, config)


def _predict(run: Path, command: CommandLine, choices: Choices) -> None:
    """Predict images with what was trained."""
    from .config.prediction import prediction_config, with_overrides

    config = prediction_config(run, command.overrides, choices)
    from .jobs.dispatch import start_prediction

    start_prediction(run, config, lambda stored: with_overrides(stored, command.overrides, choices))


def _judge_sweep(run: Path, command: CommandLine) -> None:
    """Compare or rank the jobs of a sweep."""
    if set(command.overrides) != {f"job={command.job}"}:
        raise ConfigError([f"run={run}: job={command.job} of a sweep has no settings; leave the others out"])
    if command.job == "report":
        from .jobs.report_sweep import report_sweep

        report_sweep(run)
    else:
        from .jobs.leaderboard import print_leaderboard

        print_leaderboard(run)


def _start_ensemble(run: Path, command: CommandLine, choices: Choices) -> None:
    """Average the best jobs of a sweep."""
    from .config.pipeline import configure
    from .config.what_is_named import is_sweep

    if not is_sweep(run):
        raise ConfigError([f"run={run}: is no sweep; name runs by ensemble.members=[FOLDER,FOLDER]"])
    checked = configure(command.overrides, choices)
    from .jobs.dispatch import start_on_sweep

    with quiet_output(_is_quiet(checked.config)):
        start_on_sweep(checked, run)


def _evaluate_ensemble(run: Path, command: CommandLine) -> None:
    """Evaluate the ensemble in a folder."""
    splits = {
        text: text.partition("=")[2] for text in command.overrides if text.startswith("evaluate.split=")
    }
    others = set(command.overrides) - {"job=evaluate", *splits}
    if command.job != "evaluate" or others:
        raise ConfigError([f"run={run}: is an ensemble; write job=evaluate, or cnntrain.load in Python"])
    split = next(iter(splits.values()), "test")
    if wrong := problem(str, rule_of(settings_of(Evaluate)["split"]), split):
        raise ConfigError([f"evaluate.split={shorten(split)}: {wrong}"])
    from .jobs.ensemble import evaluate_ensemble

    evaluate_ensemble(run, split)


def _show_configuration(command: CommandLine, choices: Choices) -> None:
    from .config import stored_config
    from .config.pipeline import configure
    from .config.sweep import configure_sweep

    part = command.values["cfg"]
    if part not in ("job", "hydra", "all"):
        raise ConfigError([f"--cfg {part}: must be one of job, hydra, all"])
    if "multirun" in command.flags:
        config = configure_sweep(command.overrides, choices).base
    else:
        config = configure(command.overrides, choices).config
    if part == "job":
        print(stored_config.to_yaml(config, "multirun" in command.flags), end="")
    else:
        from .config.hydra_composer import composer_of

        composer_of(choices).show(command.overrides, part, "resolve" in command.flags)


def _completion(command: str) -> str:
    """Return the value of -sc; raises ConfigError where Hydra would not know it."""
    action, _, shell = command.partition("=")
    known = action in ("install", "uninstall") or (action == "query" and "COMP_LINE" in os.environ)
    if not known or shell not in ("bash", "zsh", "fish"):
        raise ConfigError(
            [f"-sc {command}: write install=SHELL or uninstall=SHELL, SHELL being bash, zsh or fish"]
        )
    return command


def _is_quiet(config: Config) -> bool:
    return bool(config.trainer.quiet)


def _print_notices(notices: list[str]) -> None:
    for notice in notices:
        print(f"notice    {notice}")
