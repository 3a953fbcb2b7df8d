"""A folder of drawn photos in three classes, of every kind of file that a user's folder has.

python -m benchmarks.photos --out FOLDER writes below FOLDER:
photos/CLASS/…, photos.zip of it, splits/train and splits/valid with the same images, and shots.csv, which
lists them with their class and the burst that they are of, three shots each.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Names with a space, in Greek and in Chinese.
CLASSES = ("wide stripes", "κουκκίδες", "棋盘")
NAMES = ("IMG_{:04}", "photo {:03}", "Aufnahme_ü{:03}", "写真 {:03}")
SHOTS = 3
# Every fifth burst is for validation.
VALID = 5
ORIENTATION = 0x0112
# EXIF orientation → what was done to the upright image.
TURNS = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def main() -> None:
    """Write the folders, the archive and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = write_photos(options.out, options.images, options.seed)
    with (options.out / "shots.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "class", "burst"], *rows])
    for path, label, burst in rows:
        split = "train" if int(burst) % VALID else "valid"
        target = options.out / "splits" / split / label / Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(options.out / path, target)
    shutil.make_archive(str(options.out / "photos"), "zip", options.out, "photos")
    print(f"{len(rows)} images of {len(CLASSES)} classes in {options.out}")


def write_photos(out: Path, images: int, seed: int) -> list[list[str]]:
    """Write photos in class folders; return the path, the class and the burst of each."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(images):
        burst = number // SHOTS
        label = burst % len(CLASSES)
        if number % SHOTS == 0:
            scene = draw_scene(label, rng)
        shot = np.roll(scene, tuple(rng.integers(-8, 9, 2)), (0, 1)) + rng.normal(0, 20, scene.shape)
        folder = out / "photos" / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        file = save(Image.fromarray(shot.clip(0, 255).astype(np.uint8)), folder, number, rng)
        rows.append([file.relative_to(out).as_posix(), CLASSES[label], str(burst)])
    return rows


def draw_scene(label: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return stripes, dots or a checkerboard on a patch of a plain background, float (H, W, 3)."""
    height, width = rng.integers(90, 161, 2)
    angle, period = rng.uniform(0, np.pi), rng.uniform(10, 24)
    y, x = np.mgrid[:height, :width]
    u = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period
    v = (y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period
    pattern = (np.sin(u) > 0, (np.sin(u) + np.sin(v)) > 1, (np.sin(u) * np.sin(v)) > 0)[label]
    tints = rng.normal(0, 20, (3, 3))
    dark, light, background = np.array([[60], [190], [rng.uniform(60, 190)]]) + tints
    if rng.random() < 0.5:
        dark, light = light, dark
    scene = np.where(pattern[..., None], dark, light)
    radius, top, left = rng.uniform(0.35, 0.6) * height, rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7)
    inside = np.hypot(y - top * height, x - left * width) < radius
    drawn: NDArray[np.float64] = np.where(inside[..., None], scene, background)
    return drawn


def save(image: Image.Image, folder: Path, number: int, rng: np.random.Generator) -> Path:
    """Write an image as a file of one of eight kinds, chosen by its number; return its path."""
    name = NAMES[number // 2 % len(NAMES)].format(number)
    kind, exif, ending = number % 8, Image.Exif(), "jpg"
    if kind == 1:  # as a camera held upright or upside down
        turn = (3, 6, 8)[number // 8 % 3]
        exif[ORIENTATION] = turn
        image = image.transpose(TURNS[turn])
    elif kind == 2:
        image = image.convert("CMYK")
    elif kind == 3:
        image = image.convert("L")
    elif kind in (4, 5):
        ending = "png"
        if kind == 5:
            image.putalpha(Image.fromarray(rng.integers(200, 256, image.size[::-1], dtype=np.uint8)))
    elif kind == 6:
        image, ending = image.quantize(64), "png"
    elif kind == 7:
        image, ending = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "png"
    path = folder / f"{name}.{ending}"
    image.save(path, exif=exif)
    return path


if __name__ == "__main__":
    main()
