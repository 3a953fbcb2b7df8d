"""The YAML files of the choices."""

from __future__ import annotations

import pytest

from cnntrain.config.choice_files import Choices
from cnntrain.config.option_table import name_of
from cnntrain.settings.config_tree import GROUPS
from cnntrain.settings.fields import convert, type_of

CHOICES = Choices()
# Where a file deliberately differs: only with schedule=cosine, the default, is a warm-up the default.
DIFFERENT = {("schedule", "warmup_epochs")}


@pytest.mark.parametrize("group", GROUPS)
def test_a_file_named_after_its_option_restates_its_defaults(group: str) -> None:
    for choice in CHOICES.all(group):
        assert choice.schema is not None
        if choice.name != name_of(choice.schema):
            continue
        for name, value in choice.values.items():
            if (group, name) not in DIFFERENT:
                written = convert(type_of(choice.schema, name), value)
                assert written == getattr(choice.schema(), name), f"{group}={choice.name}: {name}"
