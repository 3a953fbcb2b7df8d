"""job=check: gradients, data, initial loss and whether the network can learn, before training (K1–K5)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ..assemble.run import Parts
from ..checks.check_result import passed_line
from ..checks.run_checks import run_checks
from ..output_streams import print_result
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.run_folder import RunFolder
from ..settings.config_tree import Config
from .without_training import in_new_folder, on_best_network


def check(config: Config, path: Path, named_by_user: bool) -> None:
    """Check a configuration, before training; write check.json into a new folder. Raises CheckFailed."""
    in_new_folder(
        config, path, named_by_user, lambda parts, folder: check_parts(config, parts, folder, trained=False)
    )


def check_run(path: Path, stored: Config, config: Config) -> None:
    """Check the best network of an earlier run; write check.json into its folder. Raises CheckFailed."""
    on_best_network(
        stored, config, path, lambda parts, folder: check_parts(config, parts, folder, trained=True)
    )


def check_parts(config: Config, parts: Parts, folder: RunFolder, trained: bool) -> None:
    """Check the parts of a run, print a line for each check and write check.json; raises CheckFailed.

    trained: whether the network has been trained. The parts are not changed.
    """
    results = run_checks(parts.config, parts, trained)
    content = {result.name: asdict(result) for result in results}
    print("\n".join(result.line() for result in results), flush=True)
    write_text(folder.path / file_names.CHECK, json.dumps(content, indent=2) + "\n")
    print(f"\n{folder.path / file_names.CHECK}\n", flush=True)
    line = passed_line(results)
    if config.job == "check":
        print_result(f"{folder.path / file_names.CHECK}: {line}")
