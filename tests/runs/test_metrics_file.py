"""metrics.jsonl: the steps recorded, valid JSON, and rows cut when a run is continued."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from cnntrain.errors import DataError
from cnntrain.runs.metrics_file import JsonLines, Recorder


def reject(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_each_record_can_be_read_at_once_as_json_without_nan_and_infinity(tmp_path: Path) -> None:
    path, heard = tmp_path / "metrics.jsonl", list[dict[str, Any]]()
    recorder = Recorder(path, 0, 1)
    recorder.listeners.append(heard.append)
    rows: list[dict[str, Any]] = [
        {"step": 1, "train/loss": 0.5, "lr": math.inf, "momentum": None},
        {"step": 2, "train/loss": math.nan, "lr": -math.inf, "grad_norm": 3.25},
    ]
    valid: list[dict[str, Any]] = [
        {"step": 1, "train/loss": 0.5, "lr": None, "momentum": None},
        {"step": 2, "train/loss": None, "lr": None, "grad_norm": 3.25},
    ]
    for count, row in enumerate(rows, 1):
        recorder.record(row)
        lines = path.read_text(encoding="utf-8").split("\n")
        assert [json.loads(line, parse_constant=reject) for line in lines[:-1]] == valid[:count]
        assert lines[-1] == ""
        assert recorder.rows == count
    assert heard == valid
    recorder.close()
    with pytest.raises(ValueError, match="closed"):
        recorder.record(rows[0])


def test_a_row_with_nan_is_not_written(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl", 0)
    with pytest.raises(ValueError, match="JSON"):
        lines.write({"train/loss": math.nan})
    lines.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


@pytest.mark.parametrize("torn", [b"", b'{"step": 4, "tra', b'{"step": 4}'])
@pytest.mark.parametrize("keep_rows", [0, 1, 2, 3, 4, 10])
def test_a_continued_file_keeps_its_first_whole_rows(tmp_path: Path, keep_rows: int, torn: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = [b'{"step": 1}\n', b'{"step": 2, "train/loss": null}\n', b'{"step": 3}\n']
    path.write_bytes(b"".join(whole) + torn)
    recorder = Recorder(path, keep_rows, 1)
    kept = whole[:keep_rows]
    assert path.read_bytes() == b"".join(kept)
    assert recorder.rows == len(kept)
    recorder.record({"step": 5})
    assert recorder.rows == len(kept) + 1
    recorder.close()
    assert path.read_bytes() == b"".join(kept) + b'{"step": 5}\n'


def test_a_new_file_has_no_rows_whatever_a_checkpoint_counted(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "metrics.jsonl", 7, 1)
    assert recorder.rows == 0
    recorder.close()


@pytest.mark.parametrize(
    ("every", "recorded"),
    [(1, [1, 2, 3, 4, 5, 6, 7, 8, 9]), (2, [1, 2, 4, 6, 8]), (4, [1, 4, 8]), (20, [1])],
)
def test_the_first_update_and_every_nth_are_recorded(tmp_path: Path, every: int, recorded: list[int]) -> None:
    recorder = Recorder(tmp_path / "metrics.jsonl", 0, every)
    recorder.close()
    assert [update for update in range(1, 10) if recorder.due(update - 1)] == recorded


def test_flushing_writes_all_rows_to_disk_or_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    recorder = Recorder(path, 0, 1)
    synced: list[os.stat_result] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor)))
    recorder.record({"step": 1})
    recorder.sync()
    (entry,) = synced
    assert (entry.st_ino, entry.st_size) == (path.stat().st_ino, len('{"step": 1}\n'))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"metrics\.jsonl: could not be written \(No space left"):
        recorder.sync()
    recorder.close()


def test_a_folder_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be written.*make it a writable file"):
        JsonLines(tmp_path, 3)
