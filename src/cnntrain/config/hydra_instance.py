"""Hydra with our YAML files, the user's, and the options' dataclasses as schemas; slow to import."""

from __future__ import annotations

from pathlib import Path

from hydra import version as hydra_version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType

from ..settings.config_tree import Config
from .choice_files import built_in_folder
from .option_table import OPTIONS, names_of


class _ConfigLoader(ConfigLoaderImpl):
    """Hydra's loader, which does not offer our schemas as choices in tab completion."""

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        found = super().get_group_options(group_name, results_filter, config_name, overrides)
        return [entry for entry in found if entry != "schema"]


def create_hydra(user_folder: Path | None) -> Hydra:
    """Return a Hydra instance with our files and those of the user's folder on its search path."""
    ConfigStore.instance().store(group="schema", name="root", node=Config)
    hydra_version.setbase("1.3")
    path = create_config_search_path(str(built_in_folder()))
    if user_folder is not None:
        path.prepend("command-line", f"file://{user_folder}", SearchPathQuery(provider="main"))
    GlobalHydra.instance().clear()
    hydra = Hydra("cnntrain", _ConfigLoader(path))
    GlobalHydra.instance().initialize(hydra)
    return hydra


def store_schema(group: str, option: type) -> None:
    """Put an option's dataclass into Hydra's ConfigStore, under its name and its former ones."""
    for name in names_of(option):
        ConfigStore.instance().store(group=f"schema/{group}", name=name, node=option)


def store_all_schemas() -> None:
    """Put the dataclasses of all options into Hydra's ConfigStore; slower than composing a run."""
    for group, options in OPTIONS.items():
        for option in options:
            store_schema(group, option)
