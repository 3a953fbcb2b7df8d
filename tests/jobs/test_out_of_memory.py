"""Where memory is too small for a batch, training goes on with parts of it: the same updates."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cnntrain.cli import main

NETWORK = '''
import torch
from torch import nn

class Limited(nn.Linear):
    """Fails like a device that has memory for `limit` images, from the step number `after` on."""

    def __init__(self, classes, limit, after):
        super().__init__(64, classes)
        self.limit, self.after, self.calls = limit, after, 0

    def forward(self, images):
        if self.training:
            self.calls += 1
            if len(images) > self.limit and self.calls > self.after:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().forward(images.flatten(1))

def make(in_channels, classes, limit=64, after=0):
    return Limited(classes, limit, after)
'''
QUICK = [
    "trainer.precision=fp32",
    "trainer.threads=1",
    "trainer.pictures=false",
    "trainer.report=false",
    "trainer.epochs=2",
    "model=custom",
    "model.factory=limited:make",
    "data.batch_size=64",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("limited.py").write_text(NETWORK)
    sys.modules.pop("limited", None)


def weights(run: str) -> torch.Tensor:
    state = torch.load(Path(run) / "checkpoints/last.pt", weights_only=True)
    return torch.cat([tensor.flatten() for tensor in state["network"].values()])


def rows(run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]


def test_a_batch_that_does_not_fit_is_the_same_update_as_accumulated_smaller_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*QUICK, "+model.arguments.limit=20", "hydra.run.dir=small"]) == 0
    assert "the 64 images of an update are processed in 4 parts of 16" in capsys.readouterr().out
    accumulated = ["data.batch_size=16", "trainer.accumulate_steps=4"]
    assert main([*QUICK, *accumulated, "hydra.run.dir=accumulated"]) == 0
    assert torch.equal(weights("small"), weights("accumulated"))
    assert json.loads(Path("small/summary.json").read_text())["parts_per_batch"] == 4
    assert "parts_per_batch" not in json.loads(Path("accumulated/summary.json").read_text())


def test_memory_that_runs_out_later_costs_no_step_and_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    late = ["+model.arguments.limit=32", "+model.arguments.after=30", "trainer.record_every_steps=1"]
    assert main([*QUICK, *late, "hydra.run.dir=late"]) == 0
    assert "2 parts of 32" in capsys.readouterr().out
    steps = [row["step"] for row in rows("late") if "lr" in row]
    assert steps == list(range(1, 37))  # two epochs of 18 updates
    assert main([*QUICK, "hydra.run.dir=roomy"]) == 0
    assert torch.allclose(weights("late"), weights("roomy"), atol=1e-5)


def test_a_continued_run_keeps_the_smaller_parts(capsys: pytest.CaptureFixture[str]) -> None:
    limited = [*QUICK, "+model.arguments.limit=20", "schedule=constant", "schedule.warmup_epochs=0"]
    assert main([*limited, "hydra.run.dir=whole", "trainer.epochs=3"]) == 0
    assert main([*limited, "hydra.run.dir=parts"]) == 0
    capsys.readouterr()
    assert main(["run=parts", "trainer.epochs=3"]) == 0
    assert capsys.readouterr().out.count("out of memory") == 1  # said, not tried again
    assert torch.equal(weights("whole"), weights("parts"))


def test_a_part_that_never_fits_ends_the_run_after_four_divisions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "+model.arguments.limit=3", "hydra.run.dir=none"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("out of memory") == 4
    assert "out of memory: 20.00 GiB could not be allocated" in captured.err
    assert "lower data.batch_size" in captured.err
    assert "16 parts of a batch were tried, the most" in captured.err


def test_the_whole_batch_of_a_line_search_is_divided_and_more_parts_are_advised(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = [*QUICK[:-1], "optim=lbfgs", "optim.iterations=1", "trainer.epochs=1"]
    assert main([*whole, "+model.arguments.limit=300", "hydra.run.dir=parts"]) == 0
    assert "4 parts of 288" in capsys.readouterr().out
    assert main([*whole, "+model.arguments.limit=40", "hydra.run.dir=none"]) == 1
    error = capsys.readouterr().err
    assert "raise trainer.accumulate_steps" in error
    assert "data.batch_size" not in error
    assert (
        main([*whole, "+model.arguments.limit=40", "trainer.accumulate_steps=2", "hydra.run.dir=more"]) == 0
    )
