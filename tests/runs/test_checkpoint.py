"""Checkpoints: plain torch files that detect damage; a valid one exists at every moment."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from cnntrain.errors import DataError
from cnntrain.runs.checkpoint import Checkpoints, read
from cnntrain.runs.checkpoint_schema import RunState
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


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (0, "truncated"),
        (1, "truncated"),
        (50, "truncated"),
        (80, "truncated"),
        (81, "no SHA-256"),
        (500, "no SHA-256"),
        (-1, "no SHA-256"),
    ],
)
def test_a_truncated_file_is_detected(checkpoints: Checkpoints, length: int, message: str) -> None:
    file = checkpoints.folder / "last.pt"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DataError, match=f"is damaged.*{message}"):
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


def signed(path: Path, content: bytes) -> None:
    """Write the bytes of a zip archive with a comment: "cnntrain sha256 " and the digest before it."""
    content = content[:-2] + (80).to_bytes(2, "little")
    path.write_bytes(content + b"cnntrain sha256 " + hashlib.sha256(content).hexdigest().encode())


def archive(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("length", [0, 1, 10])
def test_an_archive_with_a_cut_entry_is_damaged(tmp_path: Path, length: int) -> None:
    source, buffer = zipfile.ZipFile(io.BytesIO(archive({"format": 2}))), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as cut:
        for name in source.namelist():
            content = source.read(name)
            cut.writestr(name, content[:length] if name.endswith("data.pkl") else content)
    signed(tmp_path / "cut.pt", buffer.getvalue())
    with pytest.raises(DataError, match="is not a checkpoint of cnntrain"):
        read(tmp_path / "cut.pt")


def test_a_checkpoint_is_a_zip_archive_whose_comment_is_its_digest(checkpoints: Checkpoints) -> None:
    file = checkpoints.folder / "last.pt"
    with zipfile.ZipFile(file) as written:
        assert written.testzip() is None
        comment = written.comment
    digest = hashlib.sha256(file.read_bytes()[: -len(comment)]).hexdigest()
    assert comment == b"cnntrain sha256 " + digest.encode()


def test_a_file_of_format_2_written_by_another_program_is_read(tmp_path: Path) -> None:
    signed(tmp_path / "last.pt", archive({"format": 2, **STATE}))
    state, warning = Checkpoints(tmp_path).load_last()
    assert torch.equal(state["network"]["w"], STATE["network"]["w"])
    assert state["progress"] == STATE["progress"]
    assert warning is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive({**STATE, "format": 1}), "is a checkpoint of another version"),
        (archive({**STATE, "format": 3}), "is a checkpoint of another version"),
        (archive(STATE), "is a checkpoint of another version"),
        (archive([1, 2]), "is a checkpoint of another version"),
        (archive(STATE).replace(b"data.pkl", b"data.txt"), "is not a checkpoint of cnntrain"),
        (b"no archive" * 50, "is not a checkpoint of cnntrain"),
    ],
)
def test_a_file_with_a_valid_digest_and_other_content_is_reported(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "last.pt"
    signed(file, content)
    with pytest.raises(DataError, match=rf"last\.pt: {message}"):
        read(file)


def test_what_is_missing_in_a_checkpoint_is_reported_for_its_kind(checkpoints: Checkpoints) -> None:
    checkpoints.save_last({key: value for key, value in STATE.items() if key != "sums"})
    with pytest.raises(DataError, match=r"last\.pt: sums is missing"):
        read(checkpoints.folder / "last.pt", RunState)
    checkpoints.save_best({key: value for key, value in STATE.items() if key != "names"})
    with pytest.raises(DataError, match=r"best\.pt: names is missing"):
        checkpoints.load_best()


def test_the_best_checkpoint_has_a_file_of_its_own(checkpoints: Checkpoints) -> None:
    best = {key: STATE[key] for key in ("config", "names", "image_shape", "precision", "preprocess", "loss")}
    checkpoints.save_best(best | {"network": {"w": torch.ones(3)}})
    assert checkpoints.load_best()["network"]["w"].tolist() == [1, 1, 1]
    assert checkpoints.load_last()[0]["progress"]["step"] == 3


def test_checkpoints_of_epochs_are_kept_beside_each_other(checkpoints: Checkpoints) -> None:
    for epoch in (3, 12, 12345):
        checkpoints.save_epoch({"network": {"w": torch.tensor(epoch)}}, epoch)
    files = sorted(checkpoints.folder.glob("epoch-*"))
    assert [file.name for file in files] == ["epoch-0003.pt", "epoch-0012.pt", "epoch-12345.pt"]
    assert [int(read(file)["network"]["w"]) for file in files] == [3, 12, 12345]
    assert checkpoints.load_last()[0]["progress"] == STATE["progress"]


def test_the_folder_is_created_once_and_empty(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for _ in range(2):
        checkpoints.make()
        assert list(checkpoints.folder.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: cannot be created"):
        Checkpoints(tmp_path / "file").make()


@pytest.mark.parametrize(
    ("names", "exist"),
    [([], False), (["best.pt"], False), (["last.pt"], True), (["previous.pt"], True)],
)
def test_a_run_continues_from_its_last_or_previous_checkpoint(
    tmp_path: Path, names: list[str], exist: bool
) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert Checkpoints(tmp_path).exist() == exist


@pytest.mark.parametrize("obstacle", ["an old link", "no hard links"])
def test_the_replaced_checkpoint_is_kept_as_previous(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    if obstacle == "an old link":  # as after a kill between link and rename
        (checkpoints.folder / ".previous.pt.linking").write_text("old")
    else:

        def unsupported(*_: object) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "link", unsupported)
    checkpoints.save_last(STATE | progress(4))
    files = [checkpoints.folder / name for name in ("last.pt", "previous.pt")]
    assert [read(file)["progress"]["step"] for file in files] == [4, 3]
    assert sorted(checkpoints.folder.iterdir()) == files


def test_a_folder_in_place_of_a_checkpoint_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "last.pt").mkdir()
    with pytest.raises(DataError, match=r"last\.pt: is a folder; remove or rename it"):
        read(tmp_path / "last.pt")
