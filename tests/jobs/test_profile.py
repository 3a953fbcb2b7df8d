"""job=profile: its numbers add up, and the run that it looks at is unchanged; trainer.profile: the trace."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from cnntrain.cli import main
from cnntrain.profiling import machine_speed

QUICK = (
    "data.limit=200",
    "data.batch_size=20",
    "model.channels=[4]",
    "model.convs_per_block=1",
    "trainer.threads=1",
)


def digest(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of two epochs of 8 updates, with a trace."""
    folder = tmp_path_factory.mktemp("profile") / "run"
    assert main([f"hydra.run.dir={folder}", *QUICK, "trainer.epochs=2", "trainer.profile=true"]) == 0
    return folder


def test_a_profile_of_a_run_adds_up_and_leaves_the_run_as_it_was(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_speed, "CPU_SIDE", 64)
    monkeypatch.setattr(machine_speed, "COPIED", 1000)
    before = digest(run)
    assert main([f"run={run}", "job=profile", "profile.seconds=0.01"]) == 0
    printed = capsys.readouterr().out
    after = digest(run)
    assert set(after) - set(before) == {str(run / name) for name in ("profile.json", "profile.png")}
    assert {name: after[name] for name in before} == before

    content: dict[str, Any] = json.loads((run / "profile.json").read_text())
    epoch, measured = content["epoch"], content["measured"]
    assert sum(epoch["parts"].values()) == pytest.approx(epoch["seconds"])
    assert sum(measured["parts"].values()) == pytest.approx(measured["seconds"])
    assert (epoch["steps"], epoch["images"], epoch["val_images"]) == (8, 160, 40)
    layers = content["layers"]
    for part in ("forward", "backward"):
        outside = measured["parts"][part] / measured["steps"]["divided step"] * 8
        assert sum(layer[part] for layer in layers) + outside == pytest.approx(epoch["parts"][part])
    multiply_adds = {layer["name"]: layer["multiply_adds"] for layer in layers if layer["multiply_adds"]}
    assert multiply_adds == {"features.0.0.conv": 8 * 8 * 4 * 9, "head.output": 4 * 4 * 4 * 10}
    assert printed.count("conv 3x3") == 1


def test_a_trace_names_the_parts_and_changes_nothing(run: Path, tmp_path: Path) -> None:
    plain = tmp_path / "run"
    assert main([f"hydra.run.dir={plain}", *QUICK, "trainer.epochs=2"]) == 0
    one, other = (torch.load(folder / "checkpoints" / "last.pt")["network"] for folder in (run, plain))
    assert all(torch.equal(one[name], other[name]) for name in one)

    trace = json.loads(gzip.decompress((run / "trace.json.gz").read_bytes()))
    named = Counter(event["name"] for event in trace["traceEvents"] if event.get("ph") == "X")
    # Five steps, the first of which had its batch before the trace began.
    assert {name: named[name] for name in ("forward", "backward", "update", "data", "evaluate")} == {
        "forward": 5,
        "backward": 5,
        "update": 5,
        "data": 4,
        "evaluate": 1,
    }
    assert named["aten::convolution"] == 5 + 2  # validation is two batches
