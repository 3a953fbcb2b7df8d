"""Fine-tuning: frozen layers keep weights and statistics, the head has its own learning rate (N14)."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cnntrain.assemble.run import assemble
from cnntrain.cli import main
from cnntrain.config import stored_config
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.errors import ConfigError, Interrupted, interrupted_by
from cnntrain.model.fine_tuning import training_mode
from cnntrain.model.settings.base import Model
from cnntrain.model.settings.external import TimmModel, TorchvisionModel
from cnntrain.runs.checkpoint import read
from cnntrain.runs.run_folder import create
from cnntrain.runs.signals import StopSignals
from cnntrain.settings.config_tree import Config
from cnntrain.training.trainer import Trainer

SIZE = (64, 64)
QUICK = ["data.limit=40", "data.batch_size=8", "trainer.epochs=1", "trainer.max_steps_per_epoch=2"]
TORCHVISION = ["model=torchvision", "model.arch=shufflenet_v2_x0_5"]
TIMM = ["model=timm", "model.arch=test_resnet"]


def train(overrides: list[str], path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return weights and statistics before and after training, without the final evaluation."""
    config = configure([*overrides, "trainer.precision=fp32"], Choices()).config
    assembled = assemble(config, create(path, named_by_user=True), None)
    network = assembled.trainer.network
    before = copy.deepcopy(network.state_dict())
    assembled.trainer.train(StopSignals())
    assembled.trainer.recorder.close()
    return before, network.state_dict()


