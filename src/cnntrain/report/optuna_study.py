"""A sweep as a study in an Optuna storage, for optuna-dashboard and Optuna's own analyses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError, first_line
from ..findings.sweep_record import SweepJob, SweepRecord
from ..metrics import LOWER_IS_BETTER
from ..runs.status import DIVERGED, FAILED, FINISHED, INTERRUPTED, PAUSED, STOPPED
from ..runs.sweep_folder import JobRecord
from ..runs.sweep_ranking import best_of
from ..search.bayesian import distribution_of, plain_value
from ..search.ranges import Parameter, Range, Values

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

# Of a study: the folder of the sweep that it was written from.
SWEEP = "cnntrain_sweep"


def open_storage(url: str) -> RDBStorage:
    """Return an Optuna storage, its tables made if there are none; raises ConfigError."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return optuna.storages.RDBStorage(url)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise ConfigError(
            [f"search.export={url}: {first_line(error)}; write a database's URL, such as sqlite:///study.db"]
        ) from error


def write_study(
    url: str, sweep: SweepRecord, records: dict[str, JobRecord], space: dict[str, Parameter]
) -> str:
    """Write the jobs of a sweep that have ended as trials of a study named after its folder; return the name.

    A study that was written from the same sweep before is replaced. Raises ConfigError where the storage
    cannot be opened or has another study of this name, DataError where it cannot be written.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    storage, name, folder = open_storage(url), sweep.folder.name, str(sweep.folder.absolute())
    try:
        known = {study.study_name: study.user_attrs for study in optuna.get_all_study_summaries(storage)}
        if name in known:
            if known[name].get(SWEEP) != folder:
                raise ConfigError([f"search.export={url}: has a study {name} that is not of this sweep"])
            optuna.delete_study(study_name=name, storage=storage)
        better = optuna.study.StudyDirection
        direction = better.MINIMIZE if sweep.metric in LOWER_IS_BETTER else better.MAXIMIZE
        study = optuna.create_study(storage=storage, study_name=name, direction=direction)
        study.set_user_attr(SWEEP, folder)
        study.set_user_attr("metric", None if sweep.metric is None else f"val/{sweep.metric}")
        study.add_trials(_trials(sweep, records, space))
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise DataError(f"search.export={url}: cannot be written ({first_line(error)})") from error
    finally:
        storage.engine.dispose()
    return name


def _trials(sweep: SweepRecord, records: dict[str, JobRecord], space: dict[str, Parameter]) -> list[Any]:
    from optuna.trial import TrialState, create_trial

    states = {
        FINISHED: TrialState.COMPLETE,
        PAUSED: TrialState.PRUNED,
        STOPPED: TrialState.PRUNED,
        INTERRUPTED: TrialState.PRUNED,
        DIVERGED: TrialState.FAIL,
        FAILED: TrialState.FAIL,
    }
    jobs = {job.name: job for job in sweep.jobs}
    values = {name: _values(jobs.get(name), record, space) for name, record in records.items()}
    covering = {
        key: _covering(parameter, [of[key] for of in values.values() if key in of])
        for key, parameter in space.items()
    }
    trials = []
    for name, record in records.items():
        state, best = states.get(record.status), best_of(record)
        if state is None or (state is not TrialState.FAIL and best is None):
            continue
        inside = {key: text for key, text in values[name].items() if covering[key].fraction(text) is not None}
        trials.append(
            create_trial(
                state=state,
                value=None if state is TrialState.FAIL else best,
                params={key: plain_value(covering[key], text) for key, text in inside.items()},
                distributions={key: distribution_of(covering[key]) for key in inside},
                user_attrs={"job": name, "stage": record.stage, "epochs": record.epochs}
                | {key: text for key, text in record.settings.items() if key not in space}
                | ({"reason": record.reason} if record.reason else {}),
                intermediate_values={
                    epoch: value for epoch, value in enumerate(record.curve, 1) if value is not None
                },
            )
        )
    return trials


def _values(job: SweepJob | None, record: JobRecord, space: dict[str, Parameter]) -> dict[str, str]:
    """Return a job's value of all that varies; of a job without a configuration, what it was given."""
    if job is None:
        return {key: text for key, text in record.settings.items() if key in space}
    return {key: record.settings.get(key, SweepRecord.of(job, key)) for key in space}


def _covering(parameter: Parameter, values: list[str]) -> Parameter:
    """Return what contains the values of all jobs: the default settings may lie outside a range."""
    if isinstance(parameter, Values):
        return Values(tuple(dict.fromkeys([*parameter.values, *values])))
    assert isinstance(parameter, Range)
    return parameter.reaching(values)
