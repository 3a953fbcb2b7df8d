"""Flat and hierarchical softmax, output layer and loss alone: python -m benchmarks.hierarchical_softmax

Forward and backward pass of one layer on 512 features in batches of 128, float32, one thread, labels drawn
uniformly; medians over steps of the CPU time in milliseconds, to exclude other programs. The weights'
gradient is allocated in each step, as in training. "Zeros" is the time for filling it with zeros, part of
the training times; "evaluation" the time for the log-probabilities of all classes, without gradient.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnntrain.loss.class_tree import balanced
from cnntrain.loss.hierarchical_softmax import HierarchicalSoftmax, TreeOutput
from cnntrain.training.device import keep_freed_memory

FEATURES, BATCH_SIZE = 512, 128
CLASSES = (100, 1000, 10_000, 100_000)
BRANCHINGS = (2, 10, 100)


def criterion(output: TreeOutput) -> HierarchicalSoftmax:
    """Return the loss of a network with this output layer."""
    loss = HierarchicalSoftmax([str(label) for label in range(output.classes)], output.tree)
    loss.set_output(output)
    return loss


def milliseconds(run: Callable[[], object], steps: int) -> float:
    """Return the median time of a step, after two that are not counted."""
    run()
    run()
    times = []
    for _ in range(steps):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return 1000 * statistics.median(times)


def training(layer: nn.Linear, loss: Callable[[Tensor, Tensor], Tensor], steps: int) -> float:
    """Return the time of a forward and backward pass on a new batch."""
    classes = layer.classes if isinstance(layer, TreeOutput) else layer.out_features
    features = torch.randn(BATCH_SIZE, FEATURES, requires_grad=True)

    def step() -> None:
        labels = torch.randint(classes, (BATCH_SIZE,))
        layer.weight.grad = layer.bias.grad = features.grad = None
        torch.autograd.backward(loss(layer(features), labels))

    return milliseconds(step, steps)


@torch.inference_mode()
def evaluation(layer: nn.Linear, steps: int) -> float:
    """Return the time of the log-probabilities of all classes."""
    layer.eval()
    features = torch.randn(BATCH_SIZE, FEATURES)
    run = (
        (lambda: layer(features)) if isinstance(layer, TreeOutput) else lambda: layer(features).log_softmax(1)
    )
    return milliseconds(run, steps)


def row(classes: int, branching: int | None, steps: int) -> str:
    """Return a row of the table; without branching, the row of the flat softmax."""
    torch.manual_seed(0)
    if branching is None:
        layer = nn.Linear(FEATURES, classes)
        training_ms, on_path = training(layer, F.cross_entropy, steps), classes
    else:
        tree = balanced([str(number) for number in range(classes)], branching)
        layer = TreeOutput.from_linear(nn.Linear(FEATURES, 1), tree)
        training_ms = training(layer, criterion(layer), steps)
        on_path = sum(node.children for node, _ in tree.path(0))
    rows = layer.out_features
    zeros_ms = milliseconds(lambda: torch.zeros(rows, FEATURES), steps)
    name = "flat" if branching is None else str(branching)
    evaluation_ms = evaluation(layer, steps)
    times = f"{training_ms:.2f} | {zeros_ms:.2f} | {evaluation_ms:.2f}"
    return f"| {classes} | {name} | {rows} | {on_path} | {times} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    keep_freed_memory()
    print("| classes | branching | rows | rows on a path | training, ms | zeros, ms | evaluation, ms |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for classes in CLASSES:
        for branching in (None, *BRANCHINGS):
            print(row(classes, branching, steps), flush=True)


if __name__ == "__main__":
    main()
