"""cnntrain.load: what names no network is said in one line, with what to write."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import cnntrain
from cnntrain.cli import main
from cnntrain.errors import DataError

SENTENCES = {
    "nowhere": "there is no such folder",
    "ru": "there is no such folder; did you mean run?",
    "nowhere.onnx": "there is no such file",
    "": "holds no run itself (no config.yaml) but folders of runs, as run; name one",
    "empty": "is an empty folder; name the folder that a run printed",
    "notes": "holds no run (no config.yaml); name the folder that a run printed",
    "sweep": "is the folder of a sweep; name one of its jobs, as sweep/0000, or",
    "audit": "was made by job=data, which trains nothing; name the folder of a training",
    "a.png": "has images and no trained network; name the folder that a run printed, and give the images to",
    "a.npz": "has images and no trained network",
    "notes/x.txt": "is a file and no trained network; name the folder that a run printed",
    "run/summary.json": "is a file; write the folder of the run, run",
    "x" * 300: "cannot be read (File name too long)",
}


@pytest.fixture(autouse=True)
def folder(shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(shades / "run", "run")
    for name in ("empty", "notes", "sweep/0000", "audit"):
        Path(name).mkdir(parents=True)
    for name in ("notes/x.txt", "a.png", "a.npz", "sweep/sweep.yaml", "sweep/0000/config.yaml"):
        Path(name).touch()
    text = Path("run/config.yaml").read_text().replace("job: train\n", "job: data\n")
    Path("audit/config.yaml").write_text(text)


@pytest.mark.parametrize("named", SENTENCES)
def test_what_names_no_network_is_said_with_what_to_write(named: str) -> None:
    with pytest.raises(DataError) as caught:
        cnntrain.load(named)
    message = str(caught.value)
    assert message.startswith("cnntrain.load('")
    assert SENTENCES[named] in message
    assert "run=" not in message


@pytest.mark.parametrize("named", [None, 3, b"run", ["run"]])
def test_what_is_no_path_is_said(named: Any) -> None:
    with pytest.raises(TypeError, match=r"cnntrain\.load: takes one path, or 'hf:user/name', got an? "):
        cnntrain.load(named)


def test_last_is_the_newest_run_unless_there_is_a_folder_of_that_name() -> None:
    for number, name in enumerate(("outputs/1", "outputs/2")):
        shutil.copytree("run", name)
        os.utime(f"{name}/config.yaml", (number, number))
    (Path("outputs/1/checkpoints/best.pt")).unlink()
    assert cnntrain.load("last").names == ["dark", "grey", "light"]
    Path("last").mkdir()
    with pytest.raises(DataError, match=r"cnntrain.load\('last'\): is an empty folder"):
        cnntrain.load("last")


@pytest.mark.parametrize(
    "named", ["nowhere", "empty", "sweep", "audit", "a.png", "notes/x.txt", "nowhere.pt"]
)
def test_a_prediction_says_the_same(named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", f"run={named}", "predict.images=a.png"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    expected = SENTENCES.get(named, "there is no such file").partition(";")[0].partition(",")[0]
    assert line.startswith(f"cnntrain: run={named}: {expected}")
    assert (", and the images by predict.images=a.png" in line) == (named == "a.png")
