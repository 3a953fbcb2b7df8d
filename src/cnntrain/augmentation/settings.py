"""Settings of augmentation (group `augmentation`), applied to batches of training images only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ConfigError
from ..settings.fields import default_of, fixed, format_value, setting, settings_of
from ..settings.network_input import Shape
from ..settings.option import Notice, Option

if TYPE_CHECKING:
    from torch import Tensor

    from ..user_code import UserFunction
    from .file_crop import FileCrop
    from .transforms import Augment, Transform

# torchvision's defaults.
RANDAUGMENT = {"num_ops": 2, "magnitude": 9}
ERASE_AREA = [0.02, 0.33]


@dataclass
class Augmentation(Option):
    """Methods common to all augmentations."""

    def cropped_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) after cropping of stored images of (height, width) = `size`."""
        return size

    def input_problems(self, height: int, width: int, channels: int) -> list[str]:
        """Return an error for each setting that does not fit stored images of this shape."""
        return []

    def file_crop(self, image: Shape) -> FileCrop | None:
        """Return the crop that is cut from image files where there are some, None where none is.

        image: (height, width, channels) of the images that are decoded from them for other purposes.
        """
        return None

    def after_file_crop(self) -> Augmentation:
        """Return the augmentation of images that went through `file_crop`."""
        return self

    def build(self, default: str, image: Shape, train: Iterable[Tensor], from_files: bool = False) -> Augment:
        """Return the augmentation of training images of shape `image` = (height, width, channels).

        default: the data set's augmentation for augmentation=auto: "crop", "crop_flip" or "none". train:
        training images in chunks, uint8 (n, H, W, C), read only if their statistics are needed. Raises
        ConfigError where settings do not fit the images.
        """
        raise NotImplementedError


@dataclass
class Auto(Augmentation):
    """The data set's default: random crops and flips for photographs, random crops only for digits.

    Photographs are padded by an eighth of their shorter side, digits, which fill theirs, by a fourteenth.
    """

    name: str = fixed("auto")

    def build(self, default: str, image: Shape, train: Iterable[Tensor], from_files: bool = False) -> Augment:
        digits = max(1, round(min(image[:2]) / 14))
        padding = {"none": 0, "crop": digits, "crop_flip": None}[default]
        return Transforms(crop_padding=padding, flip=default == "crop_flip").build(default, image, train)


