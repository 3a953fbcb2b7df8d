"""Trained networks as files of other formats, compared with their runs: ONNX, torch.export, safetensors."""
