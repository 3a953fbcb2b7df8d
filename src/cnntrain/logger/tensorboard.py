"""TensorBoard event files, written without torch, which takes seconds to import."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from ..runs.file_names import TENSORBOARD
from ..runs.metrics_file import Row
from .sink import End, LoggedRun, numbers


class TensorBoard:
    """Scalars, histograms, pictures and the configuration as text, in a folder of the run's folder."""

    def __init__(self, run: LoggedRun):
        folder = run.folder / TENSORBOARD
        self.ids: dict[str, str] = {}
        self.where = f"tensorboard --logdir {shlex.quote(str(run.sweep or folder))}"
        self._writer = EventFileWriter(str(folder))
        # Hides what an earlier process wrote of later steps, but could not note.
        self._write(Event(session_log=SessionLog(status=SessionLog.START), step=run.step + 1))
        self._text("config", f"```json\n{json.dumps(run.config, indent=2)}\n```")
        self._text("command", " ".join(run.command))

    def write(self, row: Row, of_epoch: bool) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers(row)]
        self._write(Event(summary=Summary(value=values), step=row["step"]))

    def write_histograms(self, row: Row) -> None:
        values = [
            Summary.Value(tag=name, histo=_histogram(value))
            for name, value in row.items()
            if isinstance(value, dict)
        ]
        self._write(Event(summary=Summary(value=values), step=row["step"]))

    def flush(self) -> None:
        self._writer.flush()

    def close(self, end: End) -> None:
        self.write({"step": end.step, **end.results()}, of_epoch=True)
        for path in end.pictures:
            picture = Summary.Value(tag=f"pictures/{path.stem}", image=_picture(path))
            self._write(Event(summary=Summary(value=[picture]), step=end.step))
        self._text("status", end.status)
        self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.add_event(event)

    def _text(self, tag: str, text: str) -> None:
        """Write Markdown, which TensorBoard shows under the tab Text."""
        plugin = SummaryMetadata.PluginData(plugin_name="text")
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=tensor)
        self._write(Event(summary=Summary(value=[value])))


def _picture(path: Path) -> Summary.Image:
    """Return a PNG file as TensorBoard stores it."""
    with Image.open(path) as image:
        width, height = image.size
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())


def _histogram(histogram: dict[str, Any]) -> HistogramProto:
    """Return low, high and counts of bins of equal width, as instruments.histograms records them."""
    low, high, counts = histogram["low"], histogram["high"], np.asarray(histogram["counts"])
    edges = np.linspace(low, high, len(counts) + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    return HistogramProto(
        min=low,
        max=high,
        num=int(counts.sum()),
        sum=float((counts * middles).sum()),
        sum_squares=float((counts * middles**2).sum()),
        bucket_limit=edges[1:].tolist(),
        bucket=counts.tolist(),
    )
