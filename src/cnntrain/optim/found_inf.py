"""Skip steps on the device, without synchronizing with it."""

from __future__ import annotations

import torch
from torch import Tensor


def keep_if_skipped(found_inf: Tensor | None, new: Tensor, old: Tensor) -> Tensor:
    """Return `old` if `found_inf`, GradScaler's flag for a skipped step, is non-zero, else `new`."""
    return new if found_inf is None else torch.where(found_inf > 0, old, new)
