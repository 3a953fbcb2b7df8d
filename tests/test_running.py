"""The command line end to end: training, folders, sweeps, evaluation, exit codes."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import cnntrain
from cnntrain.cli import main
from cnntrain.config.choice_files import Choices

MakeOnce = Callable[[str, Callable[[Path], None]], Path]
QUICK = ["trainer.epochs=1", "trainer.max_steps_per_epoch=3"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


def rows(folder: Path) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


@pytest.fixture(scope="session")
def default_run(make_once: MakeOnce) -> Path:
    def train(folder: Path) -> None:
        assert main([f"hydra.run.dir={folder}"]) == 0

    return make_once("default_run", train)


@pytest.fixture(scope="session")
def short_run(make_once: MakeOnce) -> Path:
    def train(folder: Path) -> None:
        assert main([f"hydra.run.dir={folder}", "trainer.epochs=2"]) == 0

    return make_once("short_run", train)


def test_the_default_run_reaches_98_percent_test_accuracy(default_run: Path) -> None:
    assert summary(default_run)["test/accuracy"] >= 0.98


def test_a_run_writes_the_documented_files_and_keys(default_run: Path) -> None:
    result = summary(default_run)
    epochs = [row for row in rows(default_run) if "val/loss" in row]
    steps = [row for row in rows(default_run) if "grad_norm" in row]
    assert [row["epoch"] for row in epochs] == list(range(1, 21))
    assert [row["step"] for row in steps][:2] == [1, 6]  # of 360 updates, as of a short run
    assert steps[0].keys() >= {
        "epoch",
        "lr",
        "train/loss",
        "train/data_loss",
        "train/regularization_loss",
        "train/accuracy",
        "images_per_second",
    }
    assert epochs[0].keys() >= {"step", "train/loss", "train/accuracy", "val/loss", "val/accuracy"}
    assert epochs[0].keys() >= {"val/balanced_accuracy", "val/macro_f1", "val/auroc"}
    # Of several epochs with the best accuracy, the one of the lowest loss, then the earliest.
    best = max(epochs, key=lambda row: (row["val/accuracy"], -row["val/loss"], -row["epoch"]))
    assert result["best_epoch"] == best["epoch"]
    assert (result["val/accuracy"], result["val/loss"]) == (best["val/accuracy"], best["val/loss"])
    assert (result["status"], result["best_by"]) == ("finished", "accuracy")
    assert result.keys() >= {
        "epochs",
        "steps",
        "test/loss",
        "parameters",
        "wall_seconds",
        "images_per_second",
        "device",
        "precision",
        "seed",
        "versions",
    }
    names = {path.name for path in (default_run / "checkpoints").iterdir()}
    assert names == {"last.pt", "previous.pt", "best.pt"}
    assert {path.name for path in default_run.iterdir()} == {
        ".lock",
        "config.yaml",
        "metrics.jsonl",
        "histograms.jsonl",
        "summary.json",
        "checkpoints",
        "schedule.png",
        "images.png",
        "filters.png",
        "findings.json",
        "evidence.json",
        "report.html",
    }


def test_the_first_loss_is_close_to_ln_10(default_run: Path) -> None:
    first = rows(default_run)[0]
    assert first["train/data_loss"] == pytest.approx(math.log(10), rel=0.25)


def test_the_same_command_stores_the_same_configuration_and_has_the_same_test_loss() -> None:
    first, again = Path("first"), Path("again")
    for folder in (first, again):
        assert main([f"hydra.run.dir={folder}", "trainer.epochs=2", "regularization.dropout=0.2"]) == 0
    assert (again / "config.yaml").read_text() == (first / "config.yaml").read_text()
    assert summary(again)["test/loss"] == summary(first)["test/loss"]


def test_load_returns_the_best_network_with_its_preprocessing_and_class_names(default_run: Path) -> None:
    trained = cnntrain.load(default_run)
    digits = load_digits()
    images = torch.from_numpy((digits.images * 255 / 16).round()).to(torch.uint8)[..., None]
    names = trained.classify(images)
    correct = sum(name == str(label) for name, label in zip(names, digits.target, strict=True))
    assert correct / len(names) > 0.97
    torch.testing.assert_close(trained.predict(images[:5]).sum(1), torch.ones(5))


def test_a_network_is_loaded_in_float32_whatever_the_default_dtype(short_run: Path) -> None:
    images = torch.arange(64, dtype=torch.uint8).view(1, 8, 8, 1)
    expected = cnntrain.load(short_run).predict(images)
    torch.set_default_dtype(torch.float64)
    try:
        found = cnntrain.load(short_run).predict(images)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)


def test_evaluate_reproduces_the_recorded_metrics_exactly(
    short_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(short_run, "copy")
    assert main([f"run={folder}", "job=evaluate"]) == 0
    result = json.loads((Path(folder) / "evaluate-digits-test.json").read_text())
    recorded = summary(short_run)
    assert (result["accuracy"], result["loss"]) == (recorded["test/accuracy"], recorded["test/loss"])
    confusion = torch.tensor(result["confusion"])
    assert confusion.sum() == result["images"]
    assert confusion.diagonal().sum() / confusion.sum() == pytest.approx(result["accuracy"])
    per_class = (confusion.diagonal() / confusion.sum(1)).tolist()
    assert [entry["recall"] for entry in result["per_class"].values()] == pytest.approx(per_class)
    assert main([f"run={folder}", "job=evaluate", "evaluate.split=val"]) == 0
    val = json.loads((Path(folder) / "evaluate-digits-val.json").read_text())
    assert (val["accuracy"], val["loss"]) == (recorded["val/accuracy"], recorded["val/loss"])
    capsys.readouterr()
    assert main([f"run={folder}", "job=evaluate", "data=synthetic", "data.image_size=9"]) == 3
    assert "9x9" in capsys.readouterr().err


def test_dense_evaluation_averages_the_scores_of_all_positions(capsys: pytest.CaptureFixture[str]) -> None:
    training = ["model.channels=[8]", "model.padding=valid", "trainer.precision=fp32", "trainer.epochs=2"]
    assert main(["hydra.run.dir=run", *training]) == 0
    evaluation = ["run=run", "job=evaluate", "evaluate.dense=true"]
    assert main([*evaluation, "evaluate.dense_size=12", "evaluate.dense_stride=1"]) == 0
    result = json.loads(Path("run/evaluate-dense-digits-test.json").read_text())
    assert result["dense"]["places"] == [5, 5]
    assert result["dense"]["largest_difference"] < 1e-4  # no zero padding
    # The expected result: enlarge, crop all windows of 8x8, average their scores.
    trained = cnntrain.load("run")
    test = trained.config.data.load(0).test
    inputs = trained.preprocess(next(test.chunks(1000)))
    inputs = torch.nn.functional.interpolate(inputs, (12, 12), mode="bilinear", align_corners=False)
    windows = [inputs[:, :, i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
    with torch.inference_mode():
        scores = torch.stack([trained.network(window) for window in windows]).mean(0)
    loss = torch.nn.functional.cross_entropy(scores, test.labels)
    assert result["loss"] == pytest.approx(float(loss), rel=1e-4)
    assert result["accuracy"] == pytest.approx((scores.argmax(1) == test.labels).double().mean().item())
    capsys.readouterr()
    assert main(evaluation) == 2
    assert "evaluate.dense_size=10 or more" in capsys.readouterr().err
    assert main(["run=run", "job=evaluate", "evaluate.dense_size=12"]) == 2
    assert "add evaluate.dense=true" in capsys.readouterr().err


def test_evaluate_accepts_another_data_set(short_run: Path) -> None:
    folder = shutil.copytree(short_run, "copy")
    overrides = ["data=synthetic", "data.image_size=8", "data.channels=1", "data.classes=10"]
    assert main([f"run={folder}", "job=evaluate", *overrides]) == 0
    assert (Path(folder) / "evaluate-synthetic-test.json").exists()


def test_runs_started_in_the_same_second_get_separate_folders(
    empty_folder: Path, start_program: Callable[..., Any]
) -> None:
    overrides = [*QUICK, "trainer.report=false", "trainer.pictures=false"]
    processes = [start_program(*overrides) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert len(list((empty_folder / "outputs").glob("*-*-*/*/summary.json"))) == 2


def test_a_new_run_in_the_folder_of_another_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hydra.run.dir=mine", *QUICK]) == 0
    before = Path("mine/checkpoints/last.pt").read_bytes()
    assert main(["hydra.run.dir=mine", *QUICK, "seed=1"]) == 3
    assert "run=mine" in capsys.readouterr().err
    assert Path("mine/checkpoints/last.pt").read_bytes() == before


def test_a_folder_in_use_is_refused_with_the_process_id(
    start_program: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["hydra.run.dir=mine", "trainer.epochs=100000"]
    process = start_program(*overrides)
    try:
        while not Path("mine/checkpoints/last.pt").exists():
            assert process.poll() is None
            time.sleep(0.01)
        assert main(["run=mine"]) == 3
        assert f"process {process.pid}" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait()
    # The lock of a killed process does not block others.
    assert main(["run=mine", "trainer.max_minutes=0.0001", "trainer.epochs=100000"]) == 0


@pytest.mark.parametrize("case", ["file", "below a file", "no run", "missing", "broken config"])
def test_an_unusable_folder_gives_exit_code_3_and_is_named(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("place").write_text("a file")
    Path("empty").mkdir()
    if case == "broken config":
        assert main(["hydra.run.dir=old", *QUICK]) == 0
        Path("old/config.yaml").write_text("model: 3\n")
    overrides, name = {
        "file": (["hydra.run.dir=place"], "place"),
        "below a file": (["hydra.run.dir=place/run"], "place"),
        "no run": (["run=empty"], "empty"),
        "missing": (["run=emty"], "emty"),
        "broken config": (["run=old"], "old"),
    }[case]
    capsys.readouterr()
    assert main(overrides) == 3
    stderr = capsys.readouterr().err
    assert name in stderr
    assert "Traceback" not in stderr


def test_a_checkpoint_of_another_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*QUICK, "trainer.max_minutes=0.0001"]
    assert main(["hydra.run.dir=one", *overrides]) == 0
    assert main(["hydra.run.dir=two", *overrides, "model=mlp"]) == 0
    shutil.copy("two/checkpoints/last.pt", "one/checkpoints/last.pt")
    assert main(["run=one"]) == 3
    stderr = capsys.readouterr().err
    assert "convnet" in stderr
    assert "mlp" in stderr


def test_a_finite_loss_far_above_the_first_is_reported_as_divergence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    large = ["model=linear", "optim.lr=1e20", "trainer.max_grad_norm=null", "schedule=constant"]
    large.append("regularization=none")
    assert main(["hydra.run.dir=run", "trainer.epochs=1", *large]) == 4
    assert "diverged: the training loss of the last epoch is" in capsys.readouterr().err
    assert summary(Path("run"))["status"] == "diverged"


def test_a_diverged_run_stops_and_reports_step_learning_rate_loss_and_gradient_norm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    overrides = ["hydra.run.dir=run", "model=mlp", "optim.lr=1e30", "schedule=constant"]
    assert main(overrides) == 4
    stderr = capsys.readouterr().err
    for part in ("step", "epoch", "lr 1e+30", "loss", "gradient norm", "last.pt"):
        assert part in stderr
    assert summary(Path("run"))["status"] == "diverged"
    state = torch.load("run/checkpoints/last.pt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in state["network"].values())


def test_a_sweep_runs_all_jobs_and_a_job_equals_the_same_single_run() -> None:
    overrides = ["trainer.epochs=2", "regularization.dropout=0.2"]
    assert main(["-m", "hydra.sweep.dir=sweep", "optim=sgd,adam", "seed=1,2", *overrides]) == 0
    assert sorted(path.name for path in Path("sweep").glob("[0-9]*")) == ["0000", "0001", "0002", "0003"]
    assert main(["hydra.run.dir=alone", "optim=adam", "seed=2", "trainer.threads=1", *overrides]) == 0
    in_sweep, alone = rows(Path("sweep/0003")), rows(Path("alone"))
    for row in in_sweep + alone:
        row.pop("images_per_second"), row.pop("data_wait", None)
    assert in_sweep == alone


def test_a_failing_sweep_job_is_reported_while_the_others_run_and_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    overrides = ["-m", "hydra.sweep.dir=sweep", "optim.lr=1e30,0.05", "model=mlp", "trainer.precision=fp32"]
    assert main([*overrides, "trainer.epochs=3"]) == 1
    assert "job 0000 (optim.lr=1e+30) failed: diverged" in capsys.readouterr().err
    assert summary(Path("sweep/0000"))["status"] == "diverged"
    assert "not finite" in Path("sweep/0000/error.txt").read_text()
    assert summary(Path("sweep/0001"))["status"] == "finished"


def test_an_exception_in_a_sweep_job_is_written_to_error_txt_of_its_folder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("fragile.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Linear):\n"
        "    calls = 0\n"
        "    def forward(self, images):\n"
        "        self.calls += 1\n"
        "        if self.calls > 3 and self.training: raise RuntimeError('on purpose')\n"
        "        return super().forward(images.flatten(1))\n"
        "def make(in_channels, classes, width):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), Net(width, classes) if width > 9 else\n"
        "                         nn.Linear(width, classes))\n"
    )
    overrides = ["-m", "hydra.sweep.dir=sweep", "model=custom", "model.factory=fragile:make", *QUICK]
    assert main([*overrides, "model.arguments.width=16,8"]) == 1
    stderr = capsys.readouterr().err
    assert "job 0000 (model.arguments.width=16) failed" in stderr
    assert "fragile.py, line 6: RuntimeError: on purpose; the traceback is in " in stderr
    assert "Traceback" not in stderr
    written = Path("sweep/0000/error.txt").read_text()
    assert "Traceback" in written
    assert "on purpose" in written
    assert summary(Path("sweep/0001"))["status"] == "finished"


def test_a_resumed_run_may_use_another_logger() -> None:
    assert main(["hydra.run.dir=run", "trainer.epochs=2", "trainer.max_minutes=0.00001"]) == 0
    assert main(["run=run", "logger=tensorboard", "trainer.max_minutes=null"]) == 0
    assert list(Path("run/tensorboard").iterdir())


def test_the_total_loss_is_data_loss_plus_regularization_loss() -> None:
    overrides = ["regularization.l2=0.01", "regularization.l1=0.001", "trainer.record_every_steps=1", *QUICK]
    assert main(["hydra.run.dir=run", *overrides]) == 0
    steps = [row for row in rows(Path("run")) if "grad_norm" in row]
    assert len(steps) == 3
    for row in steps:
        assert row["train/regularization_loss"] > 0.01
        total = row["train/data_loss"] + row["train/regularization_loss"]
        assert row["train/loss"] == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize(("auxiliary", "loss_factor"), [("true", 1.6), ("false", 1.0)])
def test_auxiliary_heads_add_three_tenths_of_their_losses_in_training_only(
    auxiliary: str, loss_factor: float
) -> None:
    overrides = [
        "model=googlenet",
        "model.width=0.05",
        f"model.auxiliary={auxiliary}",
        "initialization=zeros",
    ]
    assert main(["hydra.run.dir=run", *overrides, *QUICK, "optim.lr=1e-9", "trainer.precision=fp32"]) == 0
    first, *_, epoch = rows(Path("run"))
    # All scores are 0, so each of the three heads has the loss ln 10.
    assert first["train/data_loss"] == pytest.approx(loss_factor * math.log(10), rel=1e-5)
    assert epoch["val/loss"] == pytest.approx(math.log(10), rel=1e-5)


def test_accumulated_batches_equal_one_large_batch() -> None:
    overrides = ["model=mlp", "augmentation=none", "trainer.precision=fp32", "trainer.epochs=2"]
    assert main(["hydra.run.dir=large", "data.batch_size=64", *overrides]) == 0
    assert main(["hydra.run.dir=parts", "data.batch_size=16", "trainer.accumulate_steps=4", *overrides]) == 0
    for one, other in zip(rows(Path("large")), rows(Path("parts")), strict=True):
        assert one["step"] == other["step"]
        assert one["train/loss"] == pytest.approx(other["train/loss"], rel=1e-3)


def test_the_first_bf16_loss_is_close_to_fp32() -> None:
    for precision in ("fp32", "bf16"):
        assert main([f"hydra.run.dir={precision}", f"trainer.precision={precision}", *QUICK]) == 0
    one, other = rows(Path("fp32"))[0], rows(Path("bf16"))[0]
    assert one["train/loss"] != other["train/loss"]
    assert one["train/loss"] == pytest.approx(other["train/loss"], rel=0.02)


def test_early_stopping_counts_epochs_without_a_better_validation_accuracy() -> None:
    assert main(["hydra.run.dir=run", "trainer.early_stopping_epochs=2", "trainer.epochs=60"]) == 0
    result, epochs = summary(Path("run")), [row for row in rows(Path("run")) if "val/loss" in row]
    assert result["stopped_early"]
    assert result["epochs"] == result["best_epoch"] + 2 == len(epochs) < 60


def test_without_validation_the_last_epoch_is_the_best() -> None:
    assert main(["hydra.run.dir=run", "data.val_fraction=0", "trainer.epochs=2"]) == 0
    result = summary(Path("run"))
    assert (result["best_epoch"], result["val/accuracy"]) == (2, None)


def test_tensorboard_holds_the_histograms_of_histograms_jsonl() -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    command = ["hydra.run.dir=run", "logger=tensorboard", "trainer.epochs=4", "trainer.pictures=false"]
    assert main([*command, "trainer.report=false"]) == 0
    events = EventAccumulator("run/tensorboard", size_guidance={"histograms": 0}).Reload()
    rows = [json.loads(line) for line in Path("run/histograms.jsonl").read_text().splitlines()]
    assert len(rows) > 1
    names = [name for name in rows[0] if name != "step"]
    assert sorted(events.Tags()["histograms"]) == sorted(names)
    for name in names:
        for row, event in zip(rows, events.Histograms(name), strict=True):
            value = event.histogram_value
            assert event.step == row["step"]
            assert (value.min, value.max) == (row[name]["low"], row[name]["high"])
            # Limits and counts are written as doubles; those of empty bins at the ends are left out.
            assert sum(value.bucket) == value.num == sum(row[name]["counts"])


def test_tensorboard_holds_the_rows_of_metrics_jsonl() -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(["hydra.run.dir=run", "logger=tensorboard", "trainer.epochs=2"]) == 0
    events = EventAccumulator("run/tensorboard").Reload()
    epochs = [row for row in rows(Path("run")) if "val/loss" in row]
    logged = [(event.step, event.value) for event in events.Scalars("val/accuracy")]
    assert logged == [(row["step"], pytest.approx(row["val/accuracy"])) for row in epochs]


def test_the_smoke_experiment_reaches_80_percent_test_accuracy() -> None:
    assert main(["experiment=smoke", "hydra.run.dir=run"]) == 0
    assert summary(Path("run"))["test/accuracy"] > 0.8


CHOICES = Choices()


def built_in(group: str) -> list[str]:
    return [name for name in CHOICES.names(group) if name != "custom"]


@pytest.mark.parametrize("name", built_in("optim"))
def test_every_optimizer_at_its_default_learning_rate_reaches_95_percent_test_accuracy(name: str) -> None:
    overrides = [f"trainer.epochs={7 if name == 'lbfgs' else 10}", "trainer.instruments=false"]
    overrides += ["model.channels=[16,32]"]
    overrides += ["data.batch_size=1150"] if name == "lbfgs" else []
    assert main(["hydra.run.dir=run", f"optim={name}", *overrides]) == 0
    assert summary(Path("run"))["test/accuracy"] >= 0.95


@pytest.mark.parametrize("name", built_in("schedule"))
def test_every_schedule_reaches_90_percent_test_accuracy(name: str) -> None:
    assert main(["hydra.run.dir=run", f"schedule={name}", "model=mlp", "trainer.epochs=20"]) == 0
    assert summary(Path("run"))["test/accuracy"] >= 0.9


def test_errors_found_only_with_the_data_leave_no_run_folder(capsys: pytest.CaptureFixture[str]) -> None:
    cases = {
        "regularization.layers={nolayer: {l2: 1}}": (2, "nolayer names no layer"),
        "loss.class_weights=[1,2]": (2, "2 weights for 10 classes"),
    }
    for override, (exit_code, expected) in cases.items():
        assert main([override, "hydra.run.dir=run"]) == exit_code
        assert expected in capsys.readouterr().err
        assert not Path("run").exists()
    overrides = ["loss=hierarchical_softmax", "loss.tree=nowhere.yaml", "hydra.run.dir=run"]
    assert main(overrides) == 3
    assert not Path("run").exists()
    Path("run").mkdir()
    Path("run/mine.txt").write_text("mine")
    assert main(overrides) == 3
    assert [path.name for path in Path("run").iterdir()] == ["mine.txt"]


def test_a_run_on_image_files_trains_and_writes_pictures() -> None:
    for label in ("dark", "light"):
        Path("photos", label).mkdir(parents=True)
        for number in range(12):
            shade = number + (150 if label == "light" else 20)
            Image.new("RGB", (8, 8), (shade, shade, shade)).save(Path("photos", label, f"{number}.png"))
    overrides = ["data=folder", "data.path=photos", "data.image_size=8", "data.batch_size=4", "model=linear"]
    overrides += [
        "data.memory_limit_gb=0",
        "data.workers=0",
        "preprocessing=pca",
        "preprocessing.components=3",
    ]
    assert main([*overrides, "hydra.run.dir=run", "trainer.epochs=1"]) == 0
    assert {"images.png", "preprocessing.png"} <= {path.name for path in Path("run").iterdir()}


def test_a_sweep_accepts_regularization_of_layers() -> None:
    overrides = ["regularization.layers={head: {l2: 1}}", "optim=sgd,adam"]
    assert main(["-m", "hydra.sweep.dir=sweep", *overrides, *QUICK]) == 0
    assert "l2: 1" in Path("sweep/0001/config.yaml").read_text()


def test_predict_accepts_numpy_arrays_and_only_uint8(short_run: Path) -> None:
    trained = cnntrain.load(short_run)
    images = torch.zeros(2, 8, 8, 1, dtype=torch.uint8)
    assert torch.equal(trained.predict(images.numpy()), trained.predict(images))
    assert trained.predict(images[:0]).shape == (0, 10)
    ramp = torch.arange(128, dtype=torch.uint8).view(2, 8, 8, 1)
    assert torch.equal(trained.predict(ramp.numpy()[:, ::-1]), trained.predict(ramp.flip(1)))
    with pytest.raises(ValueError, match="uint8"):
        trained.predict(images.float())
    for wrong in (None, np.array([None]), [[1, "a"]]):
        with pytest.raises(ValueError, match=r"uint8.*, got (NoneType|object|list)"):
            trained.predict(wrong)


def test_before_a_job_starts_signals_end_the_process_without_python_code() -> None:
    code = (
        "import signal, cnntrain.__main__ as m; print(signal.getsignal(signal.SIGINT) == signal.SIG_DFL, "
        "signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "True"]


def test_a_run_that_ended_before_its_first_epoch_is_neither_lost_nor_healthy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["model=linear", "hydra.run.dir=run", "trainer.max_minutes=0.0000001"]) == 0
    for job in ("evaluate", "check", "lr_range"):
        assert main([f"job={job}", "run=run"]) == 3
        assert "no epoch has ended; let it finish one: cnntrain run=run" in capsys.readouterr().err
    assert main(["job=report", "run=run"]) == 0
    assert "no epoch has ended yet" in capsys.readouterr().out
    assert "Nothing looks wrong" not in Path("run/report.html").read_text()


def test_a_run_and_a_sweep_do_not_share_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model=linear", "hydra.run.dir=run", *QUICK]) == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    assert main(["-m", "model=linear", "seed=0,1", "hydra.sweep.dir=run", *QUICK]) == 3
    assert "run: holds a run" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    assert main(["-m", "model=linear", "seed=0,1", "hydra.sweep.dir=sweep", *QUICK]) == 0
    assert main(["model=linear", "hydra.run.dir=sweep", *QUICK]) == 3
    assert "is the folder of a sweep" in capsys.readouterr().err


def test_patience_that_is_over_is_not_said_to_have_stopped_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    overrides = ["model=linear", "trainer.epochs=3", "optim.lr=3", "schedule=constant", "seed=3"]
    assert main([*overrides, "trainer.report=false", "trainer.precision=fp32", "hydra.run.dir=run"]) == 0
    best = summary(Path("run"))["best_epoch"]
    assert best < 3
    capsys.readouterr()
    assert main(["run=run", "trainer.epochs=6", f"trainer.early_stopping_epochs={3 - best}"]) == 0
    printed = capsys.readouterr().out
    assert "would stop at once, in epoch 3" in printed
    command = printed.rpartition("to train longer: cnntrain ")[2].split()
    assert main(command) == 0
    assert summary(Path("run"))["epochs"] == 6


def test_the_home_folder_is_meant_by_a_tilde_everywhere(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(empty_folder / "home"))
    assert main(["model=linear", "hydra.run.dir=~/run", *QUICK]) == 0
    assert (empty_folder / "home/run/config.yaml").is_file()
    assert main(["run=~/run", "job=evaluate"]) == 0
    assert cnntrain.load("~/run").names == cnntrain.load(empty_folder / "home/run").names
    assert main(["-m", "model=linear", "seed=0,1", "hydra.sweep.dir=~/sweep", *QUICK]) == 0
    assert sorted(path.name for path in empty_folder.iterdir()) == ["home"]


def test_loading_a_network_draws_no_random_numbers(short_run: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    cnntrain.load(short_run)
    assert torch.equal(torch.rand(3), expected)


def test_values_of_a_sweep_with_characters_that_hydra_escapes() -> None:
    Path("nets.py").write_text(
        "from torch import nn\n"
        "def a(in_channels, classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
        "b = a\n"
    )
    assert main(["-m", "model=custom", "model.factory=nets:a,nets:b", "hydra.sweep.dir=sweep", *QUICK]) == 0
    assert "factory: nets:b" in Path("sweep/0001/config.yaml").read_text()


def test_a_checkpoint_alone_is_the_whole_model(short_run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "anywhere" / "model.pt"
    alone.parent.mkdir()
    shutil.copy(short_run / "checkpoints/best.pt", alone)
    images = torch.randint(
        0, 256, (20, 8, 8, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    expected = cnntrain.load(short_run)
    for path in (alone, short_run / "checkpoints/best.pt"):
        found = cnntrain.load(path)
        assert torch.equal(found.predict(images), expected.predict(images))
        assert found.names == expected.names
    last = cnntrain.load(short_run / "checkpoints/last.pt")
    assert last.predict(images).shape == (20, 10)
