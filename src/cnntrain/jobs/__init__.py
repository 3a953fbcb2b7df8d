"""The jobs of the command line, one file each."""

from __future__ import annotations

from pathlib import Path

from ..config.root import Config


def start(config: Config, folder: Path, named_by_user: bool) -> None:
    """Do the job of a configuration that makes a folder of its own: train, summary or optimizers."""
    if config.job == "summary":
        from .summary import summarize

        summarize(config, folder, named_by_user)
    elif config.job == "optimizers":
        from .optimizers import compare

        compare(config, folder, named_by_user)
    else:
        from .train import train

        train(config, folder, named_by_user)
