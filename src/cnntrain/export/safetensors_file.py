"""A trained network as a safetensors file: its weights and statistics, with its configuration as metadata."""

from __future__ import annotations

import torch

from ..prediction.exported import PARTS
from ..runs.checkpoint import State


def safetensors_file(state: State, texts: dict[str, str], half: bool) -> bytes:
    """Return the content of the file of a checkpoint's state; half: store weights of the network in fp16.

    Its tensors are named by part: network.…, preprocess.…, loss.….
    """
    from safetensors.torch import save

    tensors = {}
    for part in PARTS:
        for name, tensor in state[part].items():
            is_rounded = half and part == "network" and tensor.dtype == torch.float32
            # A copy, as the format refuses tensors that share memory.
            tensors[f"{part}.{name}"] = (tensor.half() if is_rounded else tensor.clone()).contiguous()
    return bytes(save(tensors, {"format": "pt", **texts}))
