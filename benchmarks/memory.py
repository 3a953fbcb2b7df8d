"""Memory predicted by `job=summary` against memory used in training: python -m benchmarks.memory

Every network is trained for some steps in a separate process. On a CPU the measurement is the peak of its
resident memory minus the resident memory before the network was built (after a warm-up with a tiny network,
with the images in memory); on a CUDA device it is torch.cuda.max_memory_allocated.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = 8
MB = 1e6
SMALL = "data=synthetic data.image_size=32 data.classes=10"
LARGE = "data=synthetic data.image_size=224 data.classes=1000"
GREY = "data=synthetic data.image_size=28 data.channels=1 data.classes=10"
CASES = {
    "convnet, 28x28": f"model=convnet {GREY} data.batch_size=1024",
    "lenet5, 28x28": f"model=lenet5 {GREY} data.batch_size=4096",
    "vgg11, 32x32": f"model=vgg11 {SMALL} data.batch_size=128",
    "vgg11, 32x32, adam": f"model=vgg11 {SMALL} data.batch_size=128 optim=adam",
    "vgg16_bn, 32x32, fp32": f"model=vgg16_bn {SMALL} data.batch_size=128 trainer.precision=fp32",
    "resnet20, 32x32": f"model=resnet20 {SMALL} data.batch_size=256",
    "resnet18, 32x32": f"model=resnet18 {SMALL} data.batch_size=128",
    "resnet50, 64x64": f"model=resnet50 {SMALL} data.image_size=64 data.batch_size=64",
    "vgg11, 224x224": f"model=vgg11 {LARGE} data.batch_size=8",
    "alexnet, 224x224": f"model=alexnet {LARGE} data.batch_size=64",
    "mobilenet_v3_small, 64x64": (
        f"model=torchvision model.arch=mobilenet_v3_small {SMALL} data.image_size=64 data.batch_size=128"
    ),
}


def overrides_of(case: str) -> list[str]:
    """Return the overrides of a case, with as many images as its steps need."""
    overrides = CASES[case].split()
    keys = [override.partition("=")[0] for override in overrides]
    batch_size = int(overrides[keys.index("data.batch_size")].split("=")[1])
    last = {override.partition("=")[0]: override for override in overrides}
    return [
        *last.values(),
        f"data.train_images={STEPS * batch_size}",
        "data.val_fraction=0",
        "data.test_images=10",
        "preprocessing=none",
        "augmentation=crop_flip",
    ]


def predicted(case: str) -> float:
    """Return the memory that job=summary predicts, in bytes."""
    from cnntrain.cli import main

    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            assert main([*overrides_of(case), "job=summary", f"hydra.run.dir={folder}"]) == 0
        content = json.loads((Path(folder) / "network.json").read_text())
    training = content["memory"]["training"]
    return float(training["resident"] or training["peak"])


def measured(case: str) -> float:
    """Train for some steps; return the memory they used, in bytes."""
    import torch

    from cnntrain.assemble.run import assemble
    from cnntrain.config.choice_files import Choices
    from cnntrain.config.pipeline import configure
    from cnntrain.runs.run_folder import create
    from cnntrain.training.device import prepare

    config = configure(overrides_of(case), Choices()).config
    compute = prepare(config.trainer)
    splits = config.data.load(config.seed)
    object.__setattr__(config.data, "load", lambda seed: splits)
    _warm_up(compute.device)
    with tempfile.TemporaryDirectory() as folder:
        on_cuda = compute.device.type == "cuda"
        before = torch.cuda.memory_allocated() if on_cuda else _resident_after_trim()
        trainer = assemble(config, create(Path(folder), True), None).trainer
        trainer.network.train()
        for number, (images, labels) in enumerate(trainer.train_batches.epoch(0, 0, STEPS)):
            trainer.step.run(number, images, labels, recording=False)
        after = torch.cuda.max_memory_allocated() if on_cuda else _status("VmHWM")
        trainer.recorder.close()
    return after - before


def _warm_up(device: object) -> None:
    """Train a tiny network, so that torch has allocated its own memory."""
    import torch
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)
    )
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, fused=True)
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast(torch.device(str(device)).type, dtype, enabled=dtype != torch.float32):
            scores = network(torch.zeros(2, 3, 8, 8, device=torch.device(str(device))))
        scores.float().square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def _resident_after_trim() -> float:
    """Return freed memory to the system, reset the peak, and return the resident memory in bytes."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(name))
    return 1024 * float(line.split()[1])


def in_own_process(function: str, case: str) -> float:
    """Return the result of a function of this file, called in a new process."""
    completed = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--child", function, case],
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        raise SystemExit(completed.stderr)
    return float(completed.stdout.splitlines()[-1])


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        function, case = arguments.child
        print({"predicted": predicted, "measured": measured}[function](case))
        return
    print("| network | predicted MB | measured MB | predicted / measured |\n|---|---|---|---|")
    for case in arguments.only or CASES:
        expected, actual = in_own_process("predicted", case), in_own_process("measured", case)
        print(f"| {case} | {expected / MB:,.0f} | {actual / MB:,.0f} | {expected / actual:.2f} |", flush=True)


if __name__ == "__main__":
    main()
