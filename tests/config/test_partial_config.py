"""The configuration that is checked beside invalid overrides equals the one that Hydra composes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnntrain.config.choice_files import EXPERIMENT, Choices
from cnntrain.config.compose import composer_of
from cnntrain.config.partial_config import partial_config
from cnntrain.config.select_choices import select
from cnntrain.settings.config_tree import GROUPS

CHOICES = Choices()
EVERY_CHOICE = [f"{group}={name}" for group in (*GROUPS, EXPERIMENT) for name in CHOICES.names(group)]


@pytest.mark.parametrize("override", EVERY_CHOICE)
def test_every_choice_is_as_hydra_composes_it(override: str) -> None:
    selection = select([override, "optim.lr=0.25", "evaluate.views=mirror", "seed=3"], CHOICES)
    assert not selection.problems
    assert partial_config(selection) == composer_of(CHOICES).compose(selection).config


def test_a_users_file_is_laid_over_those_it_builds_on(tmp_path: Path) -> None:
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "slow.yaml").write_text("defaults: [adam, _self_]\nlr: 0.001\neps: 1e-5\n")
    (tmp_path / "optim" / "slower.yaml").write_text("defaults: [slow, _self_]\nlr: 0.0001\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "own.yaml").write_text(
        "defaults: [custom, _self_]\nfactory: torchvision.models:resnet18\narguments: {width_per_group: 32}\n"
    )
    choices = Choices(tmp_path)
    overrides = ["optim=slower", "model=own", "model.arguments.groups=2"]
    selection = select(overrides, choices)
    assert not selection.problems + selection.file_problems
    config = partial_config(selection)
    assert config == composer_of(choices).compose(selection).config
    assert (config.optim.lr, config.optim.eps) == (0.0001, 1e-5)
    assert config.model.arguments == {"width_per_group": 32, "groups": 2}
