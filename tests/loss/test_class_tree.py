"""Class trees: their shape against closed forms, CIFAR-100's published labels, and messages for bad files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnntrain.data.torchvision_sets import CLASS_NAMES
from cnntrain.errors import DataError
from cnntrain.loss.class_tree import ClassTree, balanced, cifar100_superclasses, read_tree

NAMES = ["cat", "dog", "frog", "car", "truck", "ship", "plane"]
FILE = """
animals: [cat, dog, frog]
vehicles:
  road: [car, truck]
  other: [ship, plane]
"""

# The superclass of each of the 100 classes, both in alphabetical order, as CIFAR-100's files have them.
PUBLISHED = [
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15),
    *(0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4),
    *(18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19),
    *(5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
]


def numbered(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def write_tree(folder: Path, text: str) -> Path:
    path = folder / "tree.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str, names: list[str] = NAMES) -> list[str]:
    path = write_tree(folder, text)
    with pytest.raises(DataError) as caught:
        read_tree(path, names)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def decisions(tree: ClassTree, label: int) -> list[tuple[int, int]]:
    """Return the index of the child and the number of children at each node of a class's path."""
    return [(row - node.first, node.children) for node, row in tree.path(label)]


@pytest.mark.parametrize("branching", [2, 3, 10])
@pytest.mark.parametrize("count", [2, 3, 7, 10, 100, 257])
def test_a_balanced_tree_has_the_smallest_depth_and_every_class_once(count: int, branching: int) -> None:
    tree = balanced(numbered(count), branching)
    assert tree.classes == count
    assert tree.depth == next(depth for depth in range(1, 99) if branching**depth >= count)
    assert max(node.children for node in tree.nodes) <= branching
    # In any tree, each row leads to a class or to one of the nodes below the root.
    assert tree.rows == count + len(tree.nodes) - 1
    assert sorted([*tree.leaf_rows, *(node.parent for node in tree.nodes[1:])]) == list(range(tree.rows))


def test_the_path_in_a_perfect_binary_tree_is_the_label_in_binary() -> None:
    tree = balanced(numbered(32), 2)
    for label in range(32):
        assert decisions(tree, label) == [(int(bit), 2) for bit in f"{label:05b}"]


def test_a_tree_with_a_branching_of_the_number_of_classes_is_flat() -> None:
    tree = balanced(numbered(10), 10)
    assert [decisions(tree, label) for label in range(10)] == [[(label, 10)] for label in range(10)]


def test_the_nodes_of_one_depth_and_width_have_consecutive_rows() -> None:
    tree = balanced(numbered(100), 3)
    assert [row for node in tree.nodes for row in node.rows] == list(range(tree.rows))
    kinds = [(node.depth, node.children) for node in tree.nodes]
    assert kinds == sorted(kinds)


def test_a_file_nests_groups_and_lists_classes(tmp_path: Path) -> None:
    tree = read_tree(write_tree(tmp_path, FILE), NAMES)
    assert decisions(tree, NAMES.index("dog")) == [(0, 2), (1, 3)]
    assert decisions(tree, NAMES.index("truck")) == [(1, 2), (0, 2), (1, 2)]
    assert decisions(tree, NAMES.index("plane")) == [(1, 2), (1, 2), (1, 2)]
    assert tree.rows == 2 + 3 + 2 + 2 + 2


def test_a_group_with_a_single_child_is_skipped(tmp_path: Path) -> None:
    plain = read_tree(write_tree(tmp_path, "a: [cat, dog]\nb: [frog]\n"), ["cat", "dog", "frog"])
    nested = read_tree(
        write_tree(tmp_path, "all: {x: {a: [cat, dog]}, b: {c: [frog]}}"), ["cat", "dog", "frog"]
    )
    assert decisions(plain, 2) == [(1, 2)]
    assert [decisions(nested, label) for label in range(3)] == [decisions(plain, label) for label in range(3)]


