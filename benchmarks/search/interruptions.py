"""Attempts to break a sweep: kills at random moments, workers stopped and woken, full disks; and its cost.

    python -m benchmarks.search.interruptions                     # all experiments
    python -m benchmarks.search.interruptions kill --kills 100    # one of them

A sweep of 40 short jobs on the digits, of which 5 fail on purpose, is disturbed and continued by the same
command, until it is through. It held if every job was trained to its end once, no epoch twice, and the table
equals that of a sweep that was never disturbed to the last digit. docs/search.md has the results.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

JOBS = 40
# Rates at which 5 of 40 jobs diverge.
COMMAND = [
    "model=linear",
    "data.limit=400",
    "trainer.epochs=3",
    "trainer.precision=fp32",
    "trainer.threads=1",
    "trainer.max_grad_norm=null",
    "search.report=false",
    "search.max_equal_failures=100",
    "optim.lr=0.01,0.02,0.05,0.1,0.2,0.5,1,1e30",
    "seed=range(0,5)",
]
HALVED = [*COMMAND[:-2], "optim.lr=log(1e-3,10)", "search.jobs=40", "trainer.epochs=9"]


def start(folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Start a worker on a sweep in a process group of its own."""
    command = [sys.executable, "-m", "cnntrain", "-m", *overrides, f"hydra.sweep.dir={folder}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and its jobs."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def table(folder: Path) -> dict[str, Any]:
    """Return what a sweep found, without times, and how often each epoch of each job was recorded."""
    found = {}
    for file in sorted(folder.glob("*/job.json")):
        record = json.loads(file.read_text().replace(str(folder), "SWEEP"))  # in messages
        record.pop("seconds"), record.pop("seconds_per_epoch")
        metrics = file.parent / "metrics.jsonl"
        rows = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
        found[file.parent.name] = (record, [row["epoch"] for row in rows if "lr" not in row])
    return found


def compare(name: str, found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Print whether a sweep equals the undisturbed one."""
    lost = sorted(set(expected) - set(found))
    different = [job for job in found if found[job] != expected.get(job)]
    print(
        f"{name}: {len(found)} jobs, {len(lost)} lost, {len(different)} different {different[:5]}", flush=True
    )
    return not lost and not different


def whole(root: Path, command: list[str]) -> dict[str, Any]:
    """Return the table of a sweep that nothing disturbs."""
    process = start(root / "whole", *command)
    process.communicate()
    return table(root / "whole")


def kills(root: Path, count: int) -> bool:
    """Kill a sweep and all its jobs at random moments, and continue it by the same command."""
    held, done, moments = True, 0, random.Random(0)
    for kind, command in (("grid", COMMAND), ("halving", HALVED)):
        expected = whole(root / kind, command)
        while done < count * (1 if kind == "halving" else 0.5):
            folder = root / kind / "killed"
            shutil.rmtree(folder, ignore_errors=True)
            here = 0
            while True:
                process = start(folder, *command)
                try:
                    process.wait(timeout=2 + moments.uniform(0, 3) if here < 10 else None)
                    process.communicate()
                    break
                except subprocess.TimeoutExpired:
                    kill(process)
                    here += 1
            done += here
            held = compare(f"{kind}, killed {here} times", table(folder), expected) and held
    print(f"kills: {done}")
    return held


def stopped(root: Path) -> bool:
    """Three workers on one folder, each stopped and woken at random, one killed, another joining late."""
    expected, moments = whole(root, HALVED), random.Random(1)
    workers = [start(root / "shared", *HALVED) for _ in range(2)]
    time.sleep(4)
    workers.append(start(root / "shared", *HALVED))
    killed = False
    while any(worker.poll() is None for worker in workers):
        alive = [worker for worker in workers if worker.poll() is None]
        chosen = moments.choice(alive)
        with suppress(ProcessLookupError):
            os.killpg(chosen.pid, signal.SIGSTOP)
        time.sleep(moments.uniform(0, 1))
        with suppress(ProcessLookupError):
            os.killpg(chosen.pid, signal.SIGCONT)
        if not killed and len(table(root / "shared")) > 15:
            kill(workers[0])
            killed = True
        time.sleep(0.2)
    for worker in workers:
        if worker.stdout is not None and not worker.stdout.closed:
            worker.communicate()
    return compare("three workers, stopped and woken, one killed", table(root / "shared"), expected)


def full_disk(root: Path) -> bool:
    """A file system that fills in the middle of a sweep, and is emptied before it is continued."""
    expected = whole(root, COMMAND)
    disk = root / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    held = True
    try:
        for free in (100_000, 60_000, 30_000, 10_000, 0):
            process = start(disk / "sweep", *COMMAND)
            time.sleep(4)
            room = shutil.disk_usage(disk).free
            with suppress(OSError), (disk / "ballast").open("wb") as file:
                file.write(b"x" * max(0, room - free))
            output = process.communicate()[0].decode()
            (disk / "ballast").unlink()
            if process.returncode != 0 and "Traceback" in output:
                print(output)
                held = False
        process = start(disk / "sweep", *COMMAND)
        process.communicate()
        return compare("disk full 5 times", table(disk / "sweep"), expected) and held
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def cost(root: Path) -> bool:
    """50 jobs of one epoch of LeNet-5, against the time of their training loops; two at once, against one."""
    command = ["model=lenet5", "trainer.epochs=1", "seed=range(0,50)", "search.report=false"]
    began = time.monotonic()
    start(root / "first", *command[:2], "seed=range(0,1)", command[3]).communicate()
    first = time.monotonic() - began
    began = time.monotonic()
    start(root / "jobs", *command).communicate()
    seconds = time.monotonic() - began - first
    summaries = [json.loads(file.read_text()) for file in (root / "jobs").glob("*/summary.json")]
    loops = sum(summary["wall_seconds"] for summary in summaries) * 49 / 50
    print(f"49 jobs: {seconds:.1f} s, their training loops {loops:.1f} s, ratio {seconds / loops:.2f}")
    longer = [command[0], "trainer.epochs=10", "seed=range(0,8)", command[3], "trainer.threads=1"]
    times = []
    for workers in (1, 2):
        began = time.monotonic()
        start(root / f"workers{workers}", *longer, f"search.workers={workers}").communicate()
        times.append(time.monotonic() - began)
    one, two = times
    print(f"8 jobs one after the other {one:.1f} s, two at once {two:.1f} s, ratio {two / one:.2f}")
    return seconds / loops <= 1.3 and times[1] / times[0] <= 0.75


def main() -> None:
    """Run the experiments that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("kill", "stop", "disk", "cost")
    parser.add_argument("experiments", nargs="*", help=", ".join(names))
    parser.add_argument("--kills", type=int, default=100)
    arguments = parser.parse_args()
    held = True
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.experiments or names:
            root = Path(folder) / name
            root.mkdir()
            experiment = {"stop": stopped, "disk": full_disk, "cost": cost}.get(name)
            held = (kills(root, arguments.kills) if experiment is None else experiment(root)) and held
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
