"""Use torch without importing its compiler, which takes longer than a short training (1.5 s).

torch wraps methods of optimizers and dispatch modes for torch.compile, and the wrappers import the compiler
at their first call. This package compiles networks only.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

# Methods that torch excludes from tracing by its compiler (torch._compile._disable_dynamo).
UNTRACED_METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def skip_compiler_import() -> None:
    """Allow optimizers to be built, saved and loaded without importing torch's compiler.

    A wrapper imports it unless its method already has an untraced version; here that is the method itself.
    In versions of torch without this wrapper the attribute has no effect.
    """
    if "torch._dynamo" in sys.modules:
        return
    for name in UNTRACED_METHODS:
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None and not hasattr(method, "__dynamo_disable"):
            setattr(method, "__dynamo_disable", method)


def make_step(optimizer: Optimizer, closure: Callable[[], Tensor] | None = None) -> None:
    """Perform one update as optimizer.step(closure) does, without torch's profiler and compiler hooks."""
    step = inspect.unwrap(type(optimizer).step, stop=_is_not_torchs)
    with torch.no_grad():
        step(optimizer, closure) if closure is not None else step(optimizer)


def _is_not_torchs(function: Callable[..., object]) -> bool:
    """Return whether a function was not made by torch, such as a decorator of the user's own."""
    return not getattr(function, "__globals__", {}).get("__name__", "").startswith("torch.")


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode in which `__torch_dispatch__` sees every operation, called without the compiler's wrapper.

    In versions of torch without this wrapper the method has no effect.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
