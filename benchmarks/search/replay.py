"""Searches replayed over a table of real runs: how fast each finds good settings, every epoch counted.

    python -m benchmarks.search.replay                         # 50 seeds of each search, a minute or two
    python -m benchmarks.search.replay --table FOLDER          # make the table from the sweep in FOLDER

The table, fashion_mnist.json.gz, has the validation accuracy after each of 27 epochs of 480 runs: LeNet-5 on
1500 images of Fashion-MNIST, 1500 others for validation, over four settings. `MADE_BY` is the command of the
sweep. A search asks for settings between those of the table and gets the nearest run. Searches of this
program are its own plans; the others are written as their users would write them. Job 0 of a search has drawn
settings here, not the default ones: LeNet-5's defaults are among the best of the table.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import statistics
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnntrain.runs.status import FINISHED, PAUSED
from cnntrain.runs.sweep_folder import JobRecord, JobResults
from cnntrain.search.draw import random_settings
from cnntrain.search.plan import Combinations, Plan, job_name
from cnntrain.search.ranges import Parameter, Range, Values
from cnntrain.search.settings import Bayesian, CoarseToFine, Drawing, QuasiRandom, Random

FILE = Path(__file__).with_name("fashion_mnist.json.gz")
MADE_BY = (
    "cnntrain -m data=fashion_mnist data.limit=3000 data.val_fraction=0.5 data.batch_size=64 model=lenet5 "
    "trainer.epochs=27 trainer.precision=fp32 trainer.instruments=false trainer.threads=1 "
    "optim.lr=0.001,0.003,0.01,0.03,0.1,0.3,1,3 regularization.l2=1e-6,1e-5,1e-4,1e-3,1e-2 "
    "regularization.dropout=0,0.2,0.4,0.6 optim.momentum=0,0.9,0.98 search.stop_hopeless=false"
)
EPOCHS = 27
SPACE: dict[str, Parameter] = {
    "optim.lr": Range(1e-3, 3.0, log=True),
    "regularization.l2": Range(1e-6, 1e-2, log=True),
    "regularization.dropout": Range(0.0, 0.6),
    "optim.momentum": Values(("0", "0.9", "0.98")),
}
JOBS = 40


class Table:
    """The runs: settings → validation accuracy after each epoch. seed: of the settings that job 0 gets."""

    seed = 0

    def __init__(self, file: Path):
        content = json.loads(gzip.decompress(file.read_bytes()))
        self.levels: dict[str, list[float]] = content["levels"]
        self.curves: dict[tuple[int, ...], list[float]] = {
            tuple(places): curve for places, curve in content["curves"]
        }
        self.best = max(max(curve) for curve in self.curves.values())

    def curve(self, settings: dict[str, str]) -> list[float]:
        """Return the curve of the run with the nearest settings; of one that diverged, as far as it went."""
        given = settings or random_settings(SPACE, self.seed, -1 % 2**32)
        return self.curves[tuple(self._nearest(key, float(given[key])) for key in self.levels)]

    def _nearest(self, key: str, value: float) -> int:
        levels = self.levels[key]
        parameter = SPACE[key]
        if isinstance(parameter, Range) and parameter.log:
            return min(range(len(levels)), key=lambda place: abs(math.log(levels[place] / value)))
        return min(range(len(levels)), key=lambda place: abs(levels[place] - value))


@dataclass
class Trace:
    """What a search saw: the best accuracy after each epoch of training, whichever job it belonged to."""

    best: list[float] = field(default_factory=list)

    def see(self, accuracy: float) -> None:
        self.best.append(max(accuracy, self.best[-1] if self.best else 0.0))

    def epochs_to(self, accuracy: float) -> float:
        """Return after how many epochs the best was at least an accuracy, infinity if it never was."""
        return next((number for number, best in enumerate(self.best, 1) if best >= accuracy - 1e-9), math.inf)


def replay(table: Table, plan: Plan, limit: int = 10**6) -> Trace:
    """Return what a plan sees, its tasks done one after the other, for at most `limit` epochs."""
    jobs: dict[str, JobRecord] = {}
    results = JobResults(jobs, frozenset())
    trace = Trace()
    while len(trace.best) < limit:
        task = next((task for task in plan.tasks(results) if not results.closed(task)), None)
        if task is None:
            break
        if task.job not in jobs:
            jobs[task.job] = JobRecord(plan.settings(task.job, results), metric="accuracy")
        record = jobs[task.job]
        curve = table.curve(record.settings)
        for epoch in range(record.epochs, min(task.epochs, len(curve))):
            trace.see(curve[epoch])
        record.epochs = min(task.epochs, len(curve))
        record.curve = list(curve[: record.epochs])
        if record.epochs < task.epochs:
            record.status = "diverged"
        else:
            record.status = FINISHED if task.epochs == EPOCHS else PAUSED
    return trace


def planned(search: Drawing) -> Plan:
    """Return the plan of a search, without the jobs that train the best again with other seeds."""
    return replace(search, retrain_best=0).plan(SPACE, EPOCHS, 0)


def one_epoch_then_best(table: Table, seed: int, keep: int = 5) -> Trace:
    """One epoch of every job, then all epochs of the best few."""
    trace = Trace()
    plan = planned(Random(jobs=JOBS, seed=seed))
    curves = [
        table.curve(plan.settings(job_name(number), JobResults({}, frozenset()))) for number in range(JOBS)
    ]
    for curve in curves:
        trace.see(curve[0] if curve else 0.0)
    for curve in sorted((curve for curve in curves if curve), key=lambda curve: -curve[0])[:keep]:
        for accuracy in curve[1:]:
            trace.see(accuracy)
    return trace


def asha(table: Table, seed: int, budget: int, reduction: int = 3) -> Trace:
    """Asynchronous successive halving by promotion (Li et al. 2020), one worker, until the budget is used."""
    plan = planned(Random(jobs=10**6, seed=seed))
    trace, rungs, stages = Trace(), [dict[int, float]() for _ in range(4)], [1, 3, 9, 27]
    curves: list[list[float]] = []
    promoted = [set[int]() for _ in range(4)]

    def train(number: int, rung: int) -> None:
        curve = curves[number]
        for accuracy in curve[stages[rung - 1] if rung else 0 : stages[rung]]:
            trace.see(accuracy)
        rungs[rung][number] = max(curve[: stages[rung]]) if len(curve) >= stages[rung] else 0.0

    while len(trace.best) < budget:
        for rung in (2, 1, 0):
            ranked = sorted(rungs[rung], key=lambda number: -rungs[rung][number])
            waiting = [one for one in ranked[: len(ranked) // reduction] if one not in promoted[rung]]
            if waiting:
                promoted[rung].add(waiting[0])
                train(waiting[0], rung + 1)
                break
        else:
            curves.append(table.curve(plan.settings(job_name(len(curves)), JobResults({}, frozenset()))))
            train(len(curves) - 1, 0)
    return trace


def optuna_as_users_write_it(table: Table, seed: int, budget: int) -> Trace:
    """Optuna's defaults: TPE and the median pruner, asked after each epoch."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trace = Trace()

    def objective(trial: Any) -> float:
        settings = {
            "optim.lr": str(trial.suggest_float("lr", 1e-3, 3.0, log=True)),
            "regularization.l2": str(trial.suggest_float("l2", 1e-6, 1e-2, log=True)),
            "regularization.dropout": str(trial.suggest_float("dropout", 0.0, 0.6)),
            "optim.momentum": trial.suggest_categorical("momentum", ["0", "0.9", "0.98"]),
        }
        curve = table.curve(settings)
        for epoch, accuracy in enumerate(curve):
            trace.see(accuracy)
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        if len(curve) < EPOCHS:
            raise optuna.TrialPruned
        return max(curve)

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
    )
    while len(trace.best) < budget:
        study.optimize(objective, n_trials=1)
    return trace


