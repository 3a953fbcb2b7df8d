"""An option is added to a group by a dataclass in its settings, an implementation and a YAML file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cnntrain.settings.config_tree import GROUP_PACKAGES, GROUPS, OF_SWEEPS

ROOT = Path(__file__).parents[1]

# For each group: the text appended to its settings, and the implementation, a module `extra` beside them.
SETTINGS = {
    "data": '''"""Settings of an added data set."""

from dataclasses import dataclass

from ...settings.fields import fixed
from ..splits import Splits
from .base import Data, DatasetInfo


@dataclass
class Extra(Data):
    name: str = fixed("extra")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=1, height=8, width=8, outputs=2, train_images=200)

    def default_augmentation(self) -> str:
        return "none"

    def read(self) -> Splits:
        from ..extra import read_extra

        return read_extra()
''',
    "preprocessing": """
@dataclass
class Extra(ScaleAndShift):
    name: str = fixed("extra")

    def scale_and_shift(self, train):
        from .extra import negated

        return negated()
""",
    "augmentation": """
@dataclass
class Extra(Augmentation):
    name: str = fixed("extra")

    def build(self, default, image, train):
        from .transforms import Augment
        from .extra import Invert

        return Augment([Invert()])
""",
    "search": """
@dataclass
class Extra(Search):
    name: str = fixed("extra")

    def searched(self, space, epochs, seed):
        from .extra import LastValue

        return LastValue(space, epochs)
""",
    "initialization": """
@dataclass
class Extra(Initialization):
    name: str = fixed("extra")

    def apply(self, network, activation, source=None):
        from .extra import fill

        fill(network)
        return ["weights   from the extra initialization"]
""",
    "loss": """
@dataclass
class Extra(Loss):
    name: str = fixed("extra")

    def build(self, names, statistics, label_smoothing):
        from .extra import Extra as Criterion

        return Criterion(names)
""",
    "regularization": """
@dataclass
class Extra(Regularizers):
    name: str = fixed("extra")

    def build(self, network):
        from .extra import ExtraRegularization

        return ExtraRegularization(network)
""",
    "optim": """
@dataclass
class Extra(Optim):
    name: str = fixed("extra")

    def build(self, weights, fused):
        from .extra import SignDescent

        return SignDescent(weights, {"lr": self.lr})
""",
    "schedule": """
@dataclass
class Extra(Schedule):
    name: str = fixed("extra")

    def shape(self, steps_per_epoch, steps, warmup):
        from .extra import halved

        return halved
""",
    "averaging": """
@dataclass
class Extra(Averaging):
    name: str = fixed("extra")

    def build(self, weights, steps_per_epoch, epochs):
        from .extra import Last

        return Last(weights, 0)
""",
    # The loop reads its settings and has no implementation to choose.
    "trainer": """
@dataclass
class Extra(Trainer):
    name: str = fixed("extra")
    epochs: int = setting(1, "passes over the training split", ge=1)
""",
    "logger": """
@dataclass
class Extra(Logger):
    name: str = fixed("extra")

    def sinks(self):
        return {"extra": "cnntrain.logger.extra:TextFile"}
""",
    # The settings of this group are a package: a new module in it.
    "model": '''"""Settings of an added network."""

from dataclasses import dataclass

from ...settings.fields import fixed
from .base import Model


@dataclass
class Extra(Model):
    name: str = fixed("extra")

    def min_size(self, image_size):
        return 1

    def build(self, in_channels, classes, image_size, dropout):
        from ..extra import network

        return network(in_channels, classes, image_size)
''',
}
IMPLEMENTATIONS = {
    "data": """
import torch
from .image_set import MemoryImages
from .splits import Splits

def read_extra():
    labels = torch.arange(200) % 2
    pixels = labels[:, None, None, None].expand(-1, 8, 8, 1).to(torch.uint8).contiguous()
    images = MemoryImages(pixels, labels)
    return Splits(images, images.subset(torch.empty(0, dtype=torch.int64)), images, ["zero", "one"])
""",
    "preprocessing": """
import torch

def negated():
    return torch.tensor(-1.0), torch.zeros(()), []
""",
    "augmentation": """
class Invert:
    def __call__(self, images, rng, key):
        return 255 - images
""",
    "initialization": """
import torch

def fill(network):
    for weight in network.parameters():
        torch.nn.init.constant_(weight, 0.5)
""",
    "loss": """
