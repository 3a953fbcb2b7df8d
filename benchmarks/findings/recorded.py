"""Make the recorded runs that tests judge: python -m benchmarks.findings.recorded --out FOLDER.

Short runs on digits, whose rows and evidence are kept as far as rules read them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[2] / "tests" / "findings" / "recorded_runs.json"
MLP = ("model=mlp", "trainer.threads=1")
STEP = ("schedule=step", "schedule.factor=0.1")
# Runs by name: each fault beside the healthy run that it was made of.
RUNS: dict[str, tuple[str, ...]] = {
    "healthy": MLP,
    "healthy, step schedule": (*MLP, *STEP, "schedule.milestones=[10,15]"),
    "healthy, constant schedule": (*MLP, "schedule=constant"),
    "healthy, 16 units": (*MLP, "model.hidden=[16]", "trainer.epochs=30"),
    "milestone early": (*MLP, *STEP, "schedule.milestones=[0.1]"),
    "milestone early, learned": (
        *(*MLP, "schedule=step", "schedule.factor=0.01", "schedule.milestones=[6]"),
        "trainer.epochs=40",
    ),
    "rate next to nothing": (
        *(*MLP, "schedule=step", "schedule.factor=0.0001", "schedule.milestones=[6]"),
        "trainer.epochs=40",
    ),
    "stuck": (*MLP, "schedule=constant", "optim.lr=1"),
    "two units": (*MLP, "model.hidden=[2]", "trainer.epochs=30"),
    "two units, then 64": (*MLP, "model.hidden=[2,64]", "trainer.epochs=40"),
    "weights faint": (*MLP, "initialization=gaussian", "initialization.std=1e-4"),
}
# What rules read of rows, by the beginning of the name.
READ = ("step", "epoch", "lr", "train/", "val/loss", "val/accuracy", "grad_norm", "dead_units/", "data_wait")
READ_OF_WEIGHTS = ("update_ratio/", "gradient_norm/", "weight_norm/", "activation_deviation/")
LARGE = ("mistakes", "suspects", "confusion", "calibration")


def recorded(overrides: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """Train a run, and return what rules read of it."""
    from cnntrain.cli import main
    from cnntrain.findings.run_record import read_evidence, read_record
    from cnntrain.runs.run_folder import RunFolder

    main([*overrides, "trainer.record_every_steps=20", "trainer.pictures=false", f"hydra.run.dir={folder}"])
    run = read_record(RunFolder(folder), read_evidence(RunFolder(folder)))
    kept = {key: value for key, value in run.evidence.items() if not key.endswith(LARGE)}
    return {
        "overrides": list(overrides),
        "status": run.status,
        "steps": [_row(row) for row in run.steps],
        "epochs": [_row(row) for row in run.epochs],
        "evidence": kept,
        "summary": {"parameters": run.summary["parameters"]},
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in row.items()
        if name.startswith(READ) or (name.startswith(READ_OF_WEIGHTS) and not name.endswith("bias"))
    }


def main() -> None:
    """Make all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the runs; by default a temporary one")
    out = parser.parse_args().out or Path(tempfile.mkdtemp())
    runs = {name: recorded(overrides, out / name.replace(" ", "_")) for name, overrides in RUNS.items()}
    RECORDED.write_text(json.dumps(runs, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
