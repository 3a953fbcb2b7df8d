"""A head without weights: the classes of the training images whose features are nearest."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fine_tuning import heads


class NearestNeighbours(nn.Module):
    """Features (N, D) → log of the smoothed fractions of votes (N, classes), whose softmax they are.

    The k training images with the largest cosine similarity vote; of v votes for a class, its probability is
    (v + 1)/(k + classes), so that none is 0 (Laplace's rule). features (M, D) and one_hot (M, classes) are
    those of the training images.
    """

    features: Tensor
    one_hot: Tensor
    neighbours: Tensor

    def __init__(self, features: Tensor, one_hot: Tensor, neighbours: int):
        super().__init__()
        self.register_buffer("features", F.normalize(features, dim=1))
        self.register_buffer("one_hot", one_hot)
        self.register_buffer("neighbours", torch.tensor(neighbours))

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            similarity = F.normalize(features.float(), dim=1) @ self.features.T
        count = int(self.neighbours)
        votes = self.one_hot[similarity.topk(count, 1).indices].sum(1)
        return ((votes + 1) / (count + self.one_hot.shape[1])).log()


def restore_head(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give a rebuilt network the head of its stored weights where these are nearest neighbours."""
    (name, *_) = heads(network)
    features, one_hot = weights.get(f"{name}.features"), weights.get(f"{name}.one_hot")
    if features is not None and one_hot is not None:
        network.set_submodule(name, NearestNeighbours(torch.zeros_like(features), one_hot, 1))
