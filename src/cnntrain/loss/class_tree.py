"""A tree whose leaves are the classes: balanced, from a YAML file, or CIFAR-100's superclasses (C3).

Each inner node has one row (one score per image) for each of its children; a class is determined by one
decision at each node from the root down. Rows are ordered by depth, within a depth by the number of children:
all nodes with equal depth and number of children have consecutive rows and are computed as one block.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import DataError, first_line
from ..settings.nearest_name import did_you_mean

# A group is a list of classes (names, later labels) and groups.
Group = list[Any]

MAX_NAMED = 10

# Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
CIFAR100_SUPERCLASSES = {
    "aquatic_mammals": ["beaver", "dolphin", "otter", "seal", "whale"],
    "fish": ["aquarium_fish", "flatfish", "ray", "shark", "trout"],
    "flowers": ["orchid", "poppy", "rose", "sunflower", "tulip"],
    "food_containers": ["bottle", "bowl", "can", "cup", "plate"],
    "fruit_and_vegetables": ["apple", "mushroom", "orange", "pear", "sweet_pepper"],
    "household_electrical_devices": ["clock", "keyboard", "lamp", "telephone", "television"],
    "household_furniture": ["bed", "chair", "couch", "table", "wardrobe"],
    "insects": ["bee", "beetle", "butterfly", "caterpillar", "cockroach"],
    "large_carnivores": ["bear", "leopard", "lion", "tiger", "wolf"],
    "large_man-made_outdoor_things": ["bridge", "castle", "house", "road", "skyscraper"],
    "large_natural_outdoor_scenes": ["cloud", "forest", "mountain", "plain", "sea"],
    "large_omnivores_and_herbivores": ["camel", "cattle", "chimpanzee", "elephant", "kangaroo"],
    "medium_mammals": ["fox", "porcupine", "possum", "raccoon", "skunk"],
    "non-insect_invertebrates": ["crab", "lobster", "snail", "spider", "worm"],
    "people": ["baby", "boy", "girl", "man", "woman"],
    "reptiles": ["crocodile", "dinosaur", "lizard", "snake", "turtle"],
    "small_mammals": ["hamster", "mouse", "rabbit", "shrew", "squirrel"],
    "trees": ["maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"],
    "vehicles_1": ["bicycle", "bus", "motorcycle", "pickup_truck", "train"],
    "vehicles_2": ["lawn_mower", "rocket", "streetcar", "tank", "tractor"],
}


@dataclass(frozen=True)
class Node:
    """An inner node: its children have the rows `first` … `first + children - 1`.

    depth: 0 at the root. parent: the row that leads to this node, None at the root.
    """

    first: int
    children: int
    depth: int
    parent: int | None

    @property
    def rows(self) -> range:
        """The rows of its children."""
        return range(self.first, self.first + self.children)


class ClassTree:
    """The nodes of a tree in the order of their rows, and the row that leads to each class.

    nodes: the inner nodes, by depth. leaf_rows: for each label, the row of its last decision. first_rows: for
    each depth, its first row. rows: the number of rows.
    """

    def __init__(self, root: Group):
        """Build the tree of nested lists of the labels 0 … K - 1, each once; no list is shorter than two."""
        self.nodes: list[Node] = []
        rows_of_labels: dict[int, int] = {}
        self.rows = 0
        level: list[tuple[Group, int | None]] = [(root, None)]
        self.first_rows: list[int] = []
        while level:
            below: list[tuple[Group, int | None]] = []
            self.first_rows.append(self.rows)
            for children, parent in sorted(level, key=lambda entry: len(entry[0])):
                self.nodes.append(Node(self.rows, len(children), self.depth - 1, parent))
                for child in children:
                    if isinstance(child, int):
                        rows_of_labels[child] = self.rows
                    else:
                        below.append((child, self.rows))
                    self.rows += 1
            level = below
        self.leaf_rows = [rows_of_labels[label] for label in range(len(rows_of_labels))]
        self._firsts = [node.first for node in self.nodes]

    @classmethod
    def from_tables(
        cls, parents: Sequence[int], children: Sequence[int], leaf_rows: Sequence[int]
    ) -> ClassTree:
        """Return the tree whose nodes, in order, have these parent rows (-1 at the root) and child counts."""
        labels = {row: label for label, row in enumerate(leaf_rows)}
        below = {parent: number for number, parent in enumerate(parents)}
        firsts = [0, *itertools.accumulate(children)]

        def group(number: int) -> Group:
            rows = range(firsts[number], firsts[number + 1])
            return [labels[row] if row in labels else group(below[row]) for row in rows]

        return cls(group(0))

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.leaf_rows)

    @property
    def depth(self) -> int:
        """The largest number of decisions for a class."""
        return len(self.first_rows)

    def node_of(self, row: int) -> Node:
        """Return the node to whose children a row belongs."""
        return self.nodes[bisect.bisect_right(self._firsts, row) - 1]

    def path(self, label: int) -> list[tuple[Node, int]]:
        """Return the decisions that lead to a class, from the root: each node and the row chosen there."""
        decisions: list[tuple[Node, int]] = []
        row: int | None = self.leaf_rows[label]
        while row is not None:
            node = self.node_of(row)
            decisions.append((node, row))
            row = node.parent
        return decisions[::-1]


def balanced(names: Sequence[str], branching: int = 2) -> ClassTree:
    """Return a tree with up to `branching` children at each node and ceil(log_branching K) decisions at most.

    Its leaves are the classes in their order; the subtrees of a node differ by one class at most. Raises
    DataError for a single class.
    """
    assert branching >= 2
    _check_count(names, "a class tree")
    group = _split(0, len(names), branching)
    assert isinstance(group, list)
    return ClassTree(group)


def read_tree(path: Path, names: Sequence[str]) -> ClassTree:
    """Return the tree that a YAML file describes, for the classes `names` of the data.

    The file nests mappings of group name → group, with lists of class names at the innermost level; a group
    with a single child is replaced by the child. Raises DataError with one line per problem.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; specify a YAML file of groups of classes") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    try:
        # Composed, not loaded: YAML would load the class names 1, 010 and no as 1, 8 and false.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        location = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise DataError(f"{path}: {location}is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: is not YAML: {first_line(error)}") from error
    if root is None:
        raise DataError(f"{path}: is empty; write groups of classes, as in `animals: [cat, dog]`")
    reader = _Reader(f"{path}: ")
    group = reader.group(root, "the tree")
    if reader.problems:
        raise DataError("\n".join(reader.problems))
    return _tree_of_names(group, names, f"{path}: ")


