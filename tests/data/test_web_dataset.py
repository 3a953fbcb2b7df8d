"""Images in tar files are those in a folder: the same pixels, classes, batches and runs."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cnntrain.cli import main
from cnntrain.data.batches import Batches
from cnntrain.data.image_folder import read_folder
from cnntrain.data.image_set import FileImages
from cnntrain.data.splits import Splits
from cnntrain.data.tar_shards import read_shard, shard_files
from cnntrain.data.web_dataset import TarSource, read_web_dataset
from cnntrain.errors import DataError

QUICK = [
    "model=linear",
    "data.image_size=8",
    "trainer.epochs=2",
    "trainer.report=false",
    "trainer.pictures=false",
]


def jpeg(seed: int) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30 + seed % 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def samples(start: int, count: int) -> list[tuple[str, bytes]]:
    found = []
    for seed in range(start, start + count):
        label = ("owl", "ape")[seed % 2].encode()
        found += [(f"{seed:03}.jpg", jpeg(seed)), (f"{seed:03}.cls", label), (f"{seed:03}.txt", b"a photo")]
    return found


@pytest.fixture(autouse=True)
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_tar(tmp_path / "shards" / f"{number:02}.tar", samples(20 * number, 20))
    return tmp_path / "shards"


def read(path: Path | str, image: str = "", label: str = "", classes: str = "") -> Splits:
    return read_web_dataset(TarSource(str(path), image, label, classes), 0.2, "hash", 8, "crop", 3, 0)


def test_samples_have_the_pixels_and_classes_that_were_written(shards: Path, tmp_path: Path) -> None:
    splits = read(shards)
    assert splits.names == ["ape", "owl"]
    assert splits.notices == ["not used of the samples: 60 .txt"]
    assert len(splits.train) + len(splits.test) == 60
    for part in (splits.train, splits.test):
        assert isinstance(part, FileImages)
        names = part.names
        numbers = [int(Path(name).stem) for name in names]
        assert names == [f"{number // 20:02}.tar/{number:03}.jpg" for number in numbers]
        assert [splits.names[label] for label in part.labels.tolist()] == [
            ("owl", "ape")[number % 2] for number in numbers
        ]
        (tmp_path / "files").mkdir(exist_ok=True)
        paths = [tmp_path / "files" / f"{number}.jpg" for number in numbers]
        for path, number in zip(paths, numbers, strict=True):
            path.write_bytes(jpeg(number))
        files = FileImages(list(map(str, paths)), part.labels, 8, "crop", 3, 0)
        assert torch.equal(torch.cat(list(part.chunks(7))), torch.cat(list(files.chunks(7))))
    again = read(shards)  # from the index that is kept
    assert again.train.names == splits.train.names
    part = pickle.loads(pickle.dumps(again.train))  # as for a process that is no copy
    assert torch.equal(next(part.chunks(9)), next(splits.train.chunks(9)))


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_do_not_depend_on_the_number_of_workers(shards: Path, workers: int) -> None:
    train = read(shards).train
    assert isinstance(train, FileImages)
    several = train.subset(torch.arange(len(train)))
    several.workers = workers
    epochs = [Batches(images, 16, torch.device("cpu"), 3).epoch(1, 1, 9) for images in (train, several)]
    for (one, labels), (other, same) in zip(*epochs, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(labels, same)


def test_a_run_on_shards_resumes_bit_identically_and_is_refused_on_others(
    shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [
        "data=webdataset",
        "data.path=shards",
        *QUICK,
        "augmentation=none",
        "augmentation.min_area=0.3",
    ]
    assert main([*overrides, "hydra.run.dir=whole"]) == 0
    assert main([*overrides, "hydra.run.dir=parts", "trainer.max_minutes=1e-9"]) == 0
    resumed = ["run=parts", "trainer.max_minutes=null", "data.cache=caches", "data.memory_limit_gb=0"]
    assert main(resumed) == 0
    states = [torch.load(Path(f, "checkpoints/last.pt"), weights_only=True) for f in ("whole", "parts")]
    for name, weights in states[0]["network"].items():
        assert torch.equal(weights, states[1]["network"][name])
    write_tar(shards / "02.tar", samples(100, 20))
    capsys.readouterr()
    assert main(["run=parts", "trainer.epochs=3"]) == 3
    assert "the data are not those of this run" in capsys.readouterr().err


def test_names_of_shards_say_their_splits(tmp_path: Path) -> None:
    for name, start, count in (("train-0", 0, 10), ("train-1", 10, 6), ("val-0", 20, 4), ("test-0", 30, 2)):
        write_tar(tmp_path / "named" / f"flowers-{name}.tar", samples(start, count))
    splits = read(tmp_path / "named")
    assert [len(part) for part in splits.parts().values()] == [16, 4, 2]
    assert len(read(tmp_path / "named" / "flowers-{train-{0..1},val-0}.tar").val) == 4
    with pytest.raises(DataError, match="no tar files for training"):
        read(tmp_path / "named" / "*val*.tar")
    with pytest.raises(DataError, match="write data=webdataset"):
        read_folder(str(tmp_path / "named"), 0.1, "hash", 8, "crop", 3, 0)
    write_tar(tmp_path / "named" / "more.tar", samples(40, 2))
    with pytest.raises(DataError, match=r"more\.tar: has no split in its name"):
        read(tmp_path / "named")


def test_labels_are_numbers_of_a_file_of_classes_or_fields_of_json(tmp_path: Path) -> None:
    numbered = list[tuple[str, bytes]]()
    for i in range(12):
        kind = json.dumps({"kind": f"k{i % 2}"}).encode()
        numbered += [(f"{i}.jpg", jpeg(i)), (f"{i}.cls", str(i % 3 * 5).encode()), (f"{i}.json", kind)]
    write_tar(tmp_path / "n" / "0.tar", numbered)
    assert read(tmp_path / "n").names == ["0", "5", "10"]
    assert read(tmp_path / "n", label="json:kind").names == ["k0", "k1"]
    (tmp_path / "classes.txt").write_text("\n".join(f"class {line}" for line in range(11)))
    splits = read(tmp_path / "n", classes="classes.txt")
    assert len(splits.names) == 11
    assert set(splits.train.labels.tolist()) == {0, 5, 10}
    (tmp_path / "classes.txt").write_text("a\nb")
    with pytest.raises(DataError, match="has 2 classes, none of them for 10, 5"):
        read(tmp_path / "n", classes="classes.txt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:1500]), "is no tar file, or damaged"),
        (lambda file: file.write_bytes(b"text"), "is no tar file, or damaged"),
        (lambda file: write_tar(file, samples(0, 2), "w:gz"), "is compressed"),
        (lambda file: write_tar(file, samples(0, 4)[:-2]), "1 of the samples cannot be used"),
        (lambda file: write_tar(file, [("a.cls", b"1")]), "a has no image"),
        (lambda file: write_tar(file, [*samples(0, 2), *samples(0, 1)]), "000 is there twice"),
        (lambda file: write_tar(file, [*samples(0, 2), ("001.png", b"x")]), r"001 has 2 images \(jpg, png\)"),
        (
            lambda file: write_tar(file, [("a.jpg", jpeg(0)), ("a.json", b"{")]),
            "a has a .json file without a label",
        ),
        (lambda file: write_tar(file, [("a\nb.jpg", jpeg(0)), ("a\nb.cls", b"1")]), "is no text in UTF-8"),
        (
            lambda file: write_tar(file, [("a\udcff.jpg", jpeg(0)), ("a\udcff.cls", b"1")]),
            "is no text in UTF-8",
        ),
    ],
)
def test_damaged_shards_and_samples_are_named(shards: Path, change: object, message: str) -> None:
    change(shards / "01.tar")  # type: ignore[operator]
    with pytest.raises(DataError, match=message) as raised:
        read(shards)
    assert "01.tar: " in str(raised.value)


@pytest.mark.parametrize("damage", ["changed", "zeros", "cut"])
def test_a_shard_that_is_damaged_at_any_header_is_not_taken_for_a_shorter_one(
    shards: Path, damage: str
) -> None:
    file = shards / "01.tar"
    content = file.read_bytes()
    with tarfile.open(file) as archive:
        offsets = [member.offset for member in archive]
    for offset in offsets:
        header = content[offset : offset + 512]
        changed = bytes([header[0] ^ 1]) + header[1:]
        spoiled = {
            "changed": changed + content[offset + 512 :],
            "zeros": bytes(512) + content[offset + 512 :],
        }
        file.write_bytes(content[:offset] + spoiled.get(damage, b""))
        with pytest.raises(DataError, match=r"01\.tar: is no tar file, or damaged"):
            read_shard(str(file), "", "")


def test_a_damaged_image_is_named_with_its_shard(shards: Path) -> None:
    write_tar(shards / "00.tar", [("a.jpg", jpeg(0)[:300]), ("a.cls", b"owl"), *samples(1, 5)])
    with pytest.raises(DataError, match=r"00\.tar/a\.jpg: cannot be decoded"):
        list(read(shards).train.chunks(100))


@pytest.mark.parametrize("path", ["pipe:cat 00.tar", "https://x.org/a.tar"])
def test_streams_are_refused_before_anything_is_read(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data=webdataset", f'data.path="{path}"', *QUICK]) == 2
    assert "is read from begin to end only" in capsys.readouterr().err


def test_patterns_name_every_file_and_a_missing_one_is_an_error(shards: Path) -> None:
    assert [Path(file).name for file in shard_files(str(shards / "{00..02}.tar"))] == [
        "00.tar",
        "01.tar",
        "02.tar",
    ]
    assert len(shard_files(str(shards / "0[01].tar"))) == 2
    with pytest.raises(DataError, match=r"03\.tar: there is no such tar file"):
        shard_files(str(shards / "{00..03}.tar"))
    with pytest.raises(DataError, match="names no tar file"):
        shard_files(str(shards / "{02..00}.tar"))


def test_a_changed_shard_is_indexed_anew(shards: Path) -> None:
    before = read_shard(str(shards / "00.tar"), "", "")
    write_tar(shards / "00.tar", samples(200, 3))
    assert len(before.images) == 20
    assert len(read_shard(str(shards / "00.tar"), "", "").images) == 3