def test_class_names_are_read_literally(tmp_path: Path) -> None:
    tree = read_tree(write_tree(tmp_path, "a: [1, 010]\nb: [no, 1:30]\n"), ["1", "010", "no", "1:30"])
    assert [decisions(tree, label) for label in range(4)] == [
        [(0, 2), (0, 2)],
        [(0, 2), (1, 2)],
        [(1, 2), (0, 2)],
        [(1, 2), (1, 2)],
    ]


def test_cifar100_superclasses_equal_its_published_labels() -> None:
    tree = cifar100_superclasses(CLASS_NAMES["cifar100"])
    superclasses = [decisions(tree, label)[0][0] for label in range(100)]
    assert superclasses == PUBLISHED
    assert (tree.rows, tree.depth) == (20 + 100, 2)
    assert {node.children for node in tree.nodes[1:]} == {5}


def test_cifar100_superclasses_refuse_other_classes() -> None:
    with pytest.raises(DataError) as caught:
        cifar100_superclasses(["apple", "bear", *numbered(98)])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("CIFAR-100's superclasses: ")
    assert "98 of the data's 100 classes are missing in the tree: 0, 1, " in lines[-1]


def test_a_tree_needs_two_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a class tree needs two classes or more, the data have 1"):
        balanced(["cat"])
    assert problems(tmp_path, "a: [cat]", ["cat"]) == [
        "a class tree needs two classes or more, the data have 1"
    ]


def test_a_missing_or_undecodable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.yaml: there is no such file; specify a YAML file"):
        read_tree(tmp_path / "none.yaml", NAMES)
    with pytest.raises(DataError, match=f"{tmp_path.name}: cannot be read"):
        read_tree(tmp_path, NAMES)
    path = tmp_path / "latin.yaml"
    path.write_bytes("bäume: [a, b]".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.yaml: is not UTF-8 \(byte 1\)"):
        read_tree(path, NAMES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty; write groups of classes, as in `animals: [cat, dog]`"),
        ("# nothing\n", "is empty; write groups of classes, as in `animals: [cat, dog]`"),
        ("a: [cat, dog\nb: [frog]", "line 2: is not YAML: expected ',' or ']', but got ':'"),
        ("a: [cat, \x07]", "is not YAML: unacceptable character #x0007: special characters are not allowed"),
        ("cat", "line 1: the tree is cat; write a list of classes, [cat]"),
        ("a: [cat]\nb:\n", "line 2: b has no classes; write them as a list, or remove the group"),
        ("a: [cat]\nb: []\n", "line 2: b has no classes; write them as a list, or remove the group"),
        ("a: [cat]\nb: {c: {}}", "line 2: c has no classes; write them as a list, or remove the group"),
        ("a: [cat]\nb: dog\n", "line 2: b is dog; write a list of classes, [dog]"),
        ("a: [cat]\na: [dog]\n", "line 2: a is set twice; put its classes into one group"),
        ("a:\n- cat\n- b: [dog]\n", "line 3: a is a list and contains a group; write a as group: classes"),
        ("a: &x {b: *x}", "line 1: b repeats a group (*); a class may occur only once in the tree"),
        ("? [cat]\n: [dog]\n", "line 1: the name of a group must be text"),
    ],
)
def test_a_file_that_is_no_tree_is_refused_with_a_remedy(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


def test_all_classes_that_differ_from_the_data_are_named(tmp_path: Path) -> None:
    text = "animals: [cat, dgo, cat]\nvehicles: [car, truck, ship, plane, zeppelin]"
    assert problems(tmp_path, text) == [
        "cat occurs in the tree 2 times; keep one",
        "dgo is not a class of the data; did you mean dog?",
        "zeppelin is not a class of the data; choose one of dog, frog",
        "2 of the data's 7 classes are missing in the tree: dog, frog; put each into a group",
    ]


def test_at_most_ten_unknown_classes_are_listed(tmp_path: Path) -> None:
    lines = problems(tmp_path, f"a: [{', '.join(numbered(30))}]")
    assert len(lines) == 12
    assert lines[10] == "20 more names are not classes of the data"
