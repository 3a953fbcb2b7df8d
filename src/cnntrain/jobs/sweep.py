"""Sweeps (-m): jobs over ranges or lists of settings, continued by the same command after any end."""

from __future__ import annotations

import shlex
from pathlib import Path

import torch

from ..config import stored_sweep
from ..config.choice_files import Choices
from ..config.sweep import CheckedSweep, configure_sweep
from ..errors import DataError, Interrupted, UserError
from ..findings.sweep_record import read_sweep
from ..output_streams import is_quiet, print_last, quiet_output
from ..report.leaderboard import leaderboard_lines
from ..report.optuna_study import open_storage, write_study
from ..runs import file_names
from ..runs.run_folder import create_folder
from ..runs.status import DIVERGED, FAILED, OPEN
from ..runs.sweep_folder import JobRecord, SweepFolder
from ..runs.sweep_ranking import leaderboard
from .cluster_workers import run_on_cluster
from .leaderboard import MAX_PRINTED
from .ray_workers import RayWorkers
from .report_sweep import report_sweep
from .slurm_workers import SlurmWorkers
from .sweep_worker import SweepWorker


def run_sweep(sweep: CheckedSweep, fork: bool) -> int:
    """Train the jobs of a sweep that are open; return 1 if any failed, else 0.

    fork: whether this process may be copied for jobs. Raises DataError if the folder holds another sweep,
    Interrupted after a signal.
    """
    with quiet_output(sweep.base.trainer.quiet):
        return _run_sweep(sweep, fork)


def _run_sweep(sweep: CheckedSweep, fork: bool) -> int:
    search = sweep.search
    if search.export:
        open_storage(search.export).engine.dispose()  # refused before anything is made
    folder = SweepFolder(create_folder(sweep.folder, named_by_user=True))
    threads = _prepare(sweep, folder)
    try:
        if search.launcher == "slurm":
            run_on_cluster(sweep, folder, SlurmWorkers(search.workers, search.slurm))
        elif search.launcher == "ray":
            run_on_cluster(sweep, folder, RayWorkers(search.workers, threads))
        else:
            worker = SweepWorker(sweep, folder, threads, fork)
            worker.run()
            if worker.out_of_time:
                minutes = f"search.minutes={search.minutes:g}"
                print(f"stopped   {minutes} are over before all was trained; with more, it goes on")
    except (Interrupted, KeyboardInterrupt, UserError):
        print_last(f"continue  cnntrain -m {shlex.quote(f'run={folder.path}')}")
        raise
    jobs = folder.jobs()
    failed = [name for name, record in jobs.items() if record.status in (FAILED, DIVERGED)]
    names = f": {', '.join(failed)}" if failed else ""
    print()
    best = f"; {_best_line(jobs)}" if is_quiet() and leaderboard(jobs)[0].values else ""
    print_last(f"sweep     {len(jobs)} jobs in {folder.path}, {len(failed)} failed{names}{best}")
    if sweep.base.job == "head":
        print("\n".join(leaderboard_lines(leaderboard(jobs), MAX_PRINTED)), flush=True)
    if sweep.base.job == "train" and search.report:
        try:
            report_sweep(folder.path)
        except DataError as error:
            print(f"warning   {error}")
    if search.export:
        name = write_study(search.export, read_sweep(folder.path), jobs, sweep.space)
        print(f"optuna    study {name} in {search.export}", flush=True)
    return 1 if failed else 0


def _best_line(jobs: dict[str, JobRecord]) -> str:
    """Return the job that ranks first, with its result."""
    first = leaderboard(jobs)[0]
    return f"best {first.jobs[0]}: {first.result()}"


def continue_sweep(path: Path, changes: list[str], fork: bool) -> int:
    """Go on with the sweep in a folder, which another process may be working on, too; as `run_sweep`."""
    stored = stored_sweep.read(path)
    overrides = stored_sweep.continued(stored, path, changes)
    return run_sweep(configure_sweep(overrides, Choices(stored.config_dir)), fork)


def _prepare(sweep: CheckedSweep, folder: SweepFolder) -> int:
    """Write sweep.yaml, or compare it with the sweep; return the number of threads of each job."""
    with folder.locked():
        if not folder.file.exists():
            if (folder.path / file_names.CONFIG).exists():
                raise DataError(f"{folder.path}: holds a run; name another folder for a sweep")
            if any(folder.path.glob(f"*/{file_names.CONFIG}")):
                raise DataError(f"{folder.path}: holds runs that are not of this sweep; name another folder")
            processes: int = sweep.search.workers * sweep.base.trainer.processes
            threads: int = sweep.base.trainer.threads or max(1, torch.get_num_threads() // processes)
            stored_sweep.write(folder.path, stored_sweep.stored(sweep, threads))
            print(f"sweep     {folder.path}", flush=True)
            return threads
        stored = stored_sweep.read(folder.path)
        stored_sweep.check_same(stored, sweep)
        stored_sweep.write(folder.path, stored_sweep.stored(sweep, stored.threads))
        done = sum(record.status != OPEN for record in folder.jobs().values())
        print(f"sweep     {folder.path}: goes on after {done} jobs", flush=True)
        return stored.threads
