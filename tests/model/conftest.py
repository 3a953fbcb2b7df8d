"""The choices of conf/model as settings, so that no test types their values again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cnntrain.config import initialization, model

CONF = Path(__file__).parents[2] / "conf"
MODULES = {"model": model, "initialization": initialization}


def chosen(group: str, name: str) -> Any:
    """Return the settings behind group=name, from its file."""
    content = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
    schema = content.pop("defaults")[0].removeprefix(f"/schema/{group}/").removesuffix("@_here_")
    classes = [entry for entry in vars(MODULES[group]).values() if isinstance(entry, type)]
    (option,) = (entry for entry in classes if getattr(entry, "name", None) == schema)
    return option(**content)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test with the argument `network` all choices that need nothing from elsewhere."""
    if "network" in metafunc.fixturenames:
        names = {path.stem for path in (CONF / "model").glob("*.yaml")} - {"torchvision", "custom"}
        cases = sorted(names)
        metafunc.parametrize("network", [chosen("model", name) for name in cases], ids=cases)


@pytest.fixture
def choose() -> Any:
    """Return the function from (group, name) to settings."""
    return chosen


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run on one thread: on a busy machine, threads that wait for each other take many times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
