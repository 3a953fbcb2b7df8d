"""Multirun: Hydra composes and launches the jobs, each in its own folder; failures do not stop the others."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from ..config.check import Checked
from ..config.compose import Composer
from ..config.option_table import typed
from ..config.pipeline import CheckedSweep
from ..errors import ConfigError, Interrupted, UserError
from ..machine_errors import machine_error
from ..runs.run_folder import create_folder
from ..runs.signals import signals_as_exceptions
from .dispatch import start


def run_sweep(sweep: CheckedSweep, composer: Composer) -> int:
    """Run every job of a sweep; return 1 if any failed, else 0. Raises Interrupted."""
    folder = create_folder(sweep.folder, sweep.named_by_user)
    try:
        with signals_as_exceptions():
            jobs = composer.multirun(_run_job, sweep.overrides, folder)
    except HydraException as error:  # overrides that only the chosen sweeper or launcher can check
        raise ConfigError([" ".join(str(error).split())]) from error
    failed = [str(number) for number, job in enumerate(jobs) if job.return_value != 0]
    numbers = f": {', '.join(failed)}" if failed else ""
    print(f"\nsweep     {len(jobs)} jobs in {folder}, {len(failed)} failed{numbers}", flush=True)
    return 1 if failed else 0


def _run_job(tree: DictConfig) -> int:
    """Run one job of a sweep and return its exit code; a failure is reported immediately."""
    hydra: Any = HydraConfig.get()
    print(f"\njob {hydra.job.num}     {' '.join(hydra.overrides.task)}", flush=True)
    folder = Path(hydra.runtime.output_dir)
    try:
        start(Checked(typed(tree), [], folder, named_by_user=True))
    except Interrupted as stop:
        if stop.exit_code:
            raise
        print(f"cnntrain: {stop}", flush=True)
    except UserError as error:
        print(f"cnntrain: job {hydra.job.num} failed: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except Exception as error:
        if (in_words := machine_error(error)) is not None:
            print(f"cnntrain: job {hydra.job.num} failed: {in_words}", file=sys.stderr, flush=True)
            return in_words.exit_code
        print(
            f"cnntrain: job {hydra.job.num} failed; also written to {folder / 'error.txt'}:", file=sys.stderr
        )
        traceback.print_exc()
        return 1
    return 0
