"""A search in which a model of the results so far proposes the next settings (H7), by Optuna's samplers.

Optuna is asked as a pure function: for each job, a study is made of the results of earlier jobs, and a
sampler seeded by the job's number proposes. Nothing of it is stored, so nothing could get lost.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

from .plan import DrawFrom, Results, Task, job_name
from .ranges import Parameter, Range, Values

# A Gaussian process takes time that grows with the cube of the number of results.
MAX_FOR_GAUSSIAN_PROCESS = 100
# Results at an epoch before a job can fall behind them.
LEAST_TO_PRUNE = 4


class Bayesian:
    """The first jobs are drawn, each later one proposed from the results of all but the `lag` - 1 before it.

    So at most `lag` jobs are trained at the same time, and the settings do not depend on which of them is
    faster. draw, start: how the first jobs are drawn, and how many; job 0 has the default settings. stages:
    epochs after which a job ends unless it is among the best 1/reduction of the earlier ones (the stopping
    rule of asynchronous successive halving, Li et al. 2020).
    """

    def __init__(
        self,
        space: dict[str, Parameter],
        draw: DrawFrom,
        jobs: int,
        start: int,
        stages: list[int],
        reduction: float,
        lag: int,
        seed: int,
    ):
        self.space, self.draw, self.jobs, self.start = space, draw, jobs, start
        self.stages, self.reduction, self.lag, self.seed = stages, reduction, lag, seed

    def tasks(self, results: Results) -> Iterator[Task]:
        number, all_closed = 0, 0  # of the jobs from the first on without a gap
        while number < self.jobs:
            if number - self.lag >= all_closed:
                return
            is_closed = True
            for task in self._of_job(number, results):
                yield task
                is_closed = is_closed and results.closed(task)
            if is_closed and all_closed == number:
                all_closed += 1
            number += 1

    def settings(self, job: str, results: Results) -> dict[str, str]:
        number = int(job)
        if number == 0:
            return {}
        if number < self.start:
            return self.draw(self.space, number)
        return self._proposed(number, results)

    def _of_job(self, number: int, results: Results) -> Iterator[Task]:
        """Yield the tasks of a job up to the first that is not closed, or after which it falls behind."""
        for stage, epochs in enumerate(self.stages, 1):
            task = Task(job_name(number), epochs, stage)
            yield task
            if not results.closed(task) or self._falls_behind(number, epochs, results):
                return

    def _falls_behind(self, number: int, epochs: int, results: Results) -> bool:
        earlier = [results.score(job, epochs) for job in self._known(number)]
        reached = sorted((score for score in earlier if score > -math.inf), reverse=True)
        if len(reached) < LEAST_TO_PRUNE:
            return False
        return results.score(job_name(number), epochs) < reached[math.ceil(len(reached) / self.reduction) - 1]

    def _known(self, number: int) -> list[str]:
        """Return the jobs whose results a job's settings and end may depend on."""
        return [job_name(earlier) for earlier in range(number - self.lag + 1)]

    def _proposed(self, number: int, results: Results) -> dict[str, str]:
        import optuna

        distributions = {key: distribution_of(parameter) for key, parameter in self.space.items()}
        seed = (self.seed * 1_000_003 + number) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # samplers that are called experimental
            known = self._ranked(number, results)
            sampler: optuna.samplers.BaseSampler = (
                optuna.samplers.GPSampler(seed=seed, n_startup_trials=0)
                if len(known) <= MAX_FOR_GAUSSIAN_PROCESS
                else optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True)
            )
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            # Jobs that are not done yet count as middling, so that they are not proposed once more.
            waiting = [results.settings(job_name(n)) for n in range(number - self.lag + 1, number)]
            for settings, value in [*known, *((one, 0.0) for one in waiting if self._is_inside(one))]:
                params = {key: plain_value(self.space[key], text) for key, text in settings.items()}
                study.add_trial(
                    optuna.trial.create_trial(params=params, distributions=distributions, value=value)
                )
            proposed = study.ask(distributions).params
        return {key: _written(self.space[key], proposed[key]) for key in self.space}

    def _ranked(self, number: int, results: Results) -> list[tuple[dict[str, str], float]]:
        """Return the settings of earlier jobs, each with the normal quantile of its rank among them.

        A job that was trained longer ranks above one that ended before; the default settings may lie outside
        the ranges and are left out.
        """
        entries = []
        for job in self._known(number):
            settings = results.settings(job)
            if self._is_inside(settings):
                reached = [epochs for epochs in self.stages if results.score(job, epochs) > -math.inf]
                epochs = max(reached, default=0)
                score = results.score(job, epochs) if epochs else -math.inf
                entries.append(((epochs, score, -results.val_loss(job, epochs)), job, settings))
        entries.sort(key=lambda entry: entry[:2])
        normal = NormalDist()
        return [
            (settings, normal.inv_cdf((rank + 0.5) / len(entries)))
            for rank, (_, _, settings) in enumerate(entries)
        ]

    def _is_inside(self, settings: dict[str, str]) -> bool:
        """Return whether settings have a value of every range."""
        return all(
            key in settings and parameter.fraction(settings[key]) is not None
            for key, parameter in self.space.items()
        )


def distribution_of(parameter: Parameter) -> Any:
    """Return the distribution of Optuna with the values of a parameter."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Values):
        return CategoricalDistribution(parameter.values)
    assert isinstance(parameter, Range)
    if parameter.whole:
        return IntDistribution(round(parameter.low), round(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def plain_value(parameter: Parameter, text: str) -> str | int | float:
    """Return the value of an override as such a distribution has it."""
    if isinstance(parameter, Range):
        return int(text) if parameter.whole else float(text)
    return text


def _written(parameter: Parameter, value: str | int | float) -> str:
    """Return a proposed value as an override has it, a number with as many digits as drawn ones."""
    if isinstance(parameter, Range):
        fraction = parameter.fraction(str(value))
        assert fraction is not None
        return parameter.at(fraction)
    return str(value)
