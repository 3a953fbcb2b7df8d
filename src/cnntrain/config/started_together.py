"""A command that torchrun has started in several processes: they decide trainer.processes."""

from __future__ import annotations

from dataclasses import replace

from ..errors import ConfigError
from ..runs.file_names import CONFIG
from ..settings.config_tree import Config
from ..training.process_place import Place, restarts
from . import stored_config
from .check import Checked
from .command_line import CommandLine
from .resume_overrides import difference

PROCESSES = "trainer.processes"


def as_started(command: CommandLine, here: Place) -> CommandLine:
    """Return the command of a training by so many processes.

    Raises ConfigError for what several processes cannot do together.
    """
    if "multirun" in command.flags:
        raise ConfigError(
            [
                f"-m: torchrun has started {here.size} processes, and a sweep starts those of its jobs "
                f"itself; start it without torchrun, with {PROCESSES}={here.size}"
            ]
        )
    if command.job not in (None, "train"):
        raise ConfigError(
            [f"job={command.job}: runs in one process; start it without torchrun, which started {here.size}"]
        )
    given = [text for text in command.overrides if text.startswith(f"{PROCESSES}=")]
    number = f"{PROCESSES}={here.size}"
    if given and given[-1] != number:
        raise ConfigError([f"{given[-1]}: torchrun has started {here.size} processes; leave it out"])
    others = [text for text in command.overrides if text not in given]
    return replace(command, overrides=[*others, number])


def begun_before(checked: Checked) -> Config | None:
    """Return the stored configuration of the run that the same command began before torchrun's restart.

    None where it is not started again, or where the run in its folder has other settings.
    """
    if not restarts() or not (checked.folder / CONFIG).is_file():
        return None
    stored, now = stored_config.read(checked.folder), checked.config
    is_same = difference(stored, now) is None and stored.trainer.epochs == now.trainer.epochs
    return stored if is_same else None
