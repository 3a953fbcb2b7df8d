"""Tables and examples of docs/backpropagation.md against hand-written backward passes and autograd (K0)."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

PAGE = (Path(__file__).parents[1] / "docs" / "backpropagation.md").read_text(encoding="utf-8")
Values = dict[str, float]


def section(title: str) -> str:
    """Return the text between a heading and the next."""
    match = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, title
    return match[1]


def table(title: str) -> list[list[str]]:
    """Return the cells of a section's table, without its two header lines."""
    rows = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def circuit(title: str) -> tuple[Values, Values]:
    """Return the values and gradients of a section's circuit, as printed on the page."""
    rows = table(title)
    return {row[0]: float(row[1]) for row in rows}, {row[0]: float(row[2]) for row in rows}


def printed(title: str) -> dict[str, Any]:
    """Return the numbers and lists of the lines `name = …`."""
    lines = re.findall(r"^ {4}(\w+) = ([\[\]\d., -]+)$", section(title), re.MULTILINE)
    return {name: ast.literal_eval(value) for name, value in lines}


def assert_printed(values: Values, published: Values, digits: int = 0) -> None:
    assert values.keys() == published.keys()
    for name, value in values.items():
        assert round(value, digits) == published[name], name


def by_autograd(values: dict[str, Tensor], inputs: list[str]) -> tuple[Values, Values]:
    """Return values and gradients of named tensors; `inputs` names the leaves."""
    for name, value in values.items():
        if name not in inputs:
            value.retain_grad()
    values["f"].backward()
    gradients = {name: value.grad for name, value in values.items()}
    return (
        {name: value.item() for name, value in values.items()},
        {name: gradient.item() for name, gradient in gradients.items() if gradient is not None},
    )


def leaves(**values: float) -> dict[str, Tensor]:
    return {
        name: torch.tensor(float(value), dtype=torch.float64, requires_grad=True)
        for name, value in values.items()
    }


def test_gradients_of_a_sum_and_a_product() -> None:
    x, y, z = -2.0, 5.0, -4.0
    q = x + y
    f = q * z
    dq, dz = z, q
    dx = dy = dq
    values = {"f": f, "q": q, "z": z, "x": x, "y": y}
    gradients = {"f": 1.0, "q": dq, "z": dz, "x": dx, "y": dy}

    tensors = leaves(x=x, y=y, z=z)
    tensors["q"] = tensors["x"] + tensors["y"]
    tensors["f"] = tensors["q"] * tensors["z"]
    assert by_autograd(tensors, ["x", "y", "z"]) == (values, gradients)

    assert circuit("A sum and a product") == (values, gradients)
    assert (-1.99 + y) * z == pytest.approx(-12.04)


def test_gradients_of_a_sigmoid_neuron_gate_by_gate() -> None:
    inputs = {"w0": 2.0, "x0": -1.0, "w1": -3.0, "x1": -2.0, "w2": -3.0}
    w0, x0, w1, x1, w2 = inputs.values()
    a, b = w0 * x0, w1 * x1
    s = a + b + w2
    n = -s
    e = math.exp(n)
    u = 1 + e
    f = 1 / u
    du = -1 / u**2
    de = du
    dn = e * de
    ds = -dn
    values = {"f": f, "u": u, "e": e, "n": n, "s": s, "a": a, "b": b, **inputs}
    gradients = {"f": 1.0, "u": du, "e": de, "n": dn, "s": ds, "a": ds, "b": ds, "w2": ds}
    gradients |= {"w0": x0 * ds, "x0": w0 * ds, "w1": x1 * ds, "x1": w1 * ds}

    t = leaves(**inputs)
    t |= {"a": t["w0"] * t["x0"], "b": t["w1"] * t["x1"]}
    t["s"] = t["a"] + t["b"] + t["w2"]
    t["n"] = -t["s"]
    t["e"] = t["n"].exp()
    t["u"] = t["e"] + 1
    t["f"] = 1 / t["u"]
    computed = by_autograd(t, list(inputs))
    assert computed[0] == pytest.approx(values)
    assert computed[1] == pytest.approx(gradients)

    published = circuit("A sigmoid neuron")
    assert_printed(values, published[0], 3)
    assert_printed(gradients, published[1], 3)
    # The published numbers of this example, independent of the page.
    assert [round(gradients[name], 3) for name in ("x0", "x1")] == [0.393, -0.590]
    assert [round(gradients[name], 3) for name in ("w0", "w1", "w2")] == [-0.197, -0.393, 0.197]
    assert round(f, 3) == 0.731


