"""Simulated memory, against networks whose memory can be counted by hand."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cnntrain.assemble.parts import build_criterion
from cnntrain.config.choice_files import Choices
from cnntrain.config.pipeline import configure
from cnntrain.config.resolve_network_input import resolve_network_input
from cnntrain.costs.heap_fragmentation import Heap, glibc
from cnntrain.costs.memory import Simulation, TrainingMemory
from cnntrain.training.device import Compute

BATCH, SIDE, CLASSES = 32, 16, 10
MAP = BATCH * 3 * SIDE * SIDE  # values of one batch of maps of three channels


def simulation(network: nn.Module, *overrides: str, precision: str = "fp32") -> Simulation:
    config = configure(["model=linear", "augmentation=none", *overrides], Choices()).config
    compute = Compute(torch.device("cpu"), precision, torch.contiguous_format, "")
    network_input = resolve_network_input(config, (SIDE, SIDE, 3))
    criterion = build_criterion(config, [str(label) for label in range(CLASSES)], {})
    return Simulation(config, network, compute, network_input, criterion)


def training(network: nn.Module, *overrides: str, precision: str = "fp32") -> TrainingMemory:
    return simulation(network, *overrides, precision=precision).training(BATCH)


def chain(depth: int, layer: Callable[[], nn.Module] = nn.Sigmoid) -> nn.Sequential:
    """Return a 1x1 convolution, `depth` layers that keep the map's size, and a linear classifier."""
    with torch.device("meta"):
        return nn.Sequential(
            nn.Conv2d(3, 3, 1),
            *(layer() for _ in range(depth)),
            nn.Flatten(),
            nn.Linear(3 * SIDE * SIDE, CLASSES),
        )


def test_each_additional_sigmoid_stores_its_output_for_the_backward_pass() -> None:
    three, five = training(chain(3)), training(chain(5))
    assert five.activations - three.activations == 2 * 4 * MAP
    assert five.peak - three.peak == 2 * 4 * MAP
    # In addition: the flattened map, and a few numbers for each class.
    assert 4 * 4 * MAP <= three.activations <= 4 * 4 * MAP + 8 * 4 * BATCH * CLASSES


def test_an_in_place_activation_stores_nothing() -> None:
    class InPlaceDouble(nn.Module):
        """x → 2x in place; the backward pass needs none of its values."""

        def forward(self, values: Tensor) -> Tensor:
            return values.add_(values.detach())

    plain = training(chain(2, lambda: nn.Conv2d(3, 3, 1)))
    doubled = training(chain(2, lambda: nn.Sequential(nn.Conv2d(3, 3, 1), InPlaceDouble())))
    assert doubled.activations == plain.activations
    assert doubled.peak >= plain.peak


def test_bf16_halves_the_stored_activations() -> None:
    def convolution() -> nn.Module:
        return nn.Conv2d(3, 3, 1, bias=False)

    def additional_layer(precision: str) -> int:
        deep, shallow = (training(chain(depth, convolution), precision=precision) for depth in (6, 5))
        return deep.activations - shallow.activations

    # The layer's 9 weights are stored in bf16 too.
    assert additional_layer("fp32") == 4 * MAP
    assert additional_layer("bf16") == 2 * MAP + 2 * 9


def test_batch_and_activations_grow_linearly_with_the_batch_size() -> None:
    simulated = simulation(chain(3))
    estimates = [simulated.training(size) for size in (8, 16, 24)]
    for field in ("batch", "activations"):
        first, second, third = (getattr(memory, field) for memory in estimates)
        assert second - first == third - second > 0
    assert len({(memory.parameters, memory.gradients, memory.optimizer_state) for memory in estimates}) == 1


def test_frozen_weights_have_neither_gradients_nor_state() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 14 * 14, CLASSES))
    network[0].requires_grad_(False)
    memory = training(network, "optim=adam")
    head = 4 * (8 * 14 * 14 * CLASSES + CLASSES)
    assert memory.parameters == head + 4 * (8 * 3 * 9 + 8)
    assert memory.gradients == head
    assert 2 * head <= memory.optimizer_state <= 2 * head + 64  # and a count of steps each


def test_accumulated_batches_need_the_activations_of_one_batch() -> None:
    once, twice = (training(chain(8), f"trainer.accumulate_steps={parts}") for parts in (1, 2))
    assert twice.activations == once.activations
    # The second batch is held in uint8.
    assert twice.batch - once.batch == MAP


def test_memory_of_prediction_does_not_depend_on_the_depth() -> None:
    shallow, deep = (simulation(chain(depth)).prediction(BATCH) for depth in (3, 12))
    assert deep == shallow


def test_shared_weights_are_counted_once() -> None:
    shared = nn.Linear(3 * SIDE * SIDE, 3 * SIDE * SIDE, bias=False)
    network = nn.Sequential(nn.Flatten(), shared, shared, nn.Linear(3 * SIDE * SIDE, CLASSES, bias=False))
    memory = training(network)
    assert memory.parameters == memory.gradients == 4 * (768 * 768 + 768 * CLASSES)


def test_weights_and_random_state_are_unchanged() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(3 * SIDE * SIDE, CLASSES))
    weight = network[2].weight
    before = weight.detach().clone()
    torch.manual_seed(5)
    training(network)
    random = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(random, torch.rand(1))
    assert torch.equal(weight, before)


@pytest.fixture
def library() -> ctypes.CDLL:
    loaded = glibc()
    if loaded is None:
        pytest.skip("needs glibc")
    return loaded


def test_a_freed_block_is_reused_for_a_smaller_block_but_not_for_a_larger_one(library: ctypes.CDLL) -> None:
    heap, size = Heap(library), 8 << 20
    for block in (1, 2):
        heap.allocate(block, size)
    heap.flush()
    assert 2 * size <= heap.covered <= 2 * size + 4096
    heap.free(1)
    heap.allocate(3, size // 2)
    heap.flush()
    covered = heap.covered
    heap.allocate(4, 4 * size)
    heap.flush()
    assert heap.covered >= covered + 3 * size
    heap.clear()


def test_the_simulated_heap_is_at_least_the_peak_of_live_tensors(library: ctypes.CDLL) -> None:
    simulated = simulation(chain(6, lambda: nn.Conv2d(3, 3, 3, padding=1)))
    resident = simulated.resident(BATCH)
    assert resident is not None
    assert simulated.training(BATCH).peak <= resident <= 3 * simulated.training(BATCH).peak
