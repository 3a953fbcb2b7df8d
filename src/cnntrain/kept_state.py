"""State of the process on which training depends: where code from outside changes it, it is put back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch


@dataclass(frozen=True)
class Part:
    """A part of the state: how it is called in messages, read and set.

    of_run: its value at the start of a run, None where the run sets it or takes it as it is.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    of_run: Any = None


def _determinism() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_determinism(flags: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(flags[0], warn_only=flags[1])


def _flag(backend: Any, path: str) -> Part:
    name = path.rpartition(".")[2]
    return Part(f"torch.backends.{path}", partial(getattr, backend, name), partial(setattr, backend, name))


PARTS = (
    Part("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    Part("torch's default device", torch.get_default_device, torch.set_default_device, torch.device("cpu")),
    Part("whether torch computes gradients", torch.is_grad_enabled, torch.set_grad_enabled, True),
    Part("the number of torch's threads", torch.get_num_threads, torch.set_num_threads),
    Part("whether torch's algorithms are deterministic", _determinism, _set_determinism),
    _flag(torch.backends.cudnn, "cudnn.benchmark"),
    _flag(torch.backends.cudnn, "cudnn.allow_tf32"),
    _flag(torch.backends.cuda.matmul, "cuda.matmul.allow_tf32"),
    Part("the working directory", os.getcwd, os.chdir),
)


@contextmanager
def state_kept() -> Iterator[list[str]]:
    """Put back what is changed of the state inside the context; yield a list that then has its names."""
    before, changed = [(part, part.read()) for part in PARTS], list[str]()
    try:
        yield changed
    finally:
        for part, value in before:
            # What is the same is not set again: some of it imports torch's compiler, which takes seconds.
            if part.read() != value:
                part.write(value)
                changed.append(part.name)


def set_for_run() -> None:
    """Set those parts of the state that a run takes for given."""
    for part in PARTS:
        if part.of_run is not None and part.read() != part.of_run:
            part.write(part.of_run)
