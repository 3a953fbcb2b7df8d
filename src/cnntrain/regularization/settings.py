"""Settings of regularization (group `regularization`): the only home of each strength."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..settings.fields import fixed, problem, rule_of, setting, settings_of, type_of
from ..settings.option import Option

if TYPE_CHECKING:
    from torch import nn

    from .penalties import WeightRegularization

# The settings that a layer may have of its own.
LAYER_SETTINGS = ("l2", "l1", "weight_decay", "max_norm")


@dataclass
class Regularizers(Option):
    """All regularizers with their strengths; 0 or null switches one off. The files are presets.

    `l2` is a term of the loss, whose gradient goes through the optimizer; `weight_decay` shrinks weights
    beside it. Under plain SGD both are the same but for the factor lr; with momentum they differ as soon
    as lr changes, and under Adam and its like a penalty's gradient is divided by the root of its squares,
    so that weights with large gradients are penalized less: decay is not.
    """

    former_names: ClassVar[tuple[str, ...]] = ("strengths",)

    name: str = fixed("regularizers")
    l2: float = setting(0.0, "L2 penalty ½·l2·w², gradient l2·w (R1)", ge=0)
    l1: float = setting(0.0, "L1 penalty l1·|w|; weights become sparse (R2)", ge=0)
    elastic_l1: float = setting(0.0, "elastic net's share of |w| (R3)", ge=0)
    elastic_l2: float = setting(0.0, "elastic net's share of w², without the ½ (R3)", ge=0)
    weight_decay: float | None = setting(
        None,
        "decoupled decay w -= lr·weight_decay·w; null: the optimizer's own (adamw and muon 0.01, others 0)",
        ge=0,
    )
    max_norm: float | None = setting(
        None, "largest norm of each unit's incoming weights, kept after every update; null: any (R4)", gt=0
    )
    biases: bool = setting(
        False, "whether penalties and decay act on biases and normalization layers too (R6)"
    )
    layers: dict[str, Any] = setting(
        {},
        "strengths of their own for layers by name: {PATTERN: {l2: …, l1: …, weight_decay: …, max_norm: …}}; "
        "what a layer's entry leaves out stays, and later patterns go before earlier ones (R7)",
    )
    dropout: float | None = setting(
        None, "share of units dropped in training; null: the network's own (R5)", ge=0, lt=1
    )
    dropout_kind: str = setting(
        "inverted",
        "inverted: kept units are scaled up in training; plain: all are scaled down in evaluation (L7)",
        choices=("inverted", "plain"),
    )
    stochastic_depth: float = setting(
        0.0,
        "share of an image's passes in which the last residual block is skipped in training, rising from 0 "
        "before the first (Huang et al. 2016; R8)",
        ge=0,
        lt=1,
    )
    label_smoothing: float = setting(0.0, "share of each target spread evenly over all classes", ge=0, lt=1)
    mixup: float = setting(
        0.0, "mixes pairs of images in shares of Beta(mixup, mixup); 0: never (Zhang et al. 2018; R8)", ge=0
    )
    cutmix: float = setting(
        0.0,
        "pastes a box of another image, of an area of Beta(cutmix, cutmix); 0: never; with mixup each takes "
        "half of the batches (Yun et al. 2019; R8)",
        ge=0,
    )
    input_noise: float = setting(
        0.0, "standard deviation of Gaussian noise on the network's inputs, in training only (R9)", ge=0
    )

    def changes_weights(self) -> bool:
        """Return whether weights are changed beside the optimizer's update: by decay or max norm."""
        of_layers = [entry for entry in self.layers.values() if isinstance(entry, dict)]
        return any(
            entry.get(name) for entry in (vars(self), *of_layers) for name in ("weight_decay", "max_norm")
        )

    def problems(self) -> Iterator[str]:
        fields = settings_of(type(self))
        for pattern, entry in self.layers.items():
            where = f"regularization.layers.{pattern}"
            if not isinstance(entry, dict) or not entry:
                yield f"{where}: needs settings of its own, as in {{{pattern}: {{l2: 0.001}}}}"
                continue
            for name, value in entry.items():
                if name not in LAYER_SETTINGS:
                    yield f"{where}: {name} is no setting of a layer; write {', '.join(LAYER_SETTINGS)}"
                elif wrong := problem(type_of(type(self), name), rule_of(fields[name]), value):
                    yield f"{where}: {name}={value}: {wrong}"

    def build(self, network: nn.Module) -> WeightRegularization:
        """Return the penalties, weight decay and max norm of a network's weights.

        Raises ConfigError where a pattern of `layers` names no layer.
        """
        from .penalties import Strengths, WeightRegularization

        strengths = Strengths(
            self.l2, self.l1, self.elastic_l2, self.elastic_l1, self.weight_decay, self.max_norm
        )
        return WeightRegularization(network, strengths, self.layers, self.biases)

    def modify(self, network: nn.Module) -> None:
        """Put the kind of dropout and the stochastic depth into a new network.

        Raises ConfigError where plain dropout is asked for and the network has none.
        """
        from .layer_noise import skip_blocks, use_plain_dropout

        if self.dropout_kind == "plain":
            use_plain_dropout(network)
        skip_blocks(network, self.stochastic_depth)
