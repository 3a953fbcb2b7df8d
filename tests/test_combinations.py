"""Every option of every group trains; random combinations of options train or are refused with a message."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
from pathlib import Path

import pytest

import cnntrain
from cnntrain.cli import main
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.errors import ConfigError
from cnntrain.model.settings.base import Scalable
from cnntrain.settings.config_tree import GROUPS, OF_SWEEPS

CHOICES = Choices()
QUICK = ["trainer.epochs=1", "trainer.max_steps_per_epoch=2", "trainer.pictures=false"]
COLOUR = ["data=synthetic", "data.train_images=200", "data.test_images=20", "data.batch_size=20"]
ATTRIBUTES, VALUES = ["data.target=attributes"], ["data.target=values"]

# Additional overrides that a choice needs; on the default data most need none.
EXTRA_OVERRIDES: dict[str, list[str]] = {
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
    "preprocessing=pretrained": ["preprocessing.mean=[0.4]", "preprocessing.std=[0.2]"],
    "model=torchvision": ["model.arch=squeezenet1_1"],
    "model=pretrained": ["model.arch=squeezenet1_1", "model.weights=null"],
    "model=timm": ["model.arch=test_resnet"],
    "model=timm_pretrained": ["model.arch=test_resnet", "model.weights=null"],
    "model=custom": ["model.factory=nets:tiny"],
    "data=toy2d": ["model=mlp"],
}
# Not tested here: downloaded data sets, the user's own, initialization from an earlier run, and loggers whose
# packages take seconds to import (tests/logger).
EXCLUDED = (
    *("wandb", "mlflow", "trackio"),
    *("mnist", "fashion_mnist", "cifar10", "cifar100", "svhn", "imagenet"),
    *("npz", "folder", "huggingface", "webdataset", "custom", "from_run"),
)


def choices() -> list[str]:
    return [
        f"{group}={name}"
        for group in GROUPS
        if group not in ("model", OF_SWEEPS)
        for name in CHOICES.names(group)
        if name not in EXCLUDED
    ]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def losses(folder: str = "run") -> list[float]:
    rows = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [row["train/loss"] for row in rows]


def assert_losses_are_finite() -> None:
    values = losses()
    assert values
    assert all(value is not None and math.isfinite(value) for value in values)


@pytest.mark.parametrize("choice", choices())
def test_every_choice_trains_with_finite_losses(choice: str) -> None:
    assert main(["hydra.run.dir=run", choice, *EXTRA_OVERRIDES.get(choice, []), *QUICK]) == 0
    assert_losses_are_finite()
    # What an earlier run is used for restores every part from its checkpoint.
    if choice.startswith(("loss=", "preprocessing=", "averaging=")):
        assert main(["run=run", "job=evaluate", "evaluate.split=val"]) == 0
        assert main(["run=run", "trainer.epochs=2"]) == 0
        assert len(cnntrain.load("run").names) > 0


@pytest.mark.parametrize("name", CHOICES.names("model"))
def test_every_network_trains_on_images_of_8x8(name: str) -> None:
    Path("nets.py").write_text(
        "from torch import nn\n"
        "def tiny(in_channels, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, classes))\n"
    )
    overrides = ["data=synthetic", "data.channels=1", "data.image_size=8", "data.train_images=40"]
    overrides += ["data.test_images=8", "data.batch_size=4"]
    schema = CHOICES.find("model", name).schema
    assert schema is not None
    if issubclass(schema, Scalable):
        # At full width the 46 networks would take two minutes, mostly for writing checkpoints.
        overrides += ["model.width=0.25"]
    assert (
        main(
            [
                "hydra.run.dir=run",
                f"model={name}",
                *EXTRA_OVERRIDES.get(f"model={name}", []),
                *overrides,
                *QUICK,
            ]
        )
        == 0
    )
    shutil.rmtree("run/checkpoints")
    assert_losses_are_finite()


def random_overrides(rng: random.Random) -> list[str]:
    """Return random options of all groups, with data sets that need no download and fast networks."""
    options = {
        "data": rng.choice(["digits", "digits", "synthetic", "toy2d"]),
        "model": rng.choice(
            ["linear", "mlp", "convnet", "lenet5", "resnet20", "preact_resnet18", "vgg11_bn"]
        ),
        "logger": "none",
        "trainer": "default",
    }
    for group in (group for group in GROUPS if group != OF_SWEEPS):
        if group not in options:
            options[group] = rng.choice([name for name in CHOICES.names(group) if name not in EXCLUDED])
    overrides = [f"{group}={name}" for group, name in options.items()]
    for group in ("data", "loss", "augmentation", "optim"):
        overrides += [
            override
            for override in EXTRA_OVERRIDES.get(f"{group}={options[group]}", [])
            if "=" in override and "." in override
        ]
    if options["data"] == "synthetic" and options["augmentation"] != "imagenet":
        overrides.append("data.image_size=16")  # whitening takes seconds on more pixels
    schema = CHOICES.find("model", options["model"]).schema
    if schema is not None and issubclass(schema, Scalable):
        overrides.append("model.width=0.125")
    return overrides


@pytest.mark.parametrize("seed", range(30))
def test_random_combinations_train_or_are_refused_with_a_reason(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = random_overrides(random.Random(seed))
    exit_code = main(["hydra.run.dir=run", *overrides, *QUICK])
    stderr = capsys.readouterr().err
    assert "Traceback" not in stderr
    if exit_code == 0:
        assert_losses_are_finite()
        return
    assert exit_code == 2
    assert stderr.strip()
    for line in stderr.splitlines():
        # cnntrain: key=value: what is wrong with it, and what to do
        assert re.match(r"cnntrain: [a-z_.]+(=[^:]+)?: .+", line), line


def test_at_least_12_of_40_random_combinations_are_accepted() -> None:
    accepted = 0
    for seed in range(40):
        try:
            configure([*random_overrides(random.Random(seed)), *QUICK], CHOICES)
            accepted += 1
        except ConfigError:
            continue
    assert accepted >= 12