def last_weights(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = read(folder / "checkpoints" / "last.pt")["network"]
    return weights


@pytest.mark.parametrize(
    ("model", "pattern", "prefixes"),
    [
        (TORCHVISION, "[conv1,stage2]", ("conv1.", "stage2.")),
        (TORCHVISION, "['*']", ("conv1.", "stage2.", "stage3.", "stage4.", "conv5.")),
        (TIMM, "['conv?','[!c]n1','layer[12]']", ("conv1.", "bn1.", "layer1.", "layer2.")),
    ],
    ids=["modules", "all but the head", "patterns"],
)
def test_frozen_layers_keep_weights_and_statistics_and_the_others_change(
    model: list[str], pattern: str, prefixes: tuple[str, ...], tmp_path: Path
) -> None:
    before, after = train([*model, *QUICK, f"model.freeze={pattern}"], tmp_path)
    changed = {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    unchanged = {name.rpartition(".")[0] for name in before} - changed
    assert unchanged == {name.rpartition(".")[0] for name in before if name.startswith(prefixes)}


def phases(config: Config, folder: Path) -> tuple[nn.Module, list[dict[str, Tensor]]]:
    """Return a trained network, and its state at the start and after each epoch."""
    assembled = assemble(config, create(folder, named_by_user=True), None)
    trainer, states = assembled.trainer, list[dict[str, Tensor]]()
    finish_epoch = trainer.finish_epoch

    def remember() -> None:
        states.append(copy.deepcopy(trainer.network.state_dict()))

    def finish_and_remember() -> None:
        finish_epoch()
        remember()

    trainer.finish_epoch = finish_and_remember  # type: ignore[method-assign]
    remember()
    trainer.train(StopSignals())
    trainer.recorder.close()
    return trainer.network, states


@pytest.mark.parametrize(
    "overrides",
    [
        [*TIMM, "optim=adamw", "regularization.l1=0.01", "averaging=ema"],
        [
            "model=resnet20",
            "model.width=0.25",
            "regularization.weight_decay=0.1",
            "regularization.max_norm=0.1",
        ],
        ["model=googlenet", "model.width=0.125", "optim=muon"],
    ],
    ids=["adam and L1", "decay and max norm", "muon and auxiliary heads"],
)
def test_in_the_first_epochs_only_the_head_changes_and_then_all_layers(
    overrides: list[str], tmp_path: Path
) -> None:
    config = configure([*overrides, *QUICK, "trainer.precision=fp32"], Choices()).config
    # Set afterwards: with random weights, these are refused.
    config.model.head_epochs, config.trainer.epochs = 1, 2
    network, (initial, after_head, final) = phases(config, tmp_path / "run")
    changed = {name for name in initial if not torch.equal(initial[name], after_head[name])}
    heads = ("fc.", "head.output.", "auxiliary.")
    assert changed == {name for name in initial if name.startswith(heads)}
    weights = {name for name, weight in network.named_parameters() if weight.ndim > 1}
    assert {name for name in weights if not torch.equal(after_head[name], final[name])} == weights


class StopAfter(StopSignals):
    """Asks to stop after some steps."""

    def __init__(self, trainer: Trainer, steps: int):
        self.trainer = trainer
        self.steps = steps

    @property
    def received(self) -> Interrupted | None:  # type: ignore[override]
        return interrupted_by(15, "stop") if self.trainer.progress.step == self.steps else None


def test_a_run_stopped_in_either_phase_or_between_resumes_bit_identically(tmp_path: Path) -> None:
    weights, whole = tmp_path / "weights.pt", tmp_path / "whole"
    torch.save(TimmModel(arch="test_resnet").build(3, 10, SIZE, None).state_dict(), weights)
    overrides = [*TIMM, *QUICK, f"model.weights={weights}", "model.head_epochs=1", "model.layer_decay=0.5"]
    overrides += ["optim=adamw", "averaging=ema", "trainer.epochs=2", "evaluate.batch_size=359"]
    overrides += ["trainer.pictures=false", "trainer.test=false"]
    assert main([*overrides, f"hydra.run.dir={whole}"]) == 0
    expected = read(whole / "checkpoints" / "last.pt")
    config = configure(overrides, Choices()).config
    for steps in (1, 2, 3):
        folder = create(tmp_path / str(steps), named_by_user=True)
        folder.config.write_text(stored_config.to_yaml(config))
        trainer = assemble(config, folder, None).trainer
        with pytest.raises(Interrupted):
            trainer.train(StopAfter(trainer, steps))
        trainer.recorder.close()
        last = folder.path / "checkpoints" / "last.pt"
        assert read(last)["progress"]["step"] == steps
        assert main([f"run={folder.path}"]) == 0
        found = read(last)
        assert found["progress"]["step"] == 4
        assert all(
            torch.equal(found["network"][name], expected["network"][name]) for name in found["network"]
        )
        for one, other in zip(found["average"]["average"], expected["average"]["average"], strict=True):
            assert torch.equal(one, other)


def test_a_run_on_other_classes_takes_mean_and_deviation_of_the_run_it_starts_from(tmp_path: Path) -> None:
    quick = [*QUICK, "model=resnet20", "model.width=0.25", "trainer.pictures=false"]
    first = tmp_path / "first"
    assert main([*quick, f"hydra.run.dir={first}"]) == 0
    overrides = ["data=mnist", "initialization=from_run", f"initialization.run={first}"]
    config = configure([*quick, *overrides, "preprocessing=pretrained"], Choices()).config
    source = read(first / "checkpoints" / "best.pt")["preprocess"]
    assert config.preprocessing.std == pytest.approx((1 / (255 * source["scale"][0, 0, 0])).tolist())
    assert config.preprocessing.mean == pytest.approx(
        (-source["shift"] / source["scale"] / 255)[0, 0, 0].tolist()
    )


@pytest.mark.parametrize("setting", ["model.head_epochs=1", "model.layer_decay=0.9"])
@pytest.mark.parametrize("model", [TIMM, ["model=resnet20"]], ids=["timm", "own"])
def test_settings_for_trained_weights_are_refused_with_random_ones(model: list[str], setting: str) -> None:
    with pytest.raises(ConfigError, match=r"is for trained weights, those of model=\w+ are random; write "):
        configure([*model, setting], Choices())


@pytest.mark.parametrize("pattern", ["bn1", "layer*.bn1"])
def test_norms_can_be_frozen_alone(pattern: str) -> None:
    network = TimmModel(arch="test_resnet", freeze=[pattern]).build(3, 10, SIZE, None)
    frozen = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    prefix = "bn1." if pattern == "bn1" else "layer"
    assert frozen == {
        f"{name}.{tensor}"
        for name, module in network.named_modules()
        for tensor in ("weight", "bias")
        if isinstance(module, nn.BatchNorm2d) and f"{name}.".startswith(prefix) and name.endswith("bn1")
    }


def test_only_frozen_norms_stay_in_evaluation_mode() -> None:
    network = TorchvisionModel(arch="shufflenet_v2_x0_5", freeze=["stage2"]).build(3, 10, SIZE, None)
    training_mode(network.eval())
    in_evaluation_mode = {name for name, module in network.named_modules() if not module.training}
    assert in_evaluation_mode == {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and name.startswith("stage2.")
    }


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        (
            TorchvisionModel(freeze=["layr1", "conv1"]),
            ["model.freeze: layr1 names no layer; did you mean layer1?"],
        ),
        (TorchvisionModel(freeze=["fc"]), ["model.freeze: fc names the head, which always trains"]),
        (
            TimmModel(arch="test_resnet", freeze=["fc*", "stem"]),
            [
                "model.freeze: fc* names the head, which always trains",
                "model.freeze: stem names no layer; choose one of conv1, bn1, layer1, layer2, layer3,",
            ],
        ),
    ],
    ids=["torchvision", "head", "timm"],
)
def test_a_pattern_that_freezes_nothing_is_refused(settings: Model, lines: list[str]) -> None:
    problems = settings.problems()
    assert len(problems) == len(lines)
    assert all(line.startswith(start) for line, start in zip(problems, lines, strict=True))
    with pytest.raises(ConfigError) as raised:
        settings.build(3, 10, SIZE, None)
    assert raised.value.problems == problems


