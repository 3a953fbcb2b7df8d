"""What training says of runs that keep their network alone (trainer.keep=model)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..costs.units import format_bytes
from ..errors import DataError
from ..output_streams import print_labelled
from ..runs.reduce_run import reduce_run
from ..runs.run_folder import RunFolder
from ..settings.config_tree import Config

KEPT = "its checkpoints for continuing were removed (trainer.keep=model)"


def keep_model(folder: RunFolder) -> None:
    """Reduce a finished run to its best network, and print the sizes of its checkpoints."""
    before, after = reduce_run(folder)
    print_labelled(
        [
            f"kept      the best network: checkpoints {format_bytes(before)} → {format_bytes(after)} "
            "(trainer.keep=model); this run cannot be trained longer"
        ]
    )


def refuse_continuing(path: Path, before: Config, config: Config) -> None:
    """Raise DataError where a reduced run is to be trained longer."""
    more_patience = config.trainer.early_stopping_epochs != before.trainer.early_stopping_epochs
    if config.trainer.epochs > before.trainer.epochs or more_patience:
        raise DataError(f"{path}: cannot be trained longer, as {KEPT}; {_instead(path)}")


def how_it_is_kept(path: Path, summary: dict[str, Any]) -> str:
    """Return the message on a reduced run: that it is finished, and how a new one is started from it."""
    return f"{path}: this run is finished ({summary['epochs']} epochs), and {KEPT}; {_instead(path)}"


def _instead(path: Path) -> str:
    return f"start a new run from it: initialization=from_run initialization.run={path}"
