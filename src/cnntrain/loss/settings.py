"""Settings of the data loss (group `loss`); the total loss is its sum with the regularization loss (C6)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..settings.fields import expanded, fixed, setting
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import Tensor

    from ..user_code import UserFunction
    from .criterion import Criterion

REDUCTION_HELP = "reduction of the losses of one image to one number: sum, mean, or half the sum"


@dataclass
class Loss(Option):
    """Properties and methods common to all losses."""

    # The value of data.target for which it is defined (D7).
    target: ClassVar[str] = "classes"
    # Whether it supports label smoothing.
    takes_label_smoothing: ClassVar[bool] = False
    # Whether it is the squared distance of the scores from a target.
    is_squared_distance: ClassVar[bool] = False
    # How far the first loss may be above that of scores that are all 0, as a fraction of it: a standard
    # deviation of 1 of the scores of random weights adds about 0.5 to the loss of a softmax.
    initial_spread: ClassVar[float] = 0.5
    # To which fraction of the first loss a few images can be learned by heart.
    learned_by_heart: ClassVar[float] = 0.05

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:
        """Return the statistics of the training labels that `build` needs, by name.

        They are stored in checkpoints, so that `build` does not need the labels. Raises ConfigError or
        DataError where the labels do not fit the settings.
        """
        return {}

    def needs_data(self) -> bool:
        """Return whether `label_statistics` or `build` need the labels or names of the data set."""
        return False

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        """Return the loss for the classes, attributes or values `names`.

        Raises ConfigError where the settings do not fit them.
        """
        raise NotImplementedError

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        """Return the loss of scores that are all 0 and its formula (K3), None where no such value is known.

        It is about the loss of an untrained network. statistics, labels: those of the training split.
        """
        return None


@dataclass
class Softmax(Loss):
    """Softmax cross-entropy, -log p(label); about ln(classes) before training (C1)."""

    takes_label_smoothing: ClassVar[bool] = True

    name: str = fixed("softmax")
    class_weights: list[float] | None = setting(
        None, "weight of each class in the loss, in the order of the classes; null: equal weights", gt=0
    )
    balanced: bool = setting(
        False,
        "weight classes by their inverse frequency in the training split; the mean over images is 1",
    )

    def problems(self) -> Iterator[str]:
        if self.balanced and self.class_weights is not None:
            yield "loss.balanced=true: loss.class_weights is set too; keep one of the two"

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
        from .class_losses import Softmax as Criterion

        return Criterion(names, statistics.get("weights"), label_smoothing)

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        return math.log(len(names)), f"ln {len(names)}"


@dataclass
class Svm(Loss):
    """Multiclass SVM: the sum over wrong classes of max(0, s_j - s_y + delta) (C2)."""

    name: str = fixed("svm")
    delta: float = setting(1.0, "margin by which the score of the correct class must exceed the others", gt=0)

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .class_losses import MulticlassSvm

        return MulticlassSvm(names, self.delta, squared=False)

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        return (len(names) - 1) * self.delta, f"{len(names) - 1}·delta"


@dataclass
class SquaredSvm(Svm):
    """Multiclass SVM with squared margin violations, max(0, s_j - s_y + delta)² (C2)."""

    # Squares of 1 plus the difference of two scores: with deviations of 1, three times as much.
    initial_spread: ClassVar[float] = 2.0

    name: str = fixed("squared_svm")

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .class_losses import MulticlassSvm

        return MulticlassSvm(names, self.delta, squared=True)

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        return (len(names) - 1) * self.delta**2, f"{len(names) - 1}·delta²"


@dataclass
class RejectingSoftmax(Loss):
    """LeNet-5's loss: softmax with an additional rejection class of score -j (LeCun et al. 1998; N2)."""

    name: str = fixed("rejecting_softmax")
    rejection: float = setting(
        1.0, "j: squared distance beyond which the distance of a wrong class is not increased further", gt=0
    )

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .class_losses import RejectingSoftmax as Criterion

        return Criterion(names, self.rejection)

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        return self.loss_of_equal_scores(len(names), 0.0)

    def loss_of_equal_scores(self, classes: int, score: float) -> tuple[float, str]:
        """Return the loss where all classes have the same score, and its formula."""
        exponent = -self.rejection - score
        return math.log(classes + math.exp(exponent)), f"ln({classes} + e^{exponent:g})"


