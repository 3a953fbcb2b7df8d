"""Hints for names that are not ours: those of other tools, families of networks, paths, first words."""

from __future__ import annotations

import pytest

from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.other_tools import SETTINGS
from cnntrain.config.unknown_names import find_anywhere
from cnntrain.settings.config_tree import GROUPS


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("lr=0.1", "did you mean optim.lr?"),
        ("lr0=0.1", "did you mean optim.lr?"),
        ("batch=32", "did you mean data.batch_size?"),
        ("imgsz=64", "did you mean data.image_size?"),
        ("pretrained=true", "did you mean model.weights?"),
        ("workers=2", "did you mean data.workers?"),
        ("patience=5", "did you mean trainer.early_stopping_epochs?"),
        ("device=0", "did you mean trainer.device?"),
        ("epochs=3", "did you mean trainer.epochs?"),
        ("model=resnet", "choose one of resnet18, resnet20, "),
        ("model=VGG11", "did you mean vgg11?"),
        ("seed=1 predict", "write job=predict run=FOLDER predict.images=PATH"),
        ("fit", "training is the default job"),
        ("val", "job=evaluate run=FOLDER"),
        ("schedule.milestones=1,2 schedule=step", "a list is written schedule.milestones=[1,2]"),
    ],
)
def test_names_of_other_tools_lead_to_ours(
    override: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(override.split()) == 2
    assert hint in capsys.readouterr().err


def test_every_hint_names_a_group_or_setting_that_exists() -> None:
    choices = Choices()
    for ours in set(SETTINGS.values()):
        group, _, leaf = ours.partition(".")
        if not leaf:
            assert group in (*GROUPS, "run")
        elif group != "hydra":
            options = [choice.schema for choice in choices.all(group)]
            assert any(leaf in option.__dataclass_fields__ for option in options if option is not None), ours
    assert find_anywhere("epochs") == "trainer.epochs"


def test_messages_are_printable_and_of_limited_length(capsys: pytest.CaptureFixture[str]) -> None:
    for override in (
        "model=" + 100_000 * "x",
        "optim.lr=" + 5000 * "9",
        "seed=\x1b[31m",
        10_000 * "y",
        "=\x00",
    ):
        assert main([override]) == 2
        error = capsys.readouterr().err
        assert error.rstrip("\n").isprintable()
        assert len(error) < 2000
