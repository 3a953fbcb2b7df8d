"""What a run changes of its process, and how it is put back: for runs that are started from Python."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from .kept_state import set_for_run, state_kept
from .training.cpu_load import limit_spinning


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
        stack.callback(torch.set_rng_state, torch.get_rng_state())
        stack.callback(_restore_cuda, torch.cuda.get_rng_state_all() if _cuda_is_used() else None)
        stack.enter_context(state_kept())
        set_for_run()
        limit_spinning()
        yield


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
