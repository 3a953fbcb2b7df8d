"""What a run changes of its process, and how it is put back: for runs that are started from Python."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from .training.cpu_load import limit_spinning

# State of torch on which a run depends or which it sets: how it is read, how set, and the value for a run.
OF_TORCH: tuple[tuple[Callable[[], Any], Callable[[Any], Any], Any], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    (torch.get_default_device, torch.set_default_device, torch.device("cpu")),
    (torch.is_grad_enabled, torch.set_grad_enabled, True),
)


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Start from torch's defaults inside the context, and leave the process as it was.

    This holds for the environment, sys.path and the working directory, torch's number of threads, default
    type and device, its flags of determinism and TF32, and the states of all random generators. The C
    library's thresholds for freed memory stay those of the run (training/device.py).
    """
    with ExitStack() as stack:
        stack.callback(_restore_environment, dict(os.environ), os.getcwd(), list(sys.path))
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        _keep_torch(stack)
        limit_spinning()
        yield


def _keep_torch(stack: ExitStack) -> None:
    """Have the state of torch restored, and set the part of it that a run takes for given."""
    stack.callback(torch.set_rng_state, torch.get_rng_state())
    stack.callback(_restore_cuda, torch.cuda.get_rng_state_all() if _cuda_is_used() else None)
    stack.callback(torch.set_num_threads, torch.get_num_threads())
    stack.callback(
        _restore_determinism,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    for backend, name in (
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cuda.matmul, "allow_tf32"),
    ):
        stack.callback(setattr, backend, name, getattr(backend, name))
    for read, set_to, of_run in OF_TORCH:
        if read() != of_run:
            stack.callback(set_to, read())
            set_to(of_run)


def _restore_environment(environment: dict[str, str], folder: str, path: list[str]) -> None:
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:] = path


def _restore_cuda(states: list[torch.Tensor] | None) -> None:
    """Restore CUDA's generators; those that the run was the first to use get the seed of the CPU's."""
    if states is not None:
        torch.cuda.set_rng_state_all(states)
    elif _cuda_is_used():
        torch.cuda.manual_seed_all(torch.initial_seed())


def _cuda_is_used() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _restore_determinism(enabled: bool, warn_only: bool) -> None:
    # The call imports torch's compiler, which takes a second or two.
    if torch.are_deterministic_algorithms_enabled() != enabled:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
