"""The data of a sweep's jobs, read and decoded once for all jobs that have the same."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..assemble.parts import crops_of_files
from ..data.image_set import MemoryImages
from ..data.splits import Splits
from ..errors import UserError
from ..settings.config_tree import Config

# Images as stored are kept for other seeds and folds up to this size; those of a job are kept in any case.
MAX_KEPT_BYTES = 1 << 30


class SharedData:
    """Reads the data of jobs in the process that copies itself for them."""

    def __init__(self) -> None:
        self._stored: tuple[str, Splits] | None = None
        self._divided: tuple[str, Splits] | None = None

    def splits(self, config: Config) -> Splits | None:
        """Return the splits of a job; None where they cannot be read, which the job reports."""
        key = repr((config.data, config.seed))
        if self._divided is None or self._divided[0] != key:
            # More threads than one would be lost in the copies of this process, and waited for.
            torch.set_num_threads(1)
            self._divided = None
            try:
                self._divided = key, config.data.divided(self._as_stored(config), config.seed)
            except (UserError, OSError):
                return None
        return self._with_crops(config, self._divided[1])

    def _with_crops(self, config: Config, splits: Splits) -> Splits | None:
        """Return the splits with the images that the job cuts crops from; None where these cannot be read."""
        crop = config.augmentation.file_crop(splits.train.shape)
        if crop != (splits.crops and splits.crops.crop):
            splits.crops = None
            try:
                splits.crops = crops_of_files(config, splits.train)
            except (UserError, OSError):
                return None
        return splits

    def _as_stored(self, config: Config) -> Splits:
        key = repr(replace(config.data, val_fraction=0, folds=None, fold=0))
        if self._stored is not None and self._stored[0] == key:
            return self._stored[1]
        self._stored = None
        stored: Splits = config.data.stored()
        parts = [part for part in stored.parts().values() if isinstance(part, MemoryImages)]
        if sum(part.images.nbytes for part in parts) <= MAX_KEPT_BYTES:
            self._stored = key, stored
        return stored
