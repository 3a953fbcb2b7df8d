"""Precision, recall and F1 of each class or attribute, and their averages, from counts of images."""

from __future__ import annotations

AVERAGED = ("precision", "recall", "f1")
Entry = dict[str, float | None]


def precision_recall(images: int, predicted: int, correct: int) -> Entry:
    """Return precision, recall, F1 and support of a class or attribute.

    images: that are of it, its support. predicted: images predicted to be of it. correct: of these, images
    that are. Without predictions it has no precision, without images no recall, without both no F1: None.
    """
    return {
        "precision": correct / predicted if predicted else None,
        "recall": correct / images if images else None,
        "f1": 2 * correct / (images + predicted) if images + predicted else None,
        "support": images,
    }


def averages(entries: list[Entry]) -> dict[str, Entry]:
    """Return the means of precision, recall and F1 over classes: macro, and weighted by their support.

    As in scikit-learn: a class has a part in the macro average if it has images or predictions, and what is
    undefined of it counts as 0. Both are None where there is no such class, or no image.
    """
    counted = [entry for entry in entries if entry["f1"] is not None]
    total = sum(entry["support"] or 0 for entry in counted)
    macro: Entry = {
        name: sum(entry[name] or 0.0 for entry in counted) / len(counted) if counted else None
        for name in AVERAGED
    }
    weighted: Entry = {
        name: sum((entry[name] or 0.0) * (entry["support"] or 0) for entry in counted) / total
        if total
        else None
        for name in AVERAGED
    }
    return {"macro": macro, "weighted": weighted}
