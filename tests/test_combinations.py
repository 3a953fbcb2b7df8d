"""Every option of every group trains, and so do options drawn at random, or a message says why not."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
from pathlib import Path

import pytest

from cnntrain.cli import main
from cnntrain.config.choices import Choices
from cnntrain.config.compose import Composer
from cnntrain.config.configure import configure
from cnntrain.errors import ConfigError
from cnntrain.model.settings.base import Scalable
from cnntrain.settings.tree import GROUPS

CHOICES = Choices()
QUICK = ["trainer.epochs=1", "trainer.max_steps_per_epoch=2", "trainer.pictures=false"]
COLOUR = ["data=synthetic", "data.train_images=200", "data.test_images=20", "data.batch_size=20"]
ATTRIBUTES, VALUES = ["data.target=attributes"], ["data.target=values"]

# What a choice needs beside itself; on the default data most need nothing.
NEEDS: dict[str, list[str]] = {
    "optim=lbfgs": ["data.batch_size=1150"],
    "augmentation=colour": COLOUR,
    "augmentation=strong": COLOUR,
    "augmentation=cutout": COLOUR,
    "augmentation=imagenet": [*COLOUR, "augmentation.crop_size=28"],
    "loss=attribute_hinge": ATTRIBUTES,
    "loss=attribute_logistic": ATTRIBUTES,
    "loss=l2": VALUES,
    "loss=l1": VALUES,
    "loss=smooth_l1": VALUES,
    "loss=bins": [*VALUES, "loss.bins=10"],
    "regularization=stochastic_depth": ["model=resnet20", "model.width=0.25"],
    "model=torchvision": ["model.arch=squeezenet1_1"],
    "model=timm": ["model.arch=test_resnet"],
    "model=custom": ["model.factory=nets:tiny"],
    "data=toy2d": ["model=mlp"],
}
# Sets that are downloaded, or are the user's own; an earlier run; the loop has one file.
ELSEWHERE = ("mnist", "fashion_mnist", "cifar10", "cifar100", "svhn", "imagenet", "npz", "folder", "from_run")


def choices() -> list[str]:
    return [
        f"{group}={name}"
        for group in GROUPS
        if group != "model"
        for name in CHOICES.names(group)
        if name not in ELSEWHERE
    ]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def losses(folder: str = "run") -> list[float]:
    rows = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [row["train/loss"] for row in rows]


def assert_finite() -> None:
    found = losses()
    assert found
    assert all(value is not None and math.isfinite(value) for value in found)


@pytest.mark.parametrize("choice", choices())
def test_every_choice_makes_steps_that_stay_finite(choice: str) -> None:
    assert main(["hydra.run.dir=run", choice, *NEEDS.get(choice, []), *QUICK]) == 0
    assert_finite()


@pytest.mark.parametrize("name", CHOICES.names("model"))
def test_every_network_trains_on_the_default_data(name: str) -> None:
    Path("nets.py").write_text(
        "from torch import nn\n"
        "def tiny(in_channels, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, classes))\n"
    )
    words = ["data.batch_size=4", "data.limit=64", "evaluate.batch_size=128"]
    schema = CHOICES.find("model", name).schema
    assert schema is not None
    if issubclass(schema, Scalable):
        # At full width 46 networks would take two minutes, most of it for writing checkpoints.
        words += ["model.width=0.25"]
    assert main(["hydra.run.dir=run", f"model={name}", *NEEDS.get(f"model={name}", []), *words, *QUICK]) == 0
    shutil.rmtree("run/checkpoints")
    assert_finite()


def drawn(rng: random.Random) -> list[str]:
    """Options of all groups at random, on data that are there, with networks that take a moment."""
    fixed = {
        "data": rng.choice(["digits", "digits", "synthetic", "toy2d"]),
        "model": rng.choice(
            ["linear", "mlp", "convnet", "lenet5", "resnet20", "preact_resnet18", "vgg11_bn"]
        ),
        "logger": "none",
        "trainer": "default",
    }
    for group in GROUPS:
        if group not in fixed:
            fixed[group] = rng.choice([name for name in CHOICES.names(group) if name not in ELSEWHERE])
    words = [f"{group}={name}" for group, name in fixed.items()]
    for group in ("data", "loss", "augmentation", "optim"):
        words += [word for word in NEEDS.get(f"{group}={fixed[group]}", []) if "=" in word and "." in word]
    schema = CHOICES.find("model", fixed["model"]).schema
    if schema is not None and issubclass(schema, Scalable):
        words.append("model.width=0.125")
    return words


@pytest.mark.parametrize("number", range(40))
def test_options_drawn_at_random_train_or_are_refused_with_the_reason(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = drawn(random.Random(number))
    code = main(["hydra.run.dir=run", *words, *QUICK])
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    if code == 0:
        assert_finite()
        return
    assert code == 2
    assert shown.strip()
    for line in shown.splitlines():
        # cnntrain: key=value: what is wrong with it, and what to do
        assert re.match(r"cnntrain: [a-z_.]+(=[^:]+)?: .+", line), line


def test_a_fair_share_of_the_random_options_is_accepted() -> None:
    accepted = 0
    composer = Composer(CHOICES)
    for number in range(40):
        try:
            configure([*drawn(random.Random(number)), *QUICK], composer)
            accepted += 1
        except ConfigError:
            continue
    assert accepted >= 12
