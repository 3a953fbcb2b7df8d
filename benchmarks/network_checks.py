"""job=check for every network of conf/model at its tiny size: none of the checks may fail.

    python -m benchmarks.network_checks [NAME …]

Prints a line for each network: seconds, the largest relative error of a gradient, comparisons set apart at
kinks, the first loss, and the checks that failed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from cnntrain.assemble.run import build_parts
from cnntrain.checks.run_checks import run_checks
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure

# The user's own module, and networks with weights that would be downloaded.
LEFT_OUT = ("custom", "pretrained", "timm_pretrained")


def main() -> None:
    names = sys.argv[1:] or [name for name in Choices().names("model") if name not in LEFT_OUT]
    failures = 0
    print(f"{'network':<22} {'s':>5} {'error':>8} {'kinks':>5} {'loss':>7}  failed")
    for name in names:
        config = configure([f"model={name}", "regularization=l2"], Choices()).config
        config = replace(config, model=config.model.tiny())
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            results = run_checks(config, build_parts(config, None, Path(folder), ""), trained=False)
        by_name = {result.name: result for result in results}
        tensors = by_name["gradients"].details["tensors"]
        error = max((entry["error"] for entry in tensors if entry["error"] is not None), default=float("nan"))
        kinks = sum(entry["kinks"] for entry in tensors)
        failed = [f"{result.name}: {result.sentence}" for result in results if result.passed is False]
        failures += bool(failed)
        loss = by_name["initial loss"].details["loss"]
        print(
            f"{name:<22} {time.perf_counter() - started:5.1f} {error:8.1e} {kinks:5} {loss:7.3f}  "
            f"{json.dumps(failed) if failed else ''}",
            flush=True,
        )
    print(f"{failures} of {len(names)} networks fail a check")


if __name__ == "__main__":
    main()
