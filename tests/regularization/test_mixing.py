"""Mixup, CutMix and noise (R8, R9)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from cnntrain.regularization.mixing import Mixed, add_noise, cutmix, mix, mixup
from cnntrain.regularization.settings import Regularizers


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(6, 3, 10, 8), torch.tensor([0, 1, 2, 0, 1, 2])


def test_the_loss_of_mixed_inputs_is_cross_entropy_with_mixed_targets() -> None:
    inputs, labels = batch()
    mixed = mix(inputs, labels, Regularizers(mixup=1.0), seed=0, step=3, part=0)
    assert mixed.other_labels is not None
    scores = torch.randn(6, 3)
    targets = mixed.lam * F.one_hot(mixed.labels, 3) + (1 - mixed.lam) * F.one_hot(mixed.other_labels, 3)
    torch.testing.assert_close(mixed.loss(F.cross_entropy, scores), F.cross_entropy(scores, targets))


def test_mixup_is_the_weighted_sum_of_images() -> None:
    inputs, _ = batch()
    order = torch.tensor([1, 2, 3, 4, 5, 0])
    torch.testing.assert_close(mixup(inputs, order, 0.3), 0.3 * inputs + 0.7 * inputs[order])


@pytest.mark.parametrize(("row", "column"), [(0.5, 0.5), (0.0, 0.99), (0.9, 0.2)])
def test_cutmix_pastes_one_box_and_returns_the_remaining_fraction(row: float, column: float) -> None:
    inputs, _ = batch()
    order = torch.tensor([1, 2, 3, 4, 5, 0])
    mixed, lam = cutmix(inputs, order, 0.5, row, column)
    pasted = (mixed != inputs).any(1)
    assert torch.equal(mixed.permute(0, 2, 3, 1)[pasted], inputs[order].permute(0, 2, 3, 1)[pasted])
    assert pasted[0].float().mean().item() == pytest.approx(1 - lam)
    rows, columns = pasted[0].any(1).nonzero(), pasted[0].any(0).nonzero()
    box = pasted[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert box.all()


def test_cutmix_equals_torchvisions() -> None:
    inputs, labels = batch()
    order = torch.arange(6).roll(1)
    theirs = v2.CutMix(alpha=1.0, num_classes=3)
    distribution = torch.distributions.Beta(1.0, 1.0)
    for seed in range(15):
        torch.manual_seed(seed)
        expected, targets = theirs(inputs, labels)
        torch.manual_seed(seed)  # torchvision draws lam, the column and the row
        lam = distribution.sample().item()
        column, row = torch.randint(8, (1,)).item(), torch.randint(10, (1,)).item()
        mixed, fraction = cutmix(inputs, order, lam, (row + 0.5) / 10, (column + 0.5) / 8)
        assert torch.equal(mixed, expected)
        one_hot = F.one_hot(labels, 3)
        torch.testing.assert_close(fraction * one_hot + (1 - fraction) * one_hot[order], targets)


@pytest.mark.parametrize("settings", [Regularizers(mixup=1.0), Regularizers(cutmix=1.0)])
def test_other_labels_are_those_of_the_images_mixed_in(settings: Regularizers) -> None:
    inputs, labels = batch()[0], torch.arange(6)
    for step in range(20):
        mixed = mix(inputs, labels, settings, 3, step, 0)
        assert mixed.other_labels is not None
        assert torch.equal(mixed.labels, labels)
        assert sorted(mixed.other_labels.tolist()) == labels.tolist()
        others = inputs[mixed.other_labels]
        if settings.mixup:
            torch.testing.assert_close(mixed.inputs, mixed.lam * inputs + (1 - mixed.lam) * others)
        else:
            kept, pasted = mixed.inputs == inputs, mixed.inputs == others
            assert (kept | pasted).all()
            different = (others != inputs).flatten(1).all(1)
            assert kept[different].float().mean((1, 2, 3)).tolist() == pytest.approx(
                [mixed.lam] * int(different.sum())
            )


def test_the_dominant_labels_are_those_of_the_larger_part() -> None:
    inputs, labels = batch()
    others = labels.roll(1)
    assert Mixed(inputs, labels, others, 0.6).dominant_labels() is labels
    assert Mixed(inputs, labels, others, 0.4).dominant_labels() is others
    unmixed = mix(inputs, labels, Regularizers(), 0, 0, 0)
    assert unmixed.dominant_labels() is labels
    assert unmixed.lam == 1
    scores = torch.randn(6, 3)
    assert unmixed.loss(F.cross_entropy, scores) == F.cross_entropy(scores, labels)


def test_mixing_coefficients_follow_the_beta_distribution_and_depend_only_on_the_step() -> None:
    inputs, labels = batch()
    settings = Regularizers(mixup=0.4)
    lams = torch.tensor([mix(inputs, labels, settings, 0, step, 0).lam for step in range(2000)])
    assert lams.mean().item() == pytest.approx(0.5, abs=0.03)
    assert lams.var().item() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.1)
    first, second = (mix(inputs, labels, settings, 0, 5, 1) for _ in range(2))
    assert torch.equal(first.inputs, second.inputs)
    assert mix(inputs, labels, settings, 0, 6, 1).lam != first.lam


def test_mixup_and_cutmix_are_chosen_at_random_and_without_both_inputs_are_unchanged() -> None:
    inputs, labels = batch()
    both = Regularizers(mixup=1.0, cutmix=1.0)
    is_cutmix = []
    for step in range(60):
        mixed = mix(inputs, labels, both, 0, step, 0)
        is_cutmix.append(bool(torch.isin(mixed.inputs, inputs).all()))  # CutMix makes no new pixels
    assert 15 < sum(is_cutmix) < 45
    assert mix(inputs, labels, Regularizers(), 0, 0, 0).inputs is inputs


def test_noise_has_the_given_standard_deviation() -> None:
    torch.manual_seed(0)
    inputs = torch.zeros(4, 3, 50, 50)
    assert add_noise(inputs, 0.3).std().item() == pytest.approx(0.3, rel=0.02)
    assert add_noise(inputs, 0.0) is inputs


def test_noise_is_added_to_the_inputs() -> None:
    inputs, _ = batch()
    torch.manual_seed(1)
    noise = torch.randn(6, 3, 10, 8)
    torch.manual_seed(1)
    torch.testing.assert_close(add_noise(inputs, 0.3), inputs + 0.3 * noise)
