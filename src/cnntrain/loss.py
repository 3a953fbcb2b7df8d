"""The losses torch does not have in the form of the notes or papers."""

import torch.nn.functional as F
from torch import Tensor, nn


class MulticlassSvm(nn.Module):
    """Mean over the batch of the sum over wrong classes of max(0, s_j - s_y + delta), or of its square (C2).

    torch's MultiMarginLoss divides by the number of classes; the notes' loss, and this one, does not.
    """

    def __init__(self, delta: float, squared: bool):
        super().__init__()
        self.delta = delta
        self.squared = squared

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        scores = scores.float()
        right = scores.gather(1, labels[:, None])
        margins = (scores - right + self.delta).clamp(min=0)
        if self.squared:
            margins = margins.square()
        # The right class always violates by exactly delta; take its share out again.
        own = margins.gather(1, labels[:, None]).squeeze(1)
        return (margins.sum(1) - own).mean()


class RejectingSoftmax(nn.Module):
    """LeNet-5's criterion: -s_y + log(e^-j + sum of e^s_i), mean over the batch (LeCun et al. 1998; N2).

    It is softmax cross-entropy with one class more, "none of them", whose score is always -j. With scores
    that are negative distances, classes already farther away than j are not pushed farther still.
    """

    def __init__(self, rejection: float):
        super().__init__()
        self.rejection = rejection

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(F.pad(scores.float(), (0, 1), value=-self.rejection), labels)
