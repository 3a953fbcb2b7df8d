"""Data sets with a name of their own: one that comes with the program, and those torchvision downloads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...settings.fields import fixed, setting
from .base import TARGET_HELP, TARGETS, VAL_FRACTION_HELP, Data, DatasetInfo

if TYPE_CHECKING:
    from ..splits import Splits

ROOT_HELP = "folder of the files; missing files are downloaded into it"


@dataclass
class Digits(Data):
    """1797 grey handwritten digits of 8x8, a data file of the package; a fixed fifth is the test split (UCI,
    Optical Recognition of Handwritten Digits, CC BY 4.0)."""

    name: str = fixed("digits")
    # A tenth would be 144 images, too few for a reliable choice of the best epoch.
    val_fraction: float = setting(0.2, VAL_FRACTION_HELP, ge=0, lt=1)
    target: str = setting(
        "classes",
        f"{TARGET_HELP}; classes: the digit; attributes: even, prime, with a loop, straight; values: the "
        "angle in degrees by which the image was rotated (D7)",
        choices=TARGETS,
    )

    def info(self) -> DatasetInfo:
        outputs = {"classes": 10, "attributes": 4, "values": 1}[self.target]
        return DatasetInfo(channels=1, height=8, width=8, outputs=outputs, train_images=1438)

    def default_augmentation(self) -> str:
        return "crop"

    def read(self) -> Splits:
        from ..digits import read_digits

        return read_digits(self.target)


@dataclass
class _Downloaded(Data):
    """Settings common to the data sets that torchvision downloads."""

    root: str = setting("data", ROOT_HELP, resume="free", path="path")

    def info(self) -> DatasetInfo:
        raise NotImplementedError

    def read(self) -> Splits:
        from ..torchvision_sets import read_set

        info = self.info()
        return read_set(self.name, self.root, (info.height, info.width, info.channels))


@dataclass
class Mnist(_Downloaded):
    """MNIST: 60 000 + 10 000 grey digits of 28x28 (LeCun et al. 1998)."""

    name: str = fixed("mnist")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=1, height=28, width=28, outputs=10, train_images=60000)

    def default_augmentation(self) -> str:
        return "crop"


@dataclass
class FashionMnist(_Downloaded):
    """Fashion-MNIST: 60 000 + 10 000 grey images of clothes of 28x28 (Xiao et al. 2017)."""

    name: str = fixed("fashion_mnist")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=1, height=28, width=28, outputs=10, train_images=60000)

    def default_augmentation(self) -> str:
        return "crop_flip"


@dataclass
class Cifar10(_Downloaded):
    """CIFAR-10: 50 000 + 10 000 colour images of 32x32 in ten classes (Krizhevsky 2009)."""

    name: str = fixed("cifar10")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=3, height=32, width=32, outputs=10, train_images=50000)

    def default_augmentation(self) -> str:
        return "crop_flip"


@dataclass
class Cifar100(_Downloaded):
    """CIFAR-100: 50 000 + 10 000 colour images of 32x32 in a hundred fine classes (Krizhevsky 2009)."""

    name: str = fixed("cifar100")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=3, height=32, width=32, outputs=100, train_images=50000)

    def default_augmentation(self) -> str:
        return "crop_flip"


@dataclass
class Svhn(_Downloaded):
    """SVHN: 73 257 + 26 032 colour house numbers of 32x32, cropped to a digit (Netzer et al. 2011)."""

    name: str = fixed("svhn")

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=3, height=32, width=32, outputs=10, train_images=73257)

    def default_augmentation(self) -> str:
        return "crop"
