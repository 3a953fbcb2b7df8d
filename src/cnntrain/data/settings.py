"""Settings of the data sets (group `data`): where images come from and how they are split (D1, D8).

The test split is the data set's own, or a fixed cut that no seed changes; validation is cut from the
training images by the run's seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings.fields import fixed, setting
from ..settings.option import Option

if TYPE_CHECKING:
    from .splits import Splits

ROOT = "folder of the files, which are downloaded into it where missing"
MEMORY = "images are kept in memory up to this many GB (uint8), beyond that read from their files; 0 is never"
TARGETS = ("classes", "attributes", "values")
TARGET = "what each image is labelled with"
WORKERS = "processes that read images while training, where they are not kept in memory; 0 is none"
PER_STEP = "images of one training step"


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before any of it is read: the shape of its images, and counts.

    `outputs` counts its classes, attributes or values. `train_images` counts training and validation
    together, before `limit`; None where it is not known.
    """

    channels: int
    height: int
    width: int
    outputs: int
    train_images: int | None


@dataclass
class Data(Option):
    """What every data set has."""

    batch_size: int = setting(128, PER_STEP, ge=1)
    val_fraction: float = setting(
        0.1, "share of the training images cut off for validation, equally from every class", ge=0, lt=1
    )
    limit: int | None = setting(
        None, "use at most this many training images, before validation is cut off; null is all", ge=1
    )

    def target_kind(self) -> str:
        """Return what images are labelled with: "classes", "attributes" or "values" (D7)."""
        return str(getattr(self, "target", "classes"))

    def info(self) -> DatasetInfo | None:
        """Return what is known before any data is read, or None."""
        return None

    def may_have_validation(self) -> bool:
        """Return whether there may be validation images: cut off, or stored as a split of their own."""
        return self.val_fraction > 0

    def default_augmentation(self) -> str:
        """Return what augmentation=auto means for these images: "crop", "crop_flip" or "none"."""
        raise NotImplementedError

    def read(self) -> Splits:
        """Return the splits as stored: all training images in `train`, `val` empty unless stored too.

        Raises DataError where the files cannot be used.
        """
        raise NotImplementedError

    def load(self, seed: int) -> Splits:
        """Return the splits of a run: training images limited and validation cut off by `seed`.

        Raises DataError where the files cannot be used.
        """
        from .splits import divide

        return divide(self.read(), self.val_fraction, self.limit, seed)


@dataclass
class Digits(Data):
    """1797 handwritten digits of 8x8 (UCI, in scikit-learn), a fixed fifth of them the test split."""

    name: str = fixed("digits")
    batch_size: int = setting(64, PER_STEP, ge=1)
    # A tenth would be 144 images: too few to tell good epochs from lucky ones.
    val_fraction: float = setting(
        0.2, "share of the training images cut off for validation, equally from every class", ge=0, lt=1
    )
    target: str = setting(
        "classes",
        f"{TARGET}: classes: which digit; attributes: even, prime, with a loop, straight; values: the angle "
        "in degrees by which it was turned (D7)",
        choices=TARGETS,
    )

    def info(self) -> DatasetInfo:
        outputs = {"classes": 10, "attributes": 4, "values": 1}[self.target]
        return DatasetInfo(channels=1, height=8, width=8, outputs=outputs, train_images=1438)

    def default_augmentation(self) -> str:
        return "crop"

    def read(self) -> Splits:
        from .digits import read_digits

        return read_digits(self.target)


@dataclass
class _Downloaded(Data):
    """What the data sets have that torchvision downloads."""

    root: str = setting("data", ROOT, resume="free")

    def info(self) -> DatasetInfo:
        raise NotImplementedError

    def read(self) -> Splits:
        from .torchvision_sets import read_set

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
    """Fashion-MNIST: 60 000 + 10 000 grey pictures of clothes of 28x28 (Xiao et al. 2017)."""

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


@dataclass
class ImageNet(Data):
    """ImageNet's 1000 classes, from folders train/ and val/; val/ is the test split
    (Russakovsky et al. 2015)."""

    name: str = fixed("imagenet")
    root: str = setting(
        "data/imagenet", "folder with train/ and val/, one folder per class in each", resume="free"
    )
    image_size: int = setting(
        224,
        "height and width in pixels: the shorter side is brought to it, and the centre kept; 256 to cut "
        "224x224 from (augmentation.crop_size)",
        ge=1,
    )
    memory_limit_gb: float = setting(4.0, MEMORY, ge=0, resume="free")
    workers: int = setting(2, WORKERS, ge=0, resume="free")

    def info(self) -> DatasetInfo:
        side = self.image_size
        return DatasetInfo(channels=3, height=side, width=side, outputs=1000, train_images=None)

    def default_augmentation(self) -> str:
        return "crop_flip"

    def read(self) -> Splits:
        from .folder import read_imagenet

        return read_imagenet(self.root, self.image_size, self.workers)

    def load(self, seed: int) -> Splits:
        from .folder import into_memory

        return into_memory(super().load(seed), self.memory_limit_gb)


