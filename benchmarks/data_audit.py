"""job=data measured: its time on photographs, and which hashes agree, by chance and after changes.

    python -m benchmarks.data_audit --data FOLDER --out FOLDER
    python -m benchmarks.data_audit --data FOLDER --planted FOLDER

data: the folder of mnist.npz, fashion_mnist.npz and cifar10.npz. out: an empty folder, for 5000 JPEG files of
400x300 made of CIFAR-10's images, enlarged, with noise. planted: a new folder of images with problems.
docs/data.md has the numbers.
"""

from __future__ import annotations

import argparse
import io
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from cnntrain.checks.data.perceptual_hash import close_pairs, distances, expected_by_chance, perceptual_hash
from cnntrain.data.torchvision_sets import CLASS_NAMES

SIZE = (400, 300)
NOISE = 8.0
BITS = (0, 2, 4, 6, 8)
CHANGED = 1000


def make_photographs(data: Path, out: Path, images: int, size: tuple[int, int] = SIZE) -> None:
    """Write JPEG files of this width and height, a folder per class, of CIFAR-10's first training images
    with noise."""
    with np.load(data / "cifar10.npz") as stored:
        pixels, labels = stored["x_train"][:images], stored["y_train"].ravel()[:images]
    rng = np.random.default_rng(0)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = out / CLASS_NAMES["cifar10"][label]
        folder.mkdir(parents=True, exist_ok=True)
        enlarged = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        noisy = enlarged + rng.normal(0, NOISE, enlarged.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05}.jpg", quality=90)


def plant_problems(data: Path, out: Path) -> None:
    """Write a folder of 180 images in three classes, and eleven problems, each once."""
    with np.load(data / "cifar10.npz") as stored:
        pixels, labels = stored["x_train"][:2000], stored["y_train"].ravel()[:2000]
    names = CLASS_NAMES["cifar10"]

    def images_of(name: str) -> list[Image.Image]:
        chosen = pixels[labels == names.index(name)]
        return [Image.fromarray(one).resize((128, 96), Image.Resampling.BICUBIC) for one in chosen]

    for name in ("cat", "dog", "ship"):
        images = iter(images_of(name))
        for split, count in (("train", 40), ("val", 10), ("test", 10)):
            folder = out / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                next(images).save(folder / f"{number:02}.jpg", quality=92)
    train, others = out / "train", images_of("horse")
    shutil.copy(train / "cat/00.jpg", out / "test/cat/leak.jpg")
    shutil.copy(train / "dog/01.jpg", train / "dog/again.jpg")
    shutil.copy(train / "ship/02.jpg", train / "dog/wrong.jpg")
    Image.open(train / "cat/03.jpg").resize((256, 192)).save(out / "val/cat/near.jpg", quality=60)
    (train / "cat/cut.jpg").write_bytes((train / "cat/04.jpg").read_bytes()[:700])
    (train / "cat/text.png").write_text("no image")
    Image.new("RGB", (128, 96), (30, 90, 200)).save(train / "ship/blue.jpg")
    others[0].resize((24, 18)).save(train / "cat/tiny.png")
    others[1].resize((400, 60)).save(train / "dog/long.jpg")
    others[2].convert("L").save(train / "dog/grey.jpg")
    others[3].convert("RGBA").save(out / "test/dog/clear.png")


def time_audit(photographs: Path, out: Path) -> None:
    """Print the time and the memory of job=data on a folder."""
    command = [sys.executable, "-m", "cnntrain", "job=data", "data=folder", f"data.path={photographs}"]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, f"hydra.run.dir={out}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.perf_counter() - started
    print(f"{seconds:.1f} s, {cpu:.1f} s of CPU time, {after.ru_maxrss / 1e6:.2f} GB")


def print_chance(data: Path) -> None:
    """Print how many pairs of each data set are within some bits, and how many are expected by chance."""
    for name in ("mnist", "fashion_mnist", "cifar10"):
        with np.load(data / f"{name}.npz") as stored:
            images = np.concatenate([stored["x_train"], stored["x_test"]])
        hashes = hashes_of([Image.fromarray(image) for image in images])
        _, bits = close_pairs(hashes, BITS[2], 10**7)
        for largest in BITS[:3]:
            expected = expected_by_chance(hashes, largest)
            found = int((bits <= largest).sum())
            print(f"{name:<14} within {largest} bits: {found:>7} pairs, by chance {expected:.3g}")


def hashes_of(images: Sequence[Image.Image]) -> NDArray[np.uint64]:
    """Return the perceptual hashes of images."""
    return np.array([perceptual_hash(image) for image in images], np.uint64)


def saved_as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Return an image after it was saved as JPEG."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content)


def cropped(image: Image.Image, part: float) -> Image.Image:
    """Return an image without this part of its width and height on each side."""
    width, height = image.size
    left, top = round(part * width), round(part * height)
    return image.crop((left, top, width - left, height - top))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 30": lambda image: saved_as_jpeg(image, 30),
    "scaled to 64x48": lambda image: image.resize((64, 48)),
    "grey": lambda image: image.convert("L"),
    "20% brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "30% more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "1% cut off on each side": lambda image: cropped(image, 0.01),
    "2% cut off on each side": lambda image: cropped(image, 0.02),
    "5% cut off on each side": lambda image: cropped(image, 0.05),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def print_changes(photographs: Path) -> None:
    """Print the fraction of changed photographs whose hashes are within some bits of the original's."""
    files = sorted(photographs.rglob("*.jpg"))
    images = [Image.open(file) for file in files[:: max(1, len(files) // CHANGED)][:CHANGED]]
    hashes = hashes_of(images)
    for name, change in CHANGES.items():
        differing = np.diagonal(distances(hashes, hashes_of([change(image) for image in images])))
        shares = ", ".join(f"{(differing <= largest).mean():.1%} within {largest}" for largest in BITS)
        print(f"{name:<24} {shares}")


def main() -> None:
    """Make the photographs and print all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path)
    target.add_argument("--planted", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    arguments = parser.parse_args()
    if arguments.planted is not None:
        plant_problems(arguments.data, arguments.planted)
        return
    photographs = arguments.out / "photographs"
    make_photographs(arguments.data, photographs, arguments.images)
    time_audit(photographs, arguments.out / "audit")
    print_chance(arguments.data)
    print_changes(photographs)


if __name__ == "__main__":
    main()
