"""Attempts to break a run: kills and failures at every file operation, signals, two starts, limits, outputs.

    python -m benchmarks.reliability                    # all experiments
    python -m benchmarks.reliability kill fail          # some of them

Each case is a process of its own, forked from this one, which has imported torch. What holds is counted: a
case fails if it ends in a traceback, with another exit code than documented, with files left behind, or if
the run that follows differs from one that was never disturbed. The results stand in docs/reliability.md.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a forked process has none of its parent's threads

import torch

from cnntrain.cli import main as cnntrain

RUN = [
    "model=linear",
    "trainer.epochs=2",
    "trainer.max_steps_per_epoch=4",
    "trainer.checkpoint_every_steps=3",
    "trainer.record_every_steps=2",
    "averaging=ema",
    "logger=tensorboard",
]
# Audit events of operations that change files, and the positions of their paths.
OPERATIONS = {
    "open": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "os.link": (0, 1),
    "os.truncate": (0,),
    "shutil.rmtree": (0,),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

# Seconds after which a case that has not ended is killed, and counts as failed.
LONGEST = 300


class Child:
    """A forked process that runs cnntrain with its output in a file."""

    def __init__(self, folder: Path, overrides: list[str], prepare: Callable[[], None] = lambda: None):
        self.log = folder / "log.txt"
        self.pid = os.fork()
        if self.pid == 0:
            self._run(folder, overrides, prepare)

    def _run(self, folder: Path, overrides: list[str], prepare: Callable[[], None]) -> None:
        code = 99
        try:
            os.chdir(folder)
            output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # as in __main__.py
            signal.alarm(LONGEST)
            prepare()
            code = cnntrain(overrides)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
            os._exit(code)

    def wait(self) -> int:
        """Return the exit code, negative for a signal."""
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def run(folder: Path, overrides: list[str], prepare: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Return exit code and output of one process."""
    (folder / "log.txt").unlink(missing_ok=True)
    code = Child(folder, overrides, prepare).wait()
    return code, (folder / "log.txt").read_text(errors="replace") if (folder / "log.txt").exists() else ""


def at_operation(number: int, folder: Path, act: Callable[[], None]) -> Callable[[], None]:
    """Return a function that installs a hook: it calls `act` before file operation `number` in the folder."""

    def install() -> None:
        count, run_folder, active = 0, os.fspath(folder / "run"), True

        def operation(paths: list[Any]) -> None:
            nonlocal count, active
            if not active or not any(
                isinstance(p, str | Path) and str(p).startswith(run_folder) for p in paths
            ):
                return
            count += 1
            if count == number:
                active = False
                act()

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in OPERATIONS:
                if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
                    return
                paths = [arguments[position] for position in OPERATIONS[event]]
                operation([os.path.abspath(path) if isinstance(path, str) else path for path in paths])

        fsync = os.fsync

        def watched_fsync(descriptor: Any) -> None:
            operation([os.readlink(f"/proc/self/fd/{descriptor}")])
            fsync(descriptor)

        os.fsync = watched_fsync  # type: ignore[assignment]
        sys.addaudithook(hook)

    return install


