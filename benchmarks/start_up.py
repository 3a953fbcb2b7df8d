"""Time of the program's start and end, and of two runs at once.

    python -m benchmarks.start_up                      # this checkout
    python -m benchmarks.start_up --against FOLDER     # and another checkout, alternating

Times are wall-clock seconds of whole processes, except "first step" (from the end of `import torch` to the
end of the first training step) and "default, one" and "default, two at once" (wall_seconds of summary.json,
without imports; the longer of two runs). The smallest of REPEATS measurements is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 3
HERE = Path(__file__).parents[1] / "src"
CNNTRAIN = [sys.executable, "-m", "cnntrain"]

FIRST_STEP = """
import time, sys
import torch
imported = time.perf_counter()
from cnntrain.cli import main
from torch import Tensor
backward = torch.autograd.backward
def first(*arguments, **named):
    backward(*arguments, **named)
    print(time.perf_counter() - imported)
    sys.stdout.flush()
    torch.autograd.backward = backward
torch.autograd.backward = first
main(["experiment=smoke", "hydra.run.dir=run"])
"""


def process(command: list[str], source: Path, folder: str) -> subprocess.Popen[str]:
    """Start a command with the package in the folder `source`."""
    environment = os.environ | {"PYTHONPATH": str(source)}
    # As an installed package has its bytecode, so has a checkout after its first measurement.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def seconds_of(command: list[str], source: Path) -> float:
    """Return the seconds that a command takes, from its start to the end of its process."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        process(command, source, folder).communicate()
        return time.perf_counter() - started


def first_step(source: Path) -> float:
    """Return the seconds from the end of `import torch` to the end of the first backward pass."""
    with tempfile.TemporaryDirectory() as folder:
        output, _ = process([sys.executable, "-c", FIRST_STEP], source, folder).communicate()
    return float(next(line for line in output.splitlines() if line.replace(".", "", 1).isdigit()))


def default_runs(source: Path, count: int) -> float:
    """Return the seconds of training of `count` default runs at once, of the one that takes longest."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [process([*CNNTRAIN, f"hydra.run.dir={number}"], source, folder) for number in range(count)]
        for run in runs:
            run.communicate()
        summaries = [Path(folder) / str(number) / "summary.json" for number in range(count)]
        return max(float(json.loads(summary.read_text())["wall_seconds"]) for summary in summaries)


MEASUREMENTS = {
    "import torch": lambda source: seconds_of([sys.executable, "-c", "import torch"], source),
    "cnntrain --help": lambda source: seconds_of([*CNNTRAIN, "--help"], source),
    "an error (optim=adamm)": lambda source: seconds_of([*CNNTRAIN, "optim=adamm"], source),
    "first step": first_step,
    "cnntrain experiment=smoke": lambda source: seconds_of([*CNNTRAIN, "experiment=smoke"], source),
    "cnntrain": lambda source: seconds_of(CNNTRAIN, source),
    "default, one": lambda source: default_runs(source, 1),
    "default, two at once": lambda source: default_runs(source, 2),
}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="another checkout, measured alternately with this one")
    arguments = parser.parse_args()
    sources = {"here": HERE}
    if arguments.against is not None:
        sources = {"against": arguments.against.resolve() / "src"} | sources
    print(f"| seconds | {' | '.join(sources)} |\n|---|{'---:|' * len(sources)}")
    for name, measure in MEASUREMENTS.items():
        times: dict[str, list[float]] = {label: [] for label in sources}
        for _ in range(REPEATS):
            for label, source in sources.items():
                times[label].append(measure(source))
        cells = [f"{min(seconds):.2f}" for seconds in times.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
