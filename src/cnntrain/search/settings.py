"""Settings of searches (group `search`): what the jobs of a sweep (-m) try, and how they are run."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..metrics import DISPLAY
from ..settings.fields import fixed, setting
from ..settings.option import Option

if TYPE_CHECKING:
    from .plan import Plan
    from .ranges import Parameter

# Jobs where neither their number nor a time is given; with a time, as many as it allows are drawn.
JOBS = 20
# What may be recorded of a validation split; which of them depends on the targets.
OBJECTIVES = tuple(DISPLAY)


@dataclass
class Search(Option):
    """Settings common to all searches."""

    workers: int = setting(
        1,
        "jobs that this process trains at the same time; threads and GPUs are divided among them",
        ge=1,
        le=256,
        resume="free",
    )
    launcher: str = setting(
        "local",
        "where jobs are trained: by this process, or by search.workers workers that Slurm or Ray places on "
        "nodes that see the sweep's folder",
        choices=("local", "slurm", "ray"),
        resume="free",
    )
    slurm: str = setting(
        "", "launcher=slurm: options of sbatch, such as --partition=gpu --gres=gpu:1", resume="free"
    )
    objective: str | None = setting(
        None,
        "validation metric by which jobs are compared, as in metrics.jsonl without val/; null: the one by "
        "which the best epoch of a job is chosen (trainer.best_by)",
    )
    minutes: float | None = setting(
        None,
        "time for the sweep: without search.jobs, so many settings are tried that it suffices, judged by the "
        "first; and no job is started once all have been trained for search.workers times these minutes; "
        "null: no limit",
        gt=0,
        resume="free",
    )
    folds: int | None = setting(
        None,
        "cross-validation: train each settings once for each of so many folds of the training images, of "
        "which one is the validation split (data.folds), and compare the means; null: one validation split",
        ge=2,
        le=1000,
    )
    stop_hopeless: bool = setting(
        True,
        "end a job whose training loss, after a third of its epochs and at least two, has never been 3 % "
        "below that of its first step",
    )
    on_error: str = setting(
        "continue",
        "after a job that failed: continue with the others, or stop the sweep",
        choices=("continue", "stop"),
        resume="free",
    )
    max_equal_failures: int = setting(
        10, "the sweep stops after so many jobs in a row failed with the same message", ge=1, resume="free"
    )
    retry_failed: bool = setting(
        False,
        "when a sweep is continued, train its failed jobs again (diverged ones would diverge again)",
        resume="free",
    )
    export: str = setting(
        "",
        "URL of an Optuna storage, such as sqlite:///study.db, into which the sweep is written as a study "
        "at its end; optuna-dashboard shows it",
        resume="free",
    )
    report: bool = setting(
        True,
        "write jobs.csv, findings.json and report.html into the sweep's folder at its end",
        resume="free",
    )

    def problems(self) -> Iterator[str]:
        if self.objective is not None and self.objective not in OBJECTIVES:
            yield f"search.objective={self.objective}: must be one of {', '.join(OBJECTIVES)}"
        if self.launcher == "ray" and importlib.util.find_spec("ray") is None:
            yield "search.launcher=ray: needs Ray; pip install 'cnntrain[ray]'"
        if self.export and importlib.util.find_spec("optuna") is None:
            yield f"search.export={self.export}: needs Optuna; pip install 'cnntrain[search]'"
        if self.slurm and self.launcher != "slurm":
            yield f"search.slurm={self.slurm}: has no effect with search.launcher={self.launcher}"

    def space_problems(self, space: dict[str, Parameter]) -> Iterator[str]:
        """Yield an error for what this search cannot search over."""
        return iter(())

    def size(self, space: dict[str, Parameter]) -> int:
        """Return how many settings are tried at least."""
        return 1

    def samples(self, space: dict[str, Parameter]) -> list[dict[str, str]]:
        """Return settings to check before the first job: each end of a range, others at their defaults."""
        ends = [{key: end} for key, parameter in space.items() for end in parameter.ends()]
        return [{}, *ends]

    def plan(self, space: dict[str, Parameter], epochs: int, seed: int) -> Plan:
        """Return what the jobs of a sweep over `space` are; epochs, seed: those of each."""
        from .repetitions import Folded

        plan = self.searched(space, epochs, seed)
        return plan if self.folds is None else Folded(plan, self.folds)

    def searched(self, space: dict[str, Parameter], epochs: int, seed: int) -> Plan:
        """Return the plan without folds."""
        raise NotImplementedError


@dataclass
class Grid(Search):
    """Every combination of the values in lists (H2)."""

    name: str = fixed("grid")

    def space_problems(self, space: dict[str, Parameter]) -> Iterator[str]:
        from .ranges import Values

        for key, parameter in space.items():
            if not isinstance(parameter, Values):
                yield (
                    f"{key}={parameter.written()}: search=grid takes lists, as in "
                    f"{key}={','.join(parameter.ends())}; for ranges, write search=random"
                )

    def size(self, space: dict[str, Parameter]) -> int:
        return math.prod(len(parameter.ends()) for parameter in space.values())

    def samples(self, space: dict[str, Parameter]) -> list[dict[str, str]]:
        from .plan import combinations

        return combinations(space)

    def searched(self, space: dict[str, Parameter], epochs: int, seed: int) -> Plan:
        from .plan import Combinations

        return Combinations(space)


@dataclass
class Drawing(Search):
    """Settings common to searches that draw from ranges; job 0000 has the default settings."""

    jobs: int | None = setting(
        None,
        f"settings that are tried, the default ones included; may be raised later; null: {JOBS}, or as many "
        "as search.minutes allows",
        ge=1,
        resume="free",
    )
    seed: int = setting(
        0,
        "seed of the settings that are drawn",
        ge=0,
        le=2**63 - 1,
    )
    space: dict[str, Any] = setting(
        {},
        "setting → range, such as {optim.lr: log(1e-4,1)}; those of the command line replace these",
    )
    retrain_best: int = setting(
        2,
        "how many of the best jobs, besides that of the default settings, are trained again with other seeds "
        "before one is called the best; 0: none",
        ge=0,
        resume="free",
    )
    retrain_seeds: int = setting(2, "retrain_best: other seeds of each", ge=1, resume="free")

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if not self.retrain_best and self.retrain_seeds != type(self)().retrain_seeds:
            yield f"search.retrain_seeds={self.retrain_seeds}: has no effect with search.retrain_best=0"

    def space_problems(self, space: dict[str, Parameter]) -> Iterator[str]:
        if "trainer.epochs" in space:
            yield "trainer.epochs: a search trains jobs in stages up to one number of epochs; write one value"
        if not space:
            yield f"search={self.name}: nothing varies; give ranges, as in optim.lr=log(1e-4,1)"

    def size(self, space: dict[str, Parameter]) -> int:
        return self.jobs or JOBS

    def searched(self, space: dict[str, Parameter], epochs: int, seed: int) -> Plan:
        from .plan import WithinMinutes
        from .repetitions import Retrained

        def of(jobs: int) -> Plan:
            plan = self.trials(space, epochs, jobs)
            return Retrained(plan, self.retrain_best, self.retrain_seeds, epochs, seed)

        def epochs_of(jobs: int) -> int:
            again = self.retrain_best * self.retrain_seeds
            of_defaults = 1 + self.retrain_seeds if self.retrain_best else 0
            return self.total_epochs(epochs, jobs) + (again + of_defaults) * epochs

        if self.jobs is not None or self.minutes is None:
            return of(self.jobs or JOBS)
        return WithinMinutes(of, epochs_of, 60 * self.minutes * self.workers, JOBS)

    def trials(self, space: dict[str, Parameter], epochs: int, jobs: int) -> Plan:
        """Return the plan for so many settings, without the seeds of the best."""
        raise NotImplementedError

    def total_epochs(self, epochs: int, jobs: int) -> int:
        """Return about how many epochs such a plan trains in all."""
        raise NotImplementedError

    def draw(self, space: dict[str, Parameter], number: int) -> dict[str, str]:
        """Return the settings of a job, the same whatever the number of jobs."""
        raise NotImplementedError


@dataclass
class Halving(Drawing):
    """Settings of searches in which only the better jobs are trained for all epochs."""

    pruning: str = setting(
        "halving",
        "halving: all jobs are trained for first_epochs; the best 1/reduction of them for reduction times as "
        "many, and so on up to trainer.epochs (successive halving); none: each is trained for all epochs",
        choices=("halving", "none"),
    )
    first_epochs: int = setting(
        1,
        "halving: least epochs of the first stage",
        ge=1,
    )
    reduction: float = setting(
        3.0,
        "halving: each stage has this many times fewer jobs, trained this many times longer",
        gt=1,
        le=100,
    )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if self.pruning == "none":
            for key in ("first_epochs", "reduction"):
                if getattr(self, key) != getattr(type(self)(), key):
                    yield f"search.{key}={getattr(self, key)}: has no effect with search.pruning=none"

    def stages(self, epochs: int) -> list[int]:
        """Return the epochs after which jobs are compared, up to all epochs."""
        from .plan import rungs

        return rungs(epochs, self.first_epochs, self.reduction) if self.pruning == "halving" else [epochs]

    def trials(self, space: dict[str, Parameter], epochs: int, jobs: int) -> Plan:
        from .plan import SuccessiveHalving

        return SuccessiveHalving(partial(self.draw, space), jobs, self.stages(epochs), self.reduction)

    def total_epochs(self, epochs: int, jobs: int) -> int:
        total = before = 0
        for stage in self.stages(epochs):
            total += jobs * (stage - before)
            jobs, before = math.ceil(jobs / self.reduction), stage
        return total


@dataclass
class Random(Halving):
    """Values drawn at random, each setting independently of the others (Bergstra & Bengio 2012; H1)."""

    name: str = fixed("random")

    def draw(self, space: dict[str, Parameter], number: int) -> dict[str, str]:
        from .draw import random_settings

        return random_settings(space, self.seed, number)


@dataclass
class QuasiRandom(Halving):
    """Values from a scrambled Halton sequence, which covers the ranges more evenly than random ones."""

    name: str = fixed("quasi_random")

    def draw(self, space: dict[str, Parameter], number: int) -> dict[str, str]:
        from .draw import quasi_random_settings

        return quasi_random_settings(space, self.seed, number)


@dataclass
class CoarseToFine(Drawing):
    """Stages: many settings for few epochs, then narrower ranges around the best for more epochs (H3)."""

    name: str = fixed("coarse_to_fine")
    stages: list[int] = setting(
        [1, 5],
        "epochs of the stages before the last, which has trainer.epochs",
        ge=1,
    )
    shrink: float = setting(
        2.0,
        "each stage draws this many times fewer settings than the one before it",
        ge=1,
    )
    keep: int = setting(
        3,
        "how many of the best jobs of a stage go on to the next, whose ranges enclose theirs",
        ge=1,
    )
    margin: float = setting(
        0.05,
        "how far narrowed ranges reach beyond the best jobs, as a fraction of the range",
        ge=0,
        lt=1,
    )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if any(first >= second for first, second in itertools.pairwise(self.stages)):
            yield f"search.stages=[{','.join(map(str, self.stages))}]: must be ascending"

    def draw(self, space: dict[str, Parameter], number: int) -> dict[str, str]:
        from .draw import random_settings

        return random_settings(space, self.seed, number)

    def trials(self, space: dict[str, Parameter], epochs: int, jobs: int) -> Plan:
        from .plan import CoarseToFine as Stages

        stages, numbers = self._stages(epochs), self._jobs_by_stage(epochs, jobs)
        return Stages(space, self.draw, stages, numbers, self.keep, self.margin)

    def total_epochs(self, epochs: int, jobs: int) -> int:
        total = before = 0
        for number, (stage, new) in enumerate(
            zip(self._stages(epochs), self._jobs_by_stage(epochs, jobs), strict=True)
        ):
            total += new * stage + (min(self.keep, jobs) * (stage - before) if number else 0)
            before = stage
        return total

    def _stages(self, epochs: int) -> list[int]:
        return [*(stage for stage in self.stages if stage < epochs), epochs]

    def _jobs_by_stage(self, epochs: int, jobs: int) -> list[int]:
        return [max(1, round(jobs / self.shrink**number)) for number in range(len(self._stages(epochs)))]


@dataclass
class Bayesian(Halving):
    """Values proposed by a model of the results so far: a Gaussian process, of more than 100 results a
    tree-structured Parzen estimator, both Optuna's (H7)."""

    name: str = fixed("bayesian")
    start: int = setting(8, "settings that are drawn evenly before the model proposes", ge=2)
    lag: int = setting(
        2,
        "a job is proposed from the results of all but the lag - 1 before it; at most lag jobs run at once",
        ge=1,
        le=1024,
    )

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        if importlib.util.find_spec("optuna") is None:
            yield "search=bayesian: needs Optuna; pip install 'cnntrain[search]', or write search=random"

    def draw(self, space: dict[str, Parameter], number: int) -> dict[str, str]:
        from .draw import quasi_random_settings

        return quasi_random_settings(space, self.seed, number)

    def trials(self, space: dict[str, Parameter], epochs: int, jobs: int) -> Plan:
        from .bayesian import Bayesian as BayesianPlan

        stages = self.stages(epochs)
        return BayesianPlan(space, self.draw, jobs, self.start, stages, self.reduction, self.lag, self.seed)
