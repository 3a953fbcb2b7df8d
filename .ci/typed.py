"""mypy accepts this only where it sees the types of an installed cnntrain: else nothing is to be ignored."""

import cnntrain

number: int = cnntrain.load("run")  # type: ignore[assignment]
