"""How much each setting of a sweep matters for its best jobs (PED-ANOVA by Optuna, Watanabe et al. 2023)."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

from ..findings.sweep_record import SweepJob, SweepRecord, mostly_numbers, number_in
from ..search.plan import REPEATED

# Of fewer jobs, the importances of settings would be chance.
LEAST_JOBS = 12


def importances(sweep: SweepRecord) -> dict[str, float]:
    """Return setting → part of what the settings together explain, most important first.

    Empty where jobs are few, one setting varies, or Optuna is not installed.
    """
    keys = [key for key in sweep.varied if key not in REPEATED]
    scored = [job for job in sweep.ranked if job.score(sweep.metric) is not None]
    # A job without a number, such as dropout=null of the defaults, has no place on the setting's scale.
    numeric = [key for key in keys if mostly_numbers(sweep.of(job, key) for job in scored)]
    jobs = [job for job in scored if all(number_in(sweep.of(job, key)) is not None for key in numeric)]
    if len(keys) < 2 or len(jobs) < LEAST_JOBS or importlib.util.find_spec("optuna") is None:
        return {}
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # called experimental
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        distributions = {
            key: _distribution([sweep.of(job, key) for job in jobs], sweep.is_logarithmic(key))
            for key in keys
        }
        study = optuna.create_study(direction="maximize")
        for job in jobs:
            study.add_trial(
                optuna.trial.create_trial(
                    params={key: _value(sweep, job, key, distributions[key]) for key in keys},
                    distributions=distributions,
                    value=job.score(sweep.metric),
                )
            )
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), params=keys
        )
    return dict(sorted(found.items(), key=lambda entry: entry[1], reverse=True))


def _distribution(values: list[str], logarithmic: bool) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [number_in(value) for value in values]
    known = [number for number in numbers if number is not None]
    if len(known) < len(values) or len(set(known)) < 2:
        return CategoricalDistribution(sorted(set(values)))
    low, high = min(known), max(known)
    return FloatDistribution(low, high, log=logarithmic and low > 0)


def _value(sweep: SweepRecord, job: SweepJob, key: str, distribution: Any) -> Any:
    from optuna.distributions import CategoricalDistribution

    text = sweep.of(job, key)
    return text if isinstance(distribution, CategoricalDistribution) else number_in(text)
