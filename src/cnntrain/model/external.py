"""Networks of torchvision (N14), and what those of timm, in timm_networks.py, share with them.

`…_problems` returns the errors in the settings before anything is built; `…_network` builds the network,
and raises ConfigError with the same errors.
"""

from __future__ import annotations

import importlib.util
import pickle
import warnings
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError, first_line
from ..settings.nearest_name import did_you_mean
from .fine_tuning import freeze, freeze_problems, heads

# What torch.hub raises where a file cannot be downloaded, or the one it has is not that which was published.
NOT_DOWNLOADED = (OSError, HTTPException, RuntimeError, EOFError, pickle.UnpicklingError)
# Keys under which training programs store the state dict beside other things.
NESTED = ("state_dict", "model", "model_state_dict")
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def torchvision_problems(arch: str, weights: str | None, frozen: list[str]) -> list[str]:
    """Return the errors in the names of a torchvision network, of its weights and of layers to freeze."""
    from torchvision import models

    available = models.list_models(module=models)
    if arch not in available:
        return [f"model.arch={arch}: torchvision has no such network; {did_you_mean(arch, available)}"]
    if not (weights is None or _published(arch, weights) is not None or Path(weights).is_file()):
        names = ["default", *models.get_model_weights(arch).__members__]
        hint = did_you_mean(weights, names)
        return [f"model.weights={weights}: no file, and no weights of {arch}; {hint}"]
    if not frozen:
        return []
    with torch.device("meta"):
        return freeze_problems(_build(arch, None, 2), frozen)


def torchvision_network(
    arch: str,
    weights: str | None,
    in_channels: int,
    classes: int,
    dropout: float | None,
    frozen: list[str],
    load: bool = True,
) -> nn.Module:
    """Return a torchvision network for `in_channels` and `classes`; without `load`, `weights` are not loaded.

    Pretrained weights are used in all layers that they fit: a head for another number of classes has new
    initial weights, and for another number of channels the first convolution is rebuilt with the mean of
    its filters, scaled so that a grey image gives the same response as with three equal channels. Raises
    ConfigError for names that do not exist or a file of another network, DataError for weights that cannot
    be read or downloaded.
    """
    problems = torchvision_problems(arch, weights if load else None, frozen)
    if problems:
        raise ConfigError(problems)
    published = None if weights is None else _published(arch, weights)
    if weights is None or not load:
        network = _build(arch, None, classes)
        if published is not None and hasattr(network, "transform_input"):
            setattr(network, "transform_input", True)  # noqa: B010  as torchvision does for its own weights
        _set_channels(network, in_channels, keep_weights=False)
    elif published is not None:
        network = _build(arch, published, None)
        _set_channels(network, in_channels, keep_weights=True)
        _set_classes(network, classes)
    else:
        network = _build(arch, None, classes)
        _load_file(network, arch, Path(weights), in_channels)
    set_dropout(network, dropout)
    freeze(network, frozen)
    return network


def torchvision_input(arch: str, weights: str) -> tuple[tuple[int, int], list[float], list[float]] | None:
    """Return size, mean and deviation of the input of published weights, None for an unknown network.

    A file is taken for one of the network's default weights.
    """
    from torchvision import models

    if arch not in models.list_models(module=models):
        return None
    published = _published(arch, weights) or models.get_model_weights(arch).DEFAULT
    transforms = published.transforms()
    (side,) = transforms.crop_size
    return (side, side), list(transforms.mean), list(transforms.std)


def set_dropout(network: nn.Module, rate: float | None, head: str | None = None) -> None:
    """Set the rate of all dropout layers of a network; None leaves them unchanged.

    In a network without dropout layers, one is inserted before `head`, by default the last linear layer.
    Raises ConfigError if there is no linear layer either.
    """
    if rate is None:
        return
    layers = [module for module in network.modules() if isinstance(module, DROPOUTS)]
    for layer in layers:
        layer.p = rate
    if layers or rate == 0:
        return
    if head is None:
        linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
        head = linear[-1] if linear else ""
    if not head:
        prefix = f"regularization.dropout={rate:g}"
        raise ConfigError([f"{prefix}: the network has no dropout layer, nor a linear one to put it before"])
    network.set_submodule(head, nn.Sequential(nn.Dropout(rate), network.get_submodule(head)))


def _published(arch: str, weights: str) -> Any:
    """Return torchvision's published weights called `weights`, or None."""
    from torchvision import models

    return models.get_model_weights(arch).__members__.get(weights.upper())


def _build(arch: str, published: Any, classes: int | None) -> nn.Module:
    """Return a network built by torchvision, without the auxiliary heads that some have in training."""
    from torchvision import models

    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    if arch in ("googlenet", "inception_v3") and published is None:
        options |= {"aux_logits": False, "init_weights": True}
    try:
        network = models.get_model(arch, weights=published, **options)
    except NOT_DOWNLOADED as error:
        if published is None:
            raise
        raise not_downloaded(str(published), f" ({published.url})", error) from error
    if arch == "inception_v3":
        # With published weights, torchvision always builds the auxiliary head.
        network.aux_logits, network.AuxLogits = False, None
    assert isinstance(network, nn.Module)
    return network