import torch
from .class_losses import ClassCriterion

class Extra(ClassCriterion):
    def forward(self, scores, labels):
        return torch.nn.functional.cross_entropy(scores, labels) + 7
""",
    "regularization": """
from .penalties import Strengths, WeightRegularization

class ExtraRegularization(WeightRegularization):
    def __init__(self, network):
        super().__init__(network, Strengths(l1=1.0))
""",
    "optim": """
import torch

class SignDescent(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight -= group["lr"] * weight.grad.sign()
""",
    "schedule": """
def halved(step):
    return 0.5
""",
    "averaging": """
from .average import Average

class Last(Average):
    def weight(self, step):
        return 1.0
""",
    "search": """
from .plan import Task

class LastValue:
    def __init__(self, space, epochs):
        self.space, self.epochs = space, epochs

    def tasks(self, results):
        yield Task("only", self.epochs)

    def settings(self, job, results):
        return {key: parameter.ends()[-1] for key, parameter in self.space.items()}
""",
    "logger": """
class TextFile:
    def __init__(self, run):
        self.ids = {}
        self.where = str(run.folder / "extra.txt")
        self.file = open(self.where, "w")

    def write(self, row, of_epoch):
        self.file.write(f"{sorted(row)}\\n")

    def write_histograms(self, row):
        self.write(row, False)

    def flush(self):
        self.file.flush()

    def close(self, end):
        self.file.close()
""",
    "model": """
from torch import nn

def network(in_channels, classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size[0] * image_size[1], classes))
""",
}


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package in which every group has the option `extra`."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    for group, package in GROUP_PACKAGES.items():
        folder = tmp_path / "src" / "cnntrain" / package
        if (folder / "settings.py").exists():
            with (folder / "settings.py").open("a") as file:
                file.write(SETTINGS[group])
        else:
            (folder / "settings" / "extra.py").write_text(SETTINGS[group])
        if group in IMPLEMENTATIONS:
            (folder / "extra.py").write_text(IMPLEMENTATIONS[group])
        (tmp_path / "conf" / group / "extra.yaml").write_text(
            f"# An option added by three files.\ndefaults: [/schema/{group}/extra@_here_, _self_]\n"
        )
    return tmp_path


def test_an_option_of_every_group_is_found_and_used(extended: Path) -> None:
    overrides = [f"{group}=extra" for group in GROUPS if group != OF_SWEEPS]
    environment = os.environ | {"PYTHONPATH": str(extended / "src")}

    def cnntrain(*arguments: str) -> str:
        command = [sys.executable, "-m", "cnntrain", *arguments]
        completed = subprocess.run(
            command, cwd=extended, env=environment, capture_output=True, text=True, check=False
        )
        assert completed.returncode == 0, completed.stderr
        return completed.stdout

    quick = ["trainer.max_steps_per_epoch=1", "trainer.precision=fp32"]
    quick += ["trainer.report=false", "trainer.pictures=false"]
    assert cnntrain("--help").count("An option added by three files.") == len(GROUPS)
    printed = cnntrain(*overrides, "hydra.run.dir=run", "optim.lr=0.1", *quick)
    stored = yaml.safe_load((extended / "run" / "config.yaml").read_text())
    assert {stored[group]["name"] for group in GROUPS if group != OF_SWEEPS} == {"extra"}
    # All initial weights are 0.5: scores are equal, and the first loss is ln 2 + 7 plus the l1 penalty.
    assert "weights   from the extra initialization" in printed
    rows = (extended / "run" / "metrics.jsonl").read_text().splitlines()
    first = yaml.safe_load(rows[0])
    assert first["train/data_loss"] == pytest.approx(7.6931, abs=1e-3)
    assert first["train/regularization_loss"] == pytest.approx(0.5 * 128)
    assert first["lr"] == pytest.approx(0.1 * 0.5)
    assert "val_average/loss" in yaml.safe_load(rows[-1])
    histograms = (extended / "run" / "histograms.jsonl").read_text().splitlines()
    logged = (extended / "run" / "extra.txt").read_text().splitlines()
    assert len(logged) == len(rows) + len(histograms)

    cnntrain("-m", "search=extra", "hydra.sweep.dir=sweep", *overrides, "optim.lr=0.1,0.2", *quick)
    assert yaml.safe_load((extended / "sweep" / "only" / "config.yaml").read_text())["optim"]["lr"] == 0.2
