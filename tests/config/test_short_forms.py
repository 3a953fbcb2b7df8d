"""Short forms are written out; everything else stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.short_forms import written_out
from cnntrain.errors import DataError
from cnntrain.settings.job_settings import JOBS

CHOICES = Choices()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("job", JOBS)
def test_the_first_word_may_be_a_job(job: str) -> None:
    assert written_out([job, "seed=1"], CHOICES) == [f"job={job}", "seed=1"]
    assert written_out(["seed=1", job], CHOICES) == ["seed=1", job]


def test_data_may_be_a_path() -> None:
    for name in ("photos", "my photos", "mnist"):
        Path(name).mkdir()
    for name in ("a.zip", "b.tar.gz", "c.npz", "d.txt", "e.CSV"):
        Path(name).write_bytes(b"")
    expected = {
        "photos": ["data=folder", "data.path=photos"],
        "./photos": ["data=folder", "data.path=./photos"],
        "my photos": ["data=folder", "data.path=my photos"],
        "a.zip": ["data=folder", "data.path=a.zip"],
        "b.tar.gz": ["data=folder", "data.path=b.tar.gz"],
        "c.npz": ["data=npz", "data.path=c.npz"],
        "d.txt": ["data=d.txt"],
        "e.CSV": ["data=folder", "data.csv=e.CSV"],
        "mnist": ["data=mnist"],  # the name of a data set
        "missing": ["data=missing"],
        "missing.csv": ["data=folder", "data.csv=missing.csv"],
        "missing.zip": ["data=folder", "data.path=missing.zip"],
        "photos,mnist": ["data=photos,mnist"],
        "": ["data="],
    }
    for value, overrides in expected.items():
        assert written_out([f"data={value}"], CHOICES) == overrides


@pytest.mark.parametrize(
    ("group", "setting"),
    [
        *(("data", "factory"), ("model", "factory"), ("optim", "factory")),
        *(("augmentation", "function"), ("loss", "function"), ("schedule", "function")),
    ],
)
def test_a_part_may_be_a_function_of_the_users_own(group: str, setting: str) -> None:
    for path in ("mine:part", "my_package.my_parts:Part2"):
        expected = [f"{group}=custom", f"{group}.{setting}={path}"]
        assert written_out([f"{group}={path}"], CHOICES) == expected
    for other in ("mine:", ":part", "mine:part,mine:other", "a b:c", "mine:part:x", "1:2"):
        assert written_out([f"{group}={other}"], CHOICES) == [f"{group}={other}"]


def test_other_groups_have_no_functions_of_the_users_own() -> None:
    for text in ("logger=mine:part", "nothing=mine:part", "run=mine:part", "optim.factory=mine:part"):
        assert written_out([text], CHOICES) == [text]


def test_the_last_run_is_the_one_that_was_started_or_continued_last() -> None:
    with pytest.raises(DataError, match="run=last: there is no run below outputs/ yet"):
        written_out(["run=last"], CHOICES)
    for number, name in enumerate(("2026-01-01/a", "2026-01-02/b", "2026-01-02/c", "multirun/sweep/0000")):
        run = Path("outputs") / name
        (run / "checkpoints").mkdir(parents=True)
        (run / "config.yaml").write_text("")
        os.utime(run / "config.yaml", (number, number))
    Path("outputs/multirun/sweep/sweep.yaml").write_text("")
    of_a_check = Path("outputs/2026-01-02/check")
    of_a_check.mkdir()
    (of_a_check / "config.yaml").write_text("")
    assert written_out(["run=last"], CHOICES) == ["run=outputs/2026-01-02/c"]
    os.utime("outputs/2026-01-01/a/config.yaml", (9, 9))
    assert written_out(["run=last"], CHOICES) == ["run=outputs/2026-01-01/a"]
    for time, (folder, file) in enumerate(
        (("mine", "config.yaml"), ("x/y/z", "config.yaml"), ("e", "ensemble.json"))
    ):
        for part in ("checkpoints", "members/00/checkpoints"):
            Path("outputs", folder, part).mkdir(parents=True)
        Path("outputs", folder, "members/00/config.yaml").write_text("")
        Path("outputs", folder, file).write_text("")
        os.utime(Path("outputs", folder, file), (10 + time, 10 + time))
        assert written_out(["run=last"], CHOICES) == [f"run=outputs/{folder}"]
    Path("last").mkdir()
    assert written_out(["run=last"], CHOICES) == ["run=last"]


def test_a_short_command_does_what_the_whole_one_does(capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["model=linear", "trainer.epochs=1", "trainer.pictures=false", "trainer.report=false"]
    assert main(["train", *quick]) == 0
    run = next(Path("outputs").glob("*/*"))
    assert capsys.readouterr().out.startswith(f"command   cnntrain job=train {' '.join(quick)}\n")
    assert main(["evaluate", "run=last", "evaluate.split=val"]) == 0
    written = f"command   cnntrain job=evaluate run={run} evaluate.split=val\n"
    assert capsys.readouterr().out.startswith(written)
    assert main([f"run={run}/checkpoints/best.pt", "job=evaluate"]) == 0
    assert (run / "evaluate-digits-test.json").exists()
    capsys.readouterr()
    assert main([*quick, "hydra.run.dir=plain"]) == 0
    assert "command" not in capsys.readouterr().out
