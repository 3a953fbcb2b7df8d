"""Metrics of real values per image (D7)."""

from __future__ import annotations

from .accumulator import CollectingMetrics, Result, defined, mean_of_known


class ValueMetrics(CollectingMetrics):
    """Mean absolute error and R², per value and averaged.

    R², the fraction of variance explained, is None for a value that is the same in all images. Both are None
    where predictions are not finite.
    """

    def result(self) -> Result:
        predictions, labels = self._all()
        errors = (predictions - labels).abs().mean(0).tolist()
        totals = (labels - labels.mean(0)).square().sum(0)
        residuals = (predictions - labels).square().sum(0)
        explained = [
            1 - residual / total if total else None
            for residual, total in zip(residuals.tolist(), totals.tolist(), strict=True)
        ]
        values = {
            "mean_absolute_error": defined(mean_of_known(errors)),
            "r2": defined(mean_of_known(explained)),
        }
        details = {
            name: {"mean_absolute_error": defined(mean), "r2": defined(r2)}
            for name, mean, r2 in zip(self.names, errors, explained, strict=True)
        }
        return Result(values, {"per_value": details})
