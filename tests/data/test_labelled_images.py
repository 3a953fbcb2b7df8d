"""Classes, splits and groups of images from CSV files of many forms, and everything that is wrong in one."""

from __future__ import annotations

import csv
import json
import random
import unicodedata
from pathlib import Path

import pytest
import torch
from PIL import Image

import cnntrain
from cnntrain.cli import main
from cnntrain.data.image_set import FileImages
from cnntrain.data.settings.image_files import Folder
from cnntrain.data.splits import Splits
from cnntrain.errors import DataError

SHADES = {"ant": 10, "bee": 120, "cat": 240}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_images(count: int = 8, root: str = "photos") -> list[list[str]]:
    """Write images of each class in its shade into class folders; return the rows of their table."""
    rows = []
    for name, shade in SHADES.items():
        (Path(root) / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (6, 6), (shade, number, 0)).save(Path(root) / name / f"{number}.png")
            rows.append([f"{name}/{number}.png", name])
    return rows


def write_table(
    rows: list[list[str]], header: list[str], file: str = "photos/train.csv", **form: str
) -> None:
    encoding = form.pop("encoding", "utf-8")
    with Path(file).open("w", newline="", encoding=encoding) as output:
        csv.writer(output, **form).writerows([header, *rows])  # type: ignore[arg-type]


def load(seed: int = 0, **settings: object) -> Splits:
    return Folder(**{"csv": "photos/train.csv", "image_size": 6, "memory_limit_gb": 0.0} | settings).load(
        seed
    )  # type: ignore[arg-type]


def content(splits: Splits) -> dict[str, dict[str, str]]:
    """Return the class of each image by its name, in each split."""
    found = {}
    for split, part in splits.parts().items():
        assert isinstance(part, FileImages)
        found[split] = dict(zip(part.names, (splits.names[label] for label in part.labels), strict=True))
    return found


def refused(**settings: object) -> str:
    with pytest.raises(DataError) as caught:
        load(**settings)
    return str(caught.value)


def test_a_table_of_a_folder_gives_the_splits_of_the_folder() -> None:
    rows = write_images()
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        write_table(rows, ["image", "label"])
        expected = Folder(path="photos", image_size=6, memory_limit_gb=0.0).load(seed)
        for settings in ({}, {"path": "photos"}, {"path": "photos", "csv": "train.csv"}):
            splits = load(seed, **settings)
            assert splits.names == expected.names
            for part, other in zip(splits.parts().values(), expected.parts().values(), strict=True):
                assert isinstance(part, FileImages)
                assert isinstance(other, FileImages)
                assert part.names == other.names
                assert torch.equal(part.labels, other.labels)
                assert torch.equal(part.to_memory(False).images, other.to_memory(False).images)


@pytest.mark.parametrize(
    "form",
    [
        {"delimiter": ","},
        {"delimiter": ";", "encoding": "utf-8-sig"},
        {"delimiter": "\t", "lineterminator": "\r"},
        {"delimiter": ",", "quoting": csv.QUOTE_ALL, "lineterminator": "\n"},
    ],
)
def test_delimiters_quotes_line_ends_and_a_bom_do_not_matter(form: dict[str, str]) -> None:
    rows = write_images(4)
    odd = "ant/a, b; c\t„d“ 猫.png"
    Image.new("RGB", (6, 6), (10, 99, 0)).save(Path("photos") / odd)
    write_table([*rows, [odd, "ant"]], ["image", "label"], **form)
    found = content(load())
    assert {name: label for part in found.values() for name, label in part.items()} == dict(
        [*rows, [odd, "ant"]]
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (["image", "label", "age"], {}),
        (["Image Path", "CLASS", "age"], {}),
        (["", "FileName", "target"], {"order": (2, 0, 1)}),
        (["photograph", "kind"], {}),
        (["label", "x"], {"csv_image": "label", "csv_label": "X"}),
    ],
)
def test_columns_are_found_by_their_usual_names_or_as_given(
    header: list[str], expected: dict[str, object]
) -> None:
    rows = [[*row, "7"] for row in write_images(4)]
    order = expected.pop("order", range(len(header)))
    write_table([[row[column] for column in order] for row in rows], header)  # type: ignore[attr-defined]
    splits = load(**expected)
    assert {name: label for part in content(splits).values() for name, label in part.items()} == {
        row[0]: row[1] for row in rows
    }
    assert any("by their names" in notice for notice in splits.notices) is ("csv_image" not in expected)
    assert any(notice.endswith("not used are the columns age") for notice in splits.notices) is (
        "age" in header
    )


def test_a_column_that_cannot_be_told_or_does_not_exist_is_asked_for() -> None:
    write_table([[*row, "7"] for row in write_images(2)], ["image", "kind", "age"])
    assert (
        "which of its columns has the classes? Write data.csv_label= and one of image, kind, age" in refused()
    )
    message = refused(csv_label="knid")
    assert message.startswith("data.csv_label=knid: ")
    assert message.endswith("has the columns image, kind, age; did you mean kind?")


