"""Every network overfits twenty images at its tiny size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnntrain.model.classifier import AuxiliaryClassifier
from cnntrain.model.settings.base import Model
from cnntrain.model.settings.inception import GoogLeNet, InceptionV3

IMAGES = 20
MAX_STEPS = 150


def loss_of(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    outputs = network(images)
    scores, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    return F.cross_entropy(scores, labels) + sum(0.3 * F.cross_entropy(other, labels) for other in auxiliary)


def test_every_network_overfits_twenty_images(tiny_network: Model) -> None:
    """A wrong sign, a lost gradient or a dead layer leaves some image misclassified (K5)."""
    torch.manual_seed(0)
    side = max(8, tiny_network.min_size((8, 8)))
    network = tiny_network.build(3, 10, (side, side), 0.0)
    images, labels = torch.randn(IMAGES, 3, side, side), torch.arange(IMAGES) % 10
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    for step in range(MAX_STEPS):
        network.train()
        optimizer.zero_grad()
        loss_of(network, images, labels).backward()
        optimizer.step()
        if step % 10 == 9:
            network.eval()
            with torch.no_grad():
                if (network(images).argmax(1) == labels).all():
                    return
    pytest.fail(f"after {MAX_STEPS} steps some of {IMAGES} images are still misclassified")


@pytest.mark.parametrize("settings", [GoogLeNet().tiny(), InceptionV3().tiny()], ids=lambda s: s.name)
def test_auxiliary_heads_exist_only_in_training_and_train_the_layers_before_them(settings: Model) -> None:
    torch.manual_seed(0)
    side = settings.min_size((32, 32))
    network = settings.build(3, 5, (side, side), 0.0)
    assert isinstance(network, AuxiliaryClassifier)
    images = torch.randn(4, 3, side, side)
    scores, *auxiliary = network.train()(images)
    assert len(auxiliary) == len(network.auxiliary) > 0
    assert all(other.shape == scores.shape == (4, 5) for other in auxiliary)
    sum(other.sum() for other in auxiliary).backward()
    with_gradient = {name for name, weight in network.named_parameters() if weight.grad is not None}
    blocks = [name for name, _ in network.features.named_children()]
    last = max(blocks.index(name) for name in network.auxiliary)
    with_weights = [name for name, block in network.features.named_children() if list(block.parameters())]
    expected = {name for name in with_weights if blocks.index(name) <= last}
    assert {name.split(".")[1] for name in with_gradient if name.startswith("features.")} == expected
    assert not any(name.startswith("head.") for name in with_gradient)
    assert isinstance(network.eval()(images), Tensor)
