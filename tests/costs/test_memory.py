"""Memory without values, against networks whose memory can be counted by hand."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cnntrain.assemble import build_criterion
from cnntrain.config.choices import Choices
from cnntrain.config.compose import Composer
from cnntrain.config.configure import configure
from cnntrain.config.network_input import resolve_network_input
from cnntrain.costs.heap import Heap, glibc
from cnntrain.costs.memory import Simulation, TrainingMemory
from cnntrain.training.device import Compute

BATCH, SIDE, CLASSES = 32, 16, 10
MAP = BATCH * 3 * SIDE * SIDE  # values of one batch of maps of three channels


def simulation(network: nn.Module, *words: str, precision: str = "fp32") -> Simulation:
    config = configure(["model=linear", "augmentation=none", *words], Composer(Choices())).config
    compute = Compute(torch.device("cpu"), precision, torch.contiguous_format, "")
    network_input = resolve_network_input(config, (SIDE, SIDE, 3))
    criterion = build_criterion(config, [str(label) for label in range(CLASSES)], {})
    return Simulation(config, network, compute, network_input, criterion)


def training(network: nn.Module, *words: str, precision: str = "fp32") -> TrainingMemory:
    return simulation(network, *words, precision=precision).training(BATCH)


def chain(depth: int, layer: Callable[[], nn.Module] = nn.Sigmoid) -> nn.Sequential:
    """Return a 1x1 convolution, `depth` layers on its map that leave the size, and a linear classifier."""
    with torch.device("meta"):
        return nn.Sequential(
            nn.Conv2d(3, 3, 1),
            *(layer() for _ in range(depth)),
            nn.Flatten(),
            nn.Linear(3 * SIDE * SIDE, CLASSES),
        )


def test_each_sigmoid_more_keeps_its_output_for_the_backward_pass() -> None:
    three, five = training(chain(3)), training(chain(5))
    assert five.activations - three.activations == 2 * 4 * MAP
    assert five.peak - three.peak == 2 * 4 * MAP
    # Beside those outputs: the map once more, laid out as vectors, and a few numbers for each class.
    assert 4 * 4 * MAP <= three.activations <= 4 * 4 * MAP + 8 * 4 * BATCH * CLASSES


def test_an_activation_in_place_keeps_nothing_more() -> None:
    class Own(nn.Module):
        """x → 2x in its own memory: nothing of it is needed backwards."""

        def forward(self, values: Tensor) -> Tensor:
            return values.add_(values.detach())

    plain = training(chain(2, lambda: nn.Conv2d(3, 3, 1)))
    doubled = training(chain(2, lambda: nn.Sequential(nn.Conv2d(3, 3, 1), Own())))
    assert doubled.activations == plain.activations
    assert doubled.peak >= plain.peak


def test_bf16_keeps_half_as_much_of_what_it_computes() -> None:
    def convolution() -> nn.Module:
        return nn.Conv2d(3, 3, 1, bias=False)

    def one_more(precision: str) -> int:
        deep, shallow = (training(chain(depth, convolution), precision=precision) for depth in (6, 5))
        return deep.activations - shallow.activations

    # The weights of a layer are kept in bf16 too: 9 numbers.
    assert one_more("fp32") == 4 * MAP
    assert one_more("bf16") == 2 * MAP + 2 * 9


def test_what_grows_with_the_batch_grows_evenly() -> None:
    watched = simulation(chain(3))
    found = [watched.training(size) for size in (8, 16, 24)]
    for what in ("batch", "activations"):
        first, second, third = (getattr(memory, what) for memory in found)
        assert second - first == third - second > 0
    assert len({(memory.parameters, memory.gradients, memory.optimizer_state) for memory in found}) == 1


def test_frozen_weights_have_neither_gradients_nor_state() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 14 * 14, CLASSES))
    network[0].requires_grad_(False)
    found = training(network, "optim=adam")
    head = 4 * (8 * 14 * 14 * CLASSES + CLASSES)
    assert found.parameters == head + 4 * (8 * 3 * 9 + 8)
    assert found.gradients == head
    assert 2 * head <= found.optimizer_state <= 2 * head + 64  # and a count of steps each


def test_accumulated_batches_need_the_activations_of_one_alone() -> None:
    once, twice = (training(chain(8), f"trainer.accumulate_steps={parts}") for parts in (1, 2))
    assert twice.activations == once.activations
    # The second batch waits as it is stored, in uint8.
    assert twice.batch - once.batch == MAP


def test_prediction_holds_two_maps_at_a_time_however_deep_the_network() -> None:
    shallow, deep = (simulation(chain(depth)).prediction(BATCH) for depth in (3, 12))
    assert deep == shallow


def test_the_weights_are_counted_once_where_layers_share_them() -> None:
    shared = nn.Linear(3 * SIDE * SIDE, 3 * SIDE * SIDE, bias=False)
    network = nn.Sequential(nn.Flatten(), shared, shared, nn.Linear(3 * SIDE * SIDE, CLASSES, bias=False))
    found = training(network)
    assert found.parameters == found.gradients == 4 * (768 * 768 + 768 * CLASSES)


def test_real_weights_and_random_numbers_are_left_alone() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(3 * SIDE * SIDE, CLASSES))
    weight = network[2].weight
    before = weight.detach().clone()
    torch.manual_seed(5)
    training(network)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert torch.equal(weight, before)


@pytest.fixture
def library() -> ctypes.CDLL:
    found = glibc()
    if found is None:
        pytest.skip("needs glibc")
    return found


def test_a_hole_takes_a_smaller_block_and_not_a_larger_one(library: ctypes.CDLL) -> None:
    heap, size = Heap(library), 8 << 20
    for block in (1, 2):
        heap.allocate(block, size)
    heap.settle()
    assert 2 * size <= heap.covered <= 2 * size + 4096
    heap.free(1)
    heap.allocate(3, size // 2)
    heap.settle()
    within = heap.covered
    heap.allocate(4, 4 * size)
    heap.settle()
    assert heap.covered >= within + 3 * size
    heap.clear()


def test_the_heap_is_never_smaller_than_what_is_alive_in_it(library: ctypes.CDLL) -> None:
    watched = simulation(chain(6, lambda: nn.Conv2d(3, 3, 3, padding=1)))
    resident = watched.resident(BATCH)
    assert resident is not None
    assert watched.training(BATCH).peak <= resident <= 3 * watched.training(BATCH).peak
