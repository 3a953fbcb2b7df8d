"""Settings of the data loss (group `loss`). The total loss adds the regularization loss (C6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .fields import fixed, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass
class Loss:
    """What every loss has."""

    name: str = ""

    def build(self, label_smoothing: float) -> nn.Module:
        """Return a module (scores (N, K), labels (N,)) → mean loss over the batch."""
        raise NotImplementedError


@dataclass
class Softmax(Loss):
    """Softmax cross-entropy, -log p(label); ln(classes) before training (C1)."""

    name: str = fixed("softmax")

    def build(self, label_smoothing: float) -> nn.Module:
        from torch.nn import CrossEntropyLoss

        return CrossEntropyLoss(label_smoothing=label_smoothing)


@dataclass
class Svm(Loss):
    """Multiclass SVM: the sum over wrong classes of max(0, s_j - s_y + delta) (C2)."""

    name: str = fixed("svm")
    delta: float = setting(1.0, "margin by which the right class must win", gt=0)

    def build(self, label_smoothing: float) -> nn.Module:
        from ..loss import MulticlassSvm

        return MulticlassSvm(self.delta, squared=False)


@dataclass
class SquaredSvm(Svm):
    """The multiclass SVM with each margin violation squared (C2)."""

    name: str = fixed("squared_svm")

    def build(self, label_smoothing: float) -> nn.Module:
        from ..loss import MulticlassSvm

        return MulticlassSvm(self.delta, squared=True)


@dataclass
class RejectingSoftmax(Loss):
    """LeNet-5's own: softmax with one more class, "none of them", of constant score -j (1998; N2)."""

    name: str = fixed("rejecting_softmax")
    rejection: float = setting(
        1.0, "j: squared distance beyond which a class is not pushed farther away", gt=0
    )

    def build(self, label_smoothing: float) -> nn.Module:
        from ..loss import RejectingSoftmax as Criterion

        return Criterion(self.rejection)
