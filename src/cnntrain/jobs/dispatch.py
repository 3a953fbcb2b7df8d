"""Run the job of a checked configuration."""

from __future__ import annotations

from pathlib import Path

from ..config.check import Checked
from ..settings.config_tree import Config


def start(checked: Checked) -> None:
    """Run the job of a configuration in a new folder: train, summary or optimizers."""
    config, folder, named_by_user = checked.config, checked.folder, checked.named_by_user
    if config.job == "summary":
        from .summary import summarize

        summarize(config, folder, named_by_user)
    elif config.job == "optimizers":
        from .optimizers import compare_optimizers

        compare_optimizers(config, folder, named_by_user)
    else:
        from .train import train

        train(config, folder, named_by_user)


def start_on_run(folder: Path, stored: Config, config: Config) -> None:
    """Run the job of a configuration on an earlier run: evaluate, summary, or continue training.

    stored: the configuration in the run's folder. config: the same with the user's overrides.
    """
    if config.job == "evaluate":
        from .evaluate import evaluate

        evaluate(folder, config)
    elif config.job == "summary":
        from .summary import summarize_run

        summarize_run(folder, config)
    else:
        from .train import resume

        resume(folder, stored, config)
