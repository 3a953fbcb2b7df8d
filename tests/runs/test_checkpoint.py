"""Checkpoints: plain torch files that detect damage; a valid one exists at every moment."""

from __future__ import annotations

import os
import pickle
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from cnntrain.errors import DataError
from cnntrain.runs.checkpoint import Checkpoints, read
from cnntrain.runs.run_progress import Progress


def progress(step: int) -> dict[str, Any]:
    return {"progress": asdict(Progress(step=step))}


STATE = {
    "config": "a: 1\n",
    "names": ["a", "b"],
    "image_shape": [8, 8, 1],
    "precision": "fp32",
    "network": {"w": torch.arange(1000.0)},
    "preprocess": {},
    "loss": {},
    "update": {"optimizers": [], "schedule": {}, "scaler": {}, "skipped": torch.zeros(5)},
    "average": None,
    "sums": torch.zeros(4),
    **progress(3),
}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    written = Checkpoints(tmp_path)
    written.save_last(STATE)
    return written


def test_checkpoints_can_be_read_with_torch_load(checkpoints: Checkpoints) -> None:
    loaded = torch.load(checkpoints.folder / "last.pt", weights_only=True)
    assert torch.equal(loaded["network"]["w"], STATE["network"]["w"])
    assert read(checkpoints.folder / "last.pt")["progress"] == STATE["progress"]


def test_any_flipped_bit_is_detected(checkpoints: Checkpoints) -> None:
    file = checkpoints.folder / "last.pt"
    content = file.read_bytes()
    positions = random.Random(0).sample(range(len(content)), 150) + list(
        range(len(content) - 100, len(content))
    )
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"last\.pt"):
            read(file)


@pytest.mark.parametrize("length", [0, 1, 50, 80, 500, -1])
def test_a_truncated_file_is_detected(checkpoints: Checkpoints, length: int) -> None:
    file = checkpoints.folder / "last.pt"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DataError, match="damaged"):
        read(file)


def test_a_pickle_that_contains_code_is_not_executed(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    for name, content in (("raw.pt", pickle.dumps(Malicious())), ("last.pt", None)):
        file = tmp_path / name
        if content is None:
            # With a valid SHA-256, as an attacker would write it.
            Checkpoints(tmp_path).save_last({"network": Malicious()})
        else:
            file.write_bytes(content + b"x" * 200)
        with pytest.raises(DataError, match=name):
            read(file)
    assert not (tmp_path / "ran").exists()


def test_the_previous_checkpoint_is_used_when_the_last_is_damaged(checkpoints: Checkpoints) -> None:
    checkpoints.save_last(STATE | progress(4))
    state, warning = checkpoints.load_last()
    assert state["progress"]["step"] == 4
    assert warning is None
    file = checkpoints.folder / "last.pt"
    file.write_bytes(file.read_bytes()[:-5] + b"wrong")
    state, warning = checkpoints.load_last()
    assert state["progress"]["step"] == 3
    assert warning is not None
    assert "previous.pt" in warning


def test_a_failed_save_leaves_the_valid_checkpoint_and_no_partial_file(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"last\.pt.*No space left"):
        checkpoints.save_last(STATE | progress(4))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["last.pt"]
    assert read(checkpoints.folder / "last.pt")["progress"]["step"] == 3


def test_a_checkpoint_can_be_read_at_every_moment_of_a_save(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever file operation the process is killed, the last or the previous checkpoint can be read."""
    checkpoints.save_last(STATE)
    operations = ["link", "rename", "replace", "fsync"]
    kills = 0

    class Killed(BaseException):
        pass

    for fatal in range(12):
        count = 0

        def watched(name: str, fatal: int = fatal) -> object:
            original = getattr(os, name)

            def call(*args: object, **kwargs: object) -> object:
                nonlocal count
                count += 1
                if count == fatal + 1:
                    raise Killed
                return original(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in operations:
                patch.setattr(os, name, watched(name))
            try:
                checkpoints.save_last(STATE)
            except Killed:
                kills += 1
        state, _ = checkpoints.load_last()
        assert state["progress"] == STATE["progress"]
    assert kills >= 3


def test_no_link_is_left_where_last_and_previous_are_one_file(checkpoints: Checkpoints) -> None:
    """As after a kill between the two renames of a save."""
    os.link(checkpoints.folder / "last.pt", checkpoints.folder / "previous.pt")
    checkpoints.save_last(STATE | progress(4))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["last.pt", "previous.pt"]
    assert checkpoints.load_last()[0]["progress"]["step"] == 4