@dataclass
class Transforms(Augmentation):
    """All transforms with their strengths, in the order in which they are applied (D6)."""

    former_names: ClassVar[tuple[str, ...]] = ("strengths",)

    name: str = fixed("transforms")
    crop_padding: int | None = setting(
        0,
        "pixels of zero padding on each side, before a random crop of the image's size; null: 1/8 of the "
        "shorter side, or 0 with crop_size",
        ge=0,
    )
    crop_fill: str = setting(
        "zeros",
        "crop_padding: what is outside of the image; zeros: black; reflect: the image mirrored at its border",
        choices=("zeros", "reflect"),
    )
    crop_size: int | None = setting(
        None,
        "side in pixels of a random square crop of the image, in evaluation a center crop, which the network "
        "receives; null: the whole image",
        ge=1,
    )
    min_area: float | None = setting(
        None,
        "random resized crop of a fraction in [min_area, 1] of the area and an aspect ratio from 3:4 to 4:3, "
        "resized to crop_size or the image's size; null: none",
        gt=0,
        le=1,
    )
    crop_from: str = setting(
        "file",
        "min_area: what crops are cut from; file: the image at its own size, where images are files, of a "
        "training image as in torchvision's RandomResizedCrop; stored: the image at data.image_size",
        choices=("file", "stored"),
        former="stored",
    )
    rotation_degrees: float = setting(
        0.0, "rotate by a random angle of up to this, in either direction, filled with black", ge=0, le=180
    )
    flip: bool = setting(False, "flip each image left-right with probability ½")
    alternating_flip: bool = setting(
        False, "flip each image left-right in every other epoch; half of the images begin flipped"
    )
    policy: str = setting(
        "none",
        "published policy that draws random operations for each image; applied image by image, which is slow",
        choices=("none", "randaugment", "trivialaugment"),
    )
    num_ops: int | None = setting(None, "randaugment: number of operations per image; null: 2", ge=1)
    magnitude: int | None = setting(None, "randaugment: magnitude of all operations; null: 9", ge=0, le=30)
    brightness: float = setting(
        0.0, "multiply by a random factor in 1 ± brightness (not below 0), drawn for each image", ge=0
    )
    contrast: float = setting(
        0.0, "blend with the image's mean grey value by a random factor in 1 ± contrast", ge=0
    )
    saturation: float = setting(
        0.0, "blend with the grey version of the image by a random factor in 1 ± saturation", ge=0
    )
    hue: float = setting(0.0, "shift the hue by up to this fraction of the colour circle", ge=0, le=0.5)
    lighting: float = setting(
        0.0,
        "AlexNet's colour noise: standard deviation of the random factors by which the principal axes of the "
        "training split's colours are multiplied and added to all pixels of an image; 0.1 in the paper",
        ge=0,
    )
    lighting_scale: str = setting(
        "eigenvalues",
        "scale of the axes of lighting; eigenvalues: of the covariance of values in [0, 1], as in the paper; "
        "deviations: their square roots, a stronger noise",
        choices=("eigenvalues", "deviations"),
        former="deviations",
    )
    erase: float = setting(
        0.0, "random erasing: probability that a box of the image is filled with black", ge=0, le=1
    )
    erase_area: list[float] | None = setting(
        None, "erase: smallest and largest fraction of the area; null: [0.02, 0.33]", gt=0, le=1, length=2
    )
    cutout: int = setting(
        0, "side in pixels of a black square at a random position, which may exceed the border", ge=0
    )

    def cropped_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return size if self.crop_size is None else (self.crop_size, self.crop_size)

    def problems(self) -> list[str]:
        lines = list[str]()
        if self.lighting_scale != default_of(settings_of(type(self))["lighting_scale"]) and not self.lighting:
            scale = f"augmentation.lighting_scale={self.lighting_scale}"
            lines.append(Notice(f"{scale}: has no effect without augmentation.lighting"))
        if self.crop_from != default_of(settings_of(type(self))["crop_from"]) and self.min_area is None:
            crop_from = f"augmentation.crop_from={self.crop_from}"
            lines.append(Notice(f"{crop_from}: has no effect without augmentation.min_area"))
        if self.crop_fill != default_of(settings_of(type(self))["crop_fill"]) and self.crop_padding == 0:
            fill = f"augmentation.crop_fill={self.crop_fill}"
            lines.append(Notice(f"{fill}: has no effect without augmentation.crop_padding"))
        if self.flip and self.alternating_flip:
            lines.append(
                "augmentation.alternating_flip=true: augmentation.flip=true flips at random; "
                "add augmentation.flip=false"
            )
        if self.crop_size is not None and self.crop_padding:
            lines.append(
                f"augmentation.crop_size={self.crop_size}: crops are taken from the unpadded image, but "
                f"augmentation.crop_padding={self.crop_padding}; write crop_padding=0"
            )
        for name in RANDAUGMENT:
            value = getattr(self, name)
            if value is not None and self.policy != "randaugment":
                lines.append(
                    f"augmentation.{name}={value}: applies to RandAugment only; "
                    "add augmentation.policy=randaugment or write null"
                )
        if self.erase_area is not None:
            override = f"augmentation.erase_area={format_value(self.erase_area)}"
            smallest, largest = self.erase_area
            if not self.erase:
                lines.append(f"{override}: needs augmentation.erase > 0; write that, or null")
            elif smallest > largest:
                ascending = f"[{format_value(largest)}, {format_value(smallest)}]"
                lines.append(f"{override}: must be ascending; write {ascending}")
        return lines

    def input_problems(self, height: int, width: int, channels: int) -> list[str]:
        lines = []
        if self.crop_size is not None and self.crop_size > min(height, width):
            lines.append(
                f"augmentation.crop_size={self.crop_size}: larger than the images ({height}x{width}); "
                f"write at most {min(height, width)}"
            )
        side = min(self.cropped_size((height, width)))
        if self.cutout > side:
            lines.append(
                f"augmentation.cutout={self.cutout}: larger than the images ({side} pixels); "
                f"write {side // 2} or less"
            )
        if self.crop_padding and self.crop_padding > side:
            lines.append(
                f"augmentation.crop_padding={self.crop_padding}: larger than the images ({side} pixels), so "
                f"that most crops are padding; write {max(1, side // 8)}"
            )
        if self.crop_fill == "reflect" and (self.crop_padding or 0) >= side:
            lines.append(
                f"augmentation.crop_padding={self.crop_padding}: at most {side - 1} pixels can be reflected; "
                f"write {max(1, side // 8)}"
            )
        for name, accepted in (
            ("contrast", (1, 3)),
            ("saturation", (3,)),
            ("hue", (3,)),
            ("lighting", (3,)),
            ("policy", (1, 3)),
        ):
            value = getattr(self, name)
            if value not in (0, "none") and channels not in accepted:
                images = "grey" if channels == 1 else f"of {channels} channels"
                changed = "colour images" if accepted == (3,) else "grey or colour images"
                disabled = "none" if name == "policy" else "0"
                lines.append(
                    f"augmentation.{name}={format_value(value)}: changes {changed} only, these are {images}; "
                    f"write {disabled}"
                )
        return lines

    def file_crop(self, image: Shape) -> FileCrop | None:
        from .file_crop import FileCrop

        if self.min_area is None or self.crop_from != "file":
            return None
        return FileCrop(self.min_area, self.crop_size or image[0])

    def after_file_crop(self) -> Augmentation:
        padding = 0 if self.crop_size is not None and self.crop_padding is None else self.crop_padding
        return replace(self, min_area=None, crop_size=None, crop_padding=padding)

    def build(self, default: str, image: Shape, train: Iterable[Tensor], from_files: bool = False) -> Augment:
        from .transforms import Augment

        if problems := self.input_problems(*image):
            raise ConfigError(problems)
        return Augment([*self._geometric(image), *self._photometric(train), *self._erasing()])

    def _geometric(self, image: Shape) -> Iterator[Transform]:
        from . import transforms

        padding = self.crop_padding
        if padding is None:
            padding = max(1, min(image[:2]) // 8) if self.crop_size is None else 0
        if padding:
            yield transforms.PaddedCrop(padding, self.crop_fill)
        if self.crop_size is not None and self.min_area is None:
            yield transforms.Crop(self.crop_size)
        if self.min_area is not None or self.rotation_degrees:
            size = None if self.min_area is None else self.crop_size
            yield transforms.ResizedCropAndRotation(self.min_area, self.rotation_degrees, size)
        if self.flip:
            yield transforms.Flip()
        elif self.alternating_flip:
            yield transforms.AlternatingFlip()

    def _photometric(self, train: Iterable[Tensor]) -> Iterator[Transform]:
        from . import color, policies, transforms

        if self.policy == "randaugment":
            num_ops = RANDAUGMENT["num_ops"] if self.num_ops is None else self.num_ops
            magnitude = RANDAUGMENT["magnitude"] if self.magnitude is None else self.magnitude
            yield transforms.RandomPolicy(policies.randaugment(num_ops, magnitude))
        elif self.policy == "trivialaugment":
            yield transforms.RandomPolicy(policies.trivialaugment())
        strengths = (self.brightness, self.contrast, self.saturation, self.hue, self.lighting)
        if any(strengths):
            axes = color.principal_axes(train, self.lighting_scale) if self.lighting else None
            yield transforms.ColorJitter(*strengths, axes)

    def _erasing(self) -> Iterator[Transform]:
        from . import transforms

        if self.erase:
            smallest, largest = ERASE_AREA if self.erase_area is None else self.erase_area
            yield transforms.RandomErasing(self.erase, (smallest, largest))
        if self.cutout:
            yield transforms.Cutout(self.cutout)


@dataclass
class Custom(Augmentation):
    """An augmentation of your own: the batch that function(images, generator, **arguments) returns."""

    name: str = fixed("custom")
    function: str = setting("", "package.module:function, in the working directory or installed")
    arguments: dict[str, Any] = setting({}, "its keyword arguments besides images and generator")

    def problems(self) -> list[str]:
        return self._user_function().problems()

    def build(self, default: str, image: Shape, train: Iterable[Tensor], from_files: bool = False) -> Augment:
        from .custom_transform import custom_transform
        from .transforms import Augment

        return Augment([custom_transform(self._user_function(), image)])

    def _user_function(self) -> UserFunction:
        from ..user_code import UserFunction

        return UserFunction("augmentation.function", self.function, self.arguments, ("images", "generator"))
