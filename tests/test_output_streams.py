"""What is printed on a terminal, and into a file."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from cnntrain.cli import main
from cnntrain.output_streams import LABEL_WIDTH, print_labelled

LINES = [
    f"network   vgg ({', '.join(f'setting_{i}={i}' for i in range(20))}): 1234 parameters",
    "device    cpu",
]


class Terminal(io.StringIO):
    """A terminal that keeps what is printed."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [40, 72, 500])
def test_lines_are_wrapped_at_the_width_of_a_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    print_labelled(LINES)
    printed = terminal.getvalue().splitlines()
    assert max(map(len, printed)) <= columns
    assert (len(printed) > 2) == (columns < 500)
    assert all(line.startswith((" " * LABEL_WIDTH, "network   ", "device    ")) for line in printed)
    assert " ".join(terminal.getvalue().split()) == " ".join(" ".join(LINES).split())


def test_lines_are_not_wrapped_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_labelled(LINES)
    assert capsys.readouterr().out.splitlines() == LINES


def test_every_quiet_job_prints_one_line_with_its_result_and_errors_as_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    quiet = ["trainer.quiet=true", "model=linear", "trainer.epochs=1", "trainer.pictures=false"]
    assert main([*quiet, "hydra.run.dir=run"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    accuracy = json.loads(Path("run/summary.json").read_text())["test/accuracy"]
    assert line.startswith("run: best epoch 1 of 1, ")
    assert f"test accuracy {accuracy:.2%}" in line
    assert main([*quiet, "-m", "seed=0,1", "hydra.sweep.dir=sweep"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("sweep     2 jobs in sweep, 0 failed; best 000")
    ensemble = [f"ensemble.members=[{','.join(str(path) for path in Path('sweep').resolve().glob('000*'))}]"]
    for job, overrides, words in (
        ("evaluate", ["run=run"], f"accuracy {accuracy:.2%}"),
        ("check", ["check.seconds=0.01", "model=linear", "data.limit=100"], "none of "),
        ("data", ["data.limit=100"], "none of "),
        ("lr_range", ["model=linear"], ": optim.lr="),
        ("ensemble", ensemble, "ensemble of 2, test accuracy"),
    ):
        code = main([f"job={job}", "trainer.quiet=true", *overrides])
        captured = capsys.readouterr()
        assert (code, captured.out.count("\n"), captured.err) == (0, 1, ""), (job, captured)
        assert words in captured.out
    assert main([*quiet, "optim.lr=1e30", "trainer.epochs=2"]) == 4
    captured = capsys.readouterr()
    assert not captured.out
    assert "diverged" in captured.err
    # What a run was told for its training is not meant for its evaluation.
    assert main(["job=evaluate", "run=run"]) == 0
    assert capsys.readouterr().out.count("\n") > 5
