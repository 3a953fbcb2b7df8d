"""Random seeds and generators as pure functions of (seed, purpose, epoch, step)."""

import hashlib

import torch


def derive(seed: int, *parts: str | int) -> int:
    """Return a 63-bit seed for one purpose, independent of the seeds for all others."""
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *parts: str | int) -> torch.Generator:
    """Return a CPU generator for one purpose; its numbers are the same on every machine and device."""
    return torch.Generator().manual_seed(derive(seed, *parts))


def seed_torch(seed: int, *parts: str | int) -> None:
    """Seed torch's global generators (initialization, dropout) for one purpose."""
    value = derive(seed, *parts)
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(value)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(value)


def random_bits(seed: int, purpose: str, indices: torch.Tensor) -> torch.Tensor:
    """Return a random bool for each index (N,), on the CPU, independent of the other indices.

    The top bit of splitmix64 (Steele et al. 2014), whose nth number can be computed without the others.
    """
    mixed = (indices + 1) * _signed(0x9E3779B97F4A7C15) + derive(seed, purpose)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        # int64 shifts its sign in from the left; splitmix64 shifts zeros.
        mixed = (mixed ^ ((mixed >> shift) & ((1 << (64 - shift)) - 1))) * _signed(factor)
    mixed = mixed ^ ((mixed >> 31) & ((1 << 33) - 1))
    return mixed < 0


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
