"""Registries of plugins: readers, networks, recipes, providers, formats, masks.

Built-in plugins are listed by address and imported only when they are chosen. Other packages register theirs as entry
points of the registry's group, for instance in their pyproject.toml::

    [project.entry-points."headwater.scene_readers"]
    my_reader = "my_package.reader:MyScene"
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from headwater.core.errors import InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """Plugins of one kind by name.

    Parameters
    ----------
    kind : str
        What they are, for messages: "scene reader".
    group : str
        Entry point group in which other packages register theirs.
    builtin : mapping
        Address of each built-in plugin, "package.module:attribute".
    """

    def __init__(self, kind: str, *, group: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self._addresses = dict(builtin)
        self._added: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of all plugins: built-in ones first, then those of other packages."""
        return tuple(dict.fromkeys((*self._addresses, *self._added, *_entry_points(self.group))))

    def add(self, name: str, plugin: T) -> None:
        """Register a plugin for this process, for instance from a notebook.

        Raises
        ------
        InputError
            The name is taken.
        """
        if name in self.names():
            raise InputError(f"There is a {self.kind} {name!r} already.", "Choose another name.")
        self._added[name] = plugin

    def load(self, name: str) -> T:
        """Return a plugin, importing it if needed.

        Raises
        ------
        InputError
            There is no plugin of that name, or it cannot be imported; the other plugins stay usable.
        """
        if name in self._added:
            return self._added[name]
        foreign = _entry_points(self.group)
        if name not in self._addresses and name not in foreign:
            raise InputError(f"There is no {self.kind} {name!r}.", f"Use one of: {', '.join(self.names())}.")
        try:
            if name in self._addresses:
                module, _, attribute = self._addresses[name].partition(":")
                plugin: Any = getattr(import_module(module), attribute)
            else:
                plugin = foreign[name].load()
        except Exception as error:  # whatever another package raises while it is imported
            address = self._addresses.get(name) or foreign[name].value
            raise InputError(
                f"The {self.kind} {name!r} ({address}) cannot be imported: {type(error).__name__}: {error}.",
                "Install what it needs, or choose another one.",
            ) from error
        return plugin  # type: ignore[no-any-return]


@cache
def _entry_points(group: str) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