def test_frozen_random_weights_give_a_notice() -> None:
    (line,) = configure([*TIMM, "model.freeze=['*']"], Choices()).notices
    assert line.startswith("model.freeze=[*]: these layers keep random weights; ")


@pytest.mark.parametrize("model", [TORCHVISION, TIMM], ids=["torchvision", "timm"])
def test_head_lr_multiplies_the_step_of_the_head_only(model: list[str], tmp_path: Path) -> None:
    overrides = [
        *model,
        *QUICK[:-1],
        "trainer.max_steps_per_epoch=1",
        "optim.momentum=0",
        "schedule=constant",
    ]
    change = {}
    for factor in (1, 16):
        before, after = train([*overrides, f"model.head_lr={factor}"], tmp_path / str(factor))
        change[factor] = {name: after[name] - before[name] for name in before}
    for name, difference in change[1].items():
        factor = 16 if name in ("fc.weight", "fc.bias") else 1
        torch.testing.assert_close(change[16][name], factor * difference, rtol=1e-3, atol=1e-7)
    assert float(change[1]["fc.weight"].norm()) > 0


def test_a_run_with_two_learning_rates_resumes_bit_identically(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    overrides = [*TIMM, *QUICK, "model.head_lr=10", "optim=adamw", "model.freeze=[layer1]"]
    overrides += ["trainer.epochs=2", "evaluate.batch_size=359"]
    assert main([*overrides, f"hydra.run.dir={whole}"]) == 0
    assert main([*overrides, f"hydra.run.dir={stopped}", "trainer.max_minutes=0.00001"]) == 0
    assert read(stopped / "checkpoints" / "last.pt")["progress"]["step"] < 4
    assert main([f"run={stopped}", "trainer.max_minutes=null"]) == 0
    expected, weights = last_weights(whole), last_weights(stopped)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
