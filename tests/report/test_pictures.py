"""Pictures: the written PNG files, compared by pixels where their content is known."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cnntrain.errors import DataError
from cnntrain.report.pictures.decision_boundary import boundary_figure, draw_boundary
from cnntrain.report.pictures.filters import draw_filters, first_layer_filters
from cnntrain.report.pictures.image_grid import GAP, save_sheet
from cnntrain.report.pictures.optimizer_surfaces import LOWEST, View, draw_landscape, landscape_figure
from cnntrain.report.pictures.run_curves import confusion_picture
from cnntrain.report.pictures.schedule import draw_rates, schedule_figure


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def test_a_sheet_stacks_its_rows_and_enlarges_pixels_without_smoothing(tmp_path: Path) -> None:
    digits = torch.zeros(3, 8, 8, 1)
    digits[-1, 0, 0], digits[-1, 7, 7] = 1.0, 0.5
    photos = torch.zeros(2, 32, 20, 3)
    photos[-1] = torch.tensor([1.0, 0.2, 0.0])
    save_sheet(tmp_path / "sheet.png", {"digits": digits, "photos äß": photos})
    sheet = pixels(tmp_path / "sheet.png")
    height, width, _ = sheet.shape
    # Eight times 8 and twice 32: two rows of 64 pixels.
    assert height == GAP + 64 + GAP + 64 + GAP
    left = width - GAP - 3 * 64 - 2 * GAP  # where the images of the longer row begin
    last = sheet[GAP : GAP + 64, left + 2 * (64 + GAP) :]
    assert (last[:8, :8] == 255).all()
    assert (last[56:64, 56:64] == 128).all()
    assert (last[:8, 8:64] == 0).all()
    assert (sheet[GAP : GAP + 64, left - GAP : left] == 255).all()
    second = sheet[2 * GAP + 64 :, left + 40 + GAP :]
    assert (second[:64, :40] == (255, 51, 0)).all()
    assert (second[:64, 40 : 40 + GAP] == 255).all()
    # A name stands at the left of each row.
    for top in (GAP, 2 * GAP + 64):
        assert (sheet[top : top + 64, :left] < 100).any()
        assert (sheet[top : top + 10, :left] == 255).all()


def test_names_with_characters_that_the_font_lacks_are_drawn_without_a_warning(tmp_path: Path) -> None:
    names = ["猫", "犬"]
    assert "猫" in confusion_picture([[3, 1], [0, 4]], names)
    draw_boundary(
        tmp_path / "boundary.png",
        right_of(0.0),
        torch.zeros(2, 2),
        torch.tensor([0, 1]),
        names,
    )
    assert (tmp_path / "boundary.png").stat().st_size > 0


def test_a_sheet_enlarges_single_pixels_and_not_large_images(tmp_path: Path) -> None:
    save_sheet(tmp_path / "sheet.png", {"two channels": torch.full((1, 1, 1, 2), 1.0)})
    assert pixels(tmp_path / "sheet.png").shape[0] == 64 + 2 * GAP
    save_sheet(tmp_path / "sheet.png", {"large": torch.rand(1, 100, 120, 3)})
    assert pixels(tmp_path / "sheet.png").shape[0] == 100 + 2 * GAP


def test_a_picture_that_cannot_be_written_is_an_error_with_the_file_name(tmp_path: Path) -> None:
    occupied = tmp_path / "taken.png"
    occupied.mkdir()
    with pytest.raises(DataError, match=r"taken\.png"):
        save_sheet(occupied, {"row": torch.zeros(1, 4, 4, 1)})
    with pytest.raises(DataError, match=r"taken\.png"):
        draw_rates(occupied, [0.1, 0.2], None, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.png"]


def test_the_schedule_figure_plots_the_given_numbers(tmp_path: Path) -> None:
    lrs, momenta = [0.1, 0.3, 0.2, 0.1], [0.95, 0.85, 0.9, 0.95]
    figure = schedule_figure(lrs, momenta, steps_per_epoch=2)
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_xydata(), [[0, 0.1], [0.5, 0.3], [1, 0.2], [1.5, 0.1]])
    np.testing.assert_allclose(right.lines[0].get_xydata()[:, 1], momenta)
    assert len(schedule_figure(lrs, None, 2).axes) == 1
    draw_rates(tmp_path / "schedule.png", lrs, momenta, 2)
    assert pixels(tmp_path / "schedule.png").std() > 10


def right_of(x: float) -> Callable[[Tensor], Tensor]:
    def classify(points: Tensor) -> Tensor:
        right = (points[:, 0] > x).float()
        return torch.stack([1 - right, right], 1)

    return classify


@pytest.mark.parametrize("border", [0.0, -0.5, 0.25])
def test_regions_change_colour_at_the_decision_boundary(border: float, tmp_path: Path) -> None:
    none = (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), ["a", "b"])
    classify = right_of(border)
    draw_boundary(tmp_path / "b.png", classify, *none)
    picture = pixels(tmp_path / "b.png").astype(int)
    figure = boundary_figure(classify, *none)
    figure.savefig(io.BytesIO(), format="png")  # computes the layout
    x, y = figure.axes[0].transData.transform((border, 0.3))
    row = picture[picture.shape[0] - round(y)]
    left, middle, right = row[round(x) - 4], row[round(x) - 1 : round(x) + 2], row[round(x) + 4]
    # tab10's first two colours, 45% of them on white.
    assert abs(left - (255 - 0.45 * (255 - np.array([31, 119, 180])))).max() <= 1
    assert abs(right - (255 - 0.45 * (255 - np.array([255, 127, 14])))).max() <= 1
    assert middle.sum(1).min() < 150  # the black line between them


def test_training_points_are_drawn_at_their_positions() -> None:
    points, labels = torch.tensor([[-0.5, 0.5], [0.5, -0.25], [0.0, 0.9]]), torch.tensor([0, 1, 1])
    figure = boundary_figure(right_of(0), points, labels, ["a", "b"])
    first, second = (
        entry for entry in figure.axes[0].collections if entry.get_label() in ("class a", "class b")
    )
    np.testing.assert_allclose(first.get_offsets(), [[-0.5, 0.5]])
    np.testing.assert_allclose(second.get_offsets(), [[0.5, -0.25], [0.0, 0.9]])


def test_three_classes_have_a_line_around_each_region_and_one_certain_class_has_none() -> None:
    def thirds(points: Tensor) -> Tensor:
        scores = torch.stack([points[:, 0], -points[:, 0], 5 * (points[:, 1] - 0.5)], 1)
        return (8 * scores).softmax(1)

    none = (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), ["a", "b", "c"])
    assert len(boundary_figure(thirds, *none).axes[0].collections) == 3 + 3
    certain = boundary_figure(lambda points: torch.eye(3)[:1].expand(len(points), 3), *none)
    assert len(certain.axes[0].collections) == 3


def test_a_landscape_has_a_map_for_each_path_and_the_heights_along_it(tmp_path: Path) -> None:
    view = View("f = x² + y²", (-1, 1, -1, 1), [0.1, 0.5], log_heights=True, goal=(0, 0))
    paths = {"one": torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]]), "two": torch.tensor([[0.0, -1.0]])}

    def height(points: Tensor) -> Tensor:
        return (points**2).sum(-1)

    figure = landscape_figure(view, height, paths)
    axes_by_title = {axes.get_title(): axes for axes in figure.axes}
    for name, points in paths.items():
        np.testing.assert_allclose(axes_by_title[name].lines[1].get_xydata(), points)
    np.testing.assert_allclose(figure.axes[-1].lines[0].get_ydata(), [1.0, 0.5, LOWEST])
    draw_landscape(tmp_path / "l.png", view, height, paths)
    assert pixels(tmp_path / "l.png").std() > 10


def test_filters_of_the_first_layer_are_rescaled_each_by_itself(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 20, 5), nn.ReLU(), nn.Conv2d(20, 4, 3))
    filters = first_layer_filters(network)
    assert filters is not None
    assert filters.shape == (20, 5, 5, 3)
    weight = network[0].weight.detach()
    for drawn, own in zip(filters, weight, strict=True):
        expected = (own - own.min()) / (own.max() - own.min())
        torch.testing.assert_close(drawn, expected.permute(1, 2, 0))
    assert draw_filters(tmp_path / "filters.png", network)
    assert (tmp_path / "filters.png").read_bytes().startswith(b"\x89PNG")


def test_a_network_without_filters_to_see_has_no_picture_of_them(tmp_path: Path) -> None:
    for network in (nn.Linear(3, 2), nn.Conv2d(3, 4, 1), nn.Conv2d(5, 4, 3)):
        assert first_layer_filters(network) is None
        assert not draw_filters(tmp_path / "filters.png", network)
    constant = nn.Conv2d(1, 2, 3)
    nn.init.ones_(constant.weight)
    drawn = first_layer_filters(constant)
    assert drawn is not None
    assert torch.isfinite(drawn).all()
