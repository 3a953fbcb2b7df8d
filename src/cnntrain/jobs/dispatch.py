"""Run the job of a checked configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..config.check import Checked
from ..errors import ConfigError, DataError
from ..runs.signals import signals_as_exceptions
from ..settings.config_tree import Config


def start(checked: Checked) -> Path | None:
    """Run the job of a configuration in a new folder; return that of a training, None of other jobs."""
    import torch  # noqa: F401 - first, as an exception would leave it half imported

    with signals_as_exceptions():
        return _start(checked.config, checked.folder, checked.named_by_user)


def start_on_sweep(checked: Checked, sweep: Path) -> None:
    """Run the job of a configuration, an ensemble, on the jobs of a sweep."""
    import torch  # noqa: F401

    from .ensemble import make_ensemble

    with signals_as_exceptions():
        make_ensemble(checked.config, sweep, checked.folder, checked.named_by_user)


def start_on_run(folder: Path, stored: Config, config: Config) -> None:
    """Run the job of a configuration on an earlier run; job=train continues its training.

    stored: the configuration in the run's folder. config: the same with the user's overrides.
    """
    import torch  # noqa: F401

    with signals_as_exceptions():
        _start_on_run(folder, stored, config)


def start_prediction(run: Path, config: Config | None, change: Callable[[Config], Config]) -> None:
    """Predict images with a run, a checkpoint, an ensemble or an exported network.

    config: with the user's overrides, None where only torch can read it. change: returns a stored one with
    the overrides.
    """
    import torch  # noqa: F401

    from .predict import predict

    with signals_as_exceptions():
        predict(run, config, change)


def _start(config: Config, folder: Path, named_by_user: bool) -> Path | None:
    if config.job == "check":
        from .check import check

        check(config, folder, named_by_user)
    elif config.job == "data":
        from .data import audit_data

        audit_data(config, folder, named_by_user)
    elif config.job == "head":
        from .head import fit_head

        fit_head(config, folder, named_by_user)
    elif config.job == "lr_range":
        from .lr_range import lr_range

        lr_range(config, folder, named_by_user)
    elif config.job == "ensemble":
        from .ensemble import make_ensemble

        make_ensemble(config, None, folder, named_by_user)
    elif config.job == "profile":
        from .profile import profile

        profile(config, folder, named_by_user)
    elif config.job == "summary":
        from .summary import summarize

        summarize(config, folder, named_by_user)
    elif config.job == "optimizers":
        from .optimizers import compare_optimizers

        compare_optimizers(config, folder, named_by_user)
    else:
        from .train import train

        return train(config, folder, named_by_user)
    return None


def _start_on_run(folder: Path, stored: Config, config: Config) -> None:
    if config.job == "evaluate":
        from .evaluate import evaluate

        evaluate(folder, stored, config)
    elif config.job == "check":
        from .check import check_run

        check_run(folder, stored, config)
    elif config.job == "data":
        from .data import audit_data_of_run

        audit_data_of_run(folder, config)
    elif config.job == "head":
        raise ConfigError(
            [
                f"run={folder}: job=head starts a new run, which is not trained further; write "
                f"initialization=from_run initialization.run={folder}"
            ]
        )
    elif config.job == "report" and stored.job == "head":
        raise DataError(f"run={folder}: was made by job=head; job=report judges how a network was trained")
    elif config.job == "lr_range":
        from .lr_range import lr_range_of_run

        lr_range_of_run(folder, stored, config)
    elif config.job == "report":
        from .report import report_run

        report_run(folder, stored, config)
    elif config.job == "export":
        from .export import export

        export(folder, config)
    elif config.job == "benchmark":
        from .benchmark import benchmark

        benchmark(folder, config)
    elif config.job == "publish":
        from .publish import publish

        publish(folder, config)
    elif config.job == "profile":
        from .profile import profile_run

        profile_run(folder, stored, config)
    elif config.job == "summary":
        from .summary import summarize_run

        summarize_run(folder, config)
    else:
        from .train import resume

        resume(folder, stored, config)