@dataclass
class HierarchicalSoftmax(Loss):
    """Hierarchical softmax: a tree of classes with a softmax at each node, for many classes (C3).

    p(class) is the product of the probabilities on the path from the root to the class. In training, only
    the nodes on the path of an image's class are computed, not all classes. A tree's YAML file nests groups,
    such as the two lines `animals: [cat, dog]` and `vehicles: {road: [car, truck], other: [ship, plane]}`.
    """

    name: str = fixed("hierarchical_softmax")
    tree: str = setting(
        "balanced",
        "balanced: in the order of the classes; superclasses: the 20 superclasses of CIFAR-100; or a YAML "
        "file of nested groups",
        path="or_name",
    )
    branching: int = setting(2, "children of each node of a balanced tree", ge=2)

    def problems(self) -> Iterator[str]:
        if self.tree != "balanced" and self.branching != 2:
            yield f"loss.branching={self.branching}: needs a balanced tree; write loss.tree=balanced"

    def needs_data(self) -> bool:
        return self.tree != "balanced"

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:

        from . import class_tree
        from .hierarchical_softmax import tables_of

        if self.tree == "balanced":
            return tables_of(class_tree.balanced(names, self.branching))
        if self.tree == "superclasses":
            return tables_of(class_tree.cifar100_superclasses(names))
        return tables_of(class_tree.read_tree(expanded(self.tree), names))

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .hierarchical_softmax import HierarchicalSoftmax as Criterion
        from .hierarchical_softmax import tree_of

        return Criterion(names, tree_of(statistics))

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        from .hierarchical_softmax import tree_of

        tree = tree_of(statistics)
        sums = [sum(math.log(node.children) for node, _ in tree.path(label)) for label in range(len(names))]
        mean = sum(sums[label] for label in labels.tolist()) / len(labels)
        return mean, "mean sum of ln(children) on the path to the class"


@dataclass
class OneHotError(Loss):
    """Squared distance of the scores from the label's one-hot vector: regression instead of softmax (C5)."""

    is_squared_distance: ClassVar[bool] = True

    name: str = fixed("one_hot_error")
    reduction: str = setting("mean", REDUCTION_HELP, choices=("sum", "mean", "half_sum"))

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .class_losses import OneHotError as Criterion

        return Criterion(names, self.reduction)

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        values = {"sum": (1.0, "1"), "mean": (1 / len(names), f"1/{len(names)}"), "half_sum": (0.5, "1/2")}
        return values[self.reduction]


@dataclass
class AttributeHinge(Loss):
    """For attributes: the sum of max(0, delta - y·f), y = ±1 (C4)."""

    target: ClassVar[str] = "attributes"

    name: str = fixed("attribute_hinge")
    delta: float = setting(1.0, "margin with which each score must have the correct sign", gt=0)

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .attribute_losses import AttributeHinge as Criterion

        return Criterion(names, self.delta)

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        return len(names) * self.delta, f"{len(names)}·delta"


@dataclass
class AttributeLogistic(Loss):
    """For attributes: logistic regression of each, -sum of y·log σ(f) + (1 - y)·log(1 - σ(f)) (C4)."""

    target: ClassVar[str] = "attributes"

    name: str = fixed("attribute_logistic")
    balanced: bool = setting(
        False, "weight positive labels by the ratio of negative to positive images, for rare attributes"
    )

    def needs_data(self) -> bool:
        return self.balanced

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:
        from .label_statistics import balanced_positives

        return {"positive_weights": balanced_positives(names, labels)} if self.balanced else {}

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .attribute_losses import AttributeLogistic as Criterion

        return Criterion(names, statistics.get("positive_weights"))

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        if not self.balanced:
            return len(names) * math.log(2), f"{len(names)}·ln 2"
        present = labels.float().mean(0)
        weights = present * statistics["positive_weights"] + 1 - present
        return weights.sum().item() * math.log(2), "sum of the mean weights·ln 2"


@dataclass
class Distance(Loss):
    """Settings and methods common to the losses for values."""

    target: ClassVar[str] = "values"

    standardize: bool = setting(
        True,
        "standardize values by the mean and standard deviation of the training split, so that the learning "
        "rate does not depend on their scale; predictions are in the original units",
    )

    def needs_data(self) -> bool:
        return True

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:
        from .label_statistics import center_and_scale

        return center_and_scale(labels, self.standardize)

    def _distance(
        self, names: list[str], statistics: dict[str, Tensor], reduction: str, beta: float = 1.0
    ) -> Criterion:
        from .regression_losses import Distance as Criterion

        return Criterion(names, self.name, reduction, statistics["center"], statistics["scale"], beta)


