"""Downloaded data sets: hand-made files, damaged files, downloads, and missing network access."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import socket
import struct
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from torchvision import datasets

from cnntrain.data.image_set import ImageSet, MemoryImages
from cnntrain.data.settings.base import Data
from cnntrain.data.settings.built_in import Cifar10, Cifar100, FashionMnist, Mnist, Svhn
from cnntrain.data.torchvision_sets import CLASS_NAMES
from cnntrain.errors import DataError

RNG = np.random.default_rng(0)
IMAGES = {
    "train": RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8),
    "t10k": RNG.integers(0, 256, (10, 28, 28), dtype=np.uint8),
}
LABELS = {split: (np.arange(len(images)) % 10).astype(np.uint8) for split, images in IMAGES.items()}


def idx_files() -> dict[str, bytes]:
    """Return the four files by name, their headers written from the description of the format."""
    contents = {}
    for split, images in IMAGES.items():
        head = struct.pack(">IIII", 2051, len(images), 28, 28)
        contents[f"{split}-images-idx3-ubyte"] = head + images.tobytes()
        contents[f"{split}-labels-idx1-ubyte"] = (
            struct.pack(">II", 2049, len(images)) + LABELS[split].tobytes()
        )
    return contents


def write_idx(root: Path, name: str = "MNIST", **changes: bytes) -> Path:
    """Write the four files; `changes` by name, with _ for -."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for file, content in idx_files().items():
        (raw / file).write_bytes(changes.get(file.replace("-", "_"), content))
    return raw


def pixels(part: ImageSet) -> np.ndarray:
    assert isinstance(part, MemoryImages)
    return part.images.numpy()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", fail)


@pytest.mark.parametrize(("settings", "name"), [(Mnist, "MNIST"), (FashionMnist, "FashionMNIST")])
def test_idx_files_give_their_images_and_labels(
    tmp_path: Path, no_network: None, settings: type[Any], name: str
) -> None:
    write_idx(tmp_path, name)
    splits = settings(root=str(tmp_path), val_fraction=0).load(0)
    np.testing.assert_array_equal(pixels(splits.train)[..., 0], IMAGES["train"])
    np.testing.assert_array_equal(pixels(splits.test)[..., 0], IMAGES["t10k"])
    assert splits.test.labels.tolist() == LABELS["t10k"].tolist()
    assert splits.train.shape == (28, 28, 1)


@pytest.mark.parametrize(
    ("file", "content", "part"),
    [
        ("train-images-idx3-ubyte", b"\0\0\x08\x01" + idx_files()["train-images-idx3-ubyte"][4:], "2049"),
        ("train-images-idx3-ubyte", b"", "begins with"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0", "bytes"),
        ("t10k-images-idx3-ubyte", idx_files()["t10k-images-idx3-ubyte"][:-1], "bytes"),
        ("t10k-labels-idx1-ubyte", idx_files()["t10k-labels-idx1-ubyte"] + b"\0", "bytes"),
        ("train-images-idx3-ubyte", idx_files()["t10k-images-idx3-ubyte"], "10 images"),
        ("train-labels-idx1-ubyte", struct.pack(">II", 2049, 20) + bytes([10] * 20), "above 9"),
    ],
)
def test_a_damaged_idx_file_is_named(
    tmp_path: Path, no_network: None, file: str, content: bytes, part: str
) -> None:
    raw = write_idx(tmp_path, **{file.replace("-", "_"): content})
    with pytest.raises(DataError) as caught:
        Mnist(root=str(tmp_path)).load(0)
    assert str(raw / file) in str(caught.value)
    assert part in str(caught.value)
    assert "delete" in str(caught.value)


def test_an_npz_takes_precedence_over_idx_files(tmp_path: Path, no_network: None) -> None:
    write_idx(tmp_path)
    np.savez(
        tmp_path / "mnist.npz",
        x_train=IMAGES["t10k"],
        y_train=LABELS["t10k"],
        x_test=IMAGES["train"],
        y_test=LABELS["train"],
    )
    splits = Mnist(root=str(tmp_path), val_fraction=0).load(0)
    np.testing.assert_array_equal(pixels(splits.train)[..., 0], IMAGES["t10k"])


def test_an_npz_of_another_data_set_is_refused(tmp_path: Path) -> None:
    arrays = {"x_train": IMAGES["train"], "x_test": IMAGES["t10k"]}
    labels = {"y_train": LABELS["train"], "y_test": LABELS["t10k"]}
    np.savez(tmp_path / "cifar10.npz", **arrays, **labels)
    with pytest.raises(DataError, match=r"cifar10\.npz: has images of 28x28x1, this data set has 32x32x3"):
        Cifar10(root=str(tmp_path)).load(0)
    np.savez(tmp_path / "mnist.npz", **arrays, y_train=LABELS["train"] + 1, y_test=LABELS["t10k"])
    with pytest.raises(DataError, match="label 10, out of range for 10 classes"):
        Mnist(root=str(tmp_path)).load(0)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (Mnist, ["mnist.npz", "MNIST/raw", "(N, 28, 28)"]),
        (FashionMnist, ["fashion_mnist.npz", "FashionMNIST/raw"]),
        (Cifar10, ["cifar10.npz", "cifar-10-batches-py", "(N, 32, 32, 3)"]),
        (Cifar100, ["cifar100.npz", "cifar-100-python"]),
        (Svhn, ["svhn.npz", "train_32x32.mat"]),
    ],
)
def test_without_a_network_the_message_names_the_files_and_their_folder(
    tmp_path: Path, no_network: None, settings: type[Any], parts: list[str]
) -> None:
    root = tmp_path / "data"
    with pytest.raises(DataError) as caught:
        settings(root=str(root)).load(0)
    for part in ["could not be downloaded", "unreachable", str(root), "x_train", *parts]:
        assert part in str(caught.value)
    assert not root.exists()