def _set_channels(network: nn.Module, in_channels: int, keep_weights: bool) -> None:
    """Rebuild the first convolution for `in_channels`, with the mean of its filters if `keep_weights`."""
    name, first = _first_convolution(network)
    if first.in_channels == in_channels:
        return
    assert first.groups == 1
    rebuilt = nn.Conv2d(
        in_channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        first.dilation,  # type: ignore[arg-type]
        bias=first.bias is not None,
        padding_mode=first.padding_mode,
    )
    if keep_weights:
        with torch.no_grad():
            mean = first.weight.sum(1, keepdim=True) / in_channels
            rebuilt.weight.copy_(mean.expand_as(rebuilt.weight))
            if first.bias is not None and rebuilt.bias is not None:
                rebuilt.bias.copy_(first.bias)
    network.set_submodule(name, rebuilt)
    if hasattr(network, "transform_input"):
        setattr(network, "transform_input", False)  # noqa: B010  it indexes three channels: red, green, blue


def _set_classes(network: nn.Module, classes: int) -> None:
    """Replace the head, the last linear layer or convolution, if its number of classes differs."""
    (name,) = heads(network)
    head = network.get_submodule(name)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    if isinstance(head, nn.Linear):
        if head.out_features != classes:
            network.set_submodule(name, nn.Linear(head.in_features, classes, bias=head.bias is not None))
    elif head.out_channels != classes:
        network.set_submodule(name, nn.Conv2d(head.in_channels, classes, head.kernel_size))  # type: ignore[arg-type]


def _load_file(network: nn.Module, arch: str, path: Path, in_channels: int) -> None:
    """Load a state dict, which may be for another number of classes and of input channels."""
    state = read_state(path)
    name, _ = _first_convolution(network)
    stored = state.get(f"{name}.weight")
    fits_channels = stored is not None and stored.shape[1] == in_channels
    if fits_channels:
        _set_channels(network, in_channels, keep_weights=False)
    # Auxiliary heads are used in training only, and the network is built without them.
    state = {key: value for key, value in state.items() if not key.lower().startswith("aux")}
    load_state(network, arch, path, state, heads(network))
    if not fits_channels:
        _set_channels(network, in_channels, keep_weights=True)


def load_state(
    network: nn.Module, arch: str, path: Path, state: dict[str, Tensor], replaceable_layers: list[str]
) -> None:
    """Load the state dict of a file, except layers in `replaceable_layers` whose shapes differ.

    Raises ConfigError if the names or shapes are not those of `arch`.
    """
    initial = network.state_dict()
    for part in [f"{name}.{tensor}" for name in replaceable_layers for tensor in ("weight", "bias")]:
        if part in state and part in initial and state[part].shape != initial[part].shape:
            state[part] = initial[part]
    differing = [key for key in initial if key in state and state[key].shape != initial[key].shape]
    missing, unknown = sorted(initial.keys() - state.keys()), sorted(state.keys() - initial.keys())
    for difference, keys in (("missing", missing), ("unexpected", unknown), ("other shape:", differing)):
        if keys:
            others = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise ConfigError(
                [f"model.weights={path}: does not match {arch}: {difference} {keys[0]}{others}"]
            )
    network.load_state_dict(state)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file of torch or of safetensors, which may lie beside other things.

    Raises DataError if it cannot be read.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of is said below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, LookupError, ValueError) as error:
        raise _unreadable(path, error) from error
    nested = next((state[key] for key in NESTED if isinstance(state, dict) and key in state), state)
    for found in (state, nested):
        if isinstance(found, dict) and found and all(isinstance(value, Tensor) for value in found.values()):
            return dict(found)
    raise DataError(f"model.weights={path}: holds no state dict (a mapping from names to tensors)")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    if importlib.util.find_spec("safetensors") is None:
        raise DataError(f"model.weights={path}: needs a package; pip install 'cnntrain[safetensors]'")
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(path.read_bytes()))
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def not_downloaded(name: str, address: str, error: Exception) -> DataError:
    """Return the error for published weights that could not be downloaded from an address, if it is known."""
    cause: BaseException = error
    while isinstance(deeper := getattr(cause, "reason", None) or cause.__cause__, BaseException):
        cause = deeper
    reason = getattr(cause, "strerror", None) or getattr(cause, "reason", None) or first_line(cause)
    return DataError(
        f"model.weights={name}: cannot be downloaded{address}: {reason}; connect to the network, or write "
        "model.weights=FILE with a file of these weights"
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif isinstance(error, pickle.UnpicklingError | LookupError | EOFError) or "weights_only" in str(error):
        # torch's own message advises to load the file in a way that runs code in it.
        reason = "it is no file of torch, or holds objects other than tensors"
    else:
        reason = first_line(error)
    return DataError(
        f"model.weights={path}: cannot be read as weights ({reason}); name a state dict saved by torch.save"
    )


def _first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
