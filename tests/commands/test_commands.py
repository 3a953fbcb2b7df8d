"""Commands that are no jobs: what the machine is, and a folder of one's own choices."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from cnntrain.cli import main
from cnntrain.commands import machine
from cnntrain.commands.copy_choice import copy_choice
from cnntrain.config.choice_files import EXPERIMENT, Choices
from cnntrain.settings.config_tree import GROUPS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_choice_can_be_copied_and_is_then_the_users_own(capsys: pytest.CaptureFixture[str]) -> None:
    ours = Choices(None)
    copied = 0
    for group in (*GROUPS, EXPERIMENT):
        for choice in ours.all(group):
            copy_choice([f"{group}/{choice.name}", "mine"], ours)
            copied += 1
    theirs = Choices(Path("mine").resolve())
    for group in (*GROUPS, EXPERIMENT):
        for choice in ours.all(group):
            found = theirs.find(group, choice.name)
            assert found is not None
            assert found.from_user
            assert (found.schema, found.values) == (choice.schema, choice.values)
    assert copied > 100


def test_a_copy_under_a_new_name_is_chosen_as_the_printed_command_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["copy", "optim/adam", "mine/optim/gentle.yaml"]) == 0
    command = capsys.readouterr().out.partition(" by cnntrain ")[2].split()
    file = Path("mine/optim/gentle.yaml")
    file.write_text(file.read_text().replace("lr: 0.001", "lr: 0.5"))
    assert main([*command, "--cfg", "job"]) == 0
    assert "lr: 0.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("", 2, "cnntrain copy GROUP/CHOICE FOLDER"),
        ("optim/adam", 2, "cnntrain copy GROUP/CHOICE FOLDER"),
        ("optim/adm mine", 2, "did you mean adam?"),
        ("opt/adam mine", 2, "did you mean optim?"),
        ("optim/../../etc mine", 2, "optim has no choice"),
        ("model/vgg11 mine/net.yaml", 2, "lies in FOLDER/model/"),
        ("optim/adam there", 3, "exists already"),
        ("optim/adam file", 3, "cannot be written"),
    ],
)
def test_what_cannot_be_copied_is_said_in_one_line(
    arguments: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there/optim").mkdir(parents=True)
    Path("there/optim/adam.yaml").write_text("lr: 7\n")
    Path("file").write_text("")
    assert main(["copy", *arguments.split()]) == code
    stderr = capsys.readouterr().err
    assert words in stderr
    assert stderr.count("\n") == 1
    assert Path("there/optim/adam.yaml").read_text() == "lr: 7\n"


def test_the_machine_is_described_with_versions_cores_and_measured_rates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "SECONDS", 0.0)
    monkeypatch.setattr(machine, "SIDE", 64)
    monkeypatch.setattr(machine, "COPIED", 2**16)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main(["checks"]) == 0
    printed = capsys.readouterr().out
    assert f"torch {version('torch')}" in printed
    assert f"{os.cpu_count()} cores" in printed
    assert "OMP_NUM_THREADS=1" in printed
    assert "GFLOP/s" in printed
    assert ("cuda:0" in printed) == torch.cuda.is_available()
    assert main(["checks", "model=vgg11"]) == 2
    assert "did you mean check?" in capsys.readouterr().err
