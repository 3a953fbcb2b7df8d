"""Networks from elsewhere: torchvision's (N14), and a user's own function; timm_networks.py has timm's.

`…_problems` says what is wrong with the settings before anything is built; `…_network` builds, and
raises ConfigError with the same lines.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from ..settings.suggest import did_you_mean
from .fine_tuning import freeze, freeze_problems, heads

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def torchvision_problems(arch: str, weights: str | None, frozen: list[str]) -> list[str]:
    """Return what is wrong with the names of a torchvision network, of its weights or of layers to freeze."""
    from torchvision import models

    known = models.list_models(module=models)
    if arch not in known:
        return [f"model.arch={arch}: torchvision has no such network; {did_you_mean(arch, known)}"]
    if not (weights is None or _published(arch, weights) is not None or Path(weights).is_file()):
        names = ["default", *models.get_model_weights(arch).__members__]
        hint = did_you_mean(weights, names)
        return [f"model.weights={weights}: no file, and no weights of {arch}; {hint}"]
    if not frozen:
        return []
    with torch.device("meta"):
        return freeze_problems(_built(arch, None, 2), frozen)


def torchvision_network(
    arch: str,
    weights: str | None,
    in_channels: int,
    classes: int,
    dropout: float | None,
    frozen: list[str],
    load: bool = True,
) -> nn.Module:
    """Return a torchvision network for `in_channels` and `classes`; without `load`, its weights follow.

    With weights, layers that still fit keep them: a head for other classes starts anew, and the first
    convolution is rebuilt for other channels with the mean of its filters, scaled so that a grey image
    gets the response it had as three equal channels. Raises ConfigError for names that do not exist or a
    file of another network, DataError for weights that cannot be read or downloaded.
    """
    problems = torchvision_problems(arch, weights if load else None, frozen)
    if problems:
        raise ConfigError(problems)
    published = None if weights is None else _published(arch, weights)
    if weights is None or not load:
        network = _built(arch, None, classes)
        if published is not None and hasattr(network, "transform_input"):
            setattr(network, "transform_input", True)  # noqa: B010  as torchvision does for its own weights
        _set_channels(network, in_channels, keep=False)
    elif published is not None:
        network = _built(arch, published, None)
        _set_channels(network, in_channels, keep=True)
        _set_classes(network, classes)
    else:
        network = _built(arch, None, classes)
        _load_file(network, arch, Path(weights), in_channels)
    set_dropout(network, dropout)
    freeze(network, frozen)
    return network


def custom_problems(factory: str, arguments: dict[str, Any]) -> list[str]:
    """Return what keeps `factory` from being called with in_channels, classes and `arguments`."""
    return _find_factory(factory, arguments)[1]


def custom_network(
    factory: str, arguments: dict[str, Any], in_channels: int, classes: int, dropout: float | None
) -> nn.Module:
    """Return factory(in_channels=…, classes=…, **arguments).

    Raises ConfigError where the function is not found, does not take these arguments or returns no
    module; what the function itself raises goes through.
    """
    function, problems = _find_factory(factory, arguments)
    if function is None:
        raise ConfigError(problems)
    network = function(in_channels=in_channels, classes=classes, **arguments)
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise ConfigError([f"model.factory={factory}: returned a {kind}; it must return a torch.nn.Module"])
    set_dropout(network, dropout)
    return network


def set_dropout(network: nn.Module, rate: float | None, head: str | None = None) -> None:
    """Give all dropout layers of a network one rate; None leaves it as it is.

    A network without any gets one before its head, by default its last linear layer. Raises ConfigError
    where it has none.
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
        where = f"regularization.dropout={rate:g}"
        raise ConfigError([f"{where}: the network has no dropout layer, nor a linear one to put it before"])
    network.set_submodule(head, nn.Sequential(nn.Dropout(rate), network.get_submodule(head)))


def _published(arch: str, weights: str) -> Any:
    """Return torchvision's published weights of that name, or None."""
    from torchvision import models

    return models.get_model_weights(arch).__members__.get(weights.upper())


def _built(arch: str, published: Any, classes: int | None) -> nn.Module:
    """Return a network as torchvision builds it, without the auxiliary heads that some train with."""
    from torchvision import models

    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    if arch in ("googlenet", "inception_v3") and published is None:
        options |= {"aux_logits": False, "init_weights": True}
    try:
        network = models.get_model(arch, weights=published, **options)
    except OSError as error:
        raise DataError(f"model.weights={published}: cannot be downloaded: {error}") from error
    if arch == "inception_v3":
        # Its weights come with their auxiliary head, which torchvision refuses to leave out.
        network.aux_logits, network.AuxLogits = False, None
    assert isinstance(network, nn.Module)
    return network


