"""Steps that are skipped on the device, without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor


def keep_if_skipped(found_inf: Tensor | None, new: Tensor, old: Tensor) -> Tensor:
    """Return `old` where `found_inf` is not 0, as a GradScaler says that a step is skipped, else `new`."""
    return new if found_inf is None else torch.where(found_inf > 0, old, new)
