"""A sample of a stream of unknown length: up to a number of items, evenly spaced."""

from __future__ import annotations

from typing import Generic, TypeVar

Item = TypeVar("Item")


class EvenSample(Generic[Item]):
    """Keeps every k-th of the items that are added, k being doubled where they would be too many."""

    def __init__(self, size: int):
        self._size = size
        self._items: list[Item] = []
        self._every = 1
        self._seen = 0

    def takes_next(self) -> bool:
        """Return whether the next item would be kept."""
        return self._seen % self._every == 0

    def add(self, item: Item | None) -> None:
        """Add the next item; it may be None where it would not be kept."""
        if self.takes_next():
            assert item is not None
            if len(self._items) == 2 * self._size:
                self._items = self._items[::2]
                self._every *= 2
            self._items.append(item)
        self._seen += 1

    def chosen(self) -> list[Item]:
        """Return at most `size` of the items, in order, the first and the last that were kept among them."""
        count = len(self._items)
        if count <= self._size:
            return self._items
        return [self._items[round(rank * (count - 1) / (self._size - 1))] for rank in range(self._size)]