def _set_channels(network: nn.Module, in_channels: int, keep: bool) -> None:
    """Rebuild the first convolution for `in_channels`, from the mean of its filters if `keep`."""
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
    if keep:
        with torch.no_grad():
            mean = first.weight.sum(1, keepdim=True) / in_channels
            rebuilt.weight.copy_(mean.expand_as(rebuilt.weight))
            if first.bias is not None and rebuilt.bias is not None:
                rebuilt.bias.copy_(first.bias)
    network.set_submodule(name, rebuilt)
    if hasattr(network, "transform_input"):
        setattr(network, "transform_input", False)  # noqa: B010  it reads red, green and blue by number


def _set_classes(network: nn.Module, classes: int) -> None:
    """Replace the head, the last linear layer or convolution, where it has other classes."""
    (name,) = heads(network)
    head = network.get_submodule(name)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    if isinstance(head, nn.Linear):
        if head.out_features != classes:
            network.set_submodule(name, nn.Linear(head.in_features, classes, bias=head.bias is not None))
    elif head.out_channels != classes:
        network.set_submodule(name, nn.Conv2d(head.in_channels, classes, head.kernel_size))  # type: ignore[arg-type]


def _load_file(network: nn.Module, arch: str, path: Path, in_channels: int) -> None:
    """Load a state dict, whose head may have other classes and whose images may have other channels."""
    state = read_state(path)
    name, _ = _first_convolution(network)
    stored = state.get(f"{name}.weight")
    fits_channels = stored is not None and stored.shape[1] == in_channels
    if fits_channels:
        _set_channels(network, in_channels, keep=False)
    # Auxiliary heads exist in training only, and are not built.
    state = {key: value for key, value in state.items() if not key.lower().startswith("aux")}
    load_state(network, arch, path, state, heads(network))
    if not fits_channels:
        _set_channels(network, in_channels, keep=True)


def load_state(
    network: nn.Module, arch: str, path: Path, state: dict[str, Tensor], new_where_other: list[str]
) -> None:
    """Load the state dict of a file, but for layers of those names with other shapes.

    Raises ConfigError where it is of another network than `arch`.
    """
    own = network.state_dict()
    for part in [f"{name}.{tensor}" for name in new_where_other for tensor in ("weight", "bias")]:
        if part in state and part in own and state[part].shape != own[part].shape:
            state[part] = own[part]
    differing = [key for key in own if key in state and state[key].shape != own[key].shape]
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    for words, keys in (("lacks", missing), ("has too much:", unknown), ("other shape:", differing)):
        if keys:
            others = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise ConfigError([f"model.weights={path}: is not of {arch}: {words} {keys[0]}{others}"])
    network.load_state_dict(state)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file of torch or of safetensors; raises DataError."""
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"model.weights={path}: holds no state dict (a mapping from names to tensors)")
    return dict(state)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    if importlib.util.find_spec("safetensors") is None:
        raise DataError(f"model.weights={path}: needs a package to be read; pip install safetensors")
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(path.read_bytes()))
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"model.weights={path}: cannot be read as weights: {reason}")


def _first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))


def _find_factory(factory: str, arguments: dict[str, Any]) -> tuple[Callable[..., Any] | None, list[str]]:
    """Return the function behind package.module:function, or what is wrong with it."""
    where = f"model.factory={factory}"
    if not factory:
        return None, ["model.factory: is not set; write model.factory=package.module:function"]
    module_name, colon, name = factory.partition(":")
    if not (colon and name.isidentifier() and all(part.isidentifier() for part in module_name.split("."))):
        return None, [f"{where}: must be package.module:function, as in my_package.nets:my_net"]
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            return None, [f"{where}: no module {missing}, neither in {here} nor installed"]
        return None, [f"{where}: {module_name} imports {missing}, which is not installed"]
    except Exception as error:
        return None, [f"{where}: importing {module_name} failed: {type(error).__name__}: {error}"]
    if not hasattr(module, name):
        functions = [key for key, _ in inspect.getmembers(module, callable) if not key.startswith("_")]
        hint = f"; {did_you_mean(name, functions)}" if functions else ""
        return None, [f"{where}: module {module_name} has no {name}{hint}"]
    function = getattr(module, name)
    if not callable(function):
        return None, [f"{where}: {name} is a {type(function).__name__}, not a function"]
    wrong = _call_problem(function, arguments)
    return (None, [f"{where}: {wrong}"]) if wrong else (function, [])


def _call_problem(function: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """Return why a function cannot be called with in_channels, classes and `arguments`, or None."""
    given = [key for key in ("in_channels", "classes") if key in arguments]
    if given:
        return f"{given[0]} comes from the data; take it out of model.arguments"
    try:
        inspect.signature(function).bind(in_channels=1, classes=2, **arguments)
    except TypeError as error:
        words = ", ".join(["in_channels=…", "classes=…", *(f"{key}=…" for key in arguments)])
        return f"cannot be called with ({words}): {error}"
    except ValueError:
        return None  # a builtin without a signature: only the call itself can tell
    return None
