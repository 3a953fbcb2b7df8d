"""Jobs on the parts of a run that is not trained: in a new folder, or with an earlier run's best network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..assemble.restore import check_configuration
from ..assemble.run import Parts, build_parts
from ..assemble.trained_run import load_weights
from ..config import stored_config
from ..output_streams import print_labelled
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.run_folder import RunFolder, create
from ..settings.config_tree import Config

Act = Callable[[Parts, RunFolder], None]


def in_new_folder(config: Config, path: Path, named_by_user: bool, act: Act) -> None:
    """Call `act` with the parts of a new run and its folder, which holds config.yaml."""
    parts = build_parts(config, None, path, "")
    folder = create(path, named_by_user, with_checkpoints=False)
    with folder.locked():
        write_text(folder.config, stored_config.to_yaml(config))
        folder.write_unreadable((parts.splits.unreadable or {}).values())
        print_labelled([*parts.messages, ""])
        act(parts, folder)


def on_best_network(stored: Config, config: Config, path: Path, act: Act, or_newest: bool = False) -> None:
    """Call `act` with the parts of an earlier run, its network being the best one, and its folder.

    stored: the configuration in the run's folder. config: the same with the user's overrides. or_newest:
    take the newest network of a run that finished no epoch.
    """
    folder = RunFolder(path)
    has_best = (folder.checkpoints.folder / file_names.BEST).exists()
    if or_newest and not has_best and folder.checkpoints.exist():
        state, _ = folder.checkpoints.load_last()
    else:
        state = folder.checkpoints.load_best()
    check_configuration(stored, state, path)
    parts = build_parts(config, state, path, f"{path}: checkpoint")
    load_weights(parts.step.network, state)
    print_labelled([*parts.messages, ""])
    act(parts, folder)
