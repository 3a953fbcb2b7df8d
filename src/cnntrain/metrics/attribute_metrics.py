"""Metrics of several independent yes/no attributes per image (D7)."""

from __future__ import annotations

from .accumulator import CollectingMetrics, Result, mean_of_known
from .precision_recall import averages, precision_recall
from .ranking import ranking


class AttributeMetrics(CollectingMetrics):
    """Accuracy, precision, recall and F1 (a score > 0 means present), and what rankings by scores are worth.

    Per attribute and averaged over those of which they are defined.
    """

    def result(self) -> Result:
        scores, labels = self._all()
        predicted, present = scores > 0, labels > 0.5
        accuracies = (predicted == present).double().mean(0).tolist()
        counts = [part.sum(0).tolist() for part in (present, predicted, predicted & present)]
        entries = [precision_recall(*of_attribute) for of_attribute in zip(*counts, strict=True)]
        rankings = [ranking(present[:, i], scores[:, i]) for i in range(len(self.names))]
        means = averages(entries)
        values = {
            "accuracy": mean_of_known(accuracies),
            "macro_f1": means["macro"]["f1"],
            "auroc": mean_of_known([one.auroc for one in rankings]),
            "average_precision": mean_of_known([one.average_precision for one in rankings]),
        }
        details = {
            name: {"accuracy": accuracy, **entry, **vars(one)}
            for name, accuracy, entry, one in zip(self.names, accuracies, entries, rankings, strict=True)
        }
        return Result(values, {"per_attribute": details, "averages": means})
