"""How well scores rank the images that have something before those that do not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ranking:
    """The quality of a ranking by scores.

    auroc: the area under the ROC curve, which is the probability that an image that has it scores higher than
    one that has not, equal scores counting as a half; None where all images have it, or none.
    average_precision: the area under precision over recall, the sum of (R_n - R_{n-1})·P_n over the
    thresholds; None where no image has it. Both are None where scores are not finite.
    """

    auroc: float | None
    average_precision: float | None


def ranking(labels: Tensor, scores: Tensor) -> Ranking:
    """Return the quality of scores (N,) for labels (N,) 0 or 1; equal scores share one threshold."""
    if not scores.isfinite().all():
        return Ranking(None, None)
    ordered, order = scores.sort(descending=True)
    hits = labels[order].long().cumsum(0)
    # Each threshold is after the last of a run of equal scores.
    last = torch.cat([ordered[1:] != ordered[:-1], ordered.new_ones(1, dtype=torch.bool)]).nonzero().flatten()
    hits, ranks = hits[last].double(), last + 1
    misses = ranks - hits
    new_hits, new_misses = (counts.diff(prepend=counts.new_zeros(1)) for counts in (hits, misses))
    sums = torch.stack(
        [hits[-1], misses[-1], (new_misses * (hits - new_hits / 2)).sum(), (new_hits * hits / ranks).sum()]
    )
    positives, negatives, pairs, precisions = sums.tolist()
    return Ranking(
        auroc=pairs / (positives * negatives) if positives and negatives else None,
        average_precision=precisions / positives if positives else None,
    )


def log_odds(scores: Tensor) -> Tensor:
    """Return log(p/(1 - p)) of each class's probability p in the softmax of scores (N, K), K at least 2.

    It orders images as p does, of which the highest would be rounded to 1 and so to equal ones.
    """
    if scores.shape[1] == 2:
        difference = scores[:, 1] - scores[:, 0]
        return torch.stack([-difference, difference], 1)
    best = scores.argmax(1, keepdim=True)
    total = scores.logsumexp(1, keepdim=True)
    # log(1 - p): as it is for all but the most probable class, of which it is the sum over the others.
    others = total + torch.log1p(-(scores - total).exp())
    of_best = scores.scatter(1, best, -torch.inf).logsumexp(1, keepdim=True)
    return scores - others.scatter(1, best, of_best)
