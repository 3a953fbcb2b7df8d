"""Which pixels of an image a prediction depends on, of any predictor."""

from __future__ import annotations

import torch
from torch import Tensor

from ..settings.nearest_name import did_you_mean
from .explanation import Explanation
from .explanation_maps import occlusion_map
from .predictor import NONE_OF_THEM, Predictor, with_none_of_them

# The least number of which a logarithm is taken.
TINY = torch.finfo(torch.float32).tiny
METHODS = ("occlusion", "gradient")


def explain_pixels(predictor: Predictor, pixels: Tensor, class_name: str | None, method: str) -> Explanation:
    """Return the map of an image uint8 of the predictor's `image_shape`; see `ImagePredictor.explain`."""

    def answers(images: Tensor) -> tuple[list[str], Tensor]:
        results = predictor.predict(images)
        is_of_classes = predictor.target == "classes"
        return with_none_of_them(predictor, results) if is_of_classes else (predictor.names, results)

    names, results = answers(pixels[None])
    if class_name is None:
        index = 0 if predictor.target == "values" else int(results[0].argmax())
    elif class_name in names:
        index = names.index(class_name)
    else:
        raise ValueError(f"the network has no {class_name!r}; {did_you_mean(str(class_name), names)}")
    if method == "occlusion":
        follow = FOLLOWED[predictor.target]
        values = occlusion_map(lambda images: follow(answers(images)[1], index), pixels, predictor.batch_size)
    elif index == len(predictor.names):
        raise ValueError(f"{NONE_OF_THEM!r} has no score and no gradient; use method='occlusion'")
    else:
        values = predictor.gradient_map(pixels, index)
    return Explanation(values, pixels, names[index], float(results[0, index]), method)


def _log_odds_of_class(probabilities: Tensor, index: int) -> Tensor:
    """Return the logarithm of a class's probability by that of all others together, (n,).

    It changes where the probability is so close to 1 that float32 has no number between.
    """
    others = probabilities.clone()
    others[:, index] = 0
    return probabilities[:, index].clamp(min=TINY).log() - others.sum(1).clamp(min=TINY).log()


def _log_odds_of_attribute(probabilities: Tensor, index: int) -> Tensor:
    return probabilities[:, index].logit(eps=torch.finfo(torch.float32).eps)


def _value(values: Tensor, index: int) -> Tensor:
    return values[:, index]


# What an occlusion map follows.
FOLLOWED = {"classes": _log_odds_of_class, "attributes": _log_odds_of_attribute, "values": _value}