class Response(io.BytesIO):
    """A response of the server."""

    def __init__(self, url: str, content: bytes):
        super().__init__(content)
        self.url = url
        self.length = len(content)


def serve(monkeypatch: pytest.MonkeyPatch, cut: str = "") -> list[str]:
    """Serve MNIST's files, only the first half of the one named `cut`; return the list of requested files."""
    archives = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in idx_files().items()}
    checksums = [(name, hashlib.md5(content).hexdigest()) for name, content in archives.items()]
    monkeypatch.setattr(datasets.MNIST, "resources", checksums)
    requested = []

    def respond(request: Any, *arguments: object, **options: object) -> Response:
        name = request.full_url.rsplit("/", 1)[1]
        requested.append(name)
        content = archives[name]
        return Response(request.full_url, content[: len(content) // 2] if name == cut else content)

    monkeypatch.setattr(urllib.request, "urlopen", respond)
    return requested


def test_a_download_is_stored_and_read_again_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    requested = serve(monkeypatch)
    first = Mnist(root=str(tmp_path / "new"), val_fraction=0).load(0)
    np.testing.assert_array_equal(pixels(first.train)[..., 0], IMAGES["train"])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["MNIST"]
    count = len(requested)
    Mnist(root=str(tmp_path / "new")).load(0)
    assert len(requested) == count
    assert socket.getdefaulttimeout() is None


def test_an_incomplete_download_leaves_no_files_and_keeps_existing_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    serve(monkeypatch, cut="t10k-labels-idx1-ubyte.gz")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="could not be downloaded"):
        Mnist(root=str(tmp_path)).load(0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_archives_placed_by_hand_need_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    checksums = []
    for name, content in idx_files().items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
        checksums.append((f"{name}.gz", hashlib.md5((raw / f"{name}.gz").read_bytes()).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "resources", checksums)
    splits = Mnist(root=str(tmp_path), val_fraction=0).load(0)
    np.testing.assert_array_equal(pixels(splits.test)[..., 0], IMAGES["t10k"])


@pytest.mark.parametrize(
    ("settings", "archive"),
    [(Mnist, "MNIST/raw/train-images-idx3-ubyte.gz"), (Cifar10, "cifar-10-python.tar.gz")],
)
def test_half_an_archive_is_named_where_no_whole_one_can_be_downloaded(
    tmp_path: Path, no_network: None, settings: type[Any], archive: str
) -> None:
    content = gzip.compress(RNG.bytes(5000))
    (tmp_path / archive).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / archive).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError) as caught:
        settings(root=str(tmp_path)).load(0)
    assert str(caught.value).startswith(f"{tmp_path / archive}: incomplete or damaged")
    assert "\n" not in str(caught.value)


def test_cifar_files_give_images_with_channels_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    images = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    batch = {"data": images.transpose(0, 3, 1, 2).reshape(20, -1), "labels": [i % 10 for i in range(20)]}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", write("data_batch_1", batch)]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", write("test_batch", batch)]])
    names = {"label_names": CLASS_NAMES["cifar10"]}
    meta = {"filename": "batches.meta", "key": "label_names", "md5": write("batches.meta", names)}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    splits = Cifar10(root=str(tmp_path), val_fraction=0).load(0)
    np.testing.assert_array_equal(pixels(splits.train), images)
    assert splits.train.labels.tolist() == batch["labels"]
    with (folder / "test_batch").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="not complete, and could not be downloaded"):
        Cifar10(root=str(tmp_path)).load(0)
    assert (folder / "data_batch_1").exists()


def test_label_10_of_svhn_files_is_the_digit_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    images = RNG.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    split_list = {}
    for split in ("train", "test"):
        file = tmp_path / f"{split}_32x32.mat"
        scipy.io.savemat(file, {"X": images.transpose(1, 2, 3, 0), "y": np.arange(1, 11)[:, None]})
        split_list[split] = ["http://localhost", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", split_list)
    splits = Svhn(root=str(tmp_path), val_fraction=0).load(0)
    np.testing.assert_array_equal(pixels(splits.train), images)
    assert splits.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


@pytest.mark.parametrize("settings", [Mnist(), FashionMnist(), Cifar10(), Cifar100(), Svhn()])
def test_every_class_has_a_unique_name(settings: Data) -> None:
    info = settings.info()
    assert info is not None
    assert len(set(CLASS_NAMES[settings.name])) == len(CLASS_NAMES[settings.name]) == info.outputs


def test_class_names_equal_torchvision() -> None:
    assert CLASS_NAMES["fashion_mnist"] == datasets.FashionMNIST.classes
