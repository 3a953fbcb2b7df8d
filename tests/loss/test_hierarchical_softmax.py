"""Hierarchical softmax against torch's cross-entropies, closed forms and finite differences (C3)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnntrain.errors import ConfigError
from cnntrain.loss.class_tree import ClassTree, balanced, read_tree
from cnntrain.loss.hierarchical_softmax import HierarchicalSoftmax, TreeOutput, tables_of, tree_of

FEATURES = 6
UNEVEN = """
one: [a]
two: {x: [b, c, d], y: {u: [e, f], v: {w: [g, h, i, j], z: [k]}}}
three: [l, m, n, o, p]
"""


def criterion(output: TreeOutput) -> HierarchicalSoftmax:
    """Return the loss of a network with this output layer."""
    loss = HierarchicalSoftmax([str(label) for label in range(output.classes)], output.tree)
    loss.set_output(output)
    return loss


def numbered(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.fixture(params=["binary", "ternary", "wide", "file"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> ClassTree:
    if request.param == "file":
        path = tmp_path / "tree.yaml"
        path.write_text(UNEVEN)
        return read_tree(path, list("abcdefghijklmnop"))
    return {
        "binary": balanced(numbered(13)),
        "ternary": balanced(numbered(32), 3),
        "wide": balanced(numbered(23), 10),
    }[request.param]


def layer(tree: ClassTree) -> TreeOutput:
    """Return an output layer with random weights and biases."""
    torch.manual_seed(0)
    output = TreeOutput(FEATURES, tree)
    nn.init.normal_(output.weight)
    nn.init.normal_(output.bias)
    return output


def batch(classes: int, each: int = 2) -> tuple[Tensor, Tensor]:
    """Return features and labels with every class `each` times."""
    labels = torch.arange(classes).repeat(each)
    return torch.randn(len(labels), FEATURES), labels


def test_probabilities_of_all_classes_sum_to_one(tree: ClassTree) -> None:
    output = layer(tree).eval()
    features, _ = batch(tree.classes)
    probabilities = output(features).exp()
    assert probabilities.shape == (len(features), tree.classes)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(features)))


def test_log_probability_is_the_sum_of_log_softmaxes_on_the_path(tree: ClassTree) -> None:
    output = layer(tree).eval()
    features, _ = batch(tree.classes, 1)
    scores = F.linear(features, output.weight, output.bias)
    expected = torch.stack(
        [
            sum(scores[:, node.rows].log_softmax(1)[:, row - node.first] for node, row in tree.path(label))
            for label in range(tree.classes)
        ],
        1,
    )
    torch.testing.assert_close(output(features), expected)


def test_the_training_loss_equals_the_negative_log_probability_of_evaluation(tree: ClassTree) -> None:
    output = layer(tree)
    loss = criterion(output)
    features, labels = batch(tree.classes)
    training_loss = loss(output(features), labels).item()
    single = [loss(features[index, None], labels[index, None]).item() for index in range(len(labels))]
    output.eval()
    log_p = output(features)
    assert training_loss == pytest.approx(loss(log_p, labels).item(), abs=1e-5)
    assert single == pytest.approx((-log_p[torch.arange(len(labels)), labels]).tolist(), abs=1e-5)


def test_gradients_equal_finite_differences(tree: ClassTree) -> None:
    output = layer(tree).double()
    loss = criterion(output)
    features, labels = batch(tree.classes, 1)

    def loss_of(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        del output.weight, output.bias
        output.weight, output.bias = weight, bias
        return loss(output(features), labels)

    values = [tensor.detach().clone().requires_grad_() for tensor in (output.weight, output.bias)]
    inputs = (features.double().requires_grad_(), *values)
    assert torch.autograd.gradcheck(loss_of, inputs)
    output.eval()
    assert torch.autograd.gradcheck(loss_of, inputs)


def test_gradients_of_training_equal_those_of_evaluation(tree: ClassTree) -> None:
    output = layer(tree)
    loss = criterion(output)
    features, labels = batch(tree.classes, 3)
    features.requires_grad_()
    inputs = (features, output.weight, output.bias)
    training = torch.autograd.grad(loss(output(features), labels), inputs)
    output.eval()
    evaluation = torch.autograd.grad(loss(output(features), labels), inputs)
    torch.testing.assert_close(training, evaluation)


def test_a_flat_tree_equals_cross_entropy() -> None:
    output = layer(balanced(numbered(9), 9))
    loss = criterion(output)
    features, labels = batch(9)
    scores = F.linear(features, output.weight, output.bias)
    expected = F.cross_entropy(scores, labels)
    ours = loss(output(features), labels)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours, output.weight), torch.autograd.grad(expected, output.weight)
    )
    torch.testing.assert_close(output.eval()(features), scores.log_softmax(1))


def test_a_binary_tree_equals_a_sum_of_binary_cross_entropies() -> None:
    depth = 4
    tree = balanced(numbered(2**depth))
    output = layer(tree)
    features, labels = batch(2**depth)
    scores = F.linear(features, output.weight, output.bias)
    expected = torch.zeros(())
    for level in range(depth):
        # In a perfect binary tree the nodes of a level follow each other, two rows each.
        node = 2**level - 1 + (labels >> (depth - level))
        logits = scores.gather(1, (2 * node + 1)[:, None]) - scores.gather(1, (2 * node)[:, None])
        bit = labels >> (depth - 1 - level) & 1
        expected = expected + F.binary_cross_entropy_with_logits(logits[:, 0], bit.float())
    torch.testing.assert_close(criterion(output)(output(features), labels), expected)


@pytest.mark.parametrize(("classes", "branching"), [(64, 2), (64, 4), (1000, 10), (9, 9)])
def test_with_zero_weights_the_loss_is_the_log_of_the_number_of_classes(classes: int, branching: int) -> None:
    output = TreeOutput(FEATURES, balanced(numbered(classes), branching))
    nn.init.zeros_(output.weight)
    nn.init.zeros_(output.bias)
    features, labels = batch(classes, 1)
    assert criterion(output)(output(features), labels).item() == pytest.approx(math.log(classes))


def test_with_zero_weights_log_probabilities_follow_from_the_children_on_the_path(tree: ClassTree) -> None:
    output = TreeOutput(FEATURES, tree).eval()
    nn.init.zeros_(output.weight)
    nn.init.zeros_(output.bias)
    expected = [
        -sum(math.log(node.children) for node, _ in tree.path(label)) for label in range(tree.classes)
    ]
    assert output(torch.ones(1, FEATURES))[0].tolist() == pytest.approx(expected)


def test_a_hit_needs_the_largest_score_at_every_node_of_the_path(tree: ClassTree) -> None:
    output = layer(tree)
    features, labels = batch(tree.classes, 20)
    scores = F.linear(features, output.weight, output.bias)
    expected = [
        all(node.first + image_scores[node.rows].argmax().item() == row for node, row in tree.path(label))
        for image_scores, label in zip(scores, labels.tolist(), strict=True)
    ]
    hits = criterion(output).path_hits(output(features), labels)
    assert hits.tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_each_image_hits_exactly_one_class(tree: ClassTree) -> None:
    output = layer(tree)
    features, _ = batch(tree.classes, 1)
    loss = criterion(output)
    hits = [loss.path_hits(features, torch.full((len(features),), label)) for label in range(tree.classes)]
    assert torch.stack(hits).sum(0).tolist() == [1] * len(features)


def test_scores_are_computed_in_float32_under_autocast(tree: ClassTree) -> None:
    output = layer(tree)
    loss = criterion(output)
    features, labels = batch(tree.classes)
    features = features.bfloat16()
    expected = loss(output(features.float()), labels)
    with torch.autocast("cpu", torch.bfloat16):
        training_loss = loss(output(features), labels)
        log_p = output.eval()(features)
    assert training_loss.dtype == log_p.dtype == torch.float32
    torch.testing.assert_close(training_loss, expected, rtol=0, atol=0)
    torch.testing.assert_close(loss(log_p, labels), expected)


def test_the_layer_replaces_a_linear_layer_and_has_only_weight_and_bias(tree: ClassTree) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(500, 10)
    output = TreeOutput.from_linear(linear, tree)
    assert isinstance(output, nn.Linear)
    assert {name: tuple(tensor.shape) for name, tensor in output.state_dict().items()} == {
        "weight": (tree.rows, 500),
        "bias": (tree.rows,),
    }
    assert output.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not output.bias.any()
    loss = criterion(output)
    assert not list(loss.parameters())


def test_gradients_are_deterministic() -> None:
    output = layer(balanced(numbered(40), 5))
    loss = criterion(output)
    features, labels = batch(40, 10)
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (torch.autograd.grad(loss(output(features), labels), output.weight) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first[0], second[0])


def test_a_network_learns_the_classes_of_a_tree() -> None:
    """Sixteen points on a grid in the plane, one class each."""
    torch.manual_seed(0)
    points = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)) - 1.5
    output = TreeOutput.from_linear(nn.Linear(64, 16), balanced(numbered(16)))
    network = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), output)
    loss, labels = criterion(output), torch.arange(16)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        loss(network(points), labels).backward()
        optimizer.step()
    assert loss.path_hits(network(points), labels).all()
    assert network.eval()(points).argmax(1).tolist() == labels.tolist()


def test_shapes_are_computed_on_the_meta_device(tree: ClassTree) -> None:
    """Costs are counted on the meta device."""
    output = TreeOutput(FEATURES, tree).to("meta")
    features = torch.empty(3, FEATURES, device="meta", requires_grad=True)
    loss = criterion(output)(output(features), torch.zeros(3, dtype=torch.int64, device="meta"))
    shapes = [gradient.shape for gradient in torch.autograd.grad(loss, (features, output.weight))]
    assert shapes == [(3, FEATURES), (tree.rows, FEATURES)]
    assert output.eval()(features).shape == (3, tree.classes)


def test_a_tree_is_restored_from_its_tensors(tree: ClassTree) -> None:
    restored = tree_of(tables_of(tree))
    assert restored.nodes == tree.nodes
    assert restored.leaf_rows == tree.leaf_rows
    assert [restored.path(label) for label in range(tree.classes)] == [
        tree.path(label) for label in range(tree.classes)
    ]


@pytest.mark.parametrize("name", ["lenet5_original", "convolution"])
def test_networks_without_a_last_linear_layer_are_refused(name: str) -> None:
    from cnntrain.model.settings.lenet import LeNet5Original

    loss = HierarchicalSoftmax(numbered(5), balanced(numbered(5)))
    network = (
        LeNet5Original().build(1, loss.outputs, (32, 32), None)
        if name == "lenet5_original"
        else nn.Sequential(nn.Conv2d(1, loss.outputs, 1), nn.Flatten())
    )
    with pytest.raises(ConfigError, match="one linear layer"):
        loss.adapt_network(network)