def test_sigmoid_as_one_gate_has_the_gradient_of_its_four_gates() -> None:
    s = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    f = torch.sigmoid(s)
    f.backward()
    assert s.grad is not None
    torch.testing.assert_close(s.grad, ((1 - f) * f).detach())
    assert round(float(s.grad), 3) == circuit("A sigmoid neuron")[1]["s"] == 0.197


def test_add_distributes_multiply_swaps_and_max_routes_the_gradient() -> None:
    inputs = {"x": 3.0, "y": 2.0, "z": -1.0, "v": 4.0}
    x, y, z, v = inputs.values()
    p, m = x * y, max(z, v)
    values = {"f": p + m, "p": p, "m": m, **inputs}
    dp = dm = 1.0
    gradients = {"f": 1.0, "p": dp, "m": dm, "x": y * dp, "y": x * dp, "z": dm * (z > v), "v": dm * (v > z)}

    t = leaves(**inputs)
    t |= {"p": t["x"] * t["y"], "m": torch.maximum(t["z"], t["v"])}
    t["f"] = t["p"] + t["m"]
    assert by_autograd(t, list(inputs)) == (values, gradients)

    assert circuit("What three gates do") == (values, gradients)


def test_weight_gradients_scale_with_the_inputs() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 10, dtype=torch.float64, requires_grad=True)
    images, upstream = torch.randn(10, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    (small,) = torch.autograd.grad(weight @ images, weight, upstream)
    (large,) = torch.autograd.grad(weight @ (1000 * images), weight, upstream)
    torch.testing.assert_close(large, 1000 * small)


def test_gradients_of_a_value_used_twice_add_up() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    (x * x).backward()
    assert x.grad is not None
    assert float(x.grad) == 2 * 3


def test_gradients_of_a_matrix_product() -> None:
    page = {name: torch.tensor(value, dtype=torch.float64) for name, value in printed("Matrices").items()}
    assert page.keys() == {"W", "X", "D", "dD", "dW", "dX"}
    assert_matrix_product_gradients(page["W"], page["X"], page["dD"], page["D"], page["dW"], page["dX"])
    torch.manual_seed(0)
    weight, images, upstream = (torch.randn(*shape).double() for shape in ((5, 10), (10, 3), (5, 3)))
    by_image = sum(torch.outer(upstream[:, image], images[:, image]) for image in range(3))
    assert_matrix_product_gradients(
        weight, images, upstream, weight @ images, torch.as_tensor(by_image), weight.T @ upstream
    )


def assert_matrix_product_gradients(
    weight: Tensor, images: Tensor, upstream: Tensor, product: Tensor, d_weight: Tensor, d_images: Tensor
) -> None:
    torch.testing.assert_close(weight @ images, product)
    torch.testing.assert_close(upstream @ images.T, d_weight)
    torch.testing.assert_close(weight.T @ upstream, d_images)
    weight, images = weight.clone().requires_grad_(), images.clone().requires_grad_()
    gradients = torch.autograd.grad(weight @ images, (weight, images), upstream)
    torch.testing.assert_close(gradients, (d_weight, d_images))


def test_gradient_of_softmax_cross_entropy_is_probabilities_minus_one_hot() -> None:
    page = printed("Softmax")
    exponentials = [math.exp(score - max(page["s"])) for score in page["s"]]
    p = [value / sum(exponentials) for value in exponentials]
    ds = [value - onehot for value, onehot in zip(p, [0, 0, 1], strict=True)]

    scores = torch.tensor(page["s"], dtype=torch.float64, requires_grad=True)
    loss = F.cross_entropy(scores, torch.tensor(2))
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == pytest.approx(ds)
    assert loss.item() == pytest.approx(-math.log(p[2]))
    assert sum(ds) == pytest.approx(0)

    assert [round(value, 3) for value in p] == page["p"]
    assert [round(value, 3) for value in ds] == page["ds"]
    assert round(loss.item(), 2) == page["loss"]


def test_subtracting_the_largest_score_keeps_softmax_and_avoids_overflow() -> None:
    with pytest.raises(OverflowError):
        math.exp(789)
    scores = torch.tensor([123.0, 456.0, 789.0], dtype=torch.float64)
    shifted = scores - scores.max()
    assert shifted.tolist() == [-666, -333, 0]
    assert torch.equal(scores.softmax(0), shifted.exp() / shifted.exp().sum())


def cross_correlation(values: list[int], window: list[int]) -> list[int]:
    """Return the cross-correlation of `values` with `window`, without padding."""
    return [
        sum(values[start + offset] * weight for offset, weight in enumerate(window))
        for start in range(len(values) - len(window) + 1)
    ]


def test_backward_pass_of_a_convolution_is_a_convolution_with_the_flipped_filter() -> None:
    page = printed("Convolution")
    x, w, dy = page["x"], page["w"], page["dy"]
    assert page["y"] == cross_correlation(x, w)
    assert page["flipped"] == w[::-1]
    assert page["padded"] == [0] * (len(w) - 1) + dy + [0] * (len(w) - 1)
    assert page["dx"] == cross_correlation(page["padded"], page["flipped"])
    assert page["dw"] == cross_correlation(x, dy)

    values, weight = (torch.tensor([[part]], dtype=torch.float64, requires_grad=True) for part in (x, w))
    outputs = F.conv1d(values, weight)
    outputs.backward(torch.tensor([[dy]], dtype=torch.float64))
    assert values.grad is not None
    assert weight.grad is not None
    computed = {"y": outputs, "dx": values.grad, "dw": weight.grad}
    assert {name: tensor[0, 0].tolist() for name, tensor in computed.items()} == {
        name: page[name] for name in ("y", "dx", "dw")
    }


def test_im2col_turns_a_convolution_and_its_gradients_into_matrix_products() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 3, 227, 227, dtype=torch.float64, requires_grad=True)
    filters = torch.randn(96, 3, 11, 11, dtype=torch.float64, requires_grad=True)
    outputs = F.conv2d(image, filters, stride=4)
    upstream = torch.randn_like(outputs)
    outputs.backward(upstream)

    # One column per window, windows in row-major order.
    windows = [
        image[0, :, row : row + 11, column : column + 11].flatten()
        for row in range(0, 227 - 10, 4)
        for column in range(0, 227 - 10, 4)
    ]
    side = round(len(windows) ** 0.5)
    with torch.no_grad():
        columns, rows, d_outputs = torch.stack(windows, 1), filters.flatten(1), upstream[0].flatten(1)
        products = {
            "map": torch.empty(side, side),
            "X_col": columns,
            "W_row": rows,
            "Y": rows @ columns,
            "dW_row": d_outputs @ columns.T,
            "dX_col": rows.T @ d_outputs,
        }
        added_back = torch.zeros_like(image[0])
        for position in range(len(windows)):
            row, column = 4 * (position // side), 4 * (position % side)
            window = products["dX_col"][:, position].view(3, 11, 11)
            added_back[:, row : row + 11, column : column + 11] += window
    torch.testing.assert_close(products["Y"].view_as(outputs), outputs.detach())
    torch.testing.assert_close(products["dW_row"].view_as(filters), filters.grad)
    torch.testing.assert_close(added_back[None], image.grad)

    shapes = {row[0]: row[1] for row in table("As one product of matrices")}
    assert shapes == {name: "x".join(map(str, matrix.shape)) for name, matrix in products.items()}
    assert shapes["X_col"] == "363x3025"
    text = section("As one product of matrices")
    for count in (image.numel(), columns.numel()):
        assert f"{count:,}".replace(",", " ") in text


def test_each_sigmoid_layer_reduces_the_gradient_to_a_quarter_or_less() -> None:
    points = torch.linspace(-20, 20, 4001, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(torch.sigmoid(points).sum(), points)
    assert float(slopes.max()) == 0.25
    assert points[slopes.argmax()].item() == pytest.approx(0, abs=1e-9)
    text = section("Why deep sigmoid networks stop learning")
    sigmoid_of_5 = 1 / (1 + math.exp(-5))
    assert f"{(1 - sigmoid_of_5) * sigmoid_of_5:.4f}" == "0.0066"
    assert "0.0066" in text

    for layers, fraction in table("Why deep sigmoid networks stop learning"):
        # Biases of -1/2 keep every unit at the largest slope.
        start = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
        value = torch.sigmoid(start)
        for _ in range(int(layers) - 1):
            value = torch.sigmoid(value - 0.5)
        (gradient,) = torch.autograd.grad(value, start)
        assert float(gradient) == 0.25 ** int(layers)
        assert f"{0.25 ** int(layers):.2g}" == f"{float(fraction):.2g}"
