"""job=lr_range: the learning-rate range test, on a network that is not kept."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from ..assemble.run import Parts
from ..checks.lr_range import lr_range_test
from ..config.choice_files import Choices
from ..config.equivalent_command import equivalent_command
from ..initialization.settings import FromRun
from ..output_streams import print_result
from ..report.pictures.lr_range import draw_lr_range
from ..runs.atomic_write import write_text
from ..runs.run_folder import RunFolder
from ..settings.config_tree import Config
from ..settings.fields import default_of, settings_of
from ..settings.job_settings import LrRange
from .without_training import in_new_folder, on_best_network

PICTURE, FILE = "lr_range.png", "lr_range.json"


def lr_range(config: Config, path: Path, named_by_user: bool) -> None:
    """Test learning rates with a configuration; write picture and numbers into a new folder."""
    in_new_folder(config, path, named_by_user, partial(_test, config))


def lr_range_of_run(path: Path, stored: Config, config: Config) -> None:
    """Test the learning rates from the best network of an earlier run on, which is not changed.

    The suggested command starts a new run from that network.
    """
    from_run = replace(config, initialization=FromRun(run=str(path.absolute())))
    on_best_network(stored, config, path, partial(_test, from_run))


def _test(config: Config, parts: Parts, folder: RunFolder) -> None:
    settings = config.lr_range
    result = lr_range_test(parts.step, parts.train, settings.smallest, settings.largest, settings.steps)
    suggestion, lowest = result.suggestion, min(result.smoothed)
    content = {"suggestion": suggestion, "lr_of_minimum": result.lr_of_minimum, **asdict(result)}
    ended = f"; it diverges at {result.lrs[-1]:.2g}" if result.diverged else ""
    print(
        f"lr        {result.lrs[0]:.2g} to {result.lrs[-1]:.2g} in {len(result.lrs)} steps: loss "
        f"{result.smoothed[0]:.3g} at first, {lowest:.3g} at {result.lr_of_minimum:.2g}{ended}"
    )
    if suggestion is None:
        usual = default_of(settings_of(LrRange)["largest"])
        wider = f"lr_range.largest={usual:g}, " if settings.largest < usual else ""
        print(
            f"try       {wider}lr_range.steps=500 or a larger batch: the loss does not fall beyond its noise"
        )
    else:
        print(f"try       {equivalent_command(config, Choices(), {'optim.lr': suggestion})}")
    write_text(folder.path / FILE, json.dumps(content, indent=2) + "\n")
    draw_lr_range(folder.path / PICTURE, result.lrs, result.losses, result.smoothed, suggestion)
    print(f"\n{folder.path}: {PICTURE}, {FILE}", flush=True)
    found = "the loss does not fall beyond its noise" if suggestion is None else f"optim.lr={suggestion:g}"
    print_result(f"{folder.path}: {found}")
