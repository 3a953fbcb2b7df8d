"""Parts of the user's own: the examples and commands of docs/custom_parts.md, word for word."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

import cnntrain
from cnntrain.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "custom_parts.md").read_text(encoding="utf-8")
QUICK = [
    *("trainer.epochs=1", "trainer.max_steps_per_epoch=2", "trainer.pictures=false"),
    *("trainer.report=false", "trainer.instruments=false"),
]
LBFGS = ["optim=custom", "optim.factory=torch.optim:LBFGS", "optim.closure=true"]
COMMANDS = [shlex.split(block) for block in re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)]


@pytest.fixture(autouse=True)
def my_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the examples of the page into the working folder."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    source = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    (tmp_path / "my_parts.py").write_text(source, encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[1])
def test_a_command_of_the_page_trains(command: list[str]) -> None:
    assert command[0] == "cnntrain"
    assert main(["hydra.run.dir=run", *command[1:], *QUICK]) == 0


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["loss=custom", "loss.function=torch.nn:L1Loss", "data.target=values"], "write loss.target=values"),
        (
            [*LBFGS, "regularization=max_norm"],
            "max_norm of regularization are not applied between the evaluations of a closure",
        ),
        (["schedule=custom", "schedule.function=my_parts:square_rot"], "did you mean square_root?"),
        (["data=custom", "data.factory=my_parts"], "must be package.module:function"),
        (
            ["augmentation=custom"],
            "augmentation.function: is not set; write augmentation.function=",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused_before_anything_is_done(
    overrides: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*overrides, *QUICK]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not Path("outputs").exists()


SAME_AS_BUILT_IN = """
import math
import torch
from cnntrain.augmentation import geometry
from cnntrain.data.digits import read_digits

def digits():
    stored = read_digits("classes")
    parts = {"train": stored.train, "test": stored.test}
    return {split: (part.images, part.labels) for split, part in parts.items()}

def flip(images, generator):
    return geometry.flip(images, torch.rand(len(images), generator=generator) < 0.5)

def svm(scores, labels):
    margins = (scores - scores.gather(1, labels[:, None]) + 1).clamp(min=0)
    return margins.sum(1) - margins.gather(1, labels[:, None]).squeeze(1)

def cosine(step, total_steps):
    return 0.5 * (1 + math.cos(math.pi * (step / total_steps)))
"""


def test_the_built_in_parts_written_as_custom_ones_train_the_same_network() -> None:
    Path("same_parts.py").write_text(SAME_AS_BUILT_IN)
    built_in = ["data=digits", "augmentation=flip", "loss=svm", "optim=adagrad", "schedule=cosine"]
    custom = [
        *("data=custom", "data.factory=same_parts:digits", "data.val_fraction=0.2"),
        *("augmentation=custom", "augmentation.function=same_parts:flip"),
        *("loss=custom", "loss.function=same_parts:svm"),
        *("optim=custom", "optim.factory=torch.optim:Adagrad", "+optim.arguments.eps=1e-8"),
        *("schedule=custom", "schedule.function=same_parts:cosine"),
    ]
    common = ["trainer.accumulate_steps=2", "regularization.mixup=0.3", "model=convnet"]
    common += ["model.channels=[4,4]", *QUICK, "trainer.max_steps_per_epoch=4", "trainer.precision=fp32"]
    assert main(["hydra.run.dir=built_in", *built_in, *common]) == 0
    assert main(["hydra.run.dir=custom", *custom, *common]) == 0
    first, second = (cnntrain.TrainingResult(Path(name)) for name in ("built_in", "custom"))
    times = ("wall_seconds", "images_per_second", "peak_memory_gb")
    compared = [{key: run.summary[key] for key in run.summary if key not in times} for run in (first, second)]
    assert compared[0] == compared[1]
    images = torch.randint(256, (4, 8, 8, 1), dtype=torch.uint8)
    assert torch.equal(first.load().predict(images), second.load().predict(images))
