"""The table of all options: which dataclass stands behind which name in which group."""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from . import (
    augmentation,
    averaging,
    data,
    initialization,
    logger,
    loss,
    model,
    optim,
    preprocessing,
    regularization,
    schedule,
    trainer,
)
from .fields import settings_of
from .root import Config

# Groups in the order in which a run passes through them.
OPTIONS: dict[str, list[type]] = {
    "data": [
        data.Digits,
        data.Mnist,
        data.FashionMnist,
        data.Cifar10,
        data.Cifar100,
        data.Svhn,
        data.ImageNet,
        data.Npz,
        data.Folder,
        data.Synthetic,
        data.Toy2d,
    ],
    "preprocessing": [
        preprocessing.NoPreprocessing,
        preprocessing.Center,
        preprocessing.Standardize,
        preprocessing.MinMax,
        preprocessing.Pca,
        preprocessing.Whiten,
    ],
    "augmentation": [augmentation.Auto, augmentation.Strengths],
    "model": [
        model.Linear,
        model.Mlp,
        model.ConvNet,
        model.LeNet5,
        model.LeNet5Original,
        model.AlexNet,
        model.ZfNet,
        model.Nin,
        model.Vgg,
        model.GoogLeNet,
        model.InceptionV2,
        model.InceptionV3,
        model.InceptionV4,
        model.CifarResNet,
        model.ResNet,
        model.CifarPreactResNet,
        model.PreactResNet,
        model.TorchvisionModel,
        model.TimmModel,
        model.Custom,
    ],
    "initialization": [
        initialization.Default,
        initialization.Zeros,
        initialization.Gaussian,
        initialization.Uniform,
        initialization.VarianceScaling,
        initialization.Sparse,
        initialization.FromRun,
    ],
    "loss": [
        loss.Softmax,
        loss.Svm,
        loss.SquaredSvm,
        loss.RejectingSoftmax,
        loss.HierarchicalSoftmax,
        loss.OneHotError,
        loss.AttributeHinge,
        loss.AttributeLogistic,
        loss.L2,
        loss.L1,
        loss.SmoothL1,
        loss.Bins,
    ],
    "regularization": [regularization.Regularization],
    "optim": [
        optim.Sgd,
        optim.Nesterov,
        optim.Adagrad,
        optim.RmsProp,
        optim.Adam,
        optim.AdamW,
        optim.Muon,
        optim.Lbfgs,
        optim.Switch,
    ],
    "schedule": [
        schedule.Constant,
        schedule.Step,
        schedule.Exponential,
        schedule.Inverse,
        schedule.Cosine,
        schedule.OneCycle,
        schedule.Plateau,
    ],
    "averaging": [averaging.NoAverage, averaging.Ema, averaging.Swa],
    "trainer": [trainer.Trainer],
    "logger": [logger.NoLogger, logger.TensorBoard],
}

GROUPS = tuple(OPTIONS)


def name_of(option: type) -> str:
    """Return the fixed name of an option's dataclass."""
    name = settings_of(option)["name"].default
    assert isinstance(name, str)
    return name


def option(group: str, name: str) -> type | None:
    """Return the dataclass called `name` in `group`, or None."""
    return next((entry for entry in OPTIONS[group] if name_of(entry) == name), None)


def register() -> None:
    """Put every dataclass into Hydra's ConfigStore, as schema/<group>/<name>; YAML files begin with it."""
    store = ConfigStore.instance()
    store.store(group="schema", name="root", node=Config)
    for group, entries in OPTIONS.items():
        for entry in entries:
            store.store(group=f"schema/{group}", name=name_of(entry), node=entry)


def typed(tree: Any) -> Config:
    """Return the composed tree as dataclasses; raises OmegaConf's errors where a value does not fit."""
    # Hydra keeps the types of groups, not that of the root.
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), tree))
    assert isinstance(config, Config)
    return config
