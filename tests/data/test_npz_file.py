"""A user's .npz files in Keras's layout: reading them, and the messages for unusable ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cnntrain.data.image_set import MemoryImages
from cnntrain.data.npz_file import read_npz
from cnntrain.data.settings.arrays import Npz
from cnntrain.errors import DataError

RNG = np.random.default_rng(0)
VALID: dict[str, Any] = {
    "x_train": RNG.integers(0, 256, (12, 5, 6, 3), dtype=np.uint8),
    "y_train": np.arange(12) % 3,
    "x_test": RNG.integers(0, 256, (6, 5, 6, 3), dtype=np.uint8),
    "y_test": np.arange(6) % 3,
}


def save(folder: Path, **changes: Any) -> str:
    """Write the valid arrays with these changes; None omits an array."""
    arrays = {key: value for key, value in {**VALID, **changes}.items() if value is not None}
    np.savez(folder / "own.npz", **arrays)
    return str(folder / "own.npz")


def test_images_and_labels_equal_the_arrays(tmp_path: Path) -> None:
    splits = read_npz(save(tmp_path, y_train=VALID["y_train"][:, None].astype(np.uint8)))
    assert isinstance(splits.train, MemoryImages)
    np.testing.assert_array_equal(splits.train.images.numpy(), VALID["x_train"])
    assert splits.train.labels.tolist() == VALID["y_train"].tolist()
    assert splits.train.shape == (5, 6, 3)
    assert splits.test.labels.dtype == torch.int64
    assert splits.names == ["0", "1", "2"]


def test_grey_images_need_no_channel_axis(tmp_path: Path) -> None:
    splits = read_npz(save(tmp_path, x_train=VALID["x_train"][..., 0], x_test=VALID["x_test"][..., :1]))
    assert splits.train.shape == splits.test.shape == (5, 6, 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_between_0_and_1_are_scaled_back_exactly(tmp_path: Path, dtype: type) -> None:
    floats = {key: (VALID[key] / 255).astype(dtype) for key in ("x_train", "x_test")}
    splits = read_npz(save(tmp_path, **floats))
    assert isinstance(splits.train, MemoryImages)
    np.testing.assert_array_equal(splits.train.images.numpy(), VALID["x_train"])


def test_a_validation_split_in_the_file_is_used_as_it_is(tmp_path: Path) -> None:
    x_val = RNG.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    splits = Npz(path=save(tmp_path, x_val=x_val, y_val=np.array([2, 1, 0, 0])), val_fraction=0.25).load(0)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (12, 4, 6)
    assert splits.val.labels.tolist() == [2, 1, 0, 0]
    assert splits.notices == []
    for changes, problem in (
        ({"x_val": x_val}, "has x_val alone"),
        ({"x_val": x_val, "y_val": np.array([3, 1, 0, 0])}, "y_val has the label 3"),
        ({"x_val": x_val[:, 1:], "y_val": np.array([2, 1, 0, 0])}, "x_val of 4x6x3"),
        ({"x_val": x_val, "y_val": np.array([2, 1, 0])}, "y_val has 3 labels"),
    ):
        with pytest.raises(DataError, match=problem):
            read_npz(save(tmp_path, **changes))


def test_arrays_that_are_not_used_are_named(tmp_path: Path) -> None:
    splits = read_npz(save(tmp_path, x_valid=VALID["x_test"], class_names=np.array(["a", "b", "c"])))
    (notice,) = splits.notices
    assert "x_valid, class_names" in notice
    assert "names are" in notice


def test_a_file_without_read_permission_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = save(tmp_path)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\); change its access rights"):
        read_npz(path)


def test_validation_is_split_off_and_an_empty_path_is_a_problem(tmp_path: Path) -> None:
    splits = Npz(path=save(tmp_path), val_fraction=0.25).load(0)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (9, 3, 6)
    (problem,) = Npz().problems()
    assert problem.startswith("data.path: ")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"x_test": None}, ["has no x_test", "it has x_train, y_train, y_test"]),
        ({"x_train": None, "y_train": None}, ["has no x_train, y_train"]),
        ({"x_train": VALID["x_train"] / 1.0}, ["x_train", "floats must lie in [0, 1]", "uint8"]),
        ({"x_train": VALID["x_train"] / 255 - 0.5}, ["x_train", "[0, 1]"]),
        ({"x_test": np.full((6, 5, 6, 3), np.nan)}, ["x_test", "NaN"]),
        ({"x_train": np.full((12, 5, 6, 3), np.inf)}, ["x_train", "infinite"]),
        ({"x_train": VALID["x_train"].astype(np.int64)}, ["x_train", "int64", "uint8"]),
        ({"x_train": VALID["x_train"].astype(str)}, ["x_train", "uint8"]),
        ({"x_train": VALID["x_train"].transpose(0, 3, 1, 2)}, ["x_train", "channels first"]),
        ({"x_train": VALID["x_train"].reshape(12, -1)}, ["x_train", "(12, 90)"]),
        ({"x_train": VALID["x_train"][:0], "y_train": VALID["y_train"][:0]}, ["x_train", "(0, 5, 6, 3)"]),
        ({"x_test": VALID["x_test"][:, :4]}, ["5x6x3", "4x6x3"]),
        ({"y_train": VALID["y_train"][:11]}, ["11 labels", "12 images"]),
        ({"y_train": VALID["y_train"] / 1.0}, ["y_train", "float64", "whole numbers"]),
        ({"y_train": VALID["y_train"] - 1}, ["y_train", "negative label -1"]),
        ({"y_train": np.eye(3, dtype=int)[VALID["y_train"]]}, ["y_train", "(12, 3)"]),
        ({"y_train": VALID["y_train"] + 1, "y_test": VALID["y_test"] + 1}, ["no label 0", "without gaps"]),
        ({"y_train": VALID["y_train"] * 10**12}, ["no label 1"]),
        ({"y_train": np.full(12, 2**63, dtype=np.uint64)}, ["y_train", str(2**63)]),
        ({"y_test": VALID["y_test"] + 1}, ["y_test", "label 3", "out of range for 3 classes"]),
        ({"y_train": np.zeros(12, int), "y_test": np.zeros(6, int)}, ["only one class"]),
        ({"y_test": np.array([{}] * 6)}, ["y_test", "Python objects"]),
    ],
)
def test_unusable_arrays_are_refused(tmp_path: Path, changes: dict[str, Any], parts: list[str]) -> None:
    path = save(tmp_path, **changes)
    with pytest.raises(DataError) as caught:
        read_npz(path)
    for part in [path, *parts]:
        assert part in str(caught.value)


def test_files_other_than_npz_are_refused(tmp_path: Path) -> None:
    valid = Path(save(tmp_path)).read_bytes()
    middle = len(valid) // 2
    np.save(tmp_path / "array.npy", VALID["x_train"])
    contents = {
        "empty": b"",
        "text": b"not an array",
        "pickle": b"\x80\x04K\x01.",
        "half": valid[:middle],
        "flipped": valid[:200] + bytes([valid[200] ^ 1]) + valid[201:],
        "array": (tmp_path / "array.npy").read_bytes(),
    }
    for name, content in contents.items():
        file = tmp_path / f"{name}.npz"
        file.write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.npz: is (damaged|not|a single)"):
            read_npz(str(file))
    with pytest.raises(DataError, match="does not exist"):
        read_npz(str(tmp_path / "missing.npz"))
    with pytest.raises(DataError, match="is not a file"):
        read_npz(str(tmp_path))