@dataclass
class L2(Distance):
    """For values: squared differences, sensitive to outliers; avoid dropout before the last layer (C5)."""

    is_squared_distance: ClassVar[bool] = True

    name: str = fixed("l2")
    reduction: str = setting("mean", REDUCTION_HELP, choices=("sum", "mean", "half_sum"))

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        return self._distance(names, statistics, self.reduction)

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        squares = _scaled(statistics, labels).square().mean(0)
        total = {"sum": squares.sum(), "mean": squares.mean(), "half_sum": squares.sum() / 2}[self.reduction]
        return total.item(), f"{self.reduction} of the mean squared values"


@dataclass
class L1(Distance):
    """For values: absolute differences, minimized by the median (C5)."""

    # Its gradient is the same at any distance, so that steps do not become smaller.
    learned_by_heart: ClassVar[float] = 0.15

    name: str = fixed("l1")
    reduction: str = setting("mean", REDUCTION_HELP, choices=("sum", "mean"))

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        return self._distance(names, statistics, self.reduction)

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        sizes = _scaled(statistics, labels).abs().mean(0)
        total = sizes.sum() if self.reduction == "sum" else sizes.mean()
        return total.item(), f"{self.reduction} of the mean absolute values"


@dataclass
class SmoothL1(Distance):
    """For values: differences squared below beta, absolute above it (C5; Girshick 2015)."""

    name: str = fixed("smooth_l1")
    reduction: str = setting("mean", REDUCTION_HELP, choices=("sum", "mean"))
    beta: float = setting(1.0, "difference at which the loss changes from squared to absolute", gt=0)

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        return self._distance(names, statistics, self.reduction, self.beta)

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        sizes = _scaled(statistics, labels).abs()
        near = sizes.clamp(max=self.beta)
        losses = (near.square() / (2 * self.beta) + sizes - near).mean(0)
        total = losses.sum() if self.reduction == "sum" else losses.mean()
        return total.item(), f"{self.reduction} of the mean smooth L1 of the values"


@dataclass
class Bins(Loss):
    """For values: regression as classification, the range of each value divided into bins, such as one to
    five stars (C5)."""

    target: ClassVar[str] = "values"

    name: str = fixed("bins")
    bins: int | None = setting(
        None, "bins of equal width for each value; null: one bin for each distinct number in the labels", ge=2
    )
    prediction: str = setting(
        "mean",
        "mean: mean of the bin centers weighted by probability; mode: center of the most probable bin",
        choices=("mean", "mode"),
    )

    def needs_data(self) -> bool:
        return True

    def label_statistics(self, names: list[str], labels: Tensor) -> dict[str, Tensor]:
        from .label_statistics import bin_centers

        return {"centers": bin_centers(names, labels, self.bins)}

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .regression_losses import Bins as Criterion

        return Criterion(names, statistics["centers"], self.prediction)

    def initial_loss(
        self, names: list[str], statistics: dict[str, Tensor], labels: Tensor
    ) -> tuple[float, str] | None:
        values, bins = statistics["centers"].shape
        return values * math.log(bins), f"{values}·ln {bins}"


def _scaled(statistics: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Return values as the losses for them see them: in standard deviations from the mean."""
    return (labels - statistics["center"]) / statistics["scale"]


@dataclass
class Custom(Loss):
    """A loss of your own or of a library: function(scores, labels, **arguments), or a torch.nn.Module class
    that is made with the arguments and called with scores and labels.

    It returns the loss of each image, (N,), or a number that is their mean. A network has a score for each
    class, attribute or value.
    """

    name: str = fixed("custom")
    function: str = setting("", "package.module:function or class, in the working directory or installed")
    arguments: dict[str, Any] = setting({}, "its keyword arguments besides scores and labels")
    target: str = setting(  # type: ignore[misc]
        "classes",
        "what labels it takes, and what scores mean: classes: labels int64 (N,), probabilities are the "
        "softmax of scores; attributes: labels 0 or 1 (N, A), scores are logits; values: labels (N, V), "
        "scores are their predictions",
        choices=("classes", "attributes", "values"),
    )

    @property
    def learned_by_heart(self) -> float:  # type: ignore[override]
        """To which fraction of the first loss a few images can be learned: its smallest value is unknown."""
        return 0.5 if self.target == "values" else math.inf

    def problems(self) -> Iterator[str]:
        yield from self._user_function().problems()

    def build(self, names: list[str], statistics: dict[str, Tensor], label_smoothing: float) -> Criterion:
        from .custom_loss import custom_criterion

        return custom_criterion(self._user_function(), self.target, names, statistics)

    def _user_function(self) -> UserFunction:
        from ..user_code import UserFunction

        return UserFunction(
            "loss.function", self.function, self.arguments, ("scores", "labels"), of_instance=True
        )
