"""Settings of the optimizers (group `optim`): each with a learning rate of its own that trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .fields import fixed, setting

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    Weights = list[Tensor] | list[dict[str, Any]]


@dataclass
class Optim:
    """What every optimizer has."""

    # Decoupled decay that belongs to the method itself, unless regularization.weight_decay says otherwise.
    own_weight_decay: ClassVar[float] = 0.0

    name: str = ""
    lr: float = setting(0.01, "learning rate, before the schedule scales it", gt=0)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        """Return the torch optimizer over `weights`; `fused` asks for its one-kernel form.

        The weights are tensors, or torch's parameter groups where not all have one learning rate.
        """
        raise NotImplementedError


@dataclass
class Sgd(Optim):
    """Stochastic gradient descent with momentum: v = momentum·v + g; w -= lr·v (torch's form; O1)."""

    name: str = fixed("sgd")
    lr: float = setting(0.05, "learning rate, before the schedule scales it", gt=0)
    momentum: float = setting(0.9, "share of the velocity kept at each step; 0 is plain SGD", ge=0, lt=1)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import SGD

        return SGD(weights, lr=self.lr, momentum=self.momentum, fused=fused)


@dataclass
class Nesterov(Optim):
    """SGD with Nesterov's momentum: the gradient where the velocity is about to lead (O2)."""

    name: str = fixed("nesterov")
    lr: float = setting(0.05, "learning rate, before the schedule scales it", gt=0)
    momentum: float = setting(0.9, "share of the velocity kept at each step", gt=0, lt=1)

    def build(self, weights: Weights, fused: bool) -> Optimizer:
        from torch.optim import SGD

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


def _pair(values: list[Any]) -> tuple[float, float]:
    first, second = values
    return float(first), float(second)