def test_splits_of_a_column_have_the_names_of_split_folders() -> None:
    rows = write_images(6)
    names = {"0": "Training", "1": "VALID", "2": "eval"}
    rows = [[*row, names.get(Path(row[0]).stem, "train")] for row in rows]
    write_table(rows, ["image", "label", "Subset"])
    found = content(load())
    assert set(found["val"]) == {f"{name}/1.png" for name in SHADES}
    assert set(found["test"]) == {f"{name}/2.png" for name in SHADES}
    assert len(found["train"]) == 12
    assert Folder(csv="photos/train.csv", image_size=6).load_split("all", 0)[0].labels.tolist() == [
        label for label in range(3) for _ in range(6)
    ]
    unsplit = content(load(csv_split="none"))
    assert set(unsplit["test"]) != set(found["test"])
    assert all(map(len, unsplit.values()))


def test_folders_of_splits_in_the_paths_are_the_splits() -> None:
    for split, count in (("train", 4), ("Valid", 2), ("test", 1)):
        write_images(count, f"photos/{split}")
    rows = [[f"{split}/{name}/0.png", name] for split in ("train", "Valid", "test") for name in SHADES]
    write_table(rows, ["path", "category"])
    assert [len(part) for part in load().parts().values()] == [3, 3, 3]


def test_names_without_an_ending_are_found_if_one_file_has_them() -> None:
    write_images(3)
    Image.new("RGB", (6, 6)).save(unicodedata.normalize("NFD", "photos/ant/Bär.JPG"))
    rows = [[f"{name}/{number}", name] for name in SHADES for number in range(3)]
    write_table([*rows, ["ant/Bär", "ant"]], ["image_id", "label"])
    found = {name for part in content(load()).values() for name in part}
    assert found == {f"{name}.png" for name, _ in rows} | {"ant/Bär.JPG"}
    Image.new("RGB", (6, 6)).save("photos/ant/1.bmp")
    assert refused().endswith("train.csv, line 3: ant/1 may be 1.bmp or 1.png; write it with its ending")


def test_classes_that_are_numbers_are_in_their_order() -> None:
    images = [name for name, _ in write_images(4)]
    for labels, expected in ((["10", "9", "-1"], ["-1", "9", "10"]), (["10", "9", "b"], ["10", "9", "b"])):
        write_table([[name, labels[i % 3]] for i, name in enumerate(images)], ["image", "label"])
        assert load().names == expected


def test_all_problems_of_a_table_are_said_with_their_lines() -> None:
    rows = write_images(3)
    Path("photos/ant/note.txt").write_text("")
    Path("photos/link.png").symlink_to("ant/0.png")
    broken = [
        ["nowhere.png", "ant"],
        ["ant/note.txt", "ant"],
        [rows[0][0], "bee"],
        [rows[1][0], "ant"],
        ["", "bee"],
    ]
    broken += [["cat/0.png"], [rows[4][0], " "], ["link.png", "ant"]]
    write_table([*rows, *broken], ["image", "label"])
    lines = refused().splitlines()
    assert lines[0].endswith("train.csv: 9 problems; write paths relative to data.path:")
    expected = [
        "line 11: nowhere.png not found in ",
        "line 12: ant/note.txt is no image by its name (png ",
        "line 13: ant/0.png has a line already with another label (line 2); keep one",
        "line 14: ant/1.png has a line already (line 3); keep one",
        "line 15: image is empty",
        "line 16: has 1 cells, the first line 2",
        "line 17: label is empty",
        "line 17: bee/1.png has a line already with another label (line 6); keep one",
        "line 18: link.png and ant/0.png in line 2 are one file; keep one",
    ]
    assert len(lines) == 1 + len(expected)
    assert all(line.strip().startswith(text) for line, text in zip(lines[1:], expected, strict=True))
    write_table([*rows, *([f"no{number}.png", "ant"] for number in range(25))], ["image", "label"])
    lines = refused().splitlines()
    assert (len(lines), lines[-1].strip()) == (12, "and 15 more")


