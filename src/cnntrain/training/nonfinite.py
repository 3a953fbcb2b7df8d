"""Non-finite losses and gradients: their update is skipped, and the run stops.

On a CUDA device and with fp16, updates are skipped without synchronizing with the device: fused optimizers,
those of this package and weight decay read a flag tensor; Adagrad and RMSprop, which torch does not fuse
there, synchronize. On other devices synchronizing costs nothing, so the run stops at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

# fp16 halves its loss scale at each skipped update; after this many in a row, no scale helps.
MAX_SKIPPED_IN_A_ROW = 25


class NonFinite(Exception):
    """A loss or gradient was not finite; `step` counts the updates before it."""

    def __init__(self, step: int, loss: float, grad_norm: float):
        super().__init__(step, loss, grad_norm)
        self.step = step
        self.loss = loss
        self.grad_norm = grad_norm


class SkippedUpdates:
    """Decides whether an update is made, and counts those skipped.

    on_device: whether they are counted in a tensor on the device: on a CUDA device, which synchronizing would
    stall, and with fp16, which skips updates as it adapts its loss scale.
    """

    def __init__(self, device: torch.device, fp16: bool):
        self.on_device = device.type == "cuda" or fp16
        self._fp16 = fp16
        # Skipped updates in a row and in total; step, loss and gradient norm of the first one in the row.
        self.counts = torch.zeros(5, device=device)

    def finite(self, step: int, loss: Tensor, grad_norm: Tensor) -> Tensor:
        """Return whether the update that follows `step` updates is made, a boolean tensor on the device.

        Except for fp16, all updates after a skipped one are skipped too: the weights stay unchanged until
        `check` is called. Raises NonFinite where synchronizing costs nothing.
        """
        finite = torch.isfinite(grad_norm + loss)
        if not self.on_device:
            if not finite:
                raise NonFinite(step, loss.item(), grad_norm.item())
            return finite
        in_a_row, total = self.counts[0], self.counts[1]
        if not self._fp16:
            finite = finite & (total == 0)
        skipped = (~finite).float()
        now = torch.stack([torch.full_like(in_a_row, step), loss.float(), grad_norm.float()])
        details = torch.where(skipped * (in_a_row == 0) > 0, now, self.counts[2:])
        self.counts = torch.cat([torch.stack([(in_a_row + 1) * skipped, total + skipped]), details])
        return finite

    def check(self) -> None:
        """Raise NonFinite if an update was skipped (fp16: too many in a row); waits for the device."""
        if not self.on_device:
            return
        in_a_row, total, step, loss, norm = self.counts.tolist()
        if in_a_row >= MAX_SKIPPED_IN_A_ROW or (total and not self._fp16):
            raise NonFinite(int(step), loss, norm)

    @property
    def total(self) -> int:
        """The number of updates skipped so far; waits for the device."""
        return int(self.counts[1])
