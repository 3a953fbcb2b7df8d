"""Data sets of Hugging Face's package: columns, splits and classes as found, pixels as they were written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnntrain.cli import main
from cnntrain.data.image_set import MemoryImages
from cnntrain.data.settings.hugging_face import HuggingFace
from cnntrain.data.splits import Splits
from cnntrain.errors import ConfigError, DataError

datasets = pytest.importorskip("datasets")
QUICK = ["model=linear", "trainer.epochs=1", "trainer.pictures=false", "trainer.report=false"]


def pixels(images: int, channels: int = 1, side: int = 8) -> Any:
    shape = (images, side, side) if channels == 1 else (images, side, side, channels)
    return np.random.default_rng(images).integers(0, 256, shape, dtype=np.uint8)


def part(images: Any, label: Any, **columns: Any) -> Any:
    """Return a split of arrays as images, with labels of a feature (values, feature)."""
    values, feature = label
    given = {"photo": [Image.fromarray(array) for array in images], "kind": values, **columns}
    features = {"photo": datasets.Image(), "kind": feature}
    features |= {name: datasets.Value("int64") for name in columns}
    return datasets.Dataset.from_dict(given, features=datasets.Features(features))


CLASSES = ("cat", "dog")
CLASS_LABEL = datasets.ClassLabel(names=list(CLASSES))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def saved(**splits: Any) -> HuggingFace:
    datasets.DatasetDict(splits).save_to_disk("saved")
    return HuggingFace(path="saved")


def read(settings: HuggingFace) -> Splits:
    assert list(settings.problems()) == []
    return settings.read()


def images_of(splits: Splits, split: str) -> Any:
    found = splits.parts()[split]
    assert isinstance(found, MemoryImages)
    return found.images.numpy()


def test_parquet_files_are_read_with_their_splits_classes_and_pixels() -> None:
    Path("parquet").mkdir()
    of_split = {"train": (pixels(6, 3), [0, 1] * 3), "validation": (pixels(4, 3), [1] * 4)}
    for name, (images, labels) in of_split.items():
        part(images, (labels, CLASS_LABEL)).to_parquet(f"parquet/{name}-00000-of-00001.parquet")
    splits = read(HuggingFace(path="parquet", test_fraction=0.5))
    assert splits.names == list(CLASSES)
    assert np.array_equal(images_of(splits, "val"), pixels(4, 3))
    assert splits.val.labels.tolist() == [1] * 4
    # Without a test split, half of the training images are for it, of both classes.
    both = np.concatenate([images_of(splits, "train"), images_of(splits, "test")])
    assert sorted(map(bytes, both)) == sorted(map(bytes, pixels(6, 3)))
    assert [len(splits.train), len(splits.test)] == [3, 3]


def test_texts_are_classes_and_grey_images_keep_their_size_and_channel() -> None:
    feature = datasets.Value("string")
    train, test = (part(pixels(n), (["b", "a"] * (n // 2), feature), year=[1] * n) for n in (8, 4))
    settings = saved(train=train, test=test, extra=test)
    with pytest.raises(ConfigError, match=r"2 columns that may be classes; write data\.label="):
        settings.read()
    settings.label = "kind"
    splits = read(settings)
    assert splits.names == ["a", "b"]
    assert splits.train.labels.tolist() == [1, 0] * 4
    assert splits.train.shape == (8, 8, 1)
    assert np.array_equal(images_of(splits, "test")[..., 0], pixels(4))
    assert splits.notices == ["not used of data.path=saved: extra (train, validation and test are)"]


def test_contents_of_files_without_the_feature_of_images_are_images() -> None:
    buffers = [io.BytesIO() for _ in range(4)]
    for buffer, array in zip(buffers, pixels(4), strict=True):
        Image.fromarray(array).save(buffer, "png")
    rows = {"photo": [{"bytes": b.getvalue(), "path": None} for b in buffers], "label": [0, 1, 0, 1]}
    splits = read(saved(train=datasets.Dataset.from_dict(rows), test=datasets.Dataset.from_dict(rows)))
    assert np.array_equal(images_of(splits, "train")[..., 0], pixels(4))


def test_a_test_split_without_labels_is_left_out_with_a_notice() -> None:
    train = part(pixels(20), ([0, 1] * 10, CLASS_LABEL))
    splits = read(saved(train=train, test=part(pixels(4), ([-1] * 4, CLASS_LABEL))))
    assert [len(splits.train), len(splits.test)] == [18, 2]
    assert splits.notices == ["not used: test, which has no labels"]


@pytest.mark.parametrize(
    ("changes", "error", "expected"),
    [
        ({"image": "foto"}, ConfigError, "data.image=foto: no such column; did you mean photo?"),
        ({"label": "knid"}, ConfigError, "data.label=knid: no such column; did you mean kind?"),
        ({"subset": "x"}, ConfigError, "data.subset=x: a folder of save_to_disk has no subsets"),
        ({"image": "kind"}, ConfigError, "data.image=kind: has no images but ClassLabel"),
        ({"label": "photo"}, ConfigError, "data.label=photo: has not one class per image but Image"),
        ({"memory_limit_gb": 1e-9}, DataError, "more than data.memory_limit_gb=1e-09; write a larger one"),
    ],
)
def test_what_does_not_fit_is_said_with_what_there_is(
    changes: dict[str, Any], error: type[Exception], expected: str
) -> None:
    saved(train=part(pixels(4), ([0, 1] * 2, CLASS_LABEL)))
    with pytest.raises(error) as caught:
        HuggingFace(path="saved", **changes).read()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_columns_of_classes_have_to_be_chosen_from() -> None:
    both = part(pixels(4), ([0, 1] * 2, CLASS_LABEL))
    settings = saved(train=both.add_column("fine", [0, 1] * 2).cast_column("fine", CLASS_LABEL))
    with pytest.raises(ConfigError, match=r"has 2 columns.*write data.label=NAME, one of kind, fine"):
        settings.read()
    settings.label = "fine"
    assert len(read(settings).names) == 2


def test_a_damaged_image_is_named_by_its_split_and_row() -> None:
    row = {"photo": [{"bytes": b"no image", "path": None}] * 2, "label": [0, 1]}
    settings = saved(train=datasets.Dataset.from_dict(row))
    settings.image_size, settings.channels = 8, 1
    with pytest.raises(
        DataError, match=r"data.path=saved: train: image 0: is not an image of a known format"
    ):
        settings.read()


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ConnectionError("Couldn't reach\nthe hub"), "cannot be downloaded (Couldn't reach"),
        (datasets.exceptions.DatasetNotFoundError("x"), "the hub has no such data set, or it needs a login"),
        (
            ValueError("BuilderConfig 'x' not found. Available: ['a']"),
            "Available: ['a']; write data.subset=NAME",
        ),
    ],
)
def test_what_the_hub_answers_is_one_line(
    raised: Exception, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*arguments: Any, **options: Any) -> None:
        raise raised

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises((ConfigError, DataError)) as caught:
        HuggingFace(dataset="a/b").read()
    assert str(caught.value).startswith("data.dataset=a/b: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_trains_on_it_and_is_continued(capsys: pytest.CaptureFixture[str]) -> None:
    saved(train=part(pixels(20), ([0, 1] * 10, CLASS_LABEL)))
    assert main(["data=huggingface", "data.path=saved", "hydra.run.dir=run", *QUICK]) == 0
    assert main(["run=run", "trainer.epochs=2"]) == 0
    assert main(["run=run", "job=data"]) == 0
    assert json.loads(Path("run/summary.json").read_text())["epochs"] == 2
    saved(train=part(pixels(20)[::-1], ([0, 1] * 10, CLASS_LABEL)))
    assert main(["run=run", "trainer.epochs=3"]) == 3
    assert "images of the train split changed" in capsys.readouterr().err
