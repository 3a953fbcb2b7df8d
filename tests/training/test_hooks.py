"""Hooks: what they see, that they change nothing, and what becomes of a run in which one fails."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cnntrain.cli import main
from cnntrain.errors import ConfigError, Interrupted, UserError
from cnntrain.jobs.run_outcome import recorded_outcome
from cnntrain.runs.run_folder import RunFolder
from cnntrain.runs.run_progress import Progress
from cnntrain.training.hooks import Hooks, RunView, hook_problems

HOOKS = """
import json, random
import numpy, torch

class Draws:
    def __init__(self):
        torch.manual_seed(1), numpy.random.seed(1), random.seed(1)
    def on_start(self, run):
        self.seen = [["start", run.step, dict(run.row)]]
    def on_step(self, run):
        torch.manual_seed(1), numpy.random.seed(1), random.seed(1)
        torch.rand(3), numpy.random.rand(3), random.random()
        self.seen.append(["step", run.step, dict(run.row)])
    def on_epoch(self, run):
        self.seen.append(["epoch", run.step, dict(run.row)])
    def on_end(self, run):
        self.seen.append(["end", run.summary["status"], dict(run.row)])
        (run.folder / "seen.json").write_text(json.dumps(self.seen))

class FailsOnStart:
    def on_start(self, run): raise ValueError("on purpose")

class FailsOnStep:
    def on_step(self, run):
        if run.step == 6: raise ValueError("on purpose")

class FailsOnEpoch:
    def on_epoch(self, run):
        if run.epoch == 1: raise ValueError("on purpose")

class FailsOnEnd:
    def on_end(self, run): raise ValueError("on purpose")
