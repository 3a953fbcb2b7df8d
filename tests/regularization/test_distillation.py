"""Distillation: its loss, what the teacher sees, and runs that imitate another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence

import cnntrain
from cnntrain.assemble.run import Assembled, assemble
from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.errors import ConfigError
from cnntrain.regularization.distillation import Teacher
from cnntrain.runs.checkpoint import read
from cnntrain.runs.run_folder import create

COMMON = ["data.limit=80", "data.batch_size=16", "trainer.precision=fp32", "trainer.pictures=false"]
COMMON += ["augmentation=none", "regularization=none", "trainer.instruments=false"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    overrides = ["model=mlp", "model.hidden=[12]", "trainer.epochs=2", "trainer.report=false"]
    assert main([*COMMON, *overrides, "preprocessing=minmax", f"hydra.run.dir={folder}"]) == 0
    return folder


def assembled(folder: Path, *overrides: str) -> Assembled:
    config = configure([*COMMON, "model=linear", *overrides], Choices()).config
    run = assemble(config, create(folder, named_by_user=True), None)
    run.trainer.recorder.close()
    return run


def first_batch(run: Assembled) -> tuple[Tensor, Tensor]:
    return next(iter(run.parts.train.epoch(0, 0, 1)))


def test_the_loss_is_the_divergence_of_the_softened_probabilities_times_the_squared_temperature() -> None:
    scores, wanted = torch.randn(6, 5), torch.randn(6, 5)
    module = Teacher(nn.Identity(), nn.Identity(), Tensor.float, alpha=0.7, temperature=3.0)
    found = module.loss(module.targets(wanted), scores)
    expected = 9 * kl_divergence(Categorical(logits=wanted / 3), Categorical(logits=scores / 3)).mean()
    torch.testing.assert_close(found, expected)
    by_torch = 9 * F.kl_div((scores / 3).log_softmax(1), (wanted / 3).softmax(1), reduction="batchmean")
    torch.testing.assert_close(found, by_torch)
    torch.testing.assert_close(module.blend(torch.tensor(2.0), torch.tensor(1.0)), torch.tensor(1.3))


@pytest.mark.parametrize("parts", [1, 2], ids=["one batch", "accumulated"])
def test_a_step_has_the_loss_of_the_whole_batch_with_class_weights_too(
    parts: int, teacher: Path, tmp_path: Path
) -> None:
    overrides = [
        f"regularization.teacher={teacher}",
        "regularization.teacher_alpha=0.4",
        "loss.balanced=true",
    ]
    overrides += ["regularization.teacher_temperature=2", f"data.batch_size={32 // parts}"]
    run = assembled(tmp_path / "run", *overrides, f"trainer.accumulate_steps={parts}")
    step, (images, labels) = run.parts.step, first_batch(run)
    trained = cnntrain.load(teacher)
    with torch.no_grad():
        scores = step.network(step.preprocess(images))
        wanted = trained.network(trained.preprocess(images))
    weights = step.criterion.get_buffer("weights")
    divergence = kl_divergence(Categorical(logits=wanted / 2), Categorical(logits=scores / 2)).mean()
    expected = 0.6 * F.cross_entropy(scores, labels, weights) + 0.4 * 4 * divergence
    torch.testing.assert_close(step.run(0, images, labels, False).update.data_loss, expected)


@pytest.mark.parametrize("mixing", ["mixup=1", "cutmix=1"])
def test_the_teacher_sees_the_mixed_images_and_is_not_changed(
    mixing: str, teacher: Path, tmp_path: Path
) -> None:
    # Both have the same training images, so the same smallest and largest value.
    overrides = [f"regularization.{mixing}", "preprocessing=minmax"]
    run = assembled(tmp_path / "run", f"regularization.teacher={teacher}", *overrides)
    step, seen = run.parts.step, list[Tensor]()
    assert step.teacher is not None
    for network in (step.network, step.teacher.network):
        network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    before = {name: value.clone() for name, value in step.teacher.network.state_dict().items()}
    step.run(0, *first_batch(run), False)
    own, of_teacher = seen
    torch.testing.assert_close(of_teacher, own, rtol=0, atol=0)
    assert not step.teacher.network.training
    assert all(weight.grad is None for weight in step.teacher.network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in step.teacher.network.state_dict().items())


def test_a_teacher_of_smaller_images_sees_them_resized(teacher: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(60, 12, 16, 1), dtype=np.uint8)
    arrays = {"x": images, "y": np.arange(60) % 10}
    splits = {f"{name}_{split}": part for split in ("train", "test") for name, part in arrays.items()}
    np.savez(tmp_path / "larger.npz", names=np.array([str(number) for number in range(10)]), **splits)
    data = ["data=npz", f"data.path={tmp_path / 'larger.npz'}"]
    run = assembled(tmp_path / "run", *data, f"regularization.teacher={teacher}")
    assert run.parts.step.teacher is not None
    assert run.parts.step.teacher.preprocess(first_batch(run)[0]).shape[1:] == (1, 8, 8)


def test_validation_is_plain_and_a_run_resumes_bit_identically_unless_the_teacher_has_changed(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, whole, stopped = tmp_path / "teacher", tmp_path / "whole", tmp_path / "stopped"
    shutil.copytree(teacher, own)
    best = own / "checkpoints" / "best.pt"
    overrides = [*COMMON, "model=linear", "trainer.epochs=3", "trainer.report=false"]
    overrides += ["regularization.mixup=0.2", f"regularization.teacher={best}"]
    assert main([*overrides, f"hydra.run.dir={whole}"]) == 0
    assert main([*overrides, f"hydra.run.dir={stopped}", "trainer.max_minutes=0.00001"]) == 0
    kept = best.read_bytes()
    shutil.copy(whole / "checkpoints" / "best.pt", best)
    capsys.readouterr()
    assert main([f"run={stopped}", "trainer.max_minutes=null"]) == 3
    assert "is not the one that this run began with, or its checkpoint has changed" in capsys.readouterr().err
    best.write_bytes(kept)
    moved = own.rename(tmp_path / "moved")
    assert main([f"run={stopped}", "trainer.max_minutes=null"]) == 3
    assert "has no checkpoint; write regularization.teacher=FOLDER" in capsys.readouterr().err
    assert main([f"run={stopped}", "trainer.max_minutes=null", "regularization.teacher=null"]) == 3
    assert main([f"run={stopped}", "trainer.max_minutes=null", f"regularization.teacher={moved}"]) == 0
    expected, found = (read(path / "checkpoints" / "last.pt")["network"] for path in (whole, stopped))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert main(["job=evaluate", f"run={whole}", "evaluate.split=val"]) == 0
    evaluation = json.loads((whole / "evaluate-digits-val.json").read_text())
    assert json.loads((whole / "summary.json").read_text())["val/loss"] == pytest.approx(evaluation["loss"])
    shutil.rmtree(moved)
    assert cnntrain.load(whole).predict(np.zeros((1, 8, 8, 1), np.uint8)).shape == (1, 10)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["data=synthetic", "data.classes=4"],
            r"was trained for .*, this run is for .*; name a run on ",
        ),
        (["loss=svm"], "imitates probabilities of classes; write loss=softmax"),
        (["data.target=values", "loss=l2"], "imitates probabilities of classes; write loss=softmax"),
    ],
    ids=["other classes", "other loss", "values"],
)
def test_other_classes_and_other_targets_are_refused(
    overrides: list[str], line: str, teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=line):
        assembled(tmp_path / "run", f"regularization.teacher={teacher}", *overrides)


@pytest.mark.parametrize("setting", ["teacher_alpha=0.5", "teacher_temperature=2"])
def test_settings_of_a_teacher_need_one(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"has no effect without regularization\.teacher=RUN$"):
        configure([f"regularization.{setting}"], Choices())


def test_a_teacher_that_does_not_exist_is_reported_before_any_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["regularization.teacher=nowhere"]) == 3
    assert "regularization.teacher=nowhere: there is no such folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
