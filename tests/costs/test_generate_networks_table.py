"""docs/networks.md lists every network with its generated row."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.costs.generate_networks_table import row
from cnntrain.costs.units import group_digits
from cnntrain.model.settings.base import Model

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
CHOICES = Choices()


def is_published(name: str) -> bool:
    schema = CHOICES.find("model", name).schema
    return isinstance(schema, type) and issubclass(schema, Model) and schema.published is not None


NAMES = [name for name in CHOICES.names("model") if is_published(name)]


def settings(name: str) -> Model:
    model = configure([f"model={name}"], CHOICES).config.model
    assert isinstance(model, Model)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_listed_with_its_parameters(name: str) -> None:
    model = settings(name)
    reference = model.published
    assert reference is not None
    with torch.device("meta"):
        network = model.build(reference.channels, reference.classes, (reference.side, reference.side), None)
    count = sum(weight.numel() for weight in network.parameters())
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    assert f"| {group_digits(count)} |" in line, "run `make docs`"


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "nin", "vgg16", "resnet20"])
def test_listed_rows_equal_the_generated_ones(name: str) -> None:
    assert f"\n{row(name, settings(name))}\n" in PAGE, "run `make docs`"


def test_no_other_network_is_listed() -> None:
    _, table = PAGE.split("<!-- begin", 1)
    rows = [line for line in table.partition("<!-- end")[0].splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in rows] == ["model=", *NAMES]
