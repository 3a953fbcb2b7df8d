"""Gradients of the package's own layers against central differences in double precision."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cnntrain.model import lenet_original, shared_layers
from cnntrain.model.lenet_original import TABLE, DistanceToCodes, Subsampling
from cnntrain.model.shared_layers import (
    ConvUnit,
    L2Pool2d,
    LocallyConnected2d,
    Maxout,
    ResponseNorm,
    ScaledTanh,
    TableConvolution,
    ZeroPadShortcut,
)

# Each layer with the shape of an input. L2 pooling and maxima are not differentiable where their inputs are
# all 0 or equal, which random inputs are not.
LAYERS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (Maxout, (2, 6, 3, 2)),
    (lambda: Maxout(3), (4, 6)),
    (ScaledTanh, (3, 5)),
    (lambda: L2Pool2d(2, 2), (2, 3, 5, 6)),
    (lambda: L2Pool2d(3, 2, padding=1, ceil_mode=True), (2, 2, 6, 5)),
    (lambda: ResponseNorm(5, alpha=0.5, beta=0.75, k=2.0), (2, 7, 2, 3)),
    (lambda: LocallyConnected2d(2, 3, 3, (5, 4)), (2, 2, 5, 4)),
    (lambda: LocallyConnected2d(2, 2, 2, (5, 6), stride=2, padding=1, dilation=2), (2, 2, 5, 6)),
    (lambda: TableConvolution(6, TABLE, 2), (2, 6, 3, 4)),
    (lambda: TableConvolution(3, [(0, 2), (1,)], 3), (2, 3, 4, 5)),
    (lambda: ZeroPadShortcut(2, 5, 2), (2, 2, 5, 4)),
    (lambda: ConvUnit(2, 3, 3, normalization="lrn", activation_name="maxout"), (2, 2, 4, 4)),
    (lambda: Subsampling(3), (2, 3, 4, 6)),
    (lambda: DistanceToCodes(10), (2, 84)),
    (lambda: DistanceToCodes(3), (1, 84, 2, 1)),
]


def gradients_are_correct(layer: nn.Module, inputs: Tensor) -> bool:
    """Return whether the gradients of inputs and weights are central differences, to 1e-5 or so."""
    names = [name for name, _ in layer.named_parameters()]

    def outputs(inputs: Tensor, *weights: Tensor) -> Tensor:
        values: Tensor = torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (inputs,))
        return values

    weights = [weight.detach().requires_grad_() for weight in layer.parameters()]
    return torch.autograd.gradcheck(outputs, (inputs.requires_grad_(), *weights))


@pytest.mark.parametrize(("build", "shape"), LAYERS, ids=[type(build()).__name__ for build, _ in LAYERS])
def test_gradients_of_inputs_and_weights_are_central_differences(
    build: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    layer = build().double()
    for weight in layer.parameters():
        nn.init.normal_(weight)
    assert gradients_are_correct(layer, torch.randn(shape, dtype=torch.float64))


@pytest.mark.parametrize("name", shared_layers.ACTIVATIONS)
def test_gradients_of_activations_are_central_differences_away_from_their_kinks(name: str) -> None:
    points = torch.tensor([[-3.0, -1.0, -0.01, 0.01, 1.0, 3.0]], dtype=torch.float64)
    # In-place activations may not overwrite what gradcheck reads.
    assert torch.autograd.gradcheck(
        lambda values: shared_layers.activation(name)(values.clone()), points.requires_grad_()
    )


def test_every_own_layer_is_checked() -> None:
    checked = {type(build()) for build, _ in LAYERS}
    ours = {
        entry
        for module in (shared_layers, lenet_original)
        for entry in vars(module).values()
        if inspect.isclass(entry) and issubclass(entry, nn.Module) and entry.__module__ == module.__name__
    }
    assert ours - checked == {lenet_original.LeNet5Original}  # the whole network