def test_unknown_and_missing_splits_and_broken_groups_are_said_with_their_lines() -> None:
    rows = write_images(3)
    splits = ["train", "train", "test", "", "Train", "foo", "val", "train", "test"]
    table = [[*row, split, group] for row, split, group in zip(rows, splits, "abbbcccda", strict=True)]
    write_table(table, ["image", "label", "split", "patient"])
    message = refused()
    assert "train.csv: 5 problems; " in message
    for text in (
        "line 4: group b is in test here and in train in line 3",
        "line 5: split is empty",
        "line 7: split=foo is no split",
        "line 8: group c is in val here and in train in line 6",
        "line 10: group a is in test here and in train in line 2",
    ):
        assert text in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "must name the columns, with commas: image,label"),
        (b"image,label\n", "has no lines below the first"),
        (b"image,label\nant/0.png,x\nant/1.png,x\n", "only one class (x)"),
        (
            b"image,label\nant/0.png,1\nant/1.png,2\nant/2.png,3\n",
            "each of its 3 lines has a class of its own",
        ),
        ("image,label\nant/0.png,Bär\n".encode("latin-1"), "is not UTF-8 text"),
        (b"ant/0.png,ant\nbee/0.png,bee\n", "its first line is that of the image ant/0.png"),
        (b"image,label,split\nant/0.png,a,test\nant/1.png,b,test\nbee/0.png,b,test\n", "no training images"),
        (
            b"image,label,split\nant/0.png,a,train\nant/1.png,b,test\nbee/0.png,b,test\n",
            "no training image is of b",
        ),
        (b'image,label\nant/0.png,"' + b"x" * 200_000, "is no CSV"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(text: bytes, message: str) -> None:
    write_images(3)
    Path("photos/train.csv").write_bytes(text)
    assert message in refused()


def test_a_folder_of_the_images_beside_the_table_is_proposed_as_the_path() -> None:
    rows = write_images(3, "photos/all")
    write_table(rows, ["image", "label"])
    assert f"write data.path={Path('photos/all')}" in refused()
    assert len(load(path="photos/all").names) == 3
    assert "is no folder; write data.path=FOLDER" in refused(path="elsewhere")


@pytest.mark.parametrize("folds", [None, 3])
@pytest.mark.parametrize("target", ["classes", "values"])
def test_each_group_is_in_one_split_or_fold(folds: int | None, target: str) -> None:
    rows = write_images(12)
    table = [
        [name, name if target == "classes" else "1.5", f"p{i * 7 % 11}"] for i, (name, _) in enumerate(rows)
    ]
    if target == "classes":
        table = [[image, Path(name).parent.name, group] for image, name, group in table]
    write_table(table, ["image", "label", "Patient ID"])
    group_of = {image: group for image, _, group in table}
    for fold in range(folds or 1):
        splits = load(
            seed=5, target=target, csv_group="Patient ID", folds=folds, fold=fold, memory_limit_gb=1.0
        )
        groups = [{group_of[name] for name in part.names or []} for part in splits.parts().values()]
        assert sum(map(len, groups)) == len(set(group_of.values()))
        assert all(groups)
        assert splits.names == (["ant", "bee", "cat"] if target == "classes" else ["label"])


def test_a_run_on_a_table_is_evaluated_on_another_one(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_images(12)
    write_table([row for row in rows if row[1] != "cat"], ["image", "label"])
    write_table([row[:2] for row in rows if row[1] == "bee"], ["image", "label"], "photos/other.csv")
    options = ["data.image_size=8", "data.batch_size=4", "model=linear", "trainer.epochs=1", "seed=1"]
    assert main(["data=photos/train.csv", *options, "hydra.run.dir=run"]) == 0
    output = capsys.readouterr().out
    assert "command   cnntrain data=folder data.csv=photos/train.csv" in output
    assert "train.csv: image has the images, label has the classes" in " ".join(output.split())
    assert main(["run=run", "trainer.epochs=2"]) == 0
    assert main(["run=run", "job=evaluate", "data.csv=photos/other.csv", "evaluate.split=all"]) == 0
    (file,) = Path("run").glob("evaluate-folder-other-*-all.json")
    assert json.loads(file.read_text())["images"] == 12
    assert cnntrain.load("run").names == ["ant", "bee"]
    capsys.readouterr()
    assert main(["run=run", "job=evaluate", "data.csv_split=none"]) == 2
    assert "data.csv_split=none: the run was trained with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.path=photos", "data.csv_group=a"], "data.csv_group=a: has no effect without data.csv"),
        (["data.csv=a.csv", "data.csv_label=none"], "data.csv_label=none: images and classes need a column"),
        (["data.csv=a.csv", "data.csv_group=a", "data.split_by=name"], "needs data.split_by=hash"),
        (["data.csv=a.csv", "data.csv_group=a", "data.csv_label=a"], "the column of another setting too"),
        (
            ["data.csv=a.csv", "data.target=values", "loss=l2", "data.csv_label=a"],
            "has no effect with data.target",
        ),
        ([], "data.path: is not set"),
    ],
)
def test_columns_without_effect_are_refused(
    overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data=folder", *overrides]) == 2
    assert message in capsys.readouterr().err


def test_two_columns_of_the_name_that_would_be_taken_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label,label\na.png,x,y\n")
    with pytest.raises(DataError, match="has 2 columns called label; give each a name of its own"):
        Folder(csv=str(tmp_path / "t.csv")).load(0)
