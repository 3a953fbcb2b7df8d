"""The shape that all networks of this folder have: features, then head."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """`features` turns images into maps, `head` maps into scores.

    features: (N, in_channels, height, width) → (N, C, H, W), convolutions and pooling alone, so that it
    slides over images of any size. head: a sequence → (N, classes), the only part that may know the size
    of the map; it is made of pooling to a fixed size, Flatten, Linear, dropout and activations, all of
    which `dense.py` can rewrite as convolutions (E5, L8).
    """

    features: nn.Module
    head: nn.Sequential

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.features(images))
        return scores


class AuxiliaryClassifier(Classifier):
    """A classifier with more heads in the middle of its features, which exist for training alone (N7).

    They feed gradient into the lower layers. While training, it returns the scores and then those of each
    auxiliary head, whose losses count `auxiliary_weight` each; without any, the scores alone.
    """

    features: nn.Sequential
    auxiliary: nn.ModuleDict  # by the name of the block of `features` after which each one reads the map
    auxiliary_weight: float

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:  # type: ignore[override]
        if not self.training or not self.auxiliary:
            return super().forward(images)
        maps, others = images, []
        for name, block in self.features.named_children():
            maps = block(maps)
            if name in self.auxiliary:
                others.append(self.auxiliary[name](maps))
        return (self.head(maps), *others)
