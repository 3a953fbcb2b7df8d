"""job=profile: where the time of an epoch goes, on a network that is not kept."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

from ..assemble.run import Parts
from ..output_streams import print_labelled, print_result
from ..profiling import profile_table
from ..profiling.advice import advice
from ..profiling.clocks import clock_of
from ..profiling.profile_table import short_name
from ..profiling.profile_training import profile_training
from ..report.pictures.epoch_time import draw_epoch_time
from ..runs.atomic_write import write_text
from ..runs.file_names import PROFILE, PROFILE_PICTURE
from ..runs.run_folder import RunFolder
from ..settings.config_tree import Config
from ..training.cpu_load import LoadMeter
from .without_training import in_new_folder, on_best_network

# Cores used by other programs from which a profile says so.
MANY_CORES = 0.3


def profile(config: Config, path: Path, named_by_user: bool) -> None:
    """Profile the training of a configuration; write picture and numbers into a new folder."""
    in_new_folder(config, path, named_by_user, partial(_profile, config))


def profile_run(path: Path, stored: Config, config: Config) -> None:
    """Profile the training of an earlier run, from its best network on; the run is not changed."""
    on_best_network(stored, config, path, partial(_profile, config), or_newest=True)


def _profile(config: Config, parts: Parts, folder: RunFolder) -> None:
    settings, load = config.profile, LoadMeter()
    found = profile_training(config, parts, folder.path, settings.seconds, clock_of(parts.compute.device))
    others = load.cores_of_others()
    hints = advice(found, parts)
    print("\n".join(profile_table.lines(found, hints, settings.layers)))
    if others > MANY_CORES:
        print_labelled([f"notice    {_used_by_others(others)}"])
    content = profile_table.to_json(found, hints, parts)
    write_text(folder.path / PROFILE, json.dumps(content, indent=1, allow_nan=False) + "\n")
    kinds = [(f"{one.layers} {one.kind}", (one.forward, one.backward)) for one in found.kinds()]
    layers = [(short_name(one.name), (one.forward, one.backward)) for one in found.slowest()]
    draw_epoch_time(folder.path / PROFILE_PICTURE, found.parts, kinds, layers, settings.layers)
    print(f"\n{folder.path}: {PROFILE_PICTURE}, {PROFILE}", flush=True)
    print_result(f"{folder.path}: an epoch takes {found.seconds:.3g} s")


def _used_by_others(cores: float) -> str:
    return (
        f"other programs used {cores:.1f} of {os.cpu_count()} cores meanwhile: times are longer and less "
        "certain than on an idle machine"
    )
