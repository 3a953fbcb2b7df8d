"""job=predict: what a trained network says of images without labels, as a table and a contact sheet."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from ..errors import ConfigError, DataError, UserError
from ..output_streams import check_output, output_is_read, print_labelled
from ..prediction.explain_pixels import explain_pixels
from ..prediction.explanation import Explanation
from ..prediction.exported import ExportedNetwork
from ..prediction.image_sources import Source, find_images
from ..prediction.load import load_network
from ..prediction.output_files import Output
from ..prediction.prediction_stream import predictions, read_source, why
from ..prediction.predictor import Predictor
from ..prediction.result_rows import FORMATS, Writable
from ..prediction.tally import Tally
from ..report.pictures.contact_sheet import SHOWN, SIDE, Cell, caption, draw_contact_sheet, sheet_picture
from ..settings.config_tree import Config
from ..settings.job_settings import Predict
from ..training.device import Earlier, prepare

# Channels of the images that files have.
OF_FILES = (1, 3)


def predict(run: Path, config: Config | None, change: Callable[[Config], Config]) -> None:
    """Predict images, write what was predicted, and draw some of them.

    run: the folder of a run or an ensemble, a checkpoint, or an exported file. config: with the user's
    overrides, None where it is in the checkpoint alone; change: returns that one with the overrides. Raises
    UserError at the end if there were images that could not be read.
    """
    predictor = load_network(run)
    is_exported = isinstance(predictor, ExportedNetwork)
    if config is None:
        assert not isinstance(predictor, ExportedNetwork)
        config = change(predictor.config)
    settings = config.predict
    if is_exported and settings.explain and settings.explain_method == "gradient":
        raise ConfigError([f"predict.explain_method=gradient: {run} has no gradients; write occlusion"])
    output = Output.of(run, settings)
    compute = prepare(config.trainer, Earlier(predictor.threads))
    predictor.use(compute)
    predictor.batch_size = settings.batch_size or predictor.batch_size
    sources = _usable(find_images(settings.images), predictor)
    if not output.to_standard_output:
        print_labelled(
            [f"network   {predictor!r}", f"device    {'cpu' if is_exported else compute.describe()}"]
        )
    tally, started = Tally(predictor, SHOWN), time.perf_counter()
    with output.opened() as stream:
        is_whole = _write_rows(stream, predictor, sources, settings, output.format, tally)
        seconds = time.perf_counter() - started
        files = output.store(stream, tally.digest()) if is_whole else []
    if is_whole and _draws_sheet(settings, output) and tally.predicted:
        files.append(output.sheet(tally.digest()))
        _draw_sheet(files[-1], predictor, tally, settings.explain_method if settings.explain else None)
    if output.to_standard_output:
        check_output("predict.file=-")
    else:
        print_labelled([f"predicted {tally.summary()} ({tally.predicted / seconds:.0f} images/s)"])
        print("\n".join(map(str, files)), flush=True)
    if tally.unreadable:
        total = tally.unreadable + tally.predicted
        raise UserError(f"left out, as they cannot be read: {tally.unreadable} of {total} images")


def _usable(sources: Iterable[Source], predictor: Predictor) -> Iterable[Source]:
    """Return the images; raises DataError where they cannot be made what the network takes."""
    found = iter(sources)
    first = next(found)
    channels = predictor.image_shape[2]
    if first.pixels is not None:
        try:
            read_source(first, predictor.image_shape, predictor.resize)
        except ValueError as error:
            raise DataError(f"{first.name} {error}") from error
    elif channels not in OF_FILES:
        raise DataError(
            f"predict.images={first.name}: the network takes images of {channels} channels, which no image "
            "file has; save them as an array `images` in an .npz file"
        )
    return chain([first], found)


def _write_rows(
    stream: Writable,
    predictor: Predictor,
    sources: Iterable[Source],
    settings: Predict,
    format: str,
    tally: Tally,
) -> bool:
    """Write the rows of all images; return False where a reader of standard output wanted no more."""
    rows = FORMATS[format](stream, predictor, settings.top)
    bar = tqdm(desc="predicting", unit=" images", leave=False, disable=None)
    try:
        for batch, results in predictions(predictor, tally.noted(sources)):
            rows.add([source.name for source in batch.items], results)
            tally.add(batch, results)
            for source, error in batch.errors:
                tqdm.write(f"cnntrain: {source.name}: {why(source, error)}", file=sys.stderr)
            bar.update(len(batch.items) + len(batch.errors))
            if stream is sys.stdout and not output_is_read():
                return False
    finally:
        bar.close()
    return True


def _explained(predictor: Predictor, image: Tensor, method: str) -> Explanation:
    """Return the map of an image by a method, by occlusion where the prediction has no gradient."""
    try:
        return explain_pixels(predictor, image, None, method)
    except ValueError:
        return explain_pixels(predictor, image, None, "occlusion")


def _draws_sheet(settings: Predict, output: Output) -> bool:
    by_itself = settings.explain or not output.to_standard_output
    return by_itself if settings.sheet is None else settings.sheet


def _draw_sheet(path: Path, predictor: Predictor, tally: Tally, explain: str | None) -> None:
    cells = []
    chosen = tally.sample.chosen()
    for name, image, results in tqdm(chosen, "explaining", leave=False, disable=None if explain else True):
        pictures = [sheet_picture(image)]
        if explain is not None:
            pictures.append(_explained(predictor, image, explain).image(SIDE))
        cells.append(Cell(os.path.basename(name), pictures, caption(predictor, results)))
    draw_contact_sheet(path, cells)
