"""Settings of the networks (group `model`): channels, classes and image size come from the data."""

from .alexnet import AlexNet, Nin, ZfNet
from .base import ACTIVATIONS, Model, chosen_form, enlarged
from .external import Custom, TimmModel, TorchvisionModel
from .feedforward import ConvNet, Linear, Mlp
from .inception import GoogLeNet, InceptionV2, InceptionV3, InceptionV4
from .lenet import LeNet5, LeNet5Original
from .resnet import CifarPreactResNet, CifarResNet, PreactResNet, ResNet
from .vgg import Vgg

__all__ = [
    "ACTIVATIONS",
    "AlexNet",
    "CifarPreactResNet",
    "CifarResNet",
    "ConvNet",
    "Custom",
    "GoogLeNet",
    "InceptionV2",
    "InceptionV3",
    "InceptionV4",
    "LeNet5",
    "LeNet5Original",
    "Linear",
    "Mlp",
    "Model",
    "Nin",
    "PreactResNet",
    "ResNet",
    "TimmModel",
    "TorchvisionModel",
    "Vgg",
    "ZfNet",
    "chosen_form",
    "enlarged",
]
