"""cnntrain.train: the same run as that of a command, in a process that is as before afterwards."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cnntrain
from cnntrain.cli import main

QUICK = [
    *("trainer.epochs=2", "trainer.max_steps_per_epoch=3", "trainer.pictures=false"),
    *("trainer.instruments=false", "trainer.threads=1", "model=linear", "regularization.dropout=null"),
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in row if key not in ("images_per_second", "data_wait")} for row in rows]


def process_state() -> dict[str, Any]:
    """Return all of the process that a run might change, random states included."""
    return {
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        "streams": (sys.stdout, sys.stderr),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "threads": torch.get_num_threads(),
        "defaults": (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
    }


def test_a_run_is_that_of_the_command_and_of_no_state_of_the_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["hydra.run.dir=command", *QUICK]) == 0
    capsys.readouterr()
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = not tf32
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            before = process_state()
            run = cnntrain.train("hydra.run.dir=python", "trainer.quiet=true", *QUICK)
            assert process_state() == before
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = tf32
    command = cnntrain.TrainingResult(Path("command"))
    assert without_times(run.metrics) == without_times(command.metrics)
    assert capsys.readouterr().out.count("\n") == 1
    assert (run.status, run.best_epoch) == (command.status, command.best_epoch)
    assert len(run.epochs) == 2
    assert run.summary["val/accuracy"] == max(row["val/accuracy"] for row in run.epochs)
    assert [len(run.load().names), run.findings] == [10, []]


@pytest.mark.parametrize(
    "overrides",
    [["modle=x"], ["optim.lr=0"], ["seed=1,2"], ["run=nowhere"], ["data=npz", "data.path=no.npz"]],
)
def test_an_error_is_an_exception_with_the_message_of_the_command(
    overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code = main(overrides)
    printed = capsys.readouterr().err
    with pytest.raises((cnntrain.ConfigError, cnntrain.DataError)) as caught:
        cnntrain.train(*overrides)
    assert printed == "".join(f"cnntrain: {line}\n" for line in str(caught.value).splitlines())
    assert (caught.value.exit_code, caught.value.folder) == (exit_code, None)
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["job=check", "seed=3"],
            "job=check: cnntrain.train trains; run this job as a command: cnntrain job=",
        ),
        (["-m", "seed=1,2"], "-m: is for the command line; cnntrain.train starts one run"),
    ],
)
def test_what_is_no_training_is_refused(overrides: list[str], expected: str) -> None:
    with pytest.raises(cnntrain.ConfigError, match=re.escape(expected)):
        cnntrain.train(*overrides)


def test_a_run_that_diverged_is_found_by_its_error() -> None:
    with pytest.raises(cnntrain.Diverged) as caught:
        cnntrain.train(*QUICK, "optim.lr=1e30", "trainer.max_grad_norm=null", "trainer.precision=fp32")
    assert caught.value.folder is not None
    assert cnntrain.TrainingResult(caught.value.folder).status == "diverged"


def test_ctrl_c_is_a_keyboard_interrupt_after_the_step_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("interrupting.py").write_text(
        "import signal\n"
        "def factor(step, total_steps):\n"
        "    factor.calls = getattr(factor, 'calls', 0) + 1\n"
        "    if factor.calls == 15: signal.raise_signal(signal.SIGINT)\n"
        "    return 1\n"
    )
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        KeyboardInterrupt, match=r"SIGINT: stopped after saving; continue with cnntrain.train"
    ):
        cnntrain.train(
            *QUICK, "hydra.run.dir=run", "schedule=custom", "schedule.function=interrupting:factor"
        )
    assert signal.getsignal(signal.SIGINT) is before
    assert cnntrain.TrainingResult(Path("run")).status == "interrupted"
    assert Path("run/checkpoints/last.pt").is_file()


def test_other_threads_than_the_main_one_are_refused() -> None:
    raised: list[BaseException] = []

    def call() -> None:
        try:
            cnntrain.train(*QUICK)
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "main thread only" in str(raised[0])


def test_importing_the_package_imports_neither_torch_nor_numpy() -> None:
    script = (
        "import sys, cnntrain\n"
        "cnntrain.train, cnntrain.ConfigError\n"
        "assert not {'torch', 'numpy', 'omegaconf', 'typing'} & set(sys.modules) - set(before)\n"
    )
    script = f"import sys; sys.path[:0] = {sys.path!r}\nbefore = set(sys.modules)\n{script}"
    subprocess.run([sys.executable, "-I", "-c", script], check=True, capture_output=True)


def test_the_examples_of_the_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    train = cnntrain.train

    def short(*overrides: str) -> cnntrain.TrainingResult:
        quick = [] if overrides[0].startswith("run=") else ["trainer.max_steps_per_epoch=1", *QUICK[2:5]]
        return train(*overrides, *quick)

    monkeypatch.setattr(cnntrain, "train", short)
    names: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), names)
    assert names["longer"].summary["epochs"] == len(names["longer"].epochs) == 5
