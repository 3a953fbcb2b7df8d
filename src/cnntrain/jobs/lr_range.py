"""job=lr_range: the learning-rate range test, on a network that is not kept."""

from __future__ import annotations

import json
from pathlib import Path

from ..assemble.run import Parts, build_parts
from ..checks.lr_range import lr_range_test
from ..config import stored_config
from ..config.choice_files import Choices
from ..config.equivalent_command import equivalent_command
from ..output_streams import print_labelled
from ..prediction.trained import load_weights
from ..report.pictures.lr_range import draw_lr_range
from ..runs.atomic_write import write_text
from ..runs.run_folder import RunFolder, create
from ..settings.config_tree import Config

PICTURE, FILE = "lr_range.png", "lr_range.json"


def lr_range(config: Config, path: Path, named_by_user: bool) -> None:
    """Test learning rates with a configuration; write picture, numbers and config.yaml into a new folder."""
    parts = build_parts(config, None, path, "")
    folder = create(path, named_by_user, with_checkpoints=False)
    with folder.locked():
        write_text(folder.config, stored_config.to_yaml(config))
        _test(config, parts, folder)


def lr_range_of_run(path: Path, config: Config) -> None:
    """Test the learning rates from the best network of an earlier run on, which is not changed."""
    folder = RunFolder(path)
    state = folder.checkpoints.load_best()
    parts = build_parts(config, state, path, f"{path}: checkpoint")
    load_weights(parts.step.network, state)
    _test(config, parts, folder)


def _test(config: Config, parts: Parts, folder: RunFolder) -> None:
    print_labelled([*parts.messages, ""])
    settings = config.lr_range
    result = lr_range_test(parts.step, parts.train, settings.smallest, settings.largest, settings.steps)
    suggestion = result.suggestion
    content = {
        "suggestion": suggestion,
        "lr_of_minimum": result.lr_of_minimum,
        "diverged": result.diverged,
        "lrs": result.lrs,
        "losses": result.losses,
        "smoothed": result.smoothed,
    }
    write_text(folder.path / FILE, json.dumps(content, indent=2) + "\n")
    draw_lr_range(folder.path / PICTURE, result.lrs, result.losses, result.smoothed, suggestion)
    ended = f", the loss diverges at {result.lrs[-1]:.2g}" if result.diverged else ""
    print(
        f"lr        {result.lrs[0]:.2g} to {result.lrs[-1]:.2g} in {len(result.lrs)} steps: the loss falls "
        f"from {result.smoothed[0]:.3g} to {min(result.smoothed):.3g} at {result.lr_of_minimum:.2g}{ended}"
    )
    if suggestion is None:
        print("lr        the loss does not fall at any of these rates; job=check looks for the reason")
    else:
        print(f"try       {equivalent_command(config, Choices(), {'optim.lr': suggestion})}")
    print(f"\n{folder.path}: {PICTURE}, {FILE}", flush=True)
