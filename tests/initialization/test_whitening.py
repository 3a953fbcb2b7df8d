"""A first convolution that whitens patches, convolutions that begin as the identity, what stays frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnntrain.cli import main
from cnntrain.errors import ConfigError
from cnntrain.initialization.settings import Whitening

EPSILON = 1e-3


def correlated_images() -> Tensor:
    """Return 40 images (N, 2, 9, 9) whose channels and neighbouring pixels are correlated."""
    torch.manual_seed(0)
    noise = nn.functional.avg_pool2d(torch.randn(40, 2, 10, 10), 2, 1)
    return torch.stack([noise[:, 0], noise[:, 0] + 0.5 * noise[:, 1]], 1)


def patches(images: Tensor, side: int) -> np.ndarray:
    """Return all patches of images as rows, in float64."""
    windows = images.double().unfold(2, side, 1).unfold(3, side, 1)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2).numpy()


def whitened(filters: int, images: Tensor) -> nn.Conv2d:
    layer = nn.Conv2d(2, filters, 2)
    Whitening(epsilon=EPSILON).fit(nn.Sequential(layer), images.split(15))
    return layer


def test_responses_to_patches_are_uncorrelated_and_of_variance_1_but_for_epsilon() -> None:
    images = correlated_images()
    layer = whitened(16, images)
    rows = patches(images, 2)
    squares = np.linalg.eigvalsh(rows.T @ rows / len(rows))[::-1]
    responses = layer(images).detach().double().transpose(0, 1).flatten(1)[:8]
    covariance = (responses @ responses.T / responses.shape[1]).numpy()
    np.testing.assert_allclose(covariance, np.diag(squares / (squares + EPSILON)), atol=1e-5)
    torch.testing.assert_close(layer.weight[8:], -layer.weight[:8])


def test_fewer_filters_take_the_axes_of_the_largest_variance_and_more_keep_their_own() -> None:
    images = correlated_images()
    complete = whitened(16, images)
    few = whitened(6, images)
    torch.testing.assert_close(few.weight[:3], complete.weight[:3])
    torch.testing.assert_close(few.weight[3:], -complete.weight[:3])
    torch.manual_seed(1)
    own = nn.Conv2d(2, 20, 2).weight[16:].clone()
    torch.manual_seed(1)
    torch.testing.assert_close(whitened(20, images).weight[16:], own)


def test_convolutions_after_the_first_pass_their_inputs_on() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 6, 3, padding=1, bias=False))
    first, last = network[0].weight.clone(), network[1].weight[4:].clone()
    Whitening().apply(network, "relu")
    maps = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(network[1](maps)[:, :4], maps)
    assert torch.equal(network[0].weight, first)
    assert torch.equal(network[1].weight[4:], last)


def test_a_network_that_does_not_begin_with_a_convolution_is_refused() -> None:
    images = [torch.zeros(1, 1, 2, 2)]
    for network in (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), nn.Sequential(nn.Conv2d(3, 2, 2))):
        with pytest.raises(ConfigError, match="first layer is no convolution"):
            Whitening().fit(network, images)


SHORT = [
    *("initialization=whitening", "initialization.bias_epochs=1", "initialization.images=100"),
    *("model=whitened_convnet", "model.width=0.125", "model.norm_scale=false", "data.limit=200"),
    *("trainer.instruments=false", "data.batch_size=50", "trainer.keep_epochs=1"),
]


def test_a_run_trains_neither_filters_nor_scales_and_the_bias_in_its_own_epochs_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main([f"hydra.run.dir={run}", *SHORT, "trainer.epochs=3"]) == 0
    files = (run / "checkpoints" / f"epoch-000{epoch}.pt" for epoch in (1, 2, 3))
    first, second, third = (torch.load(file, weights_only=True)["network"] for file in files)
    norms = {f"features.norm{block}_{index}.weight" for block in (1, 2, 3) for index in (1, 2)}
    fixed = {name for name in first if torch.equal(first[name], third[name])}
    assert fixed == {"features.whiten.weight", "features.whiten.bias"} | norms
    assert first["features.whiten.bias"].abs().max() > 0
    assert not torch.equal(second["head.output.weight"], third["head.output.weight"])
