"""Losses of the user's own: their mean over images, and what a trial on random scores finds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnntrain.errors import ConfigError, DataError
from cnntrain.loss.criterion import Criterion
from cnntrain.loss.settings import Custom

NAMES = ["a", "b", "c"]


def focal(scores: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    losses = F.cross_entropy(scores, labels, reduction="none")
    return (1 - (-losses).exp()) ** gamma * losses


def of_all(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels, reduction="sum")


def detached(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels, reduction="none").detach()


def errors(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.argmax(1) != labels


def squares(scores: Tensor, labels: Tensor) -> Tensor:
    return (scores - labels).square()


def infinite(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.sum(1).sqrt()


class Learned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))


class Weighted(nn.Module):
    """Cross-entropy with weights of classes in a buffer."""

    def __init__(self, first: float):
        super().__init__()
        self.register_buffer("weights", torch.tensor([first, 1.0, 1.0]))

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels, self.get_buffer("weights"), reduction="none")


def build(name: str, state: dict[str, Tensor] | None = None, **settings: Any) -> Criterion:
    path = name if ":" in name else f"{__name__}:{name}"
    return Custom(function=path, **settings).build(NAMES, state or {}, 0.0)


def test_the_focal_loss_without_focus_is_cross_entropy() -> None:
    scores, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    unfocused = build("focal", arguments={"gamma": 0.0})
    torch.testing.assert_close(unfocused(scores, labels), F.cross_entropy(scores, labels))
    assert build("focal")(scores, labels) < F.cross_entropy(scores, labels)


@pytest.mark.parametrize(
    ("target", "function", "labels"),
    [
        ("classes", "torch.nn:CrossEntropyLoss", torch.tensor([0, 2])),
        ("classes", "torch.nn.functional:multi_margin_loss", torch.tensor([0, 2])),
        ("attributes", "torch.nn:BCEWithLogitsLoss", torch.tensor([[0.0, 1, 1], [1, 0, 0]])),
        ("values", "torch.nn.functional:huber_loss", torch.tensor([[0.5, 1, 1], [1, 0, 7]])),
    ],
)
def test_losses_of_torch_are_means_over_the_batch_for_every_kind_of_label(
    target: str, function: str, labels: Tensor
) -> None:
    criterion = build(function, target=target)
    scores = torch.randn(2, 3, generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)
    module, name = function.split(":")
    called = getattr({"torch.nn": nn, "torch.nn.functional": F}[module], name)
    expected = called()(scores.float(), labels) if module == "torch.nn" else called(scores.float(), labels)
    assert torch.equal(criterion(scores, labels), expected)
    assert (criterion.primary_metric_name == "mean_absolute_error") == (target == "values")


def of_hardest(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels, reduction="none").topk(100).values.mean()


def contrastive(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the supervised contrastive loss, which grows with the number of images (Khosla et al. 2020)."""
    similar = F.normalize(scores) @ F.normalize(scores).T / 0.1
    others = ~torch.eye(len(labels), dtype=torch.bool)
    alike = (labels[:, None] == labels) & others
    logs = similar - similar.masked_fill(~others, -torch.inf).logsumexp(1, keepdim=True)
    return -((logs * alike).sum(1) / alike.sum(1)).mean()


@pytest.mark.parametrize("names", [3, 10, 100])
def test_a_loss_that_compares_the_images_of_a_batch_is_accepted(names: int) -> None:
    for function in ("of_hardest", "contrastive"):
        Custom(function=f"{__name__}:{function}").build([str(name) for name in range(names)], {}, 0.0)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("of_all", {}, "so it is no mean over images; return the loss of each image"),
        ("detached", {}, "its result has no gradient"),
        ("errors", {}, "returned a tensor of type bool; it must return floats"),
        (
            "squares",
            {"target": "values"},
            "returned a tensor (128, 3) for 128 images; it must return the loss of ea",
        ),
        ("infinite", {}, "its gradient with respect to the scores is missing or not finite"),
        ("Learned", {}, "has weights of its own (temperature), which the optimizer does not get"),
        ("Weighted", {}, "needs the argument first; write +loss.arguments.first=VALUE"),
        ("focal", {"arguments": {"gama": 1}}, "focal has no argument gama; did you mean gamma?"),
        (
            "focal",
            {"arguments": {"labels": 1}},
            "labels is passed by the program; take it out of loss.arguments",
        ),
        ("builtins:dict", {}, "is a class, but no torch.nn.Module"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_the_reason(
    name: str, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(name, **settings)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_buffers_are_those_of_the_checkpoint() -> None:
    state = build("Weighted", arguments={"first": 3.0}).state_dict()
    restored = build("Weighted", state, arguments={"first": 5.0})
    assert restored.state_dict()["called.weights"].tolist() == [3.0, 1.0, 1.0]
    with pytest.raises(DataError, match="its buffers are not those of the checkpoint"):
        build("focal", state)
