"""For all tests: one thread, and the choices of conf/ as settings, so that no test repeats their values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

# Read when torch is first imported, by this process and by those it starts: for tiny networks one thread is
# faster than two that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from cnntrain.config.options import option

CONF = Path(__file__).parents[1] / "conf"


def chosen(group: str, name: str) -> Any:
    """Return the settings behind group=name, from its file."""
    content = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
    schema = content.pop("defaults")[0].removeprefix(f"/schema/{group}/").removesuffix("@_here_")
    found = option(group, schema)
    assert found is not None
    return found(**content)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give tests with the argument `network` all choices that need nothing from elsewhere.

    The argument `tiny_network` gives the same at their tiny sizes, where several depths are one.
    """
    if not {"network", "tiny_network"} & set(metafunc.fixturenames):
        return
    names = {path.stem for path in (CONF / "model").glob("*.yaml")} - {"torchvision", "timm", "custom"}
    networks = {name: chosen("model", name) for name in sorted(names)}
    if "network" in metafunc.fixturenames:
        metafunc.parametrize("network", networks.values(), ids=networks.keys())
    else:
        different: dict[str, Any] = {}
        for name, settings in networks.items():
            if settings.tiny() not in different.values():
                different[name] = settings.tiny()
        metafunc.parametrize("tiny_network", different.values(), ids=different.keys())


@pytest.fixture
def choose() -> Any:
    """Return the function from (group, name) to settings."""
    return chosen
