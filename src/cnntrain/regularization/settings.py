"""Settings of regularization (group `regularization`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..settings.fields import default_of, fixed, problem, rule_of, setting, settings_of, type_of
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import nn

    from .penalties import WeightRegularization

# The settings that `layers` can set for single layers.
LAYER_SETTINGS = ("l2", "l1", "weight_decay", "max_norm")


@dataclass
class Regularizers(Option):
    """All regularizers with their strengths; 0 or null disables one. The files are presets.

    `l2` is a term of the loss, whose gradient the optimizer processes; `weight_decay` shrinks the weights
    directly. With plain SGD both are the same except for a factor lr; with momentum they differ as soon as lr
    changes. Adaptive methods such as Adam divide the penalty's gradient by the root of the mean squared
    gradient, so that weights with large gradients are penalized less; weight decay is not affected.
    """

    former_names: ClassVar[tuple[str, ...]] = ("strengths",)

    name: str = fixed("regularizers")
    l2: float = setting(0.0, "L2 penalty ½·l2·w², with gradient l2·w (R1)", ge=0)
    l1: float = setting(0.0, "L1 penalty l1·abs(w), which makes weights sparse (R2)", ge=0)
    elastic_l1: float = setting(0.0, "elastic net: coefficient of abs(w) (R3)", ge=0)
    elastic_l2: float = setting(0.0, "elastic net: coefficient of w², without the factor ½ (R3)", ge=0)
    weight_decay: float | None = setting(
        None,
        "decoupled weight decay w -= lr·weight_decay·w; null: the optimizer's (adamw, muon: 0.01, else 0)",
        ge=0,
    )
    max_norm: float | None = setting(
        None,
        "maximum norm of each unit's incoming weights, enforced after updates; null: no limit (R4)",
        gt=0,
    )
    biases: bool = setting(
        False, "apply penalties and weight decay to biases and normalization layers too (R6)"
    )
    layers: dict[str, Any] = setting(
        {},
        "strengths for single layers by name: {PATTERN: {l2: …, l1: …, weight_decay: …, max_norm: …}}; "
        "strengths left out keep the values above, and later patterns override earlier ones (R7)",
    )
    dropout: float | None = setting(None, "dropout rate; null: the network's default (R5)", ge=0, lt=1)
    dropout_kind: str = setting(
        "inverted",
        "inverted: remaining units are scaled up in training; plain: all are scaled down in evaluation (L7)",
        choices=("inverted", "plain"),
    )
    stochastic_depth: float = setting(
        0.0,
        "probability that the last residual block is skipped for an image in training; it increases linearly "
        "with the block, from 0 before the first (Huang et al. 2016; R8)",
        ge=0,
        lt=1,
    )
    label_smoothing: float = setting(
        0.0, "fraction of each target distributed uniformly over all classes", ge=0, lt=1
    )
    mixup: float = setting(
        0.0,
        "mix pairs of images with lam from Beta(mixup, mixup); 0: off (Zhang et al. 2018; R8)",
        ge=0,
    )
    cutmix: float = setting(
        0.0,
        "replace a box of each image by that of another image, with area 1 - lam and lam from "
        "Beta(cutmix, cutmix); 0: off; if mixup is on too, each batch uses one of the two at random "
        "(Yun et al. 2019; R8)",
        ge=0,
    )
    input_noise: float = setting(
        0.0, "standard deviation of Gaussian noise added to the network's inputs in training (R9)", ge=0
    )

    teacher: str | None = setting(
        None,
        "folder of a run, or its best.pt, on the same classes: its network is imitated (distillation, Hinton "
        "et al. 2015); null: none; a continued run takes the same one wherever it lies",
        path="path",
        resume="free",
    )
    teacher_alpha: float = setting(
        0.9, "teacher: weight of the imitation in the loss, that of the labels being 1 - alpha", gt=0, le=1
    )
    teacher_temperature: float = setting(
        4.0, "teacher: T of both softmaxes in the imitation's loss T²·KL(teacher ‖ network)", gt=0
    )

    def changes_weights(self) -> bool:
        """Return whether weight decay or max norm change weights in addition to the optimizer's update."""
        layers = [entry for entry in self.layers.values() if isinstance(entry, dict)]
        return any(
            entry.get(name) for entry in (vars(self), *layers) for name in ("weight_decay", "max_norm")
        )

    def problems(self) -> Iterator[str]:
        fields = settings_of(type(self))
        for name in ("teacher_alpha", "teacher_temperature"):
            if self.teacher is None and getattr(self, name) != default_of(fields[name]):
                value = f"{getattr(self, name):g}"
                yield f"regularization.{name}={value}: has no effect without regularization.teacher=RUN"
        for pattern, entry in self.layers.items():
            key = f"regularization.layers.{pattern}"
            if not isinstance(entry, dict) or not entry:
                yield f"{key}: needs a mapping of settings, such as {{{pattern}: {{l2: 0.001}}}}"
                continue
            for name, value in entry.items():
                if name not in LAYER_SETTINGS:
                    yield f"{key}: {name} is not a setting of a layer; write {', '.join(LAYER_SETTINGS)}"
                elif error := problem(type_of(type(self), name), rule_of(fields[name]), value):
                    yield f"{key}: {name}={value}: {error}"

    def build(self, network: nn.Module) -> WeightRegularization:
        """Return the penalties, weight decay and max norm of a network's weights.

        Raises ConfigError where a pattern of `layers` matches no layer.
        """
        from .penalties import Strengths, WeightRegularization

        strengths = Strengths(
            self.l2, self.l1, self.elastic_l2, self.elastic_l1, self.weight_decay, self.max_norm
        )
        return WeightRegularization(network, strengths, self.layers, self.biases)

    def modify(self, network: nn.Module) -> None:
        """Apply `dropout_kind` and `stochastic_depth` to a new network.

        Raises ConfigError for plain dropout if the network has no dropout layers.
        """
        from .plain_dropout import use_plain_dropout
        from .stochastic_depth import skip_blocks

        if self.dropout_kind == "plain":
            use_plain_dropout(network)
        skip_blocks(network, self.stochastic_depth)