"""
QUICK = ["model=mlp", "regularization=dropout", "trainer.epochs=2", "trainer.pictures=false"]
QUICK += ["trainer.max_steps_per_epoch=4", "trainer.record_every_steps=3", "trainer.instruments=false"]


@pytest.fixture(autouse=True)
def hooks_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Write the module `hooks` into the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("hooks_of_user.py").write_text(HOOKS)
    yield
    sys.modules.pop("hooks_of_user", None)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run without hooks."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert main([f"hydra.run.dir={folder}", *QUICK]) == 0
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run without its times."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    times = ("images_per_second", "data_wait")
    return [{name: value for name, value in row.items() if name not in times} for row in found]


def assert_same(one: Path, other: Path) -> None:
    """Assert that two runs have the same rows and weights, to the bit."""
    assert rows(one) == rows(other)
    weights = [torch.load(folder / "checkpoints" / "last.pt")["network"] for folder in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_training_with_hooks_that_draw_and_seed_is_the_same_to_the_bit_and_they_see_every_row(
    alone: Path,
) -> None:
    assert main(["hydra.run.dir=run", *QUICK, "trainer.hooks=[hooks_of_user:Draws]"]) == 0
    assert_same(Path("run"), alone)
    seen = json.loads(Path("run/seen.json").read_text())
    assert [(event, step) for event, step, _ in seen] == [
        *(("start", 0), ("step", 1), ("step", 3), ("epoch", 4), ("step", 6), ("epoch", 8)),
        ("end", "finished"),
    ]
    written = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert [row for _, _, row in seen] == [{}, *written, written[-1]]


@pytest.mark.parametrize("name", ["FailsOnStart", "FailsOnStep", "FailsOnEpoch", "FailsOnEnd"])
def test_a_failing_hook_ends_the_run_with_its_traceback_and_the_run_continues_as_if_never_stopped(
    name: str, alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hydra.run.dir=run", *QUICK, f"trainer.hooks=[hooks_of_user:{name}]"]) == 1
    assert "hooks_of_user.py, line " in (printed := capsys.readouterr().err)
    assert "ValueError: on purpose; the traceback is in run/error.txt" in printed
    assert "Traceback" not in printed
    assert "Traceback" in (written := Path("run/error.txt").read_text())
    assert 'raise ValueError("on purpose")' in written
    steps = [row["step"] for row in rows(Path("run"))]
    assert steps == {"FailsOnStart": [], "FailsOnStep": [1, 3, 4, 6], "FailsOnEpoch": [1, 3, 4]}.get(
        name, [1, 3, 4, 6, 8]
    )
    assert main(["run=run", "trainer.hooks=[]"]) == 0
    assert_same(Path("run"), alone)
    assert not Path("run/error.txt").exists()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("def on_epoc(self, run): pass", "on_epoc is never called; did you mean on_epoch?"),
        ("def after(self, run): pass", "has no method that is called; write def on_epoch(self, run)"),
        ("def on_end(self): pass", "on_end must take one argument, the view of the run"),
        ("def on_end(self, run, more): pass", "on_end must take one argument, the view of the run"),
        ("on_end = 3", "on_end is an int, which cannot be called; write def on_end(self, run)"),
        ("on_start = None", "on_start is a NoneType, which cannot be called; write def on_start(self, run)"),
        ("async def on_end(self, run): pass", "on_end is an async function; write def in place of async def"),
        ("def on_end(self, run): yield", "on_end is a generator, whose body would never run"),
        ("def __init__(self, x): pass", "is made without arguments (missing a required argument: 'x')"),
    ],
)
def test_a_class_that_would_not_be_called_is_refused(body: str, problem: str) -> None:
    Path("hooks_of_user.py").write_text(f"class Notes:\n    {body}\n")
    (line,) = hook_problems(["hooks_of_user:Notes"])
    assert line.startswith("trainer.hooks=hooks_of_user:Notes: ")
    assert problem in line


@pytest.mark.parametrize(
    "body",
    [
        "def on_end(self, run, more=None): pass",
        "def on_end(self, *arguments): pass",
        "@staticmethod\n    def on_end(run): pass",
        "@classmethod\n    def on_end(cls, run): pass",
    ],
)
def test_every_method_that_takes_a_view_is_accepted(body: str) -> None:
    Path("hooks_of_user.py").write_text(f"class Notes:\n    {body}\n")
    assert list(hook_problems(["hooks_of_user:Notes"])) == []


def test_what_a_hook_has_made_itself_is_checked_before_the_data_are_read() -> None:
    Path("hooks_of_user.py").write_text(
        "class Notes:\n    def __init__(self): self.on_step = 3\n    def on_end(self, run): pass\n"
    )
    with pytest.raises(ConfigError, match=r"hooks_of_user:Notes: on_step is an int, which cannot be called"):
        Hooks(["hooks_of_user:Notes"])


def test_a_hook_is_refused_before_training_and_leaves_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hydra.run.dir=run", "trainer.hooks=[hooks_of_user:Draw,hooks_of_user:json]"]) == 2
    printed = capsys.readouterr().err
    assert (
        "trainer.hooks=hooks_of_user:Draw: module hooks_of_user has no Draw; did you mean Draws?" in printed
    )
    assert "trainer.hooks=hooks_of_user:json: is a module; name a class" in printed
    assert not Path("run").exists()


def seen_by(on_step: Callable[[RunView], None]) -> Hooks:
    """Return started hooks with one that has this on_step."""
    hooks = Hooks([])
    hooks._hooks = [("test:Hook", type("Hook", (), {"on_step": staticmethod(on_step)})())]
    hooks.start(Path("run"), {"optim": {"lr": 0.1, "betas": [0.9, 0.99]}}, Progress())
    return hooks


def change_row(run: RunView) -> None:
    run.row["lr"] = 1  # type: ignore[index]


def change_config(run: RunView) -> None:
    run.config["optim"]["lr"] = 1


def change_list(run: RunView) -> None:
    run.config["optim"]["betas"][0] = 1


def change_step(run: RunView) -> None:
    run.step = 7  # type: ignore[misc]


@pytest.mark.parametrize("change", [change_row, change_config, change_list, change_step])
def test_a_view_cannot_be_changed(change: Callable[[RunView], None]) -> None:
    with pytest.raises((TypeError, FrozenInstanceError)):
        seen_by(change)({"step": 1, "epoch": 0.5, "lr": 0.1})


def test_random_numbers_are_drawn_after_a_hook_as_before_it() -> None:
    def draw(run: RunView) -> None:
        torch.manual_seed(3), np.random.seed(3), random.seed(3)

    hooks, drawn = seen_by(draw), []
    for between in (lambda: None, lambda: hooks({"step": 1, "epoch": 0.5, "lr": 0.1})):
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        between()
        drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda run: torch.set_default_dtype(torch.float64), "torch's default dtype"),
        (lambda run: torch.set_grad_enabled(False), "whether torch computes gradients"),
        (lambda run: torch.set_num_threads(3), "the number of torch's threads"),
        (lambda run: torch.use_deterministic_algorithms(True), "whether torch's algorithms are determ"),
    ],
)
def test_what_training_depends_on_is_restored_and_its_change_refused(
    change: Callable[[RunView], None], named: str
) -> None:
    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    with pytest.raises(UserError, match=f"test:Hook: on_step changes {named}"):
        seen_by(change)({"step": 1, "epoch": 0.5, "lr": 0.1})
    assert before == (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())


def test_on_end_of_an_interrupted_run_has_its_status_and_its_failure_leaves_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = []

    def on_end(run: RunView) -> None:
        statuses.append(run.summary["status"])
        raise ValueError("on purpose")

    hooks = seen_by(lambda run: None)
    hooks._hooks = [("test:Hook", type("Hook", (), {"on_end": staticmethod(on_end)})())]

    def interrupted_run() -> None:
        with recorded_outcome(RunFolder(tmp_path)) as outcome:
            outcome.hooks, outcome.is_recorded = hooks, True
            raise Interrupted("SIGTERM: stopped after saving", 143)

    with pytest.raises(Interrupted):
        interrupted_run()
    assert statuses == ["interrupted"]
    assert "on_end failed: ValueError: on purpose" in capsys.readouterr().out


def test_the_example_of_the_documentation_writes_its_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "logging.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    command = page.partition("```sh\ncnntrain ")[2].partition("\n")[0]
    Path("epoch_table.py").write_text(code)
    assert main([*command.split(), *QUICK[:1], "trainer.pictures=false"]) == 0
    table = Path("with_table/epochs.csv").read_text().splitlines()
    assert table[0] == "epoch,train/loss,val/loss,val/accuracy"
    assert [line.split(",")[0] for line in table[1:]] == ["1", "2", "3"]