def searches(table: Table, budget: int) -> dict[str, Callable[[int], Trace]]:
    """Return the searches by name, each a function of a seed."""
    grid: dict[str, Parameter] = {
        "optim.lr": Values(("0.001", "0.01", "0.1", "1", "3")),
        "regularization.l2": Values(("1e-6", "1e-3")),
        "regularization.dropout": Values(("0", "0.4")),
        "optim.momentum": Values(("0", "0.9")),
    }

    def shuffled_grid(seed: int) -> Trace:
        plan = Combinations(grid)
        random.Random(seed).shuffle(plan.combinations)
        return replay(table, plan)

    return {
        "grid": shuffled_grid,
        "random": lambda seed: replay(table, planned(Random(jobs=JOBS, seed=seed, pruning="none"))),
        "quasi-random": lambda seed: replay(
            table, planned(QuasiRandom(jobs=JOBS, seed=seed, pruning="none"))
        ),
        "quasi-random, twice the cost": lambda seed: replay(
            table, planned(QuasiRandom(jobs=2 * JOBS, seed=seed, pruning="none"))
        ),
        "one epoch, then the best 5": lambda seed: one_epoch_then_best(table, seed),
        "ASHA": lambda seed: asha(table, seed, budget),
        "Optuna: TPE, median pruner": lambda seed: optuna_as_users_write_it(table, seed, budget),
        "search=random (halving)": lambda seed: replay(table, planned(Random(jobs=JOBS, seed=seed))),
        "search=quasi_random (halving)": lambda seed: replay(
            table, planned(QuasiRandom(jobs=JOBS, seed=seed))
        ),
        "search=random (halving), 120 jobs": lambda seed: replay(table, planned(Random(jobs=120, seed=seed))),
        "search=coarse_to_fine, 20 jobs": lambda seed: replay(
            table, planned(CoarseToFine(jobs=20, seed=seed))
        ),
        "search=coarse_to_fine": lambda seed: replay(table, planned(CoarseToFine(jobs=JOBS, seed=seed))),
        "search=bayesian": lambda seed: replay(table, planned(Bayesian(jobs=JOBS, seed=seed))),
        "search=bayesian, no pruning": lambda seed: replay(
            table, planned(Bayesian(jobs=JOBS, seed=seed, pruning="none"))
        ),
    }


