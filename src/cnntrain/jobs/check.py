"""job=check: gradients, data, initial loss and whether the network can learn, before training (K1–K5)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ..assemble.run import Parts, build_parts
from ..checks.run_checks import run_checks
from ..config import stored_config
from ..errors import CheckFailed
from ..output_streams import print_labelled
from ..prediction.trained import load_weights
from ..runs import file_names
from ..runs.atomic_write import write_text
from ..runs.run_folder import RunFolder, create
from ..settings.config_tree import Config


def check(config: Config, path: Path, named_by_user: bool) -> None:
    """Check a configuration, before training; write check.json and config.yaml into a new folder.

    Raises CheckFailed if a check failed.
    """
    parts = build_parts(config, None, path, "")
    folder = create(path, named_by_user, with_checkpoints=False)
    with folder.locked():
        write_text(folder.config, stored_config.to_yaml(config))
        print_labelled([*parts.messages, ""])
        check_parts(config, parts, folder, trained=False)


def check_run(path: Path, config: Config) -> None:
    """Check the best network of an earlier run; write check.json into its folder. Raises CheckFailed."""
    folder = RunFolder(path)
    state = folder.checkpoints.load_best()
    parts = build_parts(config, state, path, f"{path}: checkpoint")
    load_weights(parts.step.network, state)
    print_labelled([*parts.messages, ""])
    check_parts(config, parts, folder, trained=True)


def check_parts(config: Config, parts: Parts, folder: RunFolder, trained: bool) -> None:
    """Check the parts of a run, print a line for each check and write check.json; raises CheckFailed.

    trained: whether the network has been trained. The parts are not changed.
    """
    results = run_checks(config, parts, trained)
    content = {result.name: asdict(result) for result in results}
    write_text(folder.path / file_names.CHECK, json.dumps(content, indent=2) + "\n")
    print("\n".join(result.line() for result in results))
    print(f"\n{folder.path / file_names.CHECK}\n", flush=True)
    failed = [result.name for result in results if result.passed is False]
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}")
