"""docs/extending.md, followed word for word in a copy of the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
BLOCK = r"((?:    .*\n|\n)+)"
FILE = re.compile(rf"(Write|Append to)\s`(\S+)`:\n\n{BLOCK}")
REPLACEMENT = re.compile(rf"In `(\S+)`, replace\n\n{BLOCK}by\n\n{BLOCK}")


@pytest.fixture
def followed(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package in which every step of the page is done."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for action, path, block in FILE.findall(page):
        with (tmp_path / path).open("x" if action == "Write" else "a", encoding="utf-8") as file:
            file.write("\n\n" * (action == "Append to") + dedent(block).strip() + "\n")
    for path, before, after in REPLACEMENT.findall(page):
        content = (tmp_path / path).read_text(encoding="utf-8")
        assert content.count(before.strip()) == 1
        (tmp_path / path).write_text(content.replace(before.strip(), after.strip().replace("\n    ", "\n")))
    return tmp_path


def test_the_parts_of_the_page_train_together(followed: Path) -> None:
    parts = ["optim=lion", "model=separable", "data=gratings"]
    quick = ["trainer.epochs=3", "trainer.record_every_steps=1", "trainer.report=false"]
    completed = subprocess.run(
        [sys.executable, "-m", "cnntrain", *parts, *quick, "hydra.run.dir=run"],
        cwd=followed,
        env=os.environ | {"PYTHONPATH": str(followed / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert json.loads((followed / "run" / "summary.json").read_text())["test/accuracy"] > 0.9
    rows = [json.loads(row) for row in (followed / "run" / "metrics.jsonl").read_text().splitlines()]
    last = next(row for row in reversed(rows) if "spectral_norm/head.output.weight" in row)
    weights = torch.load(followed / "run" / "checkpoints" / "last.pt", weights_only=True)["network"]
    for name in ("features.1.0.weight", "head.output.weight"):
        expected = np.linalg.norm(weights[name].flatten(1).numpy(), 2)
        assert last[f"spectral_norm/{name}"] == pytest.approx(expected, rel=1e-5)