def rows(table: Table, seeds: int, chosen: list[str]) -> Iterator[tuple[str, list[Trace]]]:
    """Yield the name of each search and what it saw with each seed."""
    for name, search in searches(table, JOBS * EPOCHS).items():
        if not chosen or any(part in name for part in chosen):
            traces = []
            for table.seed in range(seeds):
                traces.append(search(table.seed))
            yield name, traces


def compare(table: Table, seeds: int, chosen: list[str]) -> dict[str, list[Trace]]:
    """Print for each search its cost, its result, and how fast it was as good as random search at its end."""
    found = dict(rows(table, seeds, ["random", *chosen] if chosen else []))
    goal = statistics.median(trace.best[-1] for trace in found["random"])
    of_random = statistics.median(trace.epochs_to(goal) for trace in found["random"])
    print(f"best run of the table {table.best:.2%}; random search: {goal:.2%} (median of {seeds} seeds)")
    print(f"{'':36}{'epochs':>8}{'error at the end':>20}{'epochs to that of random':>27}{'times fewer':>13}")
    for name, traces in found.items():
        epochs = statistics.median(len(trace.best) for trace in traces)
        errors = [1 - trace.best[-1] for trace in traces]
        low, middle, high = np.quantile(errors, (0.25, 0.5, 0.75))
        to_goal = statistics.median(trace.epochs_to(goal) for trace in traces)
        faster = f"{JOBS * EPOCHS / to_goal:.1f}" if to_goal < math.inf else "–"
        print(
            f"{name:36}{epochs:8.0f}{middle:8.2%} ({low:.2%} … {high:.2%})"[:72].ljust(66)
            + f"{to_goal:20.0f}{faster:>13}",
            flush=True,
        )
    print(f"(random itself was there after {of_random:.0f} of {JOBS * EPOCHS} epochs)")
    return found


def draw(found: dict[str, list[Trace]], file: Path) -> None:
    """Draw the median over seeds of the best validation error after each epoch, on a logarithmic axis."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "cnntrain"}):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        for number, (name, traces) in enumerate(found.items()):
            length = min(len(trace.best) for trace in traces)
            places = np.unique(np.geomspace(1, length, 200).astype(int))
            median = np.median(
                [[100 * (1 - trace.best[at - 1]) for at in places] for trace in traces], axis=0
            )
            ours = name.startswith("search=")
            axes.plot(
                places,
                median,
                label=name,
                color=f"C{number % 10}",
                linewidth=2 if ours else 1,
                linestyle="-" if ours else "--",
            )
        axes.set_xscale("log")
        axes.set_xlim(20)
        axes.set_ylim(20, 32)
        axes.set_xlabel("epochs trained, of all jobs together")
        axes.set_ylabel("best validation error so far, %")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
        figure.savefig(file, metadata={"Date": None})
    print(file)


def make_table(folder: Path) -> None:
    """Write the table from the folder of a sweep."""
    records = [json.loads(file.read_text()) for file in sorted(folder.glob("*/job.json"))]
    levels = {key: sorted({float(record["settings"][key]) for record in records}) for key in SPACE}
    curves = [
        (
            [levels[key].index(float(record["settings"][key])) for key in SPACE],
            [round(value, 4) for value in record["curve"] if value is not None],
        )
        for record in records
        if record["status"] != "open"
    ]
    content = json.dumps({"levels": levels, "curves": curves}, separators=(",", ":"))
    FILE.write_bytes(gzip.compress(content.encode(), mtime=0))
    print(f"{FILE}: {len(curves)} runs, {FILE.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Compare the searches, or make the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("searches", nargs="*", help="parts of the names of searches; all without them")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--picture", type=Path, help="draw the best error over epochs into this file")
    parser.add_argument("--table", type=Path, help="make the table from this sweep")
    arguments = parser.parse_args()
    if arguments.table is not None:
        make_table(arguments.table)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compare(Table(FILE), arguments.seeds, arguments.searches)
        if arguments.picture is not None:
            draw(found, arguments.picture)


if __name__ == "__main__":
    main()
