"""job=data end to end: each planted problem is reported with exactly its files, a clean folder has none."""

from __future__ import annotations

import html
import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnntrain.cli import main
from cnntrain.errors import interrupted_by

CLASSES = ("cat", "dog", "owl")


def picture(seed: int) -> Image.Image:
    """Return a smooth random colour image of 96x72."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((96, 72), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of 3 classes with 8 training, 3 validation and 3 test images each."""
    root, seed = tmp_path / "photos", 0
    for name in CLASSES:
        for split, count in (("train", 8), ("val", 3), ("test", 3)):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                picture(seed).save(root / split / name / f"{number}.png")
                seed += 1
    return root


def audited(folder: Path, *overrides: str) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, data.json and data.html of the audit of a folder."""
    out = folder.parent / "out"
    code = main(["data", f"data={folder}", f"hydra.run.dir={out}", *overrides])
    content = json.loads((out / "data.json").read_text(encoding="utf-8"))
    return code, content, (out / "data.html").read_text(encoding="utf-8")


def files(images: list[dict[str, Any]]) -> list[str]:
    return [str(one["image"]) for one in images]


def test_a_clean_folder_has_no_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, content, page = audited(folder)
    assert code == 0
    assert {check["mark"] for check in content["checks"].values()} == {"✓"}
    assert content["copies"] == content["near_duplicates"] == []
    assert not any(content["images"].values())
    assert content["splits"]["train"] == {"images": 24, "labels": {"cat": 8, "dog": 8, "owl": 8}}
    assert content["stored"]["sizes"] == [{"width": 96, "height": 72, "images": 42}]
    assert (content["stored"]["modes"], content["stored"]["formats"]) == ({"RGB": 42}, {"PNG": 42})
    assert capsys.readouterr().out.count("\n✓ ") == len(content["checks"])
    assert "Near duplicates" not in page


def plant(root: Path) -> None:
    """Put each problem into a folder once."""
    train = root / "train"
    shutil.copy(train / "cat/0.png", root / "test/cat/leak.png")
    shutil.copy(train / "cat/1.png", train / "cat/again.png")
    shutil.copy(train / "owl/2.png", train / "dog/wrong.png")
    Image.open(train / "dog/3.png").resize((192, 144)).save(root / "val/dog/near.jpg", quality=60)
    (train / "owl/cut.png").write_bytes((train / "owl/4.png").read_bytes()[:200])
    (root / "test/owl/empty.jpg").write_bytes(b"")
    Image.new("RGB", (96, 72), (30, 90, 200)).save(root / "val/owl/blue.jpg")
    picture(1001).resize((24, 18)).save(train / "dog/tiny.png")
    picture(1002).resize((300, 70)).save(train / "cat/long.png")
    picture(1003).convert("L").save(train / "owl/grey.png")


def test_each_planted_problem_is_reported_with_its_files(folder: Path) -> None:
    plant(folder)
    code, content, page = audited(folder)
    assert code == 5
    marks = {name: check["mark"] for name, check in content["checks"].items()}
    errors = {"unreadable files", "copies between splits", "contradictory labels"}
    warnings = {"copies in a split", "near duplicates", "single-colour images", "tiny images"}
    warnings |= {"aspect ratios", "colour modes"}
    assert {name for name, mark in marks.items() if mark == "✗"} == errors
    assert {name for name, mark in marks.items() if mark == "!"} == warnings
    images = content["images"]
    assert files(images["unreadable"]) == ["train/owl/cut.png", "test/owl/empty.jpg"]
    assert [one["reason"] for one in images["unreadable"]][1] == "is empty"
    assert files(images["single_colour"]) == ["val/owl/blue.jpg"]
    assert files(images["tiny"]) == ["train/dog/tiny.png"]
    assert files(images["long"]) == ["train/cat/long.png"]
    assert sorted(map(files, content["copies"])) == [
        ["train/cat/0.png", "test/cat/leak.png"],
        ["train/cat/1.png", "train/cat/again.png"],
        ["train/dog/wrong.png", "train/owl/2.png"],
    ]
    assert list(map(files, content["near_duplicates"])) == [["train/dog/3.png", "val/dog/near.jpg"]]
    assert "(train/owl/grey.png)" in content["checks"]["colour modes"]["sentence"]
    assert content["checks"]["labels"]["mark"] == "✓"
    for name in (*files(images["unreadable"]), "train/cat/again.png", "val/dog/near.jpg", "val/owl/blue.jpg"):
        assert name in page


def test_the_page_shows_every_class_and_a_batch_with_class_names_and_needs_no_network(folder: Path) -> None:
    _, _, page = audited(folder, "data.batch_size=6")
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    sections = re.findall(r'<section id="(\w+)"', page)
    assert sections == re.findall(r'<a href="#(\w+)">', page) == ["checks", "labels", "images", "batch"]
    assert page.count("<img ") == page.count('<img alt="') == 24 + 6
    batch = page[page.index('<section id="batch"') :]
    assert len(re.findall(r'alt="training image, (cat|dog|owl)"', batch)) == 6


def test_of_a_large_group_the_page_shows_one_of_each_split_first(folder: Path) -> None:
    for number in range(9):
        shutil.copy(folder / "train/cat/0.png", folder / f"train/cat/copy{number}.png")
    shutil.copy(folder / "train/cat/0.png", folder / "test/owl/wrong.png")
    _, content, page = audited(folder)
    copies = page[page.index('<section id="copies"') : page.index('<section id="images"')]
    assert re.findall(r'alt="([\w/.]+), (?:cat|owl)"', copies)[:2] == [
        "train/cat/0.png",
        "test/owl/wrong.png",
    ]
    assert "and 5 more" in copies
    assert len(content["copies"][0]) == 11


def test_labels_of_a_mixed_batch_are_both_named(folder: Path) -> None:
    _, _, page = audited(folder, "regularization=mixup", "regularization.mixup=5", "data.batch_size=6")
    batch = html.unescape(page[page.index('<section id="batch"') :])
    assert re.search(r"0\.\d\d (cat|dog|owl) \+ 0\.\d\d (cat|dog|owl)", batch)


def test_names_are_escaped_on_the_page(folder: Path) -> None:
    for split in ("train", "val", "test"):
        (folder / split / "cat").rename(folder / split / "<b>cat")
    _, _, page = audited(folder)
    assert "<b>cat" not in page
    assert "&lt;b&gt;cat" in page


@pytest.mark.parametrize(
    "overrides",
    [
        ["data=digits", "data.limit=200"],
        ["data.target=attributes", "loss=attribute_logistic", "data.limit=200"],
        ["data.target=values", "loss=l2", "data.limit=200"],
        ["data=synthetic", "data.train_images=100", "data.test_images=20", "data.batch_size=16"],
        ["data=toy2d", "data.points=50", "data.test_points=20", "model=mlp"],
    ],
    ids=lambda overrides: " ".join(overrides[:1]),
)
def test_every_kind_of_data_is_audited(overrides: list[str], tmp_path: Path) -> None:
    assert main(["job=data", *overrides, f"hydra.run.dir={tmp_path}"]) == 0
    content = json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))
    assert content["stored"] is None
    assert "✗" not in {check["mark"] for check in content["checks"].values()}
    assert "label means" in content["checks"] or content["splits"]["train"]["labels"]
    assert (tmp_path / "data.html").stat().st_size > 5000


def test_the_data_of_a_run_are_audited_in_its_splits(tmp_path: Path) -> None:
    run = tmp_path / "run"
    quick = ["model=linear", "data.limit=300", "seed=5", "trainer.epochs=1", "trainer.pictures=false"]
    assert main([*quick, f"hydra.run.dir={run}"]) == 0
    before = (run / "config.yaml").read_text()
    assert main(["job=data", f"run={run}"]) == 0
    assert (run / "config.yaml").read_text() == before
    again = tmp_path / "again"
    assert main(["job=data", *quick, f"hydra.run.dir={again}"]) == 0
    assert (run / "data.json").read_text() == (again / "data.json").read_text()
    other = tmp_path / "other"
    assert main(["job=data", *quick, "seed=6", f"hydra.run.dir={other}"]) == 0
    assert (run / "data.json").read_text() != (other / "data.json").read_text()


def test_a_split_without_a_readable_image_is_reported(folder: Path) -> None:
    for file in (folder / "train").rglob("*.png"):
        file.write_bytes(b"")
    code, content, _ = audited(folder)
    assert code == 5
    assert content["checks"]["unreadable files"]["details"] == {"files": 24}


def test_an_interrupted_audit_leaves_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(image: Image.Image) -> None:
        raise interrupted_by(signal.SIGINT, "stopped")

    monkeypatch.setattr("cnntrain.checks.data.image_records.perceptual_hash", interrupt)
    out = folder.parent / "out"
    assert main(["data", f"data={folder}", f"hydra.run.dir={out}"]) == 130
    assert not out.exists()


def test_where_there_is_nothing_to_check_the_exit_code_is_that_of_unusable_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty/class").mkdir(parents=True)
    for path in ("nowhere", "empty"):
        assert main(["job=data", "data=folder", f"data.path={path}", "hydra.run.dir=audit"]) == 3
        assert path in capsys.readouterr().err
        assert not Path("audit").exists()