def grouped(groups: Mapping[str, Sequence[str]], names: Sequence[str], source: str) -> ClassTree:
    """Return the tree of two levels that a mapping of group name → class names describes.

    Raises DataError, with lines that begin with `source`, if its classes are not `names`.
    """
    return _tree_of_names([list(group) for group in groups.values()], names, f"{source}: ")


def cifar100_superclasses(names: Sequence[str]) -> ClassTree:
    """Return the tree of CIFAR-100's 20 superclasses of 5 classes; raises DataError for other classes."""
    return grouped(CIFAR100_SUPERCLASSES, names, "CIFAR-100's superclasses")


class _Reader:
    """Converter of YAML nodes to nested lists of names that collects problems, one line each."""

    def __init__(self, where: str):
        self.where = where
        self.problems: list[str] = []
        self._seen: set[int] = set()

    def group(self, node: yaml.Node, name: str) -> Group:
        """Return the contents of a group without invalid entries."""
        if id(node) in self._seen:
            self._add(node, f"{name} repeats a group (*); a class may occur only once in the tree")
            return []
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode) and node.value:
            return self._groups(node)
        if isinstance(node, yaml.SequenceNode) and node.value:
            return self._classes(node, name)
        if isinstance(node, yaml.ScalarNode) and node.value:
            self._add(node, f"{name} is {node.value}; write a list of classes, [{node.value}]")
        else:
            self._add(node, f"{name} has no classes; write them as a list, or remove the group")
        return []

    def _groups(self, node: yaml.MappingNode) -> Group:
        groups: Group = []
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._add(key, "the name of a group must be text")
                continue
            if key.value in seen:
                self._add(key, f"{key.value} is set twice; put its classes into one group")
            seen.add(key.value)
            groups.append(self.group(value, key.value))
        return groups

    def _classes(self, node: yaml.SequenceNode, name: str) -> Group:
        classes: Group = []
        for item in node.value:
            if isinstance(item, yaml.ScalarNode):
                classes.append(item.value)
            else:
                self._add(item, f"{name} is a list and contains a group; write {name} as group: classes")
        return classes

    def _add(self, node: yaml.Node, problem: str) -> None:
        self.problems.append(f"{self.where}line {node.start_mark.line + 1}: {problem}")


def _tree_of_names(group: Group, names: Sequence[str], where: str) -> ClassTree:
    """Return the tree of nested lists of class names; raises DataError if they are not `names`."""
    counts = Counter(_leaves(group))
    missing = [name for name in names if name not in counts]
    known = set(names)
    unknown = [name for name in counts if name not in known]
    repeated = [name for name, count in counts.items() if count > 1]
    problems = [f"{where}{name} occurs in the tree {counts[name]} times; keep one" for name in repeated]
    # A misspelled name is most likely one of the missing ones.
    problems += [
        f"{where}{name} is not a class of the data; {did_you_mean(name, missing or names)}"
        for name in unknown[:MAX_NAMED]
    ]
    if len(unknown) > MAX_NAMED:
        problems.append(f"{where}{len(unknown) - MAX_NAMED} more names are not classes of the data")
    if missing:
        named = ", ".join(missing[:MAX_NAMED]) + (", …" if len(missing) > MAX_NAMED else "")
        problems.append(
            f"{where}{len(missing)} of the data's {len(names)} classes are missing in the tree: {named}; "
            "put each into a group"
        )
    if problems:
        raise DataError("\n".join(problems))
    _check_count(names, f"{where}a class tree")
    labels = {name: label for label, name in enumerate(names)}
    root = _without_single_children(group, labels)
    assert isinstance(root, list)
    return ClassTree(root)


def _check_count(names: Sequence[str], subject: str) -> None:
    if len(names) < 2:
        raise DataError(f"{subject} needs two classes or more, the data have {len(names)}")


def _leaves(group: Group) -> Iterator[str]:
    for child in group:
        if isinstance(child, list):
            yield from _leaves(child)
        else:
            yield child


def _without_single_children(child: Group | str, labels: Mapping[str, int]) -> Group | int:
    """Return nested lists of labels, with each list of one element replaced by the element."""
    if isinstance(child, str):
        return labels[child]
    children = [_without_single_children(one, labels) for one in child]
    return children[0] if len(children) == 1 else children


def _split(first: int, count: int, branching: int) -> Group | int:
    if count == 1:
        return first
    parts = min(branching, count)
    bounds = [first + part * count // parts for part in range(parts + 1)]
    return [_split(low, high - low, branching) for low, high in itertools.pairwise(bounds)]
