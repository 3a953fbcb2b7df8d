"""job=export: a run's best network as ONNX, torch.export or safetensors, compared with the run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ..costs.units import format_bytes
from ..export.card_file import write_card
from ..export.comparison import LIMITS, Comparison
from ..export.model_card import CARD, model_card
from ..export.run_to_export import read_run
from ..export.write_export import exported, file_of, write_export
from ..metrics import format_metric
from ..output_streams import print_labelled
from ..runs.atomic_write import write_text
from ..settings.config_tree import Config


def export(path: Path, config: Config) -> None:
    """Write the file of a run's best network, its comparison with the run and its model card; print both.

    config: that of the run with the user's overrides.
    """
    run, settings = read_run(path, config), config.export
    file = file_of(run, settings)
    made = exported(run, settings)
    write_export(file, made)
    compared = file.with_name(f"{file.name}.json")
    content = {"bytes": len(made.content), **asdict(made.comparison), **made.metadata.to_json()}
    card = card_of(file, run.folder.path)
    write_card(card, model_card(run, made, file.name))
    write_text(compared, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    print_labelled(
        [
            f"network   {made.metadata.network}, best epoch {made.metadata.epoch}",
            f"format    {made.describe_format()}, {format_bytes(len(made.content))}",
            f"inputs    {made.metadata.inputs}",
            f"outputs   {made.metadata.outputs}",
            *(f"{title:<10}{line}" for title, line in comparison_lines(made.comparison, settings.quantize)),
        ]
    )
    print(f"\n{file}\n{compared}\n{card}", flush=True)


def card_of(file: Path, run: Path) -> Path:
    """Return the file of the model card: MODEL_CARD.md in the run's folder, elsewhere named after `file`."""
    return file.with_name(CARD if file.parent == run else f"{file.stem}_{CARD}")


def comparison_lines(compared: Comparison, quantize: str | None) -> list[tuple[str, str]]:
    """Return how a file differs from its run as printed: a title and a text for each line."""
    limit = LIMITS[quantize]
    bound = f"limit {limit.difference:g}" if limit.equal == 0 else f"limit {limit.equal:.0%} equal"
    name, metrics = compared.metric_name, (compared.metric_of_run, compared.metric_of_file)
    return [
        (
            "compared",
            f"on {compared.images} {compared.split} images: largest difference {compared.difference:.2g}, "
            f"{compared.equal:.2%} equal predictions ({bound})",
        ),
        ("result", f"{format_metric(name, metrics[1])}, the run in fp32 {format_metric(name, metrics[0])}"),
    ]