@dataclass
class Npz(Data):
    """Your own arrays: an .npz file with x_train, y_train, x_test and y_test, as Keras lays them out."""

    name: str = fixed("npz")
    path: str = setting("", "the .npz file", resume="free")
    target: str = setting(
        "classes",
        f"{TARGET} in y_train and y_test: classes: whole numbers (N,); attributes: 0 or 1 (N, A); values: "
        "numbers (N, V); an array `names` may name them (D7)",
        choices=TARGETS,
    )

    def problems(self) -> Iterator[str]:
        yield from _path_problems(self.name, self.path)

    def default_augmentation(self) -> str:
        return "crop"

    def read(self) -> Splits:
        from .arrays import read_npz

        return read_npz(self.path, target=self.target)


@dataclass
class Folder(Data):
    """Your own images: one folder per class, or train/, val/ and test/ with one folder per class in each."""

    name: str = fixed("folder")
    path: str = setting(
        "", "folder with one folder per class, or with train/, val/ and test/ of such folders", resume="free"
    )
    target: str = setting(
        "classes",
        f"{TARGET}: classes: the folder it lies in; attributes or values: a line of data.csv (D7)",
        choices=TARGETS,
    )
    csv: str = setting(
        "",
        "CSV file with attributes or values, in the folder: a first line of names, then a path and its "
        "numbers in each line",
        resume="free",
    )
    test_fraction: float = setting(
        0.1,
        "share of the images cut off for the test split where there is no test/; no seed changes it",
        gt=0,
        lt=1,
    )
    image_size: int = setting(64, "height and width to which every image is brought, in pixels", ge=1)
    resize: str = setting(
        "crop",
        "how: crop (shorter side to image_size, then the centre), squash, pad (with black)",
        choices=("crop", "squash", "pad"),
    )
    channels: int = setting(3, "3 is colour, 1 is grey", choices=(1, 3))
    memory_limit_gb: float = setting(4.0, MEMORY, ge=0, resume="free")
    workers: int = setting(2, WORKERS, ge=0, resume="free")

    def problems(self) -> Iterator[str]:
        if self.target != "classes" and not self.csv:
            yield f"data.target={self.target}: needs the file with them; write data.csv=FILE.csv"
        if self.target == "classes" and self.csv:
            yield f"data.csv={self.csv}: acts with data.target=attributes or values only"
        yield from _path_problems(self.name, self.path)

    def may_have_validation(self) -> bool:
        return True

    def default_augmentation(self) -> str:
        return "crop_flip"

    def read(self) -> Splits:
        from .folder import read_folder, read_labelled

        how = (self.test_fraction, self.image_size, self.resize, self.channels, self.workers)
        if self.target != "classes":
            return read_labelled(self.path, self.csv, self.target, *how)
        return read_folder(self.path, *how)

    def load(self, seed: int) -> Splits:
        from .folder import into_memory

        return into_memory(super().load(seed), self.memory_limit_gb)


@dataclass
class Synthetic(Data):
    """Made-up images, a smooth pattern per class under noise: for trying things out and measuring speed."""

    name: str = fixed("synthetic")
    classes: int = setting(10, "number of classes", ge=2)
    image_size: int = setting(32, "height and width in pixels", ge=1)
    channels: int = setting(3, "channels of an image", ge=1)
    train_images: int = setting(2000, "images for training and validation together", ge=1)
    test_images: int = setting(500, "images of the test split", ge=1)

    def info(self) -> DatasetInfo:
        return DatasetInfo(self.channels, self.image_size, self.image_size, self.classes, self.train_images)

    def default_augmentation(self) -> str:
        return "none"

    def read(self) -> Splits:
        from .synthetic import make_synthetic

        return make_synthetic(
            self.classes, self.image_size, self.channels, self.train_images, self.test_images
        )


@dataclass
class Toy2d(Data):
    """Points of a plane, each an image of one pixel whose two channels are its coordinates on a grid of
    256x256; at the end of a run decision_boundary.png shows what the network makes of the plane (D9)."""

    name: str = fixed("toy2d")
    batch_size: int = setting(16, PER_STEP, ge=1)
    shape: str = setting(
        "spiral",
        "moons: two half circles, each in the other's hollow; rings: one circle in another; spiral: arms",
        choices=("moons", "rings", "spiral"),
    )
    points: int = setting(1000, "points for training and validation together", ge=1)
    test_points: int = setting(1000, "points of the test split", ge=1)
    noise: float = setting(
        0.03, "standard deviation of what is added to each coordinate; the square's side is 2", ge=0
    )
    classes: int = setting(2, "number of classes: 2, or for the spiral any number of arms", ge=2)

    def info(self) -> DatasetInfo:
        return DatasetInfo(channels=2, height=1, width=1, outputs=self.classes, train_images=self.points)

    def problems(self) -> Iterator[str]:
        if self.shape != "spiral" and self.classes != 2:
            yield (
                f"data.classes={self.classes}: data.shape={self.shape} has 2 classes; write data.classes=2 "
                "or data.shape=spiral"
            )

    def default_augmentation(self) -> str:
        return "none"

    def read(self) -> Splits:
        from .toy2d import make_toy2d

        return make_toy2d(self.shape, self.points, self.test_points, self.noise, self.classes)


def _path_problems(name: str, path: str) -> Iterator[str]:
    if not path:
        yield f"data.path: data={name} needs to know where the images are; write data.path=…"
