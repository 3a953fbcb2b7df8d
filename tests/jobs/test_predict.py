"""job=predict: the numbers of job=evaluate from every source of images, and what is written when it fails."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cnntrain
from cnntrain.cli import main
from cnntrain.data.image_decoding import decode
from cnntrain.errors import DataError
from cnntrain.prediction.output_files import Output
from cnntrain.prediction.prediction_stream import AHEAD, read_ahead
from cnntrain.settings.job_settings import Predict

CLASSES = ("dark", "grey", "light")


@pytest.fixture
def run(shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run, a copy in the working folder, which is empty otherwise."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(shades / "run", "run"))


def fill(root: Path, count: int = 4) -> Path:
    """Write images of the classes in folders of theirs, of many sizes, modes and formats."""
    rng = np.random.default_rng(1)
    for number, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for index in range(count):
            size = (7 + 5 * index, 12 + 3 * number, 4)
            pixels = np.clip(20 + 100 * number + rng.normal(0, 10, size), 0, 255).astype(np.uint8)
            rgba = Image.fromarray(pixels)
            rgb = rgba.convert("RGB")
            exif = Image.Exif()
            exif[0x0112] = 6
            rgba.save(root / name / f"{index} a.png")
            rgb.save(root / name / f"{index}é.jpg", exif=exif)
            rgb.convert("CMYK").save(root / name / f"{index}.jpeg")
            rgb.quantize(8).save(root / name / f"{index}.gif")
            Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(root / name / f"{index}16.png")
    return root


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def table(path: str = "predictions.csv") -> list[dict[str, str]]:
    return rows_of(Path(path).read_text(encoding="utf-8"))


def test_predictions_are_those_of_the_network_loaded_in_python(run: Path) -> None:
    files = [str(path) for path in sorted(fill(Path("other")).rglob("*.jpg"))]
    assert main(["predict", f"run={run}", "predict.images=other/*/*.jpg", "predict.file=found.csv"]) == 0
    found = torch.tensor([float(row["probability"]) for row in table("found.csv")])
    torch.testing.assert_close(found, cnntrain.load(run).predict(files).amax(1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["run/config.yaml", "run/checkpoints/best.pt", "names.txt", "script.sh"])
def test_only_an_earlier_prediction_is_replaced(
    run: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(Path("other"), 1)
    for other in ("names.txt", "script.sh"):
        Path(other).write_text("echo mine\n")
    before = Path(name).read_bytes()
    command = ["predict", f"run={run}", "predict.images=other"]
    assert main([*command, f"predict.file={name}"]) == 3
    assert "is no earlier prediction" in capsys.readouterr().err
    assert Path(name).read_bytes() == before
    # A picture of the name of the sheet is the user's, unless the table beside it is there.
    Path("found-sheet.png").write_bytes(b"mine")
    assert main([*command, "predict.file=found.csv"]) == 3
    assert Path("found-sheet.png").read_bytes() == b"mine"
    assert main([*command, "predict.file=found.csv", "predict.sheet=false"]) == 0
    for ending in ("csv", "jsonl"):
        assert main([*command, f"predict.file=of_{ending}.{ending}"]) == 0
        assert main([*command, f"predict.file=of_{ending}.{ending}"]) == 0


def test_a_pipe_is_not_waited_for_and_a_circle_of_links_is_gone_through_once(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(Path("other"), 1)
    os.mkfifo("other/pipe.png")
    Path("other/circle").symlink_to(Path("other").absolute())
    arguments = ["predict", f"run={run}", "predict.file=found.csv", "predict.sheet=false"]
    assert main([*arguments, "predict.images=other/**"]) == 1
    assert len(table("found.csv")) == 15
    assert capsys.readouterr().err.count("it is no regular file") == 1
    assert main([*arguments, "predict.images=other/pipe.png"]) == 1


def test_files_get_the_predictions_of_an_evaluation_to_the_last_digit(run: Path) -> None:
    folder = fill(Path("other"))
    assert main(["evaluate", f"run={run}", f"data.path={folder}", "evaluate.split=all"]) == 0
    prediction = ["predict", f"run={run}", f"predict.images={folder}", "predict.file=predictions.csv"]
    assert main([*prediction, "trainer.precision=auto"]) == 0  # as the run was trained
    (evaluated,) = run.glob("evaluate-*.csv")
    expected = {f"{folder}/{row['file']}": row for row in table(str(evaluated))}
    found = table()
    assert [row["file"] for row in found] == sorted(expected)
    assert len(found) == 60
    for row in found:
        of_file = expected[row["file"]]
        assert row["class"] == of_file["prediction"]
        ranked = [("class", "probability"), ("class_2", "probability_2"), ("class_3", "probability_3")]
        assert {row[name]: row[number] for name, number in ranked} == {
            name: of_file[name] for name in CLASSES
        }
        numbers = [float(row[number]) for _, number in ranked]
        assert numbers == sorted(numbers, reverse=True)


def test_images_that_cannot_be_read_are_named_left_out_and_counted(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fill(Path("other"), 1)
    whole = (folder / "dark/0é.jpg").read_bytes()
    (folder / "dark/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "grey/empty.png").write_bytes(b"")
    capsys.readouterr()
    assert main(["predict", f"run={run}", f"predict.images={folder}", "predict.file=p.csv"]) == 1
    printed = capsys.readouterr()
    assert "other/dark/cut.jpg: cannot be decoded (" in printed.err
    assert "other/grey/empty.png: is empty" in printed.err
    assert "left out, as they cannot be read: 2 of 17 images" in printed.err
    assert "predicted 15 images: " in printed.out
    assert len(table("p.csv")) == 15
    with Image.open("p-sheet.png") as sheet:
        assert sheet.width > sheet.height > 150


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        ([], 2, "predict.images: is not set; write predict.images=PATH"),
        (["predict.images=a", "predict.file=x.jpg"], 2, "predict.file=x.jpg: is the name of an image"),
        (["predict.images=a", "data.limit=3"], 2, "data.limit=3: has no effect on job=predict"),
        (
            ["predict.images=a", "predict.file=p.ndjson", "predict.format=csv"],
            2,
            "let the name end with .csv",
        ),
        (
            ["predict.images=a", "predict.file=p.CSV", "predict.format=jsonl"],
            2,
            "contradicts predict.file=p.CSV",
        ),
        (["predict.images=a", "predict.file=p.json"], 2, "let it end with .jsonl or .csv"),
        (["predict.images=a", "predict.explain_method=gradient"], 2, "needs predict.explain=true"),
        (["predict.images=a", "predict.explain=true", "predict.sheet=false"], 2, "draws into the"),
        (["predict.images=nowhere"], 3, "predict.images=nowhere: does not exist"),
        (
            ["predict.images=two.npz"],
            3,
            "has the shape 8x8x2, from which none of 8x8x3",
        ),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_words(
    arguments: list[str], code: int, expected: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("two.npz", images=np.zeros((2, 8, 8, 2), np.uint8))
    capsys.readouterr()
    assert main(["predict", f"run={run}", *arguments]) == code
    assert expected in capsys.readouterr().err
    assert not list(run.glob("predict*"))


@pytest.mark.parametrize(
    ("file", "expected"),
    [("folder", "is a folder"), ("no/p.csv", "there is no folder no"), ("/dev/null", "is no regular file")],
)
def test_what_a_table_must_not_replace_is_refused(
    file: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(DataError, match=expected):
        Output.of(Path("run"), Predict(images="a", file=file))


def test_a_file_of_its_own_is_written_for_other_images_and_the_same_one_for_the_same(run: Path) -> None:
    for name in ("photos", "more/photos"):
        fill(Path(name), 1)

    def written() -> set[str]:
        return {path.name for path in run.glob("predict*.csv")}

    for where, count in (("photos", 1), ("photos", 1), ("more/photos", 2), ("photos", 3)):
        if count == 3:
            os.utime("photos/grey/0 a.png", (1, 1))
        assert main(["predict", f"run={run}", f"predict.images={where}", "predict.sheet=false"]) == 0
        assert len(written()) == count
    assert all(name.startswith("predict-photos-") for name in written())
    assert not list(Path().glob("*.csv"))


def test_checkpoints_and_ensembles_predict_as_runs_do(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("alone").mkdir()
    shutil.copy(run / "checkpoints/best.pt", "alone/model.pt")
    for number in range(2):
        shutil.copytree(run, f"both/members/{number:02d}")
    members = [{"folder": f"members/{number:02d}"} for number in range(2)]
    Path("both/ensemble.json").write_text(json.dumps({"members": members}))
    image = "predict.images=both/members/00/filters.png"
    Image.new("RGB", (9, 9), (120, 120, 120)).save("both/members/00/filters.png")
    found = []
    for where in (run, run / "checkpoints/best.pt", "alone/model.pt", "both"):
        capsys.readouterr()
        assert main(["predict", f"run={where}", image, "predict.file=-", "trainer.threads=1"]) == 0
        found.append(rows_of(capsys.readouterr().out))
    assert all(rows == found[0] for rows in found)
    arguments = ["predict.file=-", "trainer.precision=fp32", "trainer.device=cpu"]
    capsys.readouterr()
    assert main(["predict", f"run={run}", image, *arguments]) == 0
    (row,) = rows_of(capsys.readouterr().out)
    expected = cnntrain.load(run).predict(image.partition("=")[2])[0, 1]
    assert np.float32(row["probability"]) == expected.numpy()
    assert found[0][0]["class"] == "grey"
    for where, folder, name in (
        (run / "checkpoints/last.pt", run, "predict-last-filters-"),
        ("alone/model.pt", Path("alone"), "predict-model-filters-"),
    ):
        assert main(["predict", f"run={where}", image, "predict.sheet=false"]) == 0
        assert [path.name.startswith(name) for path in folder.glob("predict*")] == [True]
    assert main(["predict", "run=missing.onnx", image]) == 3
    assert "run=missing.onnx: there is no such file" in capsys.readouterr().err


def test_prediction_ends_when_nobody_reads_it_and_fails_where_it_cannot_be_written(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = []

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def noted(path: str, *arguments: Any) -> Any:
        read.append(path)
        return decode(path, *arguments)

    monkeypatch.setattr("cnntrain.prediction.prediction_stream.decode", noted)
    names = [str(path) for path in fill(Path("photos"), 1).rglob("*.*")] * 100
    for stream, code, words in (
        (Closed(), 0, ""),
        (
            Full(),
            1,
            "cnntrain: predict.file=-: standard output could not be written (No space left on device)\n",
        ),
        (None, 1, "cnntrain: predict.file=-: standard output could not be written (it is closed)\n"),
    ):
        read.clear()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(names).encode())))
        monkeypatch.setattr("sys.stdout", stream)
        arguments = ["predict.images=-", "predict.file=-", "predict.batch_size=10"]
        assert main(["predict", f"run={run}", *arguments]) == code
        assert capsys.readouterr().err == words
        assert len(read) < 100
        if stream is not None:  # what is lost is said of the program's other output alone
            assert main(["predict", f"run={run}", "predict.images=photos", "predict.sheet=false"]) == 0
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setattr("cnntrain.prediction.result_rows.CsvRows.add", failing)
    assert main(["predict", f"run={run}", "predict.images=photos", "predict.file=p.csv"]) == 3
    assert not Path("p.csv").exists()
    assert not list(Path().glob(".*.writing"))


def failing(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_no_more_than_a_few_batches_are_in_memory() -> None:
    alive, most = [0], [0]

    def read(number: int) -> torch.Tensor:
        image = torch.full((1, 1, 1), number % 256, dtype=torch.uint8)
        alive[0] += 1
        most[0] = max(most[0], alive[0])
        weakref.finalize(image, lambda: alive.__setitem__(0, alive[0] - 1))
        return image

    seen = 0
    for batch in read_ahead(iter(range(5000)), read, 10):
        assert batch.images.flatten().tolist() == [number % 256 for number in batch.items]
        seen += len(batch.items)
        del batch
    assert seen == 5000
    assert most[0] <= 10 * (AHEAD + 3)
