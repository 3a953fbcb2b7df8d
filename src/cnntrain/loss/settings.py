"""Settings of the data loss (group `loss`). The total loss adds the regularization loss (C6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..settings.fields import fixed, setting
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import Tensor

    from .criterion import Criterion

PER_IMAGE = "an image's losses are brought to one number by their sum, their mean, or half their sum"


@dataclass
class Loss(Option):
    """What every loss has."""

    # The kind of data.target that it is for (D7).
    target: ClassVar[str] = "classes"
    # Whether it can be taken against label-smoothed targets.
    takes_label_smoothing: ClassVar[bool] = False
    # Whether it is the squared distance of the scores from a target.
    is_squared_distance: ClassVar[bool] = False

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:
        """Return what the loss learns from the labels of the training split.

        It is stored in checkpoints: `build` needs nothing else. Raises ConfigError or DataError where the
        labels do not fit.
        """
        return {}

    def needs_data(self) -> bool:
        """Return whether `label_statistics` or `build` need the data set's own labels or names."""
        return False

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        """Return the loss for classes, attributes or values of these names.

        Raises ConfigError where the settings do not fit them.
        """
        raise NotImplementedError


@dataclass
class Softmax(Loss):
    """Softmax cross-entropy, -log p(label); ln(classes) before training (C1)."""

    takes_label_smoothing: ClassVar[bool] = True

    name: str = fixed("softmax")
    class_weights: list[float] | None = setting(
        None, "how much each class's images count, in the order of the classes; null: all alike", gt=0
    )
    balanced: bool = setting(
        False, "weigh each class by the inverse of its share of the training images, the mean weight being 1"
    )

    def problems(self) -> Iterator[str]:
        if self.balanced and self.class_weights is not None:
            yield "loss.balanced=true: loss.class_weights is given too; keep one of the two"

    def needs_data(self) -> bool:
        return self.balanced

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:
        from .label_statistics import balanced_weights, explicit_weights

        if self.balanced:
            return {"weights": balanced_weights(len(names), labels)}
        if self.class_weights is not None:
            return {"weights": explicit_weights(self.class_weights, names)}
        return {}

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .classes import Softmax as Criterion

        return Criterion(names, statistics.get("weights"), label_smoothing)


@dataclass
class Svm(Loss):
    """Multiclass SVM: the sum over wrong classes of max(0, s_j - s_y + delta) (C2)."""

    name: str = fixed("svm")
    delta: float = setting(1.0, "margin by which the right class must win", gt=0)

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .classes import MulticlassSvm

        return MulticlassSvm(names, self.delta, squared=False)


@dataclass
class SquaredSvm(Svm):
    """The multiclass SVM with each margin violation squared (C2)."""

    name: str = fixed("squared_svm")

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .classes import MulticlassSvm

        return MulticlassSvm(names, self.delta, squared=True)


@dataclass
class RejectingSoftmax(Loss):
    """LeNet-5's own: softmax with one more class, "none of them", of constant score -j (1998; N2)."""

    name: str = fixed("rejecting_softmax")
    rejection: float = setting(
        1.0, "j: squared distance beyond which a class is not pushed farther away", gt=0
    )

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .classes import RejectingSoftmax as Criterion

        return Criterion(names, self.rejection)


@dataclass
class HierarchicalSoftmax(Loss):
    """A tree of classes with one softmax decision at each node: for many classes (C3).

    p(class) is the product of the decisions on its way. While training, an image costs what the nodes on
    its class's way cost, not what all classes cost. A tree's file nests groups, as in
    `animals: [cat, dog]` and `vehicles: {road: [car, truck], other: [ship, plane]}` in a line each.
    """

    name: str = fixed("hierarchical_softmax")
    tree: str = setting(
        "balanced",
        "balanced: by the order of the classes; superclasses: CIFAR-100's own 20; or a YAML file of nested "
        "groups",
    )
    branching: int = setting(2, "children of each node of a balanced tree", ge=2)

    def problems(self) -> Iterator[str]:
        if self.tree != "balanced" and self.branching != 2:
            yield f"loss.branching={self.branching}: acts on a balanced tree only; write loss.tree=balanced"

    def needs_data(self) -> bool:
        return self.tree != "balanced"

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:
        from pathlib import Path

        from . import class_tree
        from .hierarchical_softmax import tables_of

        if self.tree == "balanced":
            return tables_of(class_tree.balanced(names, self.branching))
        if self.tree == "superclasses":
            return tables_of(class_tree.cifar100_superclasses(names))
        return tables_of(class_tree.read_tree(Path(self.tree).expanduser(), names))

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .hierarchical_softmax import HierarchicalSoftmax as Criterion
        from .hierarchical_softmax import tree_of

        return Criterion(names, tree_of(statistics))


