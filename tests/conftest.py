"""Shared by all tests: one thread for torch, and the choices of conf/ as settings."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from PIL import Image

# torch reads this when it is first imported, here and in subprocesses. Tiny networks train faster on one
# thread than on two that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from cnntrain.config.option_table import option

CONF = Path(__file__).parents[1] / "conf"


def load_settings(group: str, name: str) -> Any:
    """Return the settings of group=name, read from its file in conf/."""
    content = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
    schema = content.pop("defaults")[0].removeprefix(f"/schema/{group}/").removesuffix("@_here_")
    settings_class = option(group, schema)
    assert settings_class is not None
    return settings_class(**content)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what the tests have imported, millions of objects, out of garbage collections."""
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize the argument `network` by all networks of conf/model that need no other package or file.

    The argument `tiny_network` is parametrized by the same networks at their tiny sizes, without duplicates.
    """
    if not {"network", "tiny_network"} & set(metafunc.fixturenames):
        return
    external = {"torchvision", "timm", "custom", "pretrained", "timm_pretrained"}
    names = {path.stem for path in (CONF / "model").glob("*.yaml")} - external
    networks = {name: load_settings("model", name) for name in sorted(names)}
    if "network" in metafunc.fixturenames:
        metafunc.parametrize("network", networks.values(), ids=networks.keys())
    else:
        distinct: dict[str, Any] = {}
        for name, settings in networks.items():
            if settings.tiny() not in distinct.values():
                distinct[name] = settings.tiny()
        metafunc.parametrize("tiny_network", distinct.values(), ids=distinct.keys())


MakeOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Return a function that makes a folder once for all processes of the tests, and returns its path."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, done = shared / name / "run", shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture
def choose() -> Any:
    """Return the function that loads the settings of (group, name)."""
    return load_settings


@pytest.fixture(scope="session")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with photos/CLASS/*.png, whose brightness tells the class, and a run with them."""
    from cnntrain.cli import main

    root = tmp_path_factory.mktemp("shades")
    rng = np.random.default_rng(0)
    for name, shade in (("dark", 20), ("grey", 120), ("light", 220)):
        (root / "photos" / name).mkdir(parents=True)
        for index in range(40):
            pixels = np.clip(shade + rng.normal(0, 10, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / name / f"{index}.png")
    data = ["data=folder", f"data.path={root / 'photos'}", "data.image_size=8", "data.batch_size=16"]
    quick = ["model=linear", "augmentation=none", "trainer.epochs=10", "trainer.pictures=false"]
    assert main([f"hydra.run.dir={root / 'run'}", "trainer.report=false", *data, *quick]) == 0
    return root


@pytest.fixture(autouse=True)
def without_modules_of_other_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget modules that a test has written and imported, so that another may write one of the same name."""
    before = set(sys.modules)
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(folder):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the PNG files of a run, which take longer than a short run, in tests of something else."""
    if "picture" not in request.node.name and "test_report" not in request.node.nodeid:
        for name in ("draw_start", "draw_schedule", "draw_end"):
            monkeypatch.setattr(f"cnntrain.jobs.train.{name}", lambda *arguments: [])


@pytest.fixture(autouse=True)
def without_reports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the page of a run, which takes a second to draw, in tests that are not about it."""
    if "test_report" not in request.node.nodeid:
        monkeypatch.setattr("cnntrain.jobs.train._report", lambda *arguments: None)
        monkeypatch.setattr("cnntrain.jobs.sweep.report_sweep", lambda *arguments: None)
