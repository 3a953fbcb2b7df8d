"""sweep.yaml: what a sweep searches, by which it is continued and against which it is compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError, DataError
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..settings.config_tree import OF_SWEEPS, Config
from ..settings.fields import shorten
from ..version import __version__
from . import stored_config
from .compose import SWEEP_FOLDER
from .read_yaml import parse_yaml
from .resume_overrides import difference
from .sweep import CheckedSweep

# Of an override's keys: how a sweep is run, which each command says anew, not what it searches.
NOT_STORED = (
    SWEEP_FOLDER,
    *(
        f"{OF_SWEEPS}.{name}"
        for name in ("launcher", "slurm", "workers", "retry_failed", "on_error", "report", "export")
    ),
)


@dataclass(frozen=True)
class StoredSweep:
    """The content of sweep.yaml.

    overrides: the command's, without the folder. config_dir: the user's folder of options. threads: those of
    each job. space: what varies, in the notation of the command line. config: that in which nothing varies.
    """

    overrides: list[str]
    config_dir: Path | None
    threads: int
    space: dict[str, str]
    config: Config


def stored(sweep: CheckedSweep, threads: int) -> StoredSweep:
    """Return the content of sweep.yaml for a new sweep."""
    overrides = [text for text in sweep.overrides if text.lstrip("+").partition("=")[0] not in NOT_STORED]
    space = {key: parameter.written() for key, parameter in sweep.space.items()}
    return StoredSweep(overrides, sweep.choices.user_folder, threads, space, sweep.base)


def write(folder: Path, sweep: StoredSweep) -> None:
    """Write sweep.yaml into the folder of a sweep; raises DataError."""
    content = {
        "overrides": sweep.overrides,
        "config_dir": None if sweep.config_dir is None else str(sweep.config_dir),
        "threads": sweep.threads,
        "space": sweep.space,
        "config": stored_config.to_yaml(sweep.config, with_search=True),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    write_text(folder / file_names.SWEEP_FILE, f"# cnntrain {__version__}\n{text}")


def read(folder: Path) -> StoredSweep:
    """Return the content of a sweep's sweep.yaml; raises DataError where it is damaged."""
    file = folder / file_names.SWEEP_FILE
    try:
        content, problems = parse_yaml(file.read_text(encoding="utf-8"), "")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    kinds = {"overrides": list, "config_dir": (str, type(None)), "threads": int, "space": dict, "config": str}
    if problems or not isinstance(content, dict):
        raise DataError(f"{file}: is not a sweep of cnntrain: {problems[0] if problems else 'no mapping'}")
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):  # type: ignore[arg-type]
            raise DataError(f"{file}: is not a sweep of cnntrain: {key} is {shorten(content.get(key))}")
    config_dir = content["config_dir"]
    return StoredSweep(
        [str(text) for text in content["overrides"]],
        None if config_dir is None else Path(config_dir),
        content["threads"],
        {str(key): str(value) for key, value in content["space"].items()},
        stored_config.from_yaml(content["config"], str(file)),
    )


def continued(stored: StoredSweep, folder: Path, changes: list[str]) -> list[str]:
    """Return the overrides that continue a sweep with other settings of its search; raises ConfigError."""
    others = [text for text in changes if not text.lstrip("+").startswith(f"{OF_SWEEPS}.")]
    if others:
        raise ConfigError(
            [
                f"{shorten(text)}: a sweep keeps the settings that it was started with; of search.… some "
                "may be changed"
                for text in others
            ]
        )
    return [*stored.overrides, *changes, f"{SWEEP_FOLDER}={folder}"]


def check_same(stored: StoredSweep, sweep: CheckedSweep) -> None:
    """Raise DataError if a sweep is not the one in its folder, but for what may be changed."""
    space = {key: parameter.written() for key, parameter in sweep.space.items()}
    for key in dict.fromkeys([*stored.space, *space]):
        if stored.space.get(key) != space.get(key):
            raise _other(sweep.folder, key, stored.space.get(key), space.get(key))
    found = difference(stored.config, sweep.base)
    if found is None and stored.config.trainer.epochs != sweep.base.trainer.epochs:
        found = ("trainer.epochs", stored.config.trainer.epochs, sweep.base.trainer.epochs)
    if found is not None:
        raise _other(sweep.folder, *found)


def _other(folder: Path, key: str, before: Any, now: Any) -> DataError:
    def text(value: Any) -> str:
        return "one value" if value is None else shorten(value)

    return DataError(
        f"{folder}: holds a sweep with other settings ({key}: {text(before)}, now {text(now)}); "
        "name another folder"
    )
