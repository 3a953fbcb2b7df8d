"""Settings of the optimizers (group `optim`): each with a learning rate of its own that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ..settings.fields import fixed, setting
from ..settings.option import Notice, Option

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from .stages import Stage

    Weights = list[Tensor] | list[dict[str, Any]]


FINAL_MOMENTUM = "momentum at the end, approached in a straight line, as in 0.5 → 0.99; null: constant (O3)"
MOMENTUM_EPOCHS = "epochs until final_momentum is reached; null: the whole run"


@dataclass
class Optim(Option):
    """What every optimizer has."""

    # Decoupled decay that belongs to the method itself, unless regularization.weight_decay says otherwise.
    own_weight_decay: ClassVar[float] = 0.0
    # Whether a step evaluates loss and gradient several times, and so needs a loss that does not change.
    line_search: ClassVar[bool] = False

    lr: float = setting(0.01, "learning rate, before the schedule scales it", gt=0)

    def epochs_problems(self, epochs: int) -> Iterator[str]:
        """Yield a line for each setting that does not fit a run of `epochs`."""
        return iter(())

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        """Return the torch optimizer over `weights`; `fused` asks for its one-kernel form.

        The weights are tensors, or torch's parameter groups where not all have one learning rate.
        """
        raise NotImplementedError

    def stages(self, weights: Weights, fused: bool, steps_per_epoch: int, epochs: int) -> list[Stage]:
        """Return the optimizers of a run one after the other, each with the step from which it acts (O11)."""
        from .stages import Stage

        return [Stage(0, self.build(weights, fused), self.lr, self.own_weight_decay, self.line_search)]


@dataclass
class Sgd(Optim):
    """Stochastic gradient descent with momentum: v = momentum·v + g; w -= lr·v (torch's form; O1)."""

    name: str = fixed("sgd")
    lr: float = setting(0.05, "learning rate, before the schedule scales it", gt=0)
    momentum: float = setting(
        0.9,
        "share of the velocity kept at each step; 0 is plain SGD; 0.5, 0.9, 0.95, 0.99 to try",
        ge=0,
        lt=1,
    )
    final_momentum: float | None = setting(None, FINAL_MOMENTUM, ge=0, lt=1)
    momentum_epochs: float | None = setting(None, MOMENTUM_EPOCHS, gt=0)

    def problems(self) -> Iterator[str]:
        if self.momentum_epochs is not None and self.final_momentum is None:
            yield (
                f"optim.momentum_epochs={self.momentum_epochs:g}: acts with optim.final_momentum only; "
                "write optim.final_momentum=0.99"
            )

    def epochs_problems(self, epochs: int) -> Iterator[str]:
        if self.momentum_epochs is not None and self.momentum_epochs > epochs:
            yield (
                f"optim.momentum_epochs={self.momentum_epochs:g}: longer than the run "
                f"(trainer.epochs={epochs})"
            )

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import SGD

        return SGD(weights, lr=self.lr, momentum=self.momentum, fused=fused)

    def stages(self, weights: Weights, fused: bool, steps_per_epoch: int, epochs: int) -> list[Stage]:
        (stage,) = super().stages(weights, fused, steps_per_epoch, epochs)
        return [replace(stage, momentum=self._momentum(steps_per_epoch, epochs))]

    def _momentum(self, steps_per_epoch: int, epochs: int) -> Callable[[int], float] | None:
        from ..schedule.schedules import rising

        if self.final_momentum is None:
            return None
        over = epochs if self.momentum_epochs is None else self.momentum_epochs
        return rising(self.momentum, self.final_momentum, round(over * steps_per_epoch))


@dataclass
class Nesterov(Sgd):
    """SGD with Nesterov's momentum: the gradient where the velocity is about to lead (O2)."""

    name: str = fixed("nesterov")
    lr: float = setting(0.05, "learning rate, before the schedule scales it", gt=0)
    momentum: float = setting(0.9, "share of the velocity kept at each step", gt=0, lt=1)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import SGD

        from .nesterov import ChangingNesterov

        if self.final_momentum is not None:
            return ChangingNesterov(weights, self.lr, self.momentum)
        return SGD(weights, lr=self.lr, momentum=self.momentum, nesterov=True, fused=fused)


@dataclass
class Adagrad(Optim):
    """Adagrad: each weight's step divided by the root of its summed squared gradients (Duchi 2011; O4)."""

    name: str = fixed("adagrad")
    lr: float = setting(0.01, "learning rate, before the schedule scales it", gt=0)
    eps: float = setting(1e-8, "added to the root, against division by zero", gt=0)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import Adagrad as TorchAdagrad

        return TorchAdagrad(weights, lr=self.lr, eps=self.eps, foreach=True)


@dataclass
class RmsProp(Optim):
    """RMSprop: Adagrad with a running mean of the squared gradients in place of their sum (Hinton; O4)."""

    name: str = fixed("rmsprop")
    lr: float = setting(0.001, "learning rate, before the schedule scales it", gt=0)
    decay: float = setting(0.99, "share of the running mean kept: 0.9, 0.99 or 0.999 as a rule", gt=0, lt=1)
    momentum: float = setting(0.0, "share of the velocity kept at each step; 0 is the plain form", ge=0, lt=1)
    eps: float = setting(1e-8, "added to the root, against division by zero", gt=0)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import RMSprop as TorchRMSprop

        return TorchRMSprop(
            weights, lr=self.lr, alpha=self.decay, momentum=self.momentum, eps=self.eps, foreach=True
        )


@dataclass
class Adam(Optim):
    """Adam: running means of gradient and squared gradient, both bias-corrected (Kingma & Ba 2015; O4)."""

    name: str = fixed("adam")
    lr: float = setting(0.001, "learning rate, before the schedule scales it", gt=0)
    betas: list[float] = setting(
        [0.9, 0.999], "shares of the two running means kept: gradient, squared gradient", ge=0, lt=1, length=2
    )
    eps: float = setting(1e-8, "added to the root, against division by zero", gt=0)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import Adam as TorchAdam

        return TorchAdam(weights, lr=self.lr, betas=_pair(self.betas), eps=self.eps, fused=fused)


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 unless `regularization.weight_decay` says otherwise
    (Loshchilov & Hutter 2019; O4)."""

    own_weight_decay: ClassVar[float] = 0.01

    name: str = fixed("adamw")


@dataclass
class Muon(Optim):
    """Momentum whose update, for every convolution's filters, is made orthogonal (Jordan 2024; O6).

    Each filter bank is read as a matrix (filters, inputs·F·F); all singular values of its momentum become
    about 1, so that no direction of the update is lost beside a few large ones. Other weights (linear
    layers, norms, biases) go by another optimizer, which has a learning rate of its own.
    """

    own_weight_decay: ClassVar[float] = 0.01

    name: str = fixed("muon")
    lr: float = setting(0.02, "learning rate of the filters, before the schedule scales it", gt=0)
    momentum: float = setting(0.95, "share of the filters' velocity kept at each step", ge=0, lt=1)
    nesterov: bool = setting(True, "look ahead along the velocity, as optim=nesterov does")
    iterations: int = setting(5, "Newton-Schulz iterations that make an update orthogonal", ge=1)
    rest: str = setting("adamw", "the optimizer of all other weights", choices=("sgd", "adamw"))
    rest_lr: float = setting(
        0.001, "learning rate of all other weights, scaled by the same schedule: 0.05 suits sgd", gt=0
    )

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from .muon import Muon as MuonOptimizer

        rest = Sgd(lr=self.rest_lr) if self.rest == "sgd" else AdamW(lr=self.rest_lr)
        return MuonOptimizer(
            weights,
            self.lr,
            self.momentum,
            self.nesterov,
            self.iterations,
            lambda others: rest.build(others, fused),
            self.rest_lr / self.lr,
        )


@dataclass
class Lbfgs(Optim):
    """L-BFGS on the whole training split at once, with a strong-Wolfe line search (Liu & Nocedal 1989; O5).

    A quasi-Newton method: it reads the curvature from earlier gradients, which noise of batches spoils.
    Write data.batch_size=N for the N training images. trainer.max_grad_norm does not act on it.
    """

    line_search: ClassVar[bool] = True

    name: str = fixed("lbfgs")
    lr: float = setting(1.0, "length of the first trial of each line search", gt=0)
    history: int = setting(10, "earlier gradients that the curvature is read from", ge=1)
    iterations: int = setting(4, "directions tried in each step of the run", ge=1)
    mini_batches: bool = setting(False, "allow batches smaller than the training split, at one's own risk")

    def problems(self) -> Iterator[str]:
        if self.mini_batches:
            yield Notice(
                f"optim={self.name}: with mini-batches, differences between batches are taken for curvature"
            )

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import LBFGS

        return LBFGS(
            weights,
            lr=self.lr,
            max_iter=self.iterations,
            history_size=self.history,
            line_search_fn="strong_wolfe",
        )


# What `switch` can change between: the optimizers that need nothing but a learning rate.
SWITCHED: dict[str, type[Optim]] = {
    option().name: option for option in (Sgd, Nesterov, Adagrad, RmsProp, Adam, AdamW)
}


@dataclass
class Switch(Optim):
    """One optimizer, and from some epoch on another, each with its own defaults (O11)."""

    name: str = fixed("switch")
    first: str = setting("adagrad", "the optimizer at the beginning", choices=tuple(SWITCHED))
    then: str = setting("adam", "the optimizer from then on", choices=tuple(SWITCHED))
    switch_epoch: float | None = setting(
        None, "epochs after which it changes; null: after half of the run", gt=0
    )
    lr: float | None = setting(  # type: ignore[assignment]
        None, "learning rate of the first, before the schedule scales it; null: its own default", gt=0
    )
    then_lr: float | None = setting(None, "learning rate of the other; null: its own default", gt=0)

    def problems(self) -> Iterator[str]:
        if self.first == self.then:
            yield f"optim.then={self.then}: is the first one too; write another, or optim={self.then}"

    def epochs_problems(self, epochs: int) -> Iterator[str]:
        if self.switch_epoch is not None and self.switch_epoch >= epochs:
            yield (
                f"optim.switch_epoch={self.switch_epoch:g}: is not before the end of the run "
                f"(trainer.epochs={epochs})"
            )

    def stages(self, weights: Weights, fused: bool, steps_per_epoch: int, epochs: int) -> list[Stage]:
        at = epochs / 2 if self.switch_epoch is None else self.switch_epoch
        found = []
        for step, name, lr in ((0, self.first, self.lr), (at * steps_per_epoch, self.then, self.then_lr)):
            option = SWITCHED[name]() if lr is None else SWITCHED[name](lr=lr)
            (stage,) = option.stages(_copied(weights), fused, steps_per_epoch, epochs)
            found.append(replace(stage, from_step=round(step)))
        return found


def _copied(weights: Weights) -> Weights:
    """Return weights as one optimizer may take them: torch writes into the groups it is given."""
    return [dict(entry) if isinstance(entry, dict) else entry for entry in weights]  # type: ignore[return-value]


def _pair(values: list[Any]) -> tuple[float, float]:
    first, second = values
    return float(first), float(second)
