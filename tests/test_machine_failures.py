"""Failures of the machine end in one line with the cause, and the run goes on afterwards."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cnntrain.cli import main
from cnntrain.errors import DataError
from cnntrain.machine_errors import OutOfMemory, machine_error
from cnntrain.output_streams import open_standard_descriptors
from cnntrain.runs import atomic_write
from cnntrain.runs.run_folder import RunFolder

QUICK = ["model=linear", "trainer.max_steps_per_epoch=2", "trainer.pictures=false", "trainer.epochs=2"]


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["data=synthetic", "data.image_size=40000"], "for the data; lower data.limit"),
        (["model=mlp", "model.hidden=[4000000,4000000]"], "in the network; lower its width"),
        (["data=synthetic", "data.train_images=10000000000"], "for the data; lower data.limit"),
    ],
)
def test_too_little_memory_names_the_amount_and_what_to_lower(
    overrides: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"hydra.run.dir={tmp_path / 'run'}", *overrides]) == 1
    (line,) = errors(capsys)
    assert re.search(r"out of memory: [\d.e+]+ \w+ could not be allocated", line)
    assert part in line


def test_the_messages_of_torch_numpy_and_python_about_memory_are_known() -> None:
    for allocate in (
        lambda: torch.empty(1 << 60, dtype=torch.uint8),
        lambda: np.empty(1 << 60, dtype=np.uint8),
        lambda: bytearray(1 << 60),
    ):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert isinstance(machine_error(caught.value), OutOfMemory)
    assert machine_error(RuntimeError("shapes do not match")) is None
    assert machine_error(KeyError("memory")) is None


def test_a_killed_reader_of_images_is_named() -> None:
    class Killing(torch.utils.data.Dataset[int]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> int:
            os.kill(os.getpid(), 9)
            return 0

    with pytest.raises(RuntimeError) as caught:
        list(torch.utils.data.DataLoader(Killing(), num_workers=1))
    assert re.search(
        r"a process that reads images \(pid \d+\) (was killed|ended)", str(machine_error(caught.value))
    )


class Full(io.StringIO):
    """A stream on a full device."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [None, Full(), io.StringIO()])
def test_training_goes_on_without_output(
    stream: io.StringIO | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stream is not None and not isinstance(stream, Full):
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    assert main([f"hydra.run.dir={tmp_path / 'run'}", *QUICK]) == 0
    assert sys.stdout is stream
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--cfg", "job"]])
def test_what_was_asked_for_and_could_not_be_printed_is_a_failure(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert main(arguments) == 1


def test_a_reader_that_has_read_enough_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["--help"]) == 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)  # closing flushes once more


def test_a_working_folder_that_is_gone_and_an_unknown_backend_of_matplotlib(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"cd {tmp_path / 'gone'} && rmdir ../gone && exec {sys.executable} -m cnntrain model=linear"
    found = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr.count("\n")) == (3, 1)
    assert "the working folder does not exist any more" in found.stderr
    found = subprocess.run(
        [sys.executable, "-m", "cnntrain", "job=summary", "model=linear"],
        env=os.environ | {"MPLBACKEND": "nope"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["model=linear"], ["-m", "model=linear", "seed=1,2"]])
def test_a_torch_that_cannot_be_imported_is_said_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ValueError('Invalid log settings: x')\n")
    found = subprocess.run(
        [sys.executable, "-m", "cnntrain", *arguments],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stderr.count("\n")) == (1, 1)
    assert "torch cannot be imported: Invalid log settings: x" in found.stderr


def test_closed_descriptors_are_opened_so_that_no_file_gets_their_number() -> None:
    kept = os.dup(0)
    try:
        os.close(0)
        open_standard_descriptors()
        assert os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_a_disk_that_is_full_before_the_first_checkpoint_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "run" / "images.png"

    def full(*arguments: object) -> None:
        picture.write_bytes(b"half")
        raise DataError(f"{picture}: could not be written (the disk is full)")

    monkeypatch.setattr("cnntrain.runs.run_folder.Recorder", full)
    monkeypatch.setattr("cnntrain.runs.checkpoint.Checkpoints.exist", lambda self: False)
    assert main([f"hydra.run.dir={tmp_path / 'run'}", *QUICK]) == 3
    assert "continue" not in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    # In a folder of the user's, what lay there before stays.
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "schedule.png").write_bytes(b"the user's")
    assert main([f"hydra.run.dir={tmp_path / 'run'}", *QUICK]) == 3
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["schedule.png"]


@pytest.mark.parametrize("operation", ["fsync", "replace", "link"])
@pytest.mark.parametrize("at", [1, 4])
def test_a_failing_file_operation_ends_in_one_line_and_the_run_goes_on(
    operation: str,
    at: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, count = getattr(os, operation), 0

    def failing(*arguments: object, **named: object) -> object:
        nonlocal count
        count += 1
        if count == at:
            raise OSError(5, "Input/output error")
        return original(*arguments, **named)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(os, operation, failing)
        code = main([f"hydra.run.dir={run}", *QUICK, "trainer.checkpoint_every_steps=1"])
    assert code in (0, 3)
    assert len(errors(capsys)) == (1 if code else 0)
    assert not [file for pattern in atomic_write.PARTIAL_FILES for file in run.rglob(pattern)]
    again = [f"run={run}"] if (run / "config.yaml").exists() else [f"hydra.run.dir={run}", *QUICK]
    assert main(again) == 0


def test_partial_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for name in (".config.yaml.writing", "checkpoints/.last.pt.writing", "checkpoints/.previous.pt.linking"):
        (tmp_path / name).write_text("")
    with folder.locked():
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", "checkpoints"]
    shutil.rmtree(tmp_path)
