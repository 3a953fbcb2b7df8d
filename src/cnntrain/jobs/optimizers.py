"""job=optimizers: compare the optimizers on a bowl and on a saddle, in pictures and text (O12)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import stored_config
from ..optim.settings import Optim
from ..output_streams import print_last
from ..report.optimizer_paths import (
    BOWL,
    SADDLE,
    BowlResult,
    SaddleResult,
    Surface,
    bowl_result,
    descend,
    example_optimizers,
    saddle_result,
)
from ..report.pictures.optimizer_surfaces import View, draw_landscape
from ..runs.atomic_write import write_text
from ..runs.run_folder import create
from ..settings.config_tree import Config


def compare_optimizers(config: Config, path: Path, named_by_user: bool) -> None:
    """Run the optimizers on both surfaces and print a description of each path.

    Writes bowl.png, saddle.png, optimizers.json and config.yaml into a new folder.
    """
    folder = create(path, named_by_user, with_checkpoints=False)
    optimizers, steps = example_optimizers(config.optimizers.lr), config.optimizers.steps
    with folder.locked():
        write_text(folder.config, stored_config.to_yaml(config))
        content: dict[str, Any] = {"steps": steps}
        for surface in (BOWL, SADDLE):
            paths = {name: descend(optim, surface, steps) for name, optim in optimizers.items()}
            print(f"{surface.name}: {surface.formula} from {surface.start}, {steps} steps")
            content[surface.name] = _describe(surface, optimizers, paths)
            _draw(folder.path / f"{surface.name}.png", surface, optimizers, paths)
        write_text(folder.path / "optimizers.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
        print_last(f"{folder.path}: bowl.png, saddle.png, optimizers.json")


def _describe(
    surface: Surface, optimizers: dict[str, Optim], paths: dict[str, Tensor]
) -> dict[str, dict[str, Any]]:
    """Print a line for each optimizer; return the content of optimizers.json for the surface."""
    content = {}
    for name, path in paths.items():
        steps = len(path) - 1
        result: BowlResult | SaddleResult
        if surface is BOWL:
            result = bowl_result(path)
            description = result.describe(steps, surface.reach)
        else:
            result = saddle_result(path)
            description = result.describe(steps)
        print(f"  {name:<10}lr {optimizers[name].lr:<6g}{description}")
        content[name] = {
            "settings": vars(optimizers[name]),
            "words": description,
            **vars(result),
            "loss": surface.height(path).tolist(),
            "path": path.tolist(),
        }
    return content


def _draw(path: Path, surface: Surface, optimizers: dict[str, Optim], paths: dict[str, Tensor]) -> None:
    view = View(
        title=f"{surface.name}: {surface.formula}",
        window=surface.window,
        levels=surface.levels,
        log_heights=surface is BOWL,
        goal=(0.0, 0.0),
    )
    titled = {f"{name}, lr {optimizers[name].lr:g}": points for name, points in paths.items()}
    draw_landscape(path, view, surface.height, titled)
