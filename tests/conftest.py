"""Shared by all tests: one thread for torch, and the choices of conf/ as settings."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
import time
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

# Nothing that is imported is garbage: looking for it among millions of objects takes seconds.
gc.disable()

# Flushing to the disk, a dozen times a run, is for machines that lose power, which none does here. Tests of
# it replace this function.
os.fsync = lambda descriptor: None

CONF = Path(__file__).parents[1] / "conf"


def load_settings(group: str, name: str) -> Any:
    """Return the settings of group=name, read from its file in conf/."""
    content = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
    schema = content.pop("defaults")[0].removeprefix(f"/schema/{group}/").removesuffix("@_here_")
    settings_class = option(group, schema)
    assert settings_class is not None
    return settings_class(**content)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return one worker more than there are cores: tests wait for their processes a fifth of the time."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what the tests have imported, millions of objects, out of garbage collections."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000)


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


class Program:
    """A process of the program, started by `fork_server.py`; as subprocess.Popen with text as its output."""

    def __init__(self, server: ForkServer, pid: int, output: Path):
        self._server = server
        self.pid = pid
        self._output = output

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None where it was not seen to end."""
        status = self._server.ended.get(self.pid)
        return None if status is None else os.waitstatus_to_exitcode(status)

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        self._server.read(0)
        return self.returncode

    def wait(self, timeout: float = 120) -> int:
        """Return the exit code when it has ended; raises AssertionError after `timeout` seconds."""
        end = time.monotonic() + timeout
        while self.returncode is None:
            assert time.monotonic() < end, "the program goes on"
            self._server.read(end - time.monotonic())
        return self.returncode

    def communicate(self, timeout: float = 120) -> tuple[str, None]:
        """Wait until it has ended; return what it has printed, standard error included."""
        self.wait(timeout)
        return self._output.read_text(encoding="utf-8"), None

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that starts programs; ended: the status of each that has ended, by its process ID."""

    def __init__(self, outputs: Path):
        command = [sys.executable, str(Path(__file__).with_name("fork_server.py"))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._outputs = outputs
        self._started: list[int] = []
        self._partial = b""
        self.ended: dict[int, int] = {}

    def start(self, *arguments: str) -> Program:
        """Start the program in the current folder and environment."""
        assert self._process.stdin is not None
        output = self._outputs / f"{time.monotonic_ns()}.txt"
        request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
        self._process.stdin.write(json.dumps(request | {"output": str(output)}).encode() + b"\n")
        self._process.stdin.flush()
        while not self._started:
            self.read(60)
        return Program(self, self._started.pop(), output)

    def read(self, seconds: float) -> None:
        """Take in what the server has said, waiting for it so long at most."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], max(0.0, seconds))[0]:
            return
        content = os.read(descriptor, 65536)
        assert content, "the fork server has ended"
        *lines, self._partial = (self._partial + content).split(b"\n")
        for kind, pid, *status in map(bytes.split, lines):
            if kind == b"started":
                self.ended.pop(int(pid), None)  # of an earlier process with this ID
                self._started.append(int(pid))
            else:
                self.ended[int(pid)] = int(status[0])

    def end(self) -> None:
        """End the server."""
        self._process.communicate()


@pytest.fixture(scope="session")
def start_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Program]]:
    """Return the function that starts the program in a process of its own with these arguments."""
    server = ForkServer(tmp_path_factory.mktemp("outputs"))
    yield server.start
    server.end()


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
