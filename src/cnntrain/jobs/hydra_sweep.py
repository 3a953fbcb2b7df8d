"""A sweep by a sweeper or launcher of Hydra's: its jobs run in whatever processes that starts."""

from __future__ import annotations

import shlex
import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from yaml import YAMLError

from ..config import stored_config
from ..config.check import Checked, store_absolute_paths
from ..config.compose import SWEEP_FOLDER
from ..config.hydra_composer import Composer
from ..config.hydra_sweep import HydraSweep
from ..config.option_table import typed
from ..config.resume_overrides import difference
from ..errors import ConfigError, DataError, Interrupted, UserError
from ..machine_errors import machine_error
from ..runs import file_names
from ..runs.run_folder import RunFolder, create_folder, remove_if_empty
from ..runs.signals import signals_as_exceptions
from ..settings.config_tree import Config
from .dispatch import start, start_on_run
from .report_sweep import report_sweep


def run_hydra_sweep(sweep: HydraSweep, composer: Composer) -> int:
    """Run every job of a sweep; return 1 if any failed, else 0.

    Raises DataError, before any job starts, if its folder holds jobs of other settings; Interrupted.
    """
    folder = create_folder(sweep.folder, sweep.named_by_user)
    _check_existing_jobs(sweep, folder)
    try:
        with signals_as_exceptions():
            jobs = composer.multirun(_run_job, sweep.overrides, folder)
    except (Interrupted, KeyboardInterrupt):
        print(f"continue  {_command(sweep, folder)}", flush=True)
        raise
    except (HydraException, RuntimeError, YAMLError) as error:
        # Of the chosen sweeper or launcher; jobs handle their own.
        remove_if_empty(folder, generated=not sweep.named_by_user)
        raise ConfigError([f"the sweep cannot start: {' '.join(str(error).split())}"]) from error
    failed = [str(number) for number, job in enumerate(jobs) if job.return_value != 0]
    numbers = f": {', '.join(failed)}" if failed else ""
    print(f"\nsweep     {len(jobs)} jobs in {folder}, {len(failed)} failed{numbers}", flush=True)
    if any(job.config.job == "train" and job.config.trainer.report for job in sweep.jobs):
        try:
            report_sweep(folder)
        except DataError as error:
            print(f"warning   {error}")
    return 1 if failed else 0


def _command(sweep: HydraSweep, folder: Path) -> str:
    """Return the command that continues a sweep: finished jobs are kept, the others trained."""
    own = [override for override in sweep.overrides if not override.startswith(f"{SWEEP_FOLDER}=")]
    return " ".join(["cnntrain -m", *map(shlex.quote, [*own, f"{SWEEP_FOLDER}={folder}"])])


def _run_job(tree: DictConfig) -> int:
    """Run one job of a sweep and return its exit code; a failure is reported immediately."""
    hydra: Any = HydraConfig.get()
    print(f"\njob {hydra.job.num}     {' '.join(hydra.overrides.task)}", flush=True)
    folder = Path(hydra.runtime.output_dir)
    config = typed(tree)
    store_absolute_paths(config)
    try:
        if (folder / file_names.CONFIG).exists():
            return _continue(folder, config)
        start(Checked(config, [], folder, named_by_user=True))
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


def _check_existing_jobs(sweep: HydraSweep, folder: Path) -> None:
    """Raise DataError if the folder of a job holds a run of other settings, before Hydra writes anything."""
    if any(override.startswith(("hydra.sweep.subdir=", "hydra/sweeper=")) for override in sweep.overrides):
        return  # the folders are known when the jobs run
    for number, job in enumerate(sweep.jobs):
        if (folder / str(number) / file_names.CONFIG).exists():
            _read_same(folder / str(number), job.config)


def _read_same(folder: Path, config: Config) -> Config:
    """Return the stored configuration of a job; raises DataError if it is not `config`."""
    stored = stored_config.read(folder)
    found = difference(stored, config)
    if found is not None or stored.trainer.epochs != config.trainer.epochs:
        key = found[0] if found is not None else "trainer.epochs"
        raise DataError(f"{folder}: holds a run of other settings ({key}); name another folder")
    return stored


def _continue(folder: Path, config: Config) -> int:
    """Continue the job of a sweep repeated in its folder; a finished one is kept. Raises DataError."""
    stored = _read_same(folder, config)
    summary = RunFolder(folder).read_summary() or {}
    if summary.get("status") == "finished":
        print(f"{folder}: is finished", flush=True)
    else:
        start_on_run(folder, stored, config)
    return 0