def state_of(folder: Path) -> dict[str, Any]:
    """Return what two runs of the same settings have in common: rows, weights, metrics."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    times = ("images_per_second", "data_wait")
    rows = [{key: value for key, value in line.items() if key not in times} for line in lines]
    summary = json.loads((folder / "summary.json").read_text())
    weights = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["network"]
    kept = {
        key: value
        for key, value in summary.items()
        if key not in ("wall_seconds", "images_per_second", "peak_memory_gb")
    }
    return {"rows": rows, "summary": kept, "weights": {name: w.tolist() for name, w in weights.items()}}


def leftovers(folder: Path) -> list[str]:
    """Return files that no run should leave."""
    found = [p for p in (folder / "run").rglob("*") if p.name.endswith((".writing", ".linking"))]
    return [str(path.relative_to(folder)) for path in found]


def goes_on(folder: Path, expected: dict[str, Any]) -> str | None:
    """Continue a disturbed run; return what is wrong with the result, or None."""
    has_run = (folder / "run" / "config.yaml").exists()
    code, log = run(folder, ["run=run"] if has_run else ["hydra.run.dir=run", *RUN])
    if code != 0:
        return f"cannot go on ({code}): {log.strip().splitlines()[-1:]}"
    if state_of(folder / "run") != expected:
        return "another result"
    return f"left {left}" if (left := leftovers(folder)) else None


def words(code: int, log: str, codes: tuple[int, ...]) -> str | None:
    """Return what is wrong with the end of a disturbed process, or None."""
    if "Traceback" in log:
        return "traceback: " + log.strip().splitlines()[-1]
    return None if code in codes else f"exit code {code}: {log.strip().splitlines()[-1:]}"


class Experiment:
    """Counts the cases of one experiment that hold."""

    def __init__(self, name: str):
        self.name, self.cases, self.wrong = name, 0, list[str]()

    def case(self, label: str, wrong: str | None) -> None:
        self.cases += 1
        if wrong is not None:
            self.wrong.append(f"{label}: {wrong}")

    def report(self) -> None:
        print(f"{self.name}: {self.cases - len(self.wrong)} of {self.cases}", flush=True)
        for line in self.wrong[:40]:
            print(f"  {line[:300]}", flush=True)


def fresh() -> Path:
    return Path(tempfile.mkdtemp(dir=SCRATCH))


def count_operations() -> int:
    """Return the number of file operations of an undisturbed run, the last that is reached, by bisection."""
    folder, reached = fresh(), fresh() / "reached"
    low, high = 1, 1024
    while low < high:
        middle = (low + high + 1) // 2
        shutil.rmtree(folder / "run", ignore_errors=True)
        reached.unlink(missing_ok=True)
        run(folder, ["hydra.run.dir=run", *RUN], at_operation(middle, folder, reached.touch))
        low, high = (middle, high) if reached.exists() else (low, middle - 1)
    return low


def kill(expected: dict[str, Any], operations: int) -> None:
    """SIGKILL before every file operation; then the run goes on to the same result."""
    experiment = Experiment("killed at every file operation")
    for number in range(1, operations + 1):
        folder = fresh()
        kill_now = lambda: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
        code, _ = run(folder, ["hydra.run.dir=run", *RUN], at_operation(number, folder, kill_now))
        experiment.case(str(number), f"exit code {code}" if code != -9 else goes_on(folder, expected))
        shutil.rmtree(folder)
    experiment.report()


def fail(expected: dict[str, Any], operations: int) -> None:
    """ENOSPC and EIO at every file operation: one line, exit code 3 (or none needed), and the run goes on."""
    experiment = Experiment("every file operation failing (ENOSPC, EIO)")
    for number in range(1, operations + 1):
        for cause in (errno.ENOSPC, errno.EIO):
            folder = fresh()

            def raise_error(cause: int = cause) -> None:
                raise OSError(cause, os.strerror(cause), "a file")

            code, log = run(folder, ["hydra.run.dir=run", *RUN], at_operation(number, folder, raise_error))
            wrong = words(code, log, (0, 3))
            if wrong is None and code == 3:
                wrong = f"left {left}" if (left := leftovers(folder)) else goes_on(folder, expected)
            elif wrong is None and state_of(folder / "run") != expected:
                wrong = "another result"
            experiment.case(f"{number} {errno.errorcode[cause]}", wrong)
            shutil.rmtree(folder)
    experiment.report()


def limit(expected: dict[str, Any]) -> None:
    """A limit on the size of files (RLIMIT_FSIZE): writing fails in the middle of a file."""
    experiment = Experiment("files that cannot grow beyond a size")
    for size in (0, 100, 1000, 3000, 5000, 8000, 12000, 20000, 40000, 80000):
        folder = fresh()
        limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, -1))
        code, log = run(folder, ["hydra.run.dir=run", *RUN], limited)
        wrong = words(code, log, (0, 3)) if size > 1000 else None if code in (0, 3) else f"exit code {code}"
        experiment.case(f"{size} bytes", wrong or (goes_on(folder, expected) if code else None))
    experiment.report()


def signals(expected: dict[str, Any]) -> None:
    """Fifty signals at random moments; the run says how to go on, and goes on to the same result."""
    experiment, rng = Experiment("signals at random moments"), random.Random(0)
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU]
    for number in range(50):
        folder, sent = fresh(), numbers[number % len(numbers)]
        child = Child(folder, ["hydra.run.dir=run", *RUN])
        time.sleep(rng.uniform(0, 1.2))
        os.kill(child.pid, sent)
        code = child.wait()
        log = (folder / "log.txt").read_text() if (folder / "log.txt").exists() else ""
        wrong = words(code, log, (0, 128 + sent, -sent, 130))
        if (
            wrong is None
            and code > 0
            and (folder / "run" / "config.yaml").exists()
            and "continue " not in log
        ):
            wrong = "does not say how to continue"
        experiment.case(f"{sent.name} {number}", wrong or (goes_on(folder, expected) if code else None))
        shutil.rmtree(folder)
    experiment.report()


def two(expected: dict[str, Any]) -> None:
    """A hundred times two starts in one folder: one trains, the other is refused, the result is whole."""
    experiment, rng = Experiment("two starts in one folder"), random.Random(0)
    for number in range(100):
        folder = fresh()
        first = Child(folder, ["hydra.run.dir=run", *RUN])
        time.sleep(rng.uniform(0, 0.3))
        second = Child(folder, ["hydra.run.dir=run", *RUN])
        codes = sorted((first.wait(), second.wait()))
        log = (folder / "log.txt").read_text()
        wrong = "traceback" if "Traceback" in log else None if codes == [0, 3] else f"exit codes {codes}"
        experiment.case(
            str(number), wrong or (None if state_of(folder / "run") == expected else "another result")
        )
        shutil.rmtree(folder)
    experiment.report()


def memory() -> None:
    """Limits on the address space, and settings that need more memory than any machine has."""
    experiment = Experiment("too little memory")
    settings = (
        ["model=mlp", "model.hidden=[400000,400000]"],
        ["data=synthetic", "data.image_size=20000"],
        ["data=synthetic", "data.train_images=100000000"],
        [
            "data=synthetic",
            "data.image_size=224",
            "model=vgg16",
            "data.batch_size=1500",
            "data.train_images=1700",
        ],
    )
    for overrides in settings:
        folder = fresh()
        limited = partial(resource.setrlimit, resource.RLIMIT_AS, (12 << 30, -1))
        code, log = run(folder, ["hydra.run.dir=run", "trainer.epochs=1", *overrides], limited)
        lines = [line for line in log.splitlines() if line.startswith("cnntrain: ")]
        wrong = words(code, log, (1,)) or (None if "out of memory" in log and len(lines) == 1 else f"{lines}")
        experiment.case(" ".join(overrides), wrong)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    for extra in range(10, 310, 30):
        folder, size = fresh(), pages * resource.getpagesize() + (extra << 20)
        code, log = run(
            folder, ["hydra.run.dir=run", *RUN], partial(resource.setrlimit, resource.RLIMIT_AS, (size, -1))
        )
        experiment.case(f"{extra} MiB", words(code, log, (0, 1)))
    experiment.report()


def outputs(expected: dict[str, Any]) -> None:
    """Standard output and error that are closed, full or broken pipes: training goes on."""
    experiment = Experiment("outputs that cannot be written")

    def broken_pipe() -> int:
        read, write = os.pipe()
        os.close(read)
        return write

    targets = {"full": lambda: os.open("/dev/full", os.O_WRONLY), "broken pipe": broken_pipe, "closed": None}
    for name, target in targets.items():
        for descriptors in ((1,), (2,), (1, 2)):
            for missing in (False, True):
                folder = fresh()

                def redirect(
                    target: Any = target, descriptors: Any = descriptors, missing: bool = missing
                ) -> None:
                    for descriptor in descriptors:
                        if target is None:
                            os.close(descriptor)
                        else:
                            os.dup2(target(), descriptor)
                    if missing and 1 in descriptors:
                        sys.stdout = None
                    if missing and 2 in descriptors:
                        sys.stderr = None

                code, log = run(folder, ["hydra.run.dir=run", *RUN], redirect)
                wrong = words(code, log, (0,)) or (
                    None if state_of(folder / "run") == expected else "another result"
                )
                experiment.case(f"{name} {descriptors} {'without stream' if missing else ''}", wrong)
                shutil.rmtree(folder)
    experiment.report()


EXPERIMENTS = ("kill", "fail", "limit", "signals", "two", "memory", "outputs")


def main() -> None:
    """Run the experiments named on the command line."""
    global SCRATCH
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", nargs="*", help=", ".join(EXPERIMENTS))
    chosen = parser.parse_args().experiments or EXPERIMENTS
    with tempfile.TemporaryDirectory() as scratch:
        SCRATCH = scratch
        folder = fresh()
        code, log = run(folder, ["hydra.run.dir=run", *RUN])
        assert code == 0, log
        expected = state_of(folder / "run")
        operations = count_operations() if {"kill", "fail"} & set(chosen) else 0
        print(f"{operations} file operations" if operations else "", flush=True)
        for name in chosen:
            arguments = {"kill": (expected, operations), "fail": (expected, operations), "memory": ()}
            globals()[name](*arguments.get(name, (expected,)))


SCRATCH = ""

if __name__ == "__main__":
    main()
