"""job=summary: the costs of a network by layer, and its memory, before it is trained (M1–M4, L9)."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ..assemble.parts import build_optimizers
from ..config import stored_config
from ..config.cross_checks import training_images
from ..config.resolve_batch_size import with_batch_size
from ..costs import summary_table
from ..costs.network_costs import NetworkCosts, network_costs
from ..data.batch_size import batches_per_epoch
from ..optim.optimizer_stages import OptimizerStages
from ..output_streams import print_result
from ..report.pictures.run_pictures import draw_optimizer_schedule
from ..runs.atomic_write import write_text
from ..runs.file_names import SCHEDULE
from ..runs.run_folder import RunFolder, create
from ..settings.config_tree import Config

# Steps per epoch of the drawn schedule if the number of images is unknown: any number gives its shape.
STEPS_PER_EPOCH_IF_UNKNOWN = 100


def summarize(config: Config, path: Path, named_by_user: bool) -> None:
    """Print a network's costs and write them into a new folder: network.md, network.json, config.yaml."""
    costs = network_costs(config)
    folder = create(path, named_by_user, with_checkpoints=False)
    with folder.locked():
        write_text(folder.config, stored_config.to_yaml(config))
        _write(costs, folder, config)


def summarize_run(path: Path, config: Config) -> None:
    """Print the costs of an earlier run's network and write them into its folder."""
    _write(network_costs(config), RunFolder(path), config)


def _write(costs: NetworkCosts, folder: RunFolder, config: Config) -> None:
    print("\n".join(summary_table.lines(costs)))
    write_text(folder.path / "network.md", summary_table.markdown(costs))
    content = json.dumps(summary_table.to_json(costs), indent=2, allow_nan=False)
    write_text(folder.path / "network.json", content + "\n")
    files = ["network.md", "network.json"]
    if not (folder.path / SCHEDULE).exists():  # a run has drawn its own, with its own number of steps
        draw_optimizer_schedule(folder.path / SCHEDULE, *_schedule(config))
        files.append(SCHEDULE)
    print(f"\n{folder.path}: {', '.join(files)}", flush=True)
    print_result(f"{folder.path}: {summary_table.one_line(costs)}")


def _schedule(config: Config) -> tuple[OptimizerStages, int, float]:
    """Return the optimizers of a run with their schedule, the steps per epoch and the epochs."""
    images, steps = training_images(config), STEPS_PER_EPOCH_IF_UNKNOWN
    if images is not None:
        data = with_batch_size(config, images).data
        per_update = data.batch_size * config.trainer.accumulate_steps
        steps = max(1, batches_per_epoch(images, per_update, data.drop_last))
    steps = min(steps, config.trainer.max_steps_per_epoch or steps)
    weights = [torch.zeros(1, 1, 1, 1)]
    return build_optimizers(config, weights, False, steps), steps, config.trainer.epochs
