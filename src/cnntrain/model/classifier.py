"""Base classes of the networks in this package: features, then head."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """A network whose `features` compute feature maps of images, and whose `head` computes their scores.

    features: (N, in_channels, height, width) → (N, C, H, W), convolutions and pooling only, so that they
    apply to images of any size. head: (N, C, H, W) → (N, classes), the only part that may depend on the
    size of the feature map; a sequence of pooling to a fixed size, Flatten, Linear, dropout and
    activations, all of which `dense.py` can rewrite as convolutions (E5, L8).
    """

    features: nn.Module
    head: nn.Sequential

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.features(images))
        return scores


class AuxiliaryClassifier(Classifier):
    """A classifier with auxiliary heads on intermediate feature maps, used in training only (N7).

    They add gradient to the lower layers. In training mode the output is the scores, then those of each
    auxiliary head, whose losses are weighted by `auxiliary_weight`; without auxiliary heads, and in
    evaluation mode, the scores only.
    """

    features: nn.Sequential
    auxiliary: nn.ModuleDict  # by the name of the block of `features` whose output each one reads
    auxiliary_weight: float

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:  # type: ignore[override]
        if not self.training or not self.auxiliary:
            return super().forward(images)
        maps, auxiliary_scores = images, []
        for name, block in self.features.named_children():
            maps = block(maps)
            if name in self.auxiliary:
                auxiliary_scores.append(self.auxiliary[name](maps))
        return (self.head(maps), *auxiliary_scores)
