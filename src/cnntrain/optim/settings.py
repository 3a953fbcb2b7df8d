"""Settings of the optimizers (group `optim`), each with its own default learning rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ..settings.fields import fixed, setting
from ..settings.option import Notice, Option

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from ..user_code import UserFunction
    from .optimizer_stages import Stage

    Weights = list[Tensor] | list[dict[str, Any]]


# The polynomial of Jordan et al. 2024, whose slope at 0 is large: p(s) = a·s + b·s³ + c·s⁵.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
FINAL_MOMENTUM_HELP = "momentum at the end of a linear increase, such as 0.5 → 0.99; null: constant (O3)"
MOMENTUM_EPOCHS_HELP = "epochs until final_momentum is reached; null: the whole run"


@dataclass
class Optim(Option):
    """Settings and methods common to all optimizers."""

    # Decoupled weight decay of the method itself, used where regularization.weight_decay is null.
    own_weight_decay: ClassVar[float] = 0.0
    # Whether a step evaluates loss and gradient several times, and so needs a deterministic loss.
    line_search: ClassVar[bool] = False

    lr: float = setting(0.01, "learning rate, before the schedule scales it", gt=0)

    def epochs_problems(self, epochs: float) -> Iterator[str]:
        """Yield an error for each setting that does not fit a run of `epochs`."""
        return iter(())

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        """Return the torch optimizer over `weights`; `fused` selects its fused implementation.

        The weights are tensors, or torch's parameter groups where learning rates differ.
        """
        raise NotImplementedError

    def needs_whole_batch(self) -> bool:
        """Return whether every step needs all training images."""
        return False

    def stages(self, weights: Weights, fused: bool, steps_per_epoch: int, epochs: float) -> list[Stage]:
        """Return the optimizers of a run in order, each with the step from which it is used (O11)."""
        from .optimizer_stages import Stage

        return [Stage(0, self.build(weights, fused), self.lr, self.own_weight_decay, self.line_search)]


@dataclass
class Sgd(Optim):
    """Stochastic gradient descent with momentum: v = momentum·v + g; w -= lr·v (torch's form; O1)."""

    name: str = fixed("sgd")
    lr: float = setting(0.1, "learning rate, before the schedule scales it", gt=0)
    momentum: float = setting(
        0.9,
        "momentum coefficient; 0: plain SGD; typical values 0.5, 0.9, 0.95, 0.99",
        ge=0,
        lt=1,
    )
    final_momentum: float | None = setting(None, FINAL_MOMENTUM_HELP, ge=0, lt=1)
    momentum_epochs: float | None = setting(None, MOMENTUM_EPOCHS_HELP, gt=0)

    def problems(self) -> Iterator[str]:
        if self.momentum_epochs is not None and self.final_momentum is None:
            yield (
                f"optim.momentum_epochs={self.momentum_epochs:g}: needs optim.final_momentum; "
                "write optim.final_momentum=0.99"
            )

    def epochs_problems(self, epochs: float) -> Iterator[str]:
        if self.momentum_epochs is not None and self.momentum_epochs > epochs:
            yield (
                f"optim.momentum_epochs={self.momentum_epochs:g}: longer than the run "
                f"(trainer.epochs={epochs})"
            )

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import SGD

        return SGD(weights, lr=self.lr, momentum=self.momentum, fused=fused)

    def stages(self, weights: Weights, fused: bool, steps_per_epoch: int, epochs: float) -> list[Stage]:
        (stage,) = super().stages(weights, fused, steps_per_epoch, epochs)
        return [replace(stage, momentum=self._momentum(steps_per_epoch, epochs))]

    def _momentum(self, steps_per_epoch: int, epochs: float) -> Callable[[int], float] | None:
        from ..schedule.schedules import rising

        if self.final_momentum is None:
            return None
        rising_epochs = epochs if self.momentum_epochs is None else self.momentum_epochs
        return rising(self.momentum, self.final_momentum, round(rising_epochs * steps_per_epoch))


@dataclass
class Nesterov(Sgd):
    """SGD with Nesterov momentum: the gradient is evaluated at the look-ahead position (O2)."""

    name: str = fixed("nesterov")
    lr: float = setting(0.1, "learning rate, before the schedule scales it", gt=0)
    momentum: float = setting(0.9, "momentum coefficient", gt=0, lt=1)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import SGD

        from .nesterov import ChangingNesterov

        if self.final_momentum is not None:
            return ChangingNesterov(weights, self.lr, self.momentum)
        return SGD(weights, lr=self.lr, momentum=self.momentum, nesterov=True, fused=fused)


@dataclass
class Adagrad(Optim):
    """Adagrad: updates divided by the root of each weight's summed squared gradients (Duchi 2011; O4)."""

    name: str = fixed("adagrad")
    lr: float = setting(0.01, "learning rate, before the schedule scales it", gt=0)
    eps: float = setting(1e-8, "added to the root, to avoid division by zero", gt=0)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import Adagrad as TorchAdagrad

        return TorchAdagrad(weights, lr=self.lr, eps=self.eps, foreach=True)


@dataclass
class RmsProp(Optim):
    """RMSprop: Adagrad with a running mean of the squared gradients instead of their sum (Hinton; O4)."""

    name: str = fixed("rmsprop")
    lr: float = setting(0.001, "learning rate, before the schedule scales it", gt=0)
    decay: float = setting(
        0.99, "decay of the running mean per step; typical values 0.9, 0.99, 0.999", gt=0, lt=1
    )
    momentum: float = setting(0.0, "momentum coefficient; 0: plain RMSprop", ge=0, lt=1)
    eps: float = setting(1e-8, "added to the root, to avoid division by zero", gt=0)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import RMSprop as TorchRMSprop

        return TorchRMSprop(
            weights, lr=self.lr, alpha=self.decay, momentum=self.momentum, eps=self.eps, foreach=True
        )


@dataclass
class Adam(Optim):
    """Adam: bias-corrected running means of gradient and squared gradient (Kingma & Ba 2015; O4)."""

    name: str = fixed("adam")
    lr: float = setting(0.001, "learning rate, before the schedule scales it", gt=0)
    betas: list[float] = setting(
        [0.9, 0.999],
        "decay per step of the running means of gradient and squared gradient",
        ge=0,
        lt=1,
        length=2,
    )
    eps: float = setting(1e-8, "added to the root, to avoid division by zero", gt=0)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import Adam as TorchAdam

        return TorchAdam(weights, lr=self.lr, betas=_pair(self.betas), eps=self.eps, fused=fused)


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 unless `regularization.weight_decay` is set (Loshchilov & Hutter
    2019; O4)."""

    own_weight_decay: ClassVar[float] = 0.01

    name: str = fixed("adamw")


@dataclass
class Muon(Optim):
    """Muon: SGD with momentum whose update is orthogonalized for convolutions (Jordan et al. 2024; O6).

    The filters of a convolution are reshaped to a matrix (filters, inputs·F·F); all singular values of its
    momentum are set to about 1, so that a few large ones do not dominate the update. Other weights (linear
    layers, norms, biases) are trained by another optimizer with its own learning rate.
    """

    own_weight_decay: ClassVar[float] = 0.01

    name: str = fixed("muon")
    lr: float = setting(0.02, "learning rate of the convolutions, before the schedule scales it", gt=0)
    momentum: float = setting(0.95, "momentum coefficient of the convolutions", ge=0, lt=1)
    nesterov: bool = setting(True, "use Nesterov momentum, as optim=nesterov does")
    iterations: int = setting(5, "Newton-Schulz iterations that orthogonalize an update", ge=1)
    coefficients: list[float] = setting(
        list(NEWTON_SCHULZ),
        "a, b and c of an iteration's polynomial a·s + b·s³ + c·s⁵ of the singular values s",
        length=3,
    )
    normalize_every: int | None = setting(
        None,
        "updates after which the weights of each convolution are scaled to norm √filters, which fixes the "
        "relative size of an update in networks with batch norm; null: never",
        ge=1,
    )
    rest: str = setting("adamw", "optimizer of all other weights", choices=("sgd", "nesterov", "adamw"))
    rest_lr: float = setting(
        0.001,
        "learning rate of all other weights, scaled by the same schedule; 0.05 is good for sgd",
        gt=0,
    )
    rest_momentum: float | None = setting(
        None, "momentum coefficient of rest=sgd and nesterov; null: 0.9", gt=0, lt=1
    )

    def problems(self) -> Iterator[str]:
        if self.rest == "adamw" and self.rest_momentum is not None:
            yield (
                f"optim.rest_momentum={self.rest_momentum:g}: has no effect with optim.rest=adamw; "
                "write null, or optim.rest=nesterov"
            )

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from .muon import Muon as MuonOptimizer
        from .muon import NewtonSchulz

        rest = self._rest()
        return MuonOptimizer(
            weights,
            self.lr,
            self.momentum,
            self.nesterov,
            NewtonSchulz(self.iterations, *self.coefficients),
            lambda others: rest.build(others, fused),
            self.rest_lr / self.lr,
            self.normalize_every,
        )

    def _rest(self) -> Optim:
        """Return the optimizer of the weights that are no filters."""
        if self.rest == "adamw":
            return AdamW(lr=self.rest_lr)
        option = Nesterov if self.rest == "nesterov" else Sgd
        momentum = option().momentum if self.rest_momentum is None else self.rest_momentum
        return option(lr=self.rest_lr, momentum=momentum)


@dataclass
class Lbfgs(Optim):
    """L-BFGS on the whole training split as one batch, strong-Wolfe line search (Liu & Nocedal 1989; O5).

    A quasi-Newton method: it estimates the curvature from earlier gradients, whose differences the noise of
    mini-batches distorts. data.batch_size=auto is all training images. trainer.max_grad_norm has no effect.
    """

    line_search: ClassVar[bool] = True

    name: str = fixed("lbfgs")
    lr: float = setting(1.0, "initial step length of each line search", gt=0)
    history: int = setting(10, "number of earlier gradients from which the curvature is estimated", ge=1)
    iterations: int = setting(4, "L-BFGS iterations (search directions) per step", ge=1)
    mini_batches: bool = setting(
        False, "allow mini-batches, although their noise distorts the curvature estimate"
    )

    def needs_whole_batch(self) -> bool:
        return not self.mini_batches

    def problems(self) -> Iterator[str]:
        if self.mini_batches:
            yield Notice(
                f"optim={self.name}: with mini-batches, noise between batches distorts the curvature estimate"
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


# The optimizers that `switch` can use, with their defaults except for the learning rate.
SWITCHABLE: dict[str, type[Optim]] = {
    option().name: option for option in (Sgd, Nesterov, Adagrad, RmsProp, Adam, AdamW)
}


@dataclass
class Switch(Optim):
    """Two optimizers, one until some epoch and another from then on, with their default settings (O11)."""

    name: str = fixed("switch")
    first: str = setting("adagrad", "the first optimizer", choices=tuple(SWITCHABLE))
    then: str = setting("adam", "the second optimizer", choices=tuple(SWITCHABLE))
    switch_epoch: float | None = setting(
        None, "epochs after which the second optimizer is used; null: half of the run", gt=0
    )
    lr: float | None = setting(  # type: ignore[assignment]
        None, "learning rate of the first optimizer, before the schedule scales it; null: its default", gt=0
    )
    then_lr: float | None = setting(None, "learning rate of the second optimizer; null: its default", gt=0)

    def problems(self) -> Iterator[str]:
        if self.first == self.then:
            yield f"optim.then={self.then}: is the first optimizer too; write another, or optim={self.then}"

    def epochs_problems(self, epochs: float) -> Iterator[str]:
        if self.switch_epoch is not None and self.switch_epoch >= epochs:
            yield (
                f"optim.switch_epoch={self.switch_epoch:g}: is not before the end of the run "
                f"(trainer.epochs={epochs})"
            )

    def stages(self, weights: Weights, fused: bool, steps_per_epoch: int, epochs: float) -> list[Stage]:
        at = epochs / 2 if self.switch_epoch is None else self.switch_epoch
        stages = []
        for step, name, lr in ((0, self.first, self.lr), (at * steps_per_epoch, self.then, self.then_lr)):
            option = SWITCHABLE[name]() if lr is None else SWITCHABLE[name](lr=lr)
            (stage,) = option.stages(_copied(weights), fused, steps_per_epoch, epochs)
            stages.append(replace(stage, from_step=round(step)))
        return stages


@dataclass
class Custom(Optim):
    """An optimizer of your own or of a library: the one that factory(params, lr=…, **arguments) returns.

    A subclass of torch.optim.Optimizer, or a function that returns one; torch's by name, torch.optim:NAdam.
    """

    name: str = fixed("custom")
    factory: str = setting("", "package.module:class, in the working directory or installed")
    arguments: dict[str, Any] = setting({}, "its keyword arguments besides params and lr")
    closure: bool = setting(
        False,
        "call step(closure) with a function that computes loss and gradients anew, for optimizers that "
        "evaluate them several times, such as SAM or torch.optim:LBFGS; trainer.max_grad_norm has no effect",
    )

    @property
    def line_search(self) -> bool:  # type: ignore[override]
        """Whether a step evaluates loss and gradient several times."""
        return self.closure

    def problems(self) -> Iterator[str]:
        yield from self._user_function().problems()

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from .custom_optimizer import custom_optimizer

        return custom_optimizer(self._user_function(), weights, self.lr, self.closure)

    def stages(self, weights: Weights, fused: bool, steps_per_epoch: int, epochs: float) -> list[Stage]:
        (stage,) = super().stages(weights, fused, steps_per_epoch, epochs)
        return [replace(stage, any_state=True)]

    def _user_function(self) -> UserFunction:
        from ..user_code import UserFunction

        return UserFunction("optim.factory", self.factory, self.arguments, ("params",), ("lr",))


def _copied(weights: Weights) -> Weights:
    """Return weights with copies of the parameter groups, as torch's optimizers modify the groups."""
    return [dict(entry) if isinstance(entry, dict) else entry for entry in weights]  # type: ignore[return-value]


def _pair(values: list[Any]) -> tuple[float, float]:
    first, second = values
    return float(first), float(second)
