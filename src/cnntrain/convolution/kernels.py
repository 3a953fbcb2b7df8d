"""The kernels in C, compiled for the processor when they are first needed, and kept in the user's cache."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..settings.cache_folder import cache_folder

SOURCE = Path(__file__).with_name("winograd.c")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fPIC", "-std=gnu11")


class Shape(ctypes.Structure):
    """The struct `shape` of the kernels."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("images", "height", "width", "channels", "padding", "rows", "columns")
    ]


class NoKernels(Exception):
    """The kernels cannot be compiled or loaded; the message says why."""


def compiler() -> str | None:
    """Return the C compiler, that of $CC or of this machine, None where there is none."""
    return os.environ.get("CC") or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


@functools.cache
def kernels() -> ctypes.CDLL:
    """Return the loaded kernels; raises NoKernels.

    They call OpenMP without being linked to it, so that they use the threads of torch's, which is loaded.
    """
    if sys.platform != "linux":
        raise NoKernels(f"not tried on {sys.platform}")
    name = compiler()
    if name is None:
        raise NoKernels("there is no C compiler (cc, gcc or clang)")
    of = hashlib.sha256(repr((name, FLAGS, _processor())).encode() + SOURCE.read_bytes()).hexdigest()[:16]
    library = cache_folder("kernels") / f"winograd-{of}.so"
    try:
        try:
            loaded = ctypes.CDLL(str(library))
        except OSError:  # it is not there, or damaged
            library.parent.mkdir(parents=True, exist_ok=True)
            _compile(name, library)
            loaded = ctypes.CDLL(str(library))
    except OSError as error:
        raise NoKernels(str(error)) from error
    for function, pointers in (
        *(("input_to_points", 2), ("output_to_points", 2)),
        *(("points_to_images", 3), ("points_to_input_gradient", 2)),
    ):
        getattr(loaded, function).argtypes = [ctypes.c_void_p] * pointers + [Shape]
        getattr(loaded, function).restype = None
    return loaded


def _compile(name: str, library: Path) -> None:
    """Write the library in one step, as other processes may do the same."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        compiled, linked = Path(folder, "winograd.o"), Path(folder, "winograd.so")
        for command in (
            [*shlex.split(name), *FLAGS, "-c", str(SOURCE), "-o", str(compiled)],
            [*shlex.split(name), "-shared", str(compiled), "-o", str(linked)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NoKernels(f"{name} fails: {(done.stderr.strip().splitlines() or [''])[0]}")
        os.replace(linked, library)


def _processor() -> str:
    """Return what the instructions of a processor depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {flags}"
