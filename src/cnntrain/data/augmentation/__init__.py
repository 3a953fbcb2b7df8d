"""Variation of training images (D6): whole batches, on the device that holds them, by draws made before."""

from .augment import Augment, build_augmentation

__all__ = ["Augment", "build_augmentation"]
