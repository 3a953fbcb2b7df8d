"""The command made from a configuration gives the same configuration again."""

from __future__ import annotations

import shlex

import pytest

from cnntrain.config.choice_files import Choices
from cnntrain.config.compose import laid_over
from cnntrain.config.equivalent_command import equivalent_command, equivalent_overrides
from cnntrain.config.pipeline import configure
from cnntrain.config.select_choices import select
from cnntrain.settings.config_tree import GROUPS, OF_SWEEPS

CHOICES = Choices()
COMMANDS = [
    "",
    "model=vgg11 optim=adam optim.lr=0.0003",
    "model=vgg16_bn model.width=0.5 seed=7 trainer.max_grad_norm=null",
    "data=npz data.path='/a b/it is.npz' data.target=values loss=l2",
    "data=synthetic data.channels=3 augmentation=strong",
    "optim=switch schedule=step 'schedule.milestones=[3,5]'",
    "regularization=l2 'regularization.layers={features.*:{l2:0.01}}'",
    "experiment=fashion_mnist_small",
    "experiment=lenet5_1998",
    "trainer.early_stopping_epochs=3 schedule.warmup_epochs=0.5 data.val_fraction=0.2",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_gives_the_same_configuration(command: str) -> None:
    config = configure(shlex.split(command), CHOICES).config
    again = configure(shlex.split(equivalent_command(config, CHOICES))[1:], CHOICES).config
    assert config == again


def test_every_choice_is_recovered() -> None:
    for group in (group for group in GROUPS if group != OF_SWEEPS):
        for name in CHOICES.names(group):
            config = laid_over(select([f"{group}={name}"], CHOICES))
            assert config is not None
            overrides = [f"{key}={value}" for key, value in equivalent_overrides(config, CHOICES).items()]
            assert len(overrides) <= 1
            assert laid_over(select(overrides, CHOICES)) == config


def test_changes_replace_the_settings_of_the_run() -> None:
    config = configure(["optim=adam", "optim.lr=0.1"], CHOICES).config
    command = equivalent_command(config, CHOICES, {"optim.lr": 0.01, "trainer.max_grad_norm": None})
    assert command == "cnntrain optim=adam optim.lr=0.01 trainer.max_grad_norm=null"


def test_the_epochs_of_a_budget_stand_for_it_and_more_of_them_are_whole() -> None:
    given = ["trainer.budget_minutes=0.001", "trainer.epochs=3", "trainer.max_steps_per_epoch=1"]
    config = configure(given, CHOICES).config
    repeated = "cnntrain trainer.epochs=3 trainer.max_steps_per_epoch=1"
    assert equivalent_command(config, CHOICES) == repeated
    assert equivalent_command(config, CHOICES, {"optim.lr": 0.5}) == f"{repeated} optim.lr=0.5"
    assert equivalent_command(config, CHOICES, {"trainer.epochs": 6}) == "cnntrain trainer.epochs=6"