@dataclass
class OneHotError(Loss):
    """Squared distance of the scores from the label's one-hot vector: regression in place of softmax (C5)."""

    is_squared_distance: ClassVar[bool] = True

    name: str = fixed("one_hot_error")
    reduction: str = setting("mean", PER_IMAGE, choices=("sum", "mean", "half_sum"))

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .classes import OneHotError as Criterion

        return Criterion(names, self.reduction)


@dataclass
class AttributeHinge(Loss):
    """For attributes: the sum of max(0, delta - y·f), y = ±1 (C4)."""

    target: ClassVar[str] = "attributes"

    name: str = fixed("attribute_hinge")
    delta: float = setting(1.0, "margin by which each attribute's sign must be right", gt=0)

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .attributes import AttributeHinge as Criterion

        return Criterion(names, self.delta)


@dataclass
class AttributeLogistic(Loss):
    """For attributes: a logistic regression each, -sum of y·log σ(f) + (1 - y)·log(1 - σ(f)) (C4)."""

    target: ClassVar[str] = "attributes"

    name: str = fixed("attribute_logistic")
    balanced: bool = setting(
        False, "weigh an attribute's presence by absent over present training images: for rare attributes"
    )

    def needs_data(self) -> bool:
        return self.balanced

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:
        from .label_statistics import balanced_positives

        return {"positive_weights": balanced_positives(names, labels)} if self.balanced else {}

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .attributes import AttributeLogistic as Criterion

        return Criterion(names, statistics.get("positive_weights"))


@dataclass
class Distance(Loss):
    """What the losses for values have."""

    target: ClassVar[str] = "values"

    standardize: bool = setting(
        True,
        "measure in units of the training split's deviation from its mean, so that any value's scale suits "
        "the learning rate; predictions stay in the values' own unit",
    )

    def needs_data(self) -> bool:
        return True

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:
        from .label_statistics import center_and_scale

        return center_and_scale(labels, self.standardize)

    def _distance(
        self, names: list[str], statistics: dict[str, Tensor], reduction: str, beta: float = 1.0
    ) -> Criterion:
        from .values import Distance as Criterion

        return Criterion(names, self.name, reduction, statistics["center"], statistics["scale"], beta)


@dataclass
class L2(Distance):
    """For values: squared differences (C5). A rare large error counts much; dropout just before it hurts."""

    is_squared_distance: ClassVar[bool] = True

    name: str = fixed("l2")
    reduction: str = setting("mean", PER_IMAGE, choices=("sum", "mean", "half_sum"))

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        return self._distance(names, statistics, self.reduction)


@dataclass
class L1(Distance):
    """For values: absolute differences, which aim at the median (C5)."""

    name: str = fixed("l1")
    reduction: str = setting("mean", PER_IMAGE, choices=("sum", "mean"))

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        return self._distance(names, statistics, self.reduction)


@dataclass
class SmoothL1(Distance):
    """For values: squared near 0, absolute farther away (C5; Girshick 2015)."""

    name: str = fixed("smooth_l1")
    reduction: str = setting("mean", PER_IMAGE, choices=("sum", "mean"))
    beta: float = setting(1.0, "difference at which squared becomes absolute", gt=0)

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        return self._distance(names, statistics, self.reduction, self.beta)


@dataclass
class Bins(Loss):
    """For values: regression as classes, each value's range cut into bins, as one to five stars are (C5)."""

    target: ClassVar[str] = "values"

    name: str = fixed("bins")
    bins: int | None = setting(
        None, "bins of equal width for each value; null: one for each number that occurs", ge=2
    )
    prediction: str = setting(
        "mean",
        "mean: of the bins' centers under their probabilities; mode: the most probable bin's center",
        choices=("mean", "mode"),
    )

    def needs_data(self) -> bool:
        return True

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:
        from .label_statistics import bin_centers

        return {"centers": bin_centers(names, labels, self.bins)}

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .values import Bins as Criterion

        return Criterion(names, statistics["centers"], self.prediction)
