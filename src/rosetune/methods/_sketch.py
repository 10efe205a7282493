"""Gradients of a loss or their random projections, layer by layer, by a backward pass that computes none itself."""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node
from torch.nn import Parameter

from rosetune.methods._row_weights import RowWeights
from rosetune.methods._shards import kept, leaves, sharded
from rosetune.methods._uses import Projection, Use, contribution, find_uses, nodes, projectable_sides, projection_of


class SeededProjection:
    """Shape (width, columns) of independent normal entries of variance 1 / columns, by (seed, step, width) alone.

    So it is the same in every micro-batch and on every rank of a step.

    Attributes:
        step: whose projection is asked for.
    """

    def __init__(self, columns: int, seed: int) -> None:
        self.step = 0
        self._columns, self._seed = columns, seed
        self._drawn: dict[tuple[int, int, torch.dtype, torch.device], Tensor] = {}

    def __call__(self, width: int, like: Tensor) -> Tensor:
        """In the precision and on the device of ``like``; within a step the same tensor again."""
        key = (self.step, width, like.dtype, like.device)
        if key not in self._drawn:
            self._drawn = {other: z for other, z in self._drawn.items() if other[0] == self.step}
            draw = np.random.default_rng([self._seed, self.step, width]).standard_normal((width, self._columns))
            self._drawn[key] = torch.from_numpy(draw / math.sqrt(self._columns)).to(like)
        return self._drawn[key]


class LayerGradients(NamedTuple):
    """Gradients, projected or as :func:`kept` keeps them, None where the loss does not reach.

    Attributes:
        sides: from which side each was projected.
        whole: numbers of those that autograd took itself, and why.
    """

    found: list[Tensor | None]
    sides: list[str | None]
    whole: dict[int, str]


def layer_gradients(
    loss: Tensor | GradientEdge, parameters: list[Parameter], project: Projection | None, seed: Tensor | None = None
) -> LayerGradients | str:
    """The gradients of a loss in one backward pass that computes none of a layer that can be projected.

    For a linear layer with input x, output gradient d and the projection z: d^T (x z). What cannot be projected is
    whole. No two of them are whole in memory at a time where the parameters are in shards.

    Args:
        loss: a scalar, or another place in the graph with the gradient there as ``seed``.
        project: None takes them whole.

    Returns:
        Those; or why the graph does not allow them, in words.
    """
    root = loss.grad_fn if isinstance(loss, Tensor) else loss.node
    assert root is not None
    whole: dict[int, str] = {}
    uses = find_uses(root, leaves(parameters), left_out=None if sharded(parameters) else whole)
    if isinstance(uses, str):
        return uses
    if not uses:
        return next(iter(whole.values()), "no target tensor was found in the graph")
    sides = projectable_sides(parameters, [use for _, use in uses], project)
    found: list[Tensor | None] = [None] * len(parameters)
    by_node: dict[Node, list[Use]] = defaultdict(list)
    for node, use in uses:
        by_node[node].append(use)

    alike = RowWeights()

    def take(node: Node, d: Tensor | None) -> None:
        if d is None:
            return
        for use in by_node.pop(node, []):
            parameter = parameters[use.parameter]
            z = projection_of(parameter, sides[use.parameter], project, d)
            with torch.no_grad(), torch.autocast(d.device.type, enabled=False):
                part = kept(contribution(use, d, alike, parameter, z), parameter, z is not None)
            before = found[use.parameter]
            found[use.parameter] = part if before is None else before.add_(part)

    def listener(node: Node) -> Callable[[tuple[Tensor, ...]], None]:
        return lambda grads: take(node, grads[0])

    # A node at which a gradient is asked for is not run, so that it is asked for at the lowest ones only.
    lowest = _lowest(root, list(by_node))
    handles = [node.register_prehook(listener(node)) for node in by_node]
    try:
        edges: list[Any] = [GradientEdge(node, 0) for node in lowest]
        edges += [parameters[i] for i in whole]
        outputs: Any = [loss]
        with torch.autocast(parameters[0].device.type, enabled=False):
            slopes = torch.autograd.grad(outputs, edges, [seed], retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    for node, d in zip(lowest, slopes[: len(lowest)], strict=True):
        take(node, d)  # nothing, if the node was run on the way to one below and has been listened to
    for i, gradient in zip(whole, slopes[len(lowest) :], strict=True):
        found[i] = gradient
    return LayerGradients(found, sides, whole)


def _lowest(root: Node, wanted: list[Node]) -> list[Node]:
    """Those of the wanted nodes that have no other below them."""
    above: dict[Node, list[Node]] = defaultdict(list)
    for node in nodes(root, lambda node: False):
        for below, _ in node.next_functions:
            if below is not None:
                above[below].append(node)
    seen: set[Node] = set()
    stack = [node for start in wanted for node in above[start]]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(above[node])
    return [node for node in wanted if node not in seen]
