"""Two processes train as one does: the same updates, to rounding, and the same metrics."""

from __future__ import annotations

import multiprocessing
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._C._distributed_c10d import Store, TCPStore

from cnntrain.assemble.run import build_parts
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.data.batches import Batches
from cnntrain.data.image_set import MemoryImages
from cnntrain.loss.class_losses import Softmax
from cnntrain.training.device import Compute
from cnntrain.training.evaluate_split import Evaluation, evaluate_split
from cnntrain.training.process_group import ALONE, ProcessGroup, SeveralProcesses
from cnntrain.training.process_place import Place
from cnntrain.training.sync_batch_norm import synchronize_batch_norm

STEPS = 20
CPU = Compute(torch.device("cpu"), "fp32", torch.contiguous_format, "")
# A network without batch normalization and dropout; 87 images, so that an epoch's batches have 29.
PLAIN = [
    *("model=lenet5", "data=digits", "data.limit=108", "data.batch_size=32", "regularization.dropout=0"),
    *("trainer.precision=fp32", "trainer.threads=1", "trainer.instruments=false", "augmentation=crop_flip"),
]
UPDATES = {
    "sgd": ["loss.balanced=true"],
    "adam": ["optim=adam", "trainer.accumulate_steps=2"],
    "muon": ["optim=muon", "augmentation=cutout", "augmentation.cutout=3"],
}


def trained(overrides: list[str], group: ProcessGroup) -> list[Tensor]:
    """Return losses, metrics and gradient norms of STEPS updates, and the weights after them."""
    config = configure([*PLAIN, *overrides], Choices()).config
    parts = build_parts(config, None, Path(), "")
    parts.step.group = group
    number, results = 0, []
    for epoch in range(STEPS):
        for images, labels in parts.train.epoch(epoch, 0, STEPS - number, group.share):
            result = parts.step.run(number, images, labels, recording=False)
            results += [result.update.loss, result.metric_sum, result.update.grad_norm]
            number += 1
    return [torch.stack(results), *(weight.detach() for weight in parts.step.update.weights)]


def evaluated(group: ProcessGroup) -> Evaluation:
    """Return the evaluation of a random network over 50 images in 7 batches."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    images = MemoryImages(torch.randint(256, (50, 4, 4, 1), dtype=torch.uint8), torch.arange(50) % 3)
    criterion = Softmax(["a", "b", "c"], torch.tensor([1.0, 2.0, 3.0]), 0.0)
    batches = Batches(images, 8, CPU.device)
    return evaluate_split(network, lambda batch: batch / 255, criterion, batches, CPU, group=group)


def normalized(group: ProcessGroup) -> list[Tensor]:
    """Return what batch normalization makes of 7 images, its gradients and its running statistics."""
    torch.manual_seed(0)
    norm, inputs, factors = nn.BatchNorm2d(3), torch.randn(7, 3, 2, 2) * 3 + 5, torch.randn(7, 3, 2, 2)
    if group.size > 1:
        synchronize_batch_norm(norm, group)
    own = inputs[group.share.of(7)].requires_grad_()
    outputs = norm(own)
    (outputs * factors[group.share.of(7)]).sum().backward()
    gradients = [weight.grad for weight in norm.parameters() if weight.grad is not None]
    group.add_up(gradients)
    of_images = [group.gather([tensor.detach()]) for tensor in (outputs, own.grad) if tensor is not None]
    statistics = [buffer.float() for buffer in norm.buffers()]
    return [*gradients, *statistics, *(torch.cat(parts) for parts in of_images if parts)]


def all_cases(group: ProcessGroup) -> dict[str, Any]:
    """Return the results of all cases by name."""
    results: dict[str, Any] = {name: trained(overrides, group) for name, overrides in UPDATES.items()}
    results["again"] = trained(UPDATES["sgd"], group)
    evaluation = evaluated(group)
    results["evaluation"] = (evaluation.loss, evaluation.metrics, evaluation.details)
    results["normalized"] = normalized(group)
    same, other = torch.ones(3), torch.tensor([1.0, 1.0, 1.0 + group.rank])
    results["same"] = [group.have_same([same, one]) for one in (same, other)]
    return results


def _member(rank: int, file: Path, port: int, listening: int | None) -> None:
    """Be one of two processes; the first writes the results into a file."""

    def connect() -> Store:
        wait = timedelta(seconds=60)
        if listening is None:
            return TCPStore("127.0.0.1", port, 2, False, wait)
        return TCPStore("127.0.0.1", port, 2, True, wait, False, master_listen_fd=listening)

    group = SeveralProcesses(Place(rank, 2, rank, 2), connect, lambda: None)
    group.enter()
    results = all_cases(group)
    if group.is_first:
        torch.save(results, file)
    group.leave()


@pytest.fixture
def of_two(make_once: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the results of all cases in two processes."""

    def fill(folder: Path) -> None:
        folder.mkdir(parents=True)
        listening = socket.create_server(("127.0.0.1", 0))
        port, context = listening.getsockname()[1], multiprocessing.get_context("fork")
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
        members = [
            context.Process(target=_member, args=(rank, folder / "results.pt", port, descriptor))
            for rank, descriptor in enumerate((listening.fileno(), None))
        ]
        for member in members:
            member.start()
        listening.close()
        for member in members:
            member.join(60)
        assert [member.exitcode for member in members] == [0, 0]

    results = torch.load(make_once("two processes", fill) / "results.pt", weights_only=False)
    assert isinstance(results, dict)
    return results


@pytest.mark.parametrize("name", UPDATES)
def test_updates_are_those_of_one_process(name: str, of_two: dict[str, Any]) -> None:
    for alone, together in zip(trained(UPDATES[name], ALONE), of_two[name], strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_updates_are_the_same_to_the_bit_when_repeated(of_two: dict[str, Any]) -> None:
    for first, second in zip(of_two["sgd"], of_two["again"], strict=True):
        assert torch.equal(first, second)


def test_evaluation_is_that_of_one_process(of_two: dict[str, Any]) -> None:
    alone = evaluated(ALONE)
    assert of_two["evaluation"] == (alone.loss, alone.metrics, alone.details)


def test_synchronized_batch_norm_is_that_of_one_process(of_two: dict[str, Any]) -> None:
    for alone, together in zip(normalized(ALONE), of_two["normalized"], strict=True):
        torch.testing.assert_close(together, alone)


def test_weights_that_differ_are_noticed(of_two: dict[str, Any]) -> None:
    assert of_two["same"] == [True, False]
