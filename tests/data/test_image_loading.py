"""Images that cannot be read: named by data.on_bad=error, left out by skip, the same ones in every run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from cnntrain.cli import main
from cnntrain.data.settings.image_files import Folder
from cnntrain.data.splits import Splits
from cnntrain.errors import DataError

QUICK = ["model=linear", "data.image_size=8", "data.batch_size=16", "trainer.pictures=false"]


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write 240 images of three classes."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("ant", "bee", "cat")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for shade in range(80):
            Image.new("RGB", (8, 8), (100 * number, shade, 0)).save(
                tmp_path / "photos" / name / f"{shade}.png"
            )
    return tmp_path / "photos"


def damage(*files: Path) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[:40])


def split_of_each(splits: Splits) -> dict[str, str]:
    return {name: split for split, part in splits.parts().items() for name in part.names or []}


@pytest.mark.parametrize("limit", [None, 190])
@pytest.mark.parametrize(("memory", "split_by"), [(0.0, "hash"), (1.0, "hash"), (1.0, "position")])
def test_the_splits_of_other_images_do_not_depend_on_those_left_out(
    photos: Path, memory: float, split_by: str, limit: int | None
) -> None:
    settings = Folder(
        path="photos", image_size=8, memory_limit_gb=memory, limit=limit, on_bad="skip", split_by=split_by
    )
    before = settings.load(3)
    names = sorted(split_of_each(before))
    bad = [before.train.names[5], before.test.names[0]]  # type: ignore[index]
    damage(*(photos / name for name in bad))
    after = settings.load(3)
    assert split_of_each(after) == {n: s for n, s in split_of_each(before).items() if n not in bad}
    assert len(names) - 2 == sum(map(len, after.parts().values()))
    assert {name: path for name, (path, _) in (after.unreadable or {}).items()} == {
        name: str(Path("photos") / name) for name in bad
    }
    assert any("2 images (" in notice and bad[0] in notice for notice in after.notices)
    for part in after.parts().values():  # none of what is left stands for another image
        for image, name in zip(torch.cat(list(part.chunks(50))), part.names or [], strict=True):
            assert int(image[0, 0, 1]) == int(Path(name).stem)


def test_more_than_one_in_a_hundred_images_are_too_many_and_by_default_one_is(photos: Path) -> None:
    skipping = Folder(path="photos", image_size=8, on_bad="skip")
    damage(photos / "ant/3.png")
    with pytest.raises(DataError, match=r"ant/3.png: .*remove or replace it, or write data.on_bad=skip"):
        Folder(path="photos", image_size=8).load(0)
    damage(photos / "ant/4.png")
    assert skipping.load(0).unreadable
    damage(photos / "bee/4.png")
    with pytest.raises(
        DataError, match=r"3 of 240 images cannot be read, more than 1 %: 3 image files"
    ) as caught:
        skipping.load(0)
    assert "bee/4.png" in str(caught.value)
    assert "or write data.on_bad=skip" not in str(caught.value)


def test_a_run_lists_what_it_left_out_and_goes_on_only_with_the_same(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(photos / "ant/3.png")
    options = ["data=photos", "data.on_bad=skip", *QUICK]
    assert main([*options, "trainer.epochs=1", "hydra.run.dir=run"]) == 0
    assert "1 images (ant/3.png)" in " ".join(capsys.readouterr().out.split())
    assert Path("run/unreadable_images.txt").read_text().startswith(f"{photos / 'ant/3.png'}: ")
    for name in ("train", "all"):
        assert main(["run=run", "job=evaluate", f"evaluate.split={name}"]) == 0
        assert "1 images (ant/3.png)" in " ".join(capsys.readouterr().out.split())
    assert json.loads(Path("run/evaluate-folder-all.json").read_text())["images"] == 239
    assert main(["run=run", "trainer.epochs=2"]) == 0
    damage(photos / "bee/3.png")
    capsys.readouterr()
    assert main(["run=run", "trainer.epochs=3"]) == 3
    assert "the data are not those of this run" in capsys.readouterr().err
    main(["job=check", *options, "check.seconds=1", "hydra.run.dir=checked"])
    assert len(Path("checked/unreadable_images.txt").read_text().splitlines()) == 2
