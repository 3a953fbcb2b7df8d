"""The configuration laid over by this program equals the one that Hydra composes."""

from __future__ import annotations

from datetime import datetime
from itertools import zip_longest
from pathlib import Path

import pytest

from cnntrain.config.choice_files import EXPERIMENT, Choices
from cnntrain.config.compose import compose, laid_over
from cnntrain.config.hydra_composer import composer_of
from cnntrain.config.select_choices import select
from cnntrain.settings.config_tree import GROUPS

CHOICES = Choices()
# Every choice of every group, those of several groups together, and each experiment.
SETTINGS = ["optim.lr=0.25", "evaluate.views=mirror", "seed=3"]
CHOSEN = [
    [choice for choice in choices if choice is not None]
    for choices in zip_longest(*([f"{group}={name}" for name in CHOICES.names(group)] for group in GROUPS))
]
EXPERIMENTS = [[f"experiment={name}"] for name in CHOICES.names(EXPERIMENT)]


@pytest.mark.parametrize("overrides", [*CHOSEN, *EXPERIMENTS], ids=" ".join)
def test_every_choice_is_as_hydra_composes_it(overrides: list[str]) -> None:
    selection = select([*overrides, *SETTINGS], CHOICES)
    assert not selection.problems
    composed, (config, folder) = compose(selection, CHOICES), composer_of(CHOICES).compose(selection)
    assert composed.config == config
    assert composed.run_folder.parts[0] == folder.parts[0] == "outputs"


@pytest.mark.parametrize(
    "overrides",
    [
        ["regularization.layers={conv1: {l2: 1}}", "regularization.layers.conv1.dropout=0.5"],
        ["regularization.layers.conv1.l2=1", "regularization.layers.conv1.dropout=0.5"],
        ["regularization.layers.conv1.l2=1", "regularization.layers={conv1: {l2: 2}, fc1: {l2: 3}}"],
        ["optim.lr=1", "trainer.max_minutes=3", "optim.momentum=0"],
        ["hydra.run.dir=a b'c\\\\", "optim.lr=0.25"],
        ["optim.lr=${optim.momentum}"],
        ["hydra.run.dir=runs/${optim.lr}"],
    ],
    ids=" ".join,
)
def test_settings_are_laid_over_as_hydra_does(overrides: list[str]) -> None:
    selection = select(overrides, CHOICES)
    assert not selection.problems
    composed, (config, folder) = compose(selection, CHOICES), composer_of(CHOICES).compose(selection)
    assert composed.config == config
    if overrides[0].startswith("hydra.run.dir"):
        assert composed.run_folder == folder


def test_the_folder_of_a_run_is_the_time_of_its_start() -> None:
    before = datetime.now().replace(microsecond=0)
    folder = compose(select([], CHOICES), CHOICES).run_folder
    started = datetime.strptime("/".join(folder.parts[1:]), "%Y-%m-%d/%H-%M-%S")
    assert started <= datetime.now()
    assert (before - started).total_seconds() < 3600


def test_an_experiment_may_set_a_folder_the_job_and_the_seed(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text(
        "# @package _global_\nseed: 4\njob: summary\nhydra:\n  run:\n    dir: own/${seed}\n"
    )
    choices = Choices(tmp_path)
    selection = select(["experiment=own"], choices)
    assert not selection.problems + selection.file_problems
    composed = compose(selection, choices)
    assert (composed.config.seed, composed.config.job, composed.run_folder) == (4, "summary", Path("own/4"))
    config = compose(select(["experiment=own", "seed=5"], choices), choices).config
    assert (config.seed, config.job) == (5, "summary")


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
    config = laid_over(selection)
    assert config == composer_of(choices).compose(selection)[0]
    assert (config.optim.lr, config.optim.eps) == (0.0001, 1e-5)
    assert config.model.arguments == {"width_per_group": 32, "groups": 2}
