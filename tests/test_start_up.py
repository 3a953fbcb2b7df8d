"""What a plain training run imports, and what an error and help import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# Packages that are slow to import, and that a plain training run does not need.
SLOW = ("torch._dynamo", "torch._inductor", "torch.distributed", "sympy", "scipy", "sklearn", "torchvision")

SCRIPT = """
import json, sys
import torch
before = set(sys.modules)
from cnntrain.cli import main
from cnntrain.training.step import TrainingStep

run, found = TrainingStep.run, {}
def first(self, *arguments, **named):
    found.setdefault("first step", sorted(set(sys.modules) - before))
    return run(self, *arguments, **named)
TrainingStep.run = first
assert main([*sys.argv[1:], "hydra.run.dir=run", "trainer.epochs=1", "trainer.max_steps_per_epoch=2"]) == 0
found["end"] = sorted(set(sys.modules) - before)
print(json.dumps(found))
"""


def imported(folder: Path, *overrides: str) -> dict[str, list[str]]:
    """Return the modules that a run imports beyond those of torch, at its first step and at its end."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *overrides], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_plain_run_imports_nothing_slow_and_matplotlib_only_after_training(tmp_path: Path) -> None:
    for number, overrides in enumerate([[], ["optim=muon", "averaging=ema", "augmentation=crop_flip"]]):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = imported(folder, *overrides)
        assert not set(SLOW) & set(found["end"])
        assert "matplotlib" not in found["first step"]
        assert "matplotlib" in found["end"]  # so that the check above can fail


def test_help_and_version_import_neither_hydra_nor_numpy() -> None:
    script = (
        "import sys; from cnntrain.cli import main\n"
        "for arguments in (['--help'], ['--version']): main(arguments)\n"
        "slow = {'torch', 'hydra', 'numpy'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
