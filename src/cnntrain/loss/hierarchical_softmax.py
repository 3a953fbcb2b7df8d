"""Hierarchical softmax: one decision at each node on the path through a class tree to the class (C3).

log p(class) = sum over the nodes on its path of log p(child | node), each a softmax over the node's
children. Training needs only the scores on the label's path, so the cost per image grows with the tree's
depth and branching and not with the number of classes (Morin & Bengio 2005).
"""

from __future__ import annotations

import contextlib
import itertools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..errors import ConfigError
from ..initialization.weights import LAST_LAYER_STD
from ..model.fine_tuning import heads
from .class_losses import ClassCriterion
from .class_tree import ClassTree, Node


@dataclass(frozen=True)
class _Block:
    """Nodes with equal depth and number of children, consecutive both as nodes and in their rows."""

    depth: int
    children: int
    rows: slice
    nodes: slice


@dataclass(frozen=True)
class Decisions:
    """The scores of consecutive decisions on each image's path, and the index of the child on it.

    scores: (N, decisions, children), -inf where a node has fewer children. taken: (N, decisions). Paths
    shorter than the longest are padded with decisions that have a single child, of probability 1.
    """

    scores: Tensor
    taken: Tensor


class TreeOutput(nn.Linear):
    """The output layer of a hierarchical softmax, a linear layer with a row for each child of each node.

    forward: (N, in_features) → the same features in training mode, as the loss computes only the scores it
    needs; in evaluation mode → (N, K) log-probabilities of all classes, in float32 even under autocast.
    """

    parents: Tensor
    leaf_rows: Tensor
    paths: Tensor
    firsts: Tensor
    choices: Tensor

    def __init__(self, in_features: int, tree: ClassTree):
        super().__init__(in_features, tree.rows)
        self.tree = tree
        self.classes = tree.classes
        self._blocks: list[_Block] = []
        row = number = 0
        for (depth, children), group in itertools.groupby(
            tree.nodes, lambda node: (node.depth, node.children)
        ):
            nodes = len(list(group))
            self._blocks.append(
                _Block(depth, children, slice(row, row + nodes * children), slice(number, number + nodes))
            )
            row, number = row + nodes * children, number + nodes
        self._runs = _runs(self._blocks)

        # Derived from the tree, so not in the state dict. Row `rows` pads paths that have ended.
        path_rows = [[row for _, row in tree.path(label)] for label in range(tree.classes)]
        paths = torch.tensor([rows + [tree.rows] * (tree.depth - len(rows)) for rows in path_rows])
        row_nodes = [node for node in tree.nodes for _ in node.rows]
        tables = {
            "parents": torch.tensor([_within_depth(node, tree) for node in tree.nodes]),
            "leaf_rows": torch.tensor(tree.leaf_rows),
            "paths": paths,
            "firsts": torch.tensor([*(node.first for node in row_nodes), tree.rows]),
            "choices": torch.tensor([*(node.children for node in row_nodes), 1]),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    @classmethod
    def from_linear(cls, linear: nn.Linear, tree: ClassTree) -> TreeOutput:
        """Return the layer that replaces a network's last linear layer: weights N(0, 0.01²), biases 0."""
        output = cls(linear.in_features, tree)
        nn.init.normal_(output.weight, std=LAST_LAYER_STD)
        nn.init.zeros_(output.bias)
        return output

    def forward(self, features: Tensor) -> Tensor:
        return features if self.training else self.log_probabilities(features)

    def log_probabilities(self, features: Tensor) -> Tensor:
        """Return log p of all classes, (N, in_features) → (N, K)."""
        with _without_autocast(features.device):
            # Images are the last dimension, so that softmax and sums along paths use contiguous vectors.
            scores = torch.addmm(self.bias[:, None], self.weight, features.to(self.weight.dtype).t())
        # log p of reaching the child of each row, one depth at a time
        depths: list[Tensor] = []
        for _, blocks in itertools.groupby(self._blocks, lambda block: block.depth):
            parts = []
            for block in blocks:
                log_p = torch.unflatten(scores[block.rows], 0, (-1, block.children)).log_softmax(1)
                if depths:
                    log_p = log_p + depths[-1].index_select(0, self.parents[block.nodes])[:, None]
                parts.append(log_p.flatten(0, 1))
            depths.append(torch.cat(parts))
        return torch.cat(depths).index_select(0, self.leaf_rows).t()

    def decisions(self, features: Tensor, labels: Tensor) -> list[Decisions]:
        """Return the decisions on the path to each label, from the root down; features (N, in_features)."""
        taken = self.paths[labels]
        firsts, choices = self.firsts[taken], self.choices[taken]
        rows = []
        for levels, width in self._runs:
            row = firsts[:, levels, None] + torch.arange(width, device=labels.device)
            rows.append(row.clamp(max=self.out_features - 1).flatten(1))
        all_rows = torch.cat(rows, 1)
        # Autocast does not affect these operations, so float32 features suffice for float32 scores.
        scores = _PathScores.apply(features.to(self.weight.dtype), self.weight, all_rows)
        scores = scores + self.bias.index_select(0, all_rows.flatten()).view_as(scores)
        decisions = []
        for (levels, width), part in zip(
            self._runs, scores.split([row.shape[1] for row in rows], 1), strict=True
        ):
            absent = torch.arange(width, device=labels.device) >= choices[:, levels, None]
            decisions.append(
                Decisions(
                    part.reshape(len(labels), -1, width).masked_fill(absent, -torch.inf),
                    taken[:, levels] - firsts[:, levels],
                )
            )
        return decisions


class HierarchicalSoftmax(ClassCriterion):
    """Mean over the batch of -log p(label), for the outputs of a network that ends with a `TreeOutput`.

    That layer belongs to the network; here it is only referenced and not part of this module's state. The
    tree is part of the state, so a checkpoint can be loaded without the tree's file.
    """

    def __init__(self, names: list[str], tree: ClassTree):
        super().__init__(names, tree.rows)
        self.tree = tree
        for name, table in tables_of(tree).items():
            self.register_buffer(name, table)
        self._output: tuple[TreeOutput, ...] = ()

    @property
    def output(self) -> TreeOutput:
        """The network's output layer."""
        (output,) = self._output
        return output

    def set_output(self, output: TreeOutput) -> None:
        """Set the network's output layer, without registering it as a submodule."""
        self._output = (output,)

    def adapt_network(self, network: nn.Module) -> None:
        """Replace a new network's last layer by a `TreeOutput`.

        Raises ConfigError unless the scores come from one linear layer.
        """
        names = heads(network)
        last = network.get_submodule(names[0])
        if len(names) > 1 or not isinstance(last, nn.Linear) or last.out_features != self.outputs:
            raise ConfigError(
                [
                    "loss=hierarchical_softmax: needs a network whose scores come from one linear layer, "
                    f"here they come from {' and '.join(names)} ({type(last).__name__}); write loss=softmax"
                ]
            )
        parent, _, name = names[0].rpartition(".")
        output = TreeOutput.from_linear(last, self.tree)
        setattr(network.get_submodule(parent), name, output)
        self.set_output(output)

    def check_statistics(self, target: str) -> None:
        """Do nothing: the tree was checked when it was built, and scores need the network's last layer."""

    def primary_metric(self, scores: Tensor, labels: Tensor) -> Tensor:
        if self.output.training:
            return self.path_hits(scores, labels).float()
        return super().primary_metric(scores, labels)

    def probabilities(self, scores: Tensor) -> Tensor:
        return scores.float().exp()

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; outputs: features (N, D) in training mode, else log-probabilities (N, K)."""
        if not self.output.training:
            return F.nll_loss(outputs, labels)
        parts = [
            decisions.scores.log_softmax(2).gather(2, decisions.taken[:, :, None]).sum((1, 2))
            for decisions in self.output.decisions(outputs, labels)
        ]
        return -torch.stack(parts).sum(0).mean()

    @torch.no_grad()
    def path_hits(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return (N,) whether the label's child has the largest score at every node of its path.

        In that case greedy descent ends at the label. outputs: features (N, D), as in training mode.
        """
        parts = [
            (decisions.scores.argmax(2) == decisions.taken).all(1)
            for decisions in self.output.decisions(outputs, labels)
        ]
        return torch.stack(parts).all(0)


TABLES = ("tree_parents", "tree_children", "tree_leaf_rows")


def tables_of(tree: ClassTree) -> dict[str, Tensor]:
    """Return a tree as tensors: parents and numbers of children of its nodes, and the rows of its classes."""
    return {
        "tree_parents": torch.tensor([-1 if node.parent is None else node.parent for node in tree.nodes]),
        "tree_children": torch.tensor([node.children for node in tree.nodes]),
        "tree_leaf_rows": torch.tensor(tree.leaf_rows),
    }


def tree_of(tables: dict[str, Tensor]) -> ClassTree:
    """Return the tree for which `tables_of` returned these tensors."""
    return ClassTree.from_tables(*(tables[name].tolist() for name in TABLES))


class _PathScores(torch.autograd.Function):
    """Products of features (N, D) with the rows (N, P) of weight (R, D) that each image needs → (N, P).

    An embedding bag sums an image's rows with per-sample weights, and the gradient of those weights is
    exactly these products. Its kernels read the rows in place; gathering them into (N, P, D) first is slower
    (docs/benchmarks.md). On a CPU all its sums are computed in a fixed order.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(features, weight, rows)
        offsets, images = _bags(rows)
        scores: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            features, weight, rows.flatten(), offsets, images, 0
        )
        return scores.view_as(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        features, weight, rows = ctx.saved_tensors
        offsets, images = _bags(rows)
        row_weights = gradient.flatten()
        features_gradient = F.embedding_bag(
            rows.flatten(), weight, offsets, mode="sum", per_sample_weights=row_weights
        )
        sizes = torch.full_like(offsets, rows.shape[1])
        weight_gradient = torch.ops.aten._embedding_bag_dense_backward(
            features, rows.flatten(), images, sizes, sizes[:0], len(weight), False, 0, row_weights
        )
        return features_gradient, weight_gradient, None


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast; the meta device, used for counting costs, does not support it."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def _bags(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the offset of each image's rows, and the index of the image of each row."""
    images, width = rows.shape
    indices = torch.arange(images, device=rows.device)
    return indices * width, indices.repeat_interleave(width)


def _within_depth(node: Node, tree: ClassTree) -> int:
    """Return the index of the row that leads to a node among the rows of its depth; 0 for the root."""
    if node.parent is None:
        return 0
    return node.parent - tree.first_rows[node.depth - 1]


def _runs(blocks: list[_Block]) -> list[tuple[slice, int]]:
    """Return the runs of depths of equal width, the largest number of children of a node of a depth."""
    widths = [
        max(block.children for block in group)
        for _, group in itertools.groupby(blocks, lambda block: block.depth)
    ]
    runs = []
    for width, depths in itertools.groupby(range(len(widths)), lambda depth: widths[depth]):
        run = list(depths)
        runs.append((slice(run[0], run[-1] + 1), width))
    return runs
