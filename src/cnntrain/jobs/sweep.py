"""Multirun: Hydra composes and launches the jobs; each has its own folder, none takes the others down."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from ..config.compose import CONFIG_NAME, Composer
from ..config.options import typed
from ..errors import ConfigError, Interrupted, UserError
from ..run_folder import create_folder
from . import start


class StopSweep(BaseException):
    """Carries an interruption through Hydra, which takes Exceptions for failed jobs and goes on."""

    def __init__(self, cause: Interrupted):
        super().__init__(str(cause))
        self.cause = cause


def sweep(composer: Composer, words: list[str], folder: Path, named_by_user: bool) -> int:
    """Run every job of a sweep; return 1 if any failed, else 0. Raises Interrupted."""
    folder = create_folder(folder, named_by_user)
    try:
        batches = composer.hydra.multirun(
            CONFIG_NAME,
            _job,
            [*composer.hydra_words(words), f"hydra.sweep.dir='{folder}'"],
            with_log_configuration=False,
        )
    except StopSweep as stop:
        raise stop.cause from stop
    except HydraException as error:  # what only the chosen sweeper or launcher can tell
        raise ConfigError([" ".join(str(error).split())]) from error
    jobs = [job for batch in batches for job in batch] if isinstance(batches[0], list) else list(batches)
    failed = [number for number, job in enumerate(jobs) if job.return_value != 0]
    print(f"\nsweep     {len(jobs)} jobs in {folder}, {len(failed)} failed" + _numbers(failed), flush=True)
    return 1 if failed else 0


def _numbers(failed: list[int]) -> str:
    return f": {', '.join(str(number) for number in failed)}" if failed else ""


def _job(tree: DictConfig) -> int:
    """Do one job of a sweep and return its exit code; a failure is reported here and now."""
    hydra: Any = HydraConfig.get()
    words = " ".join(word for word in hydra.overrides.task)
    print(f"\njob {hydra.job.num}     {words}", flush=True)
    folder = Path(hydra.runtime.output_dir)
    try:
        start(typed(tree), folder, named_by_user=True)
    except Interrupted as stop:
        if stop.exit_code:
            raise StopSweep(stop) from stop
        print(f"cnntrain: {stop}", flush=True)
    except UserError as error:
        print(f"cnntrain: job {hydra.job.num} failed: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except Exception:
        print(f"cnntrain: job {hydra.job.num} failed; {folder / 'error.txt'} holds this:", file=sys.stderr)
        traceback.print_exc()
        return 1
    return 0
