"""Checkpoints: plain torch files that notice any damage and never leave the folder without a good one."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path

import pytest
import torch

from cnntrain.errors import DataError
from cnntrain.runs.checkpoint import Checkpoints, read

STATE = {"network": {"w": torch.arange(1000.0)}, "progress": {"step": 3, "best": None}, "config": "a: 1\n"}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    made = Checkpoints(tmp_path)
    made.save_last(STATE)
    return made


def test_torch_itself_reads_what_was_written(checkpoints: Checkpoints) -> None:
    loaded = torch.load(checkpoints.folder / "last.pt", weights_only=True)
    assert torch.equal(loaded["network"]["w"], STATE["network"]["w"])
    assert read(checkpoints.folder / "last.pt")["progress"] == STATE["progress"]


def test_any_flipped_bit_is_found(checkpoints: Checkpoints) -> None:
    file = checkpoints.folder / "last.pt"
    whole = file.read_bytes()
    places = random.Random(0).sample(range(len(whole)), 150) + list(range(len(whole) - 100, len(whole)))
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"last\.pt"):
            read(file)


@pytest.mark.parametrize("length", [0, 1, 50, 80, 500, -1])
def test_a_truncated_file_is_found(checkpoints: Checkpoints, length: int) -> None:
    file = checkpoints.folder / "last.pt"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DataError, match="damaged"):
        read(file)


def test_a_pickle_that_would_run_code_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    for name, content in (("raw.pt", pickle.dumps(Evil())), ("last.pt", None)):
        file = tmp_path / name
        if content is None:
            # One with a valid SHA-256, as only a forger would make it.
            Checkpoints(tmp_path).save_last({"network": Evil()})
        else:
            file.write_bytes(content + b"x" * 200)
        with pytest.raises(DataError, match=name):
            read(file)
    assert not (tmp_path / "ran").exists()


def test_the_older_generation_serves_when_the_newest_is_damaged(checkpoints: Checkpoints) -> None:
    checkpoints.save_last(STATE | {"progress": {"step": 4}})
    state, warning = checkpoints.load_last()
    assert state["progress"]["step"] == 4
    assert warning is None
    file = checkpoints.folder / "last.pt"
    file.write_bytes(file.read_bytes()[:-5] + b"wrong")
    state, warning = checkpoints.load_last()
    assert state["progress"]["step"] == 3
    assert warning is not None
    assert "previous.pt" in warning


def test_a_failed_save_leaves_the_good_checkpoint_and_nothing_half_written(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"last\.pt.*No space left"):
        checkpoints.save_last(STATE | {"progress": {"step": 4}})
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["last.pt"]
    assert read(checkpoints.folder / "last.pt")["progress"]["step"] == 3


def test_there_is_a_checkpoint_at_every_moment_of_a_save(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever file operation the process dies at, the newest or the older checkpoint can be read."""
    checkpoints.save_last(STATE)
    operations = ["link", "rename", "replace", "fsync"]
    seen = 0

    class Killed(BaseException):
        pass

    for deadly in range(12):
        count = 0

        def watched(name: str, deadly: int = deadly) -> object:
            original = getattr(os, name)

            def call(*args: object, **kwargs: object) -> object:
                nonlocal count
                count += 1
                if count == deadly + 1:
                    raise Killed
                return original(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in operations:
                patch.setattr(os, name, watched(name))
            try:
                checkpoints.save_last(STATE)
            except Killed:
                seen += 1
        state, _ = checkpoints.load_last()
        assert state["progress"] == STATE["progress"]
    assert seen >= 3
