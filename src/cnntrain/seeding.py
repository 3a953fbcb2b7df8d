"""Randomness as a pure function of what it is for: (seed, purpose, epoch, step)."""

import hashlib

import torch


def derive(seed: int, *parts: str | int) -> int:
    """Return a 63-bit seed for one purpose, independent of the seeds for all others."""
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *parts: str | int) -> torch.Generator:
    """Return a CPU generator for one purpose; the same on every machine and device."""
    return torch.Generator().manual_seed(derive(seed, *parts))


def seed_torch(seed: int, *parts: str | int) -> None:
    """Seed torch's global generators (initialization, dropout) for one purpose."""
    value = derive(seed, *parts)
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(value)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(value)
