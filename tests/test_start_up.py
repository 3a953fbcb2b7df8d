"""Modules that a plain training run, help and version import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# Packages that are slow to import, and that a plain training run does not need.
SLOW = (
    *("torch._dynamo", "torch._inductor", "torch.distributed", "sympy", "scipy", "sklearn", "torchvision"),
    "hydra",
    # Of loggers, whose processes import them.
    *("tensorboard", "wandb", "mlflow", "trackio"),
)

SCRIPT = """
import json, sys
import torch
before = set(sys.modules)
from cnntrain.cli import main
from cnntrain.training.training_step import TrainingStep

run, modules = TrainingStep.run, {}
def first(self, *arguments, **named):
    modules.setdefault("first step", sorted(set(sys.modules) - before))
    return run(self, *arguments, **named)
TrainingStep.run = first
assert main([*sys.argv[1:], "hydra.run.dir=run", "trainer.epochs=1", "trainer.max_steps_per_epoch=2"]) == 0
modules["end"] = sorted(set(sys.modules) - before)
print(json.dumps(modules))
"""


def imported(folder: Path, *overrides: str) -> dict[str, list[str]]:
    """Return the modules that a run imports beyond those of torch, at its first step and at its end."""
    completed = subprocess.run(
        [sys.executable, "-c", SCRIPT, *overrides], cwd=folder, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    modules: dict[str, list[str]] = json.loads(completed.stdout.splitlines()[-1])
    return modules


def test_a_plain_run_imports_no_slow_packages_and_matplotlib_only_after_training(tmp_path: Path) -> None:
    for number, overrides in enumerate(
        [[], ["optim=muon", "averaging=ema", "augmentation=crop_flip", "logger=tensorboard"]]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        modules = imported(folder, *overrides)
        assert not set(SLOW) & set(modules["end"])
        assert "matplotlib" not in modules["first step"]
        assert "matplotlib" in modules["end"]  # otherwise the check above could not fail


def test_help_and_version_import_neither_hydra_nor_numpy() -> None:
    script = (
        "import sys; from cnntrain.cli import main\n"
        "for arguments in (['--help'], ['--version']): main(arguments)\n"
        "slow = {'torch', 'hydra', 'numpy'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
