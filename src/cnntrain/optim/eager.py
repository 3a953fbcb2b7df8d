"""torch's optimizers without its compiler, whose import takes longer than a short training (1.5 s).

torch wraps the methods of its optimizers for the sake of torch.compile, and the wrappers import the compiler
at their first call. Only networks are compiled here, never optimizers.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

# Methods that torch keeps its compiler from tracing (torch._compile._disable_dynamo).
UNTRACED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def skip_compiler_import() -> None:
    """Let optimizers be built, saved and loaded without importing torch's compiler.

    A wrapper imports it unless its method carries an untraced form already; here that is the method itself.
    Where a version of torch has no such wrapper, the attribute has no effect.
    """
    if "torch._dynamo" in sys.modules:
        return
    for name in UNTRACED:
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None and not hasattr(method, "__dynamo_disable"):
            setattr(method, "__dynamo_disable", method)


def make_step(optimizer: Optimizer, closure: Callable[[], Tensor] | None = None) -> None:
    """Make one update, as optimizer.step(closure), without hooks of profiler and compiler around it."""
    step = inspect.unwrap(type(optimizer).step)
    with torch.no_grad():
        step(optimizer, closure) if closure is not None else step(optimizer)
