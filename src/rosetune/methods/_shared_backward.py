"""Gradients of a loss that is only looked at, read off the backward pass of the loss that is followed.

With one logit, or two under a softmax, the gradient of any loss at a row of logits has one direction, (1) or (1, -1).
Row b of the backward pass of the loss L that is followed is then l_b times that of a unit direction. That of another
loss K is k_b times it, or k_b / l_b times L's. For a linear layer with input x and output gradient d from L's pass

    grad K = ((k / l) d)^T x        each row of a batch weighted by its own ratio

so that K needs no backward pass of its own. A bias, the gain of a LayerNorm, an embedding and a factor that is
broadcast have forms alike. Inputs and output gradients are found in the autograd graph, not by hooks on modules.
"""

import statistics
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node
from torch.nn import Parameter

from rosetune.methods._gradients import TARGETS, gradients, words
from rosetune.methods._held import Held
from rosetune.methods._row_weights import RowWeights
from rosetune.methods._shards import kept, leaves, on_any, sharded
from rosetune.methods._sketch import layer_gradients
from rosetune.methods._uses import (
    LEAF,
    Projection,
    Use,
    contribution,
    find_uses,
    nodes,
    projectable_sides,
    projected,
    projection_of,
    reaching,
    zeros,
)

_MARK = "rosetune.logits"
# What a ratio makes of the rounding of a row's gradient may be this share of the largest gradient at the logits.
_ROUNDING = 1e-4


def mark_logits(logits: Tensor) -> None:
    """Say that a loss depends on the model through these logits alone, shape (rows, labels), rows independent."""
    if logits.grad_fn is not None and logits.dim() == 2 and logits.shape[-1] <= 2:
        notes: Any = logits.grad_fn.metadata
        notes[_MARK] = logits.shape[0]


def _marked_rows(node: Node) -> int | None:
    notes: Any = node.metadata
    return notes.get(_MARK)


@dataclass
class SharedBackward:
    """The gradients of some losses, complete once the backward pass of the loss that is followed has run.

    Args:
        losses: scalars by name.
        edge: the logits in the graph of each of them.
        rows: how many there are.
        slopes: gradient of each loss at the logits, shape (rows, labels).
        parameters: what the gradients are taken of.
        sides: where a random projection is multiplied from: "right" (out, in), "left" (in, out), or None.
        project: gives that projection; None takes the gradients whole.
    """

    losses: dict[str, Tensor]
    edge: GradientEdge | None
    rows: int
    slopes: dict[str, Tensor]
    parameters: list[Parameter]
    sides: list[str | None]
    project: Projection | None
    low_precision: bool
    uses: dict[int, Use] = field(default_factory=dict)
    found: dict[str, list[Tensor | None]] = field(default_factory=dict)
    whole: dict[str, list[Tensor]] | None = None  # for the check: the same by a backward pass of their own
    ratios: dict[str, RowWeights] | None = None  # by which the rows of the pass that is followed are weighed
    asleep: bool = False
    nodes: dict[int, Node] = field(default_factory=dict)  # of the uses
    held: Held | None = None  # what the coming pass keeps back

    @property
    def complete(self) -> bool:
        """Whether the backward pass has been here."""
        return not self.uses

    def is_all_of(self, loss: Tensor) -> bool:
        """Whether a loss depends on the parameters through the same logits alone."""
        found = None if self.edge is None else _logits_of(loss, self.parameters)
        return found is not None and self.edge is not None and found.node is self.edge.node

    def hold(self, wanted: set[int]) -> Held:
        """Have the coming pass keep back what it brings to the weights of linear layers among these.

        Only of the half of them that the pass reaches last. What is kept of the others would be in memory for longest,
        while the pass has given little back yet.
        """
        uses = {key: use for key, use in self.uses.items() if use.parameter in wanted}
        self.held = Held(uses, self.parameters, self.sides, self.project)
        # Autograd does not run a node below which no gradient is asked for.
        run = reaching(self.edge and self.edge.node, {id(self.parameters[i]) for i in self.held.numbers})
        order = {key: node._sequence_nr() for key, node in self.nodes.items()}  # of the forward pass
        middle = statistics.median([order[key] for key, use in self.uses.items() if use.form == "linear"] or [0])
        self.held.leave_out({key for key, node in self.nodes.items() if node not in run or order[key] > middle})
        return self.held

    def by_itself(self) -> dict[str, list[Tensor]]:
        """The gradients by a backward pass of their own, from the logits down."""
        assert self.edge is not None
        self.asleep = True  # its own nodes must not take this for the pass that is followed
        try:
            taken = {}
            for name, slope in self.slopes.items():
                taken[name] = self._completed(self._pass(name, slope))
            return taken
        finally:
            self.asleep = False

    def _pass(self, name: str, slope: Tensor) -> list[Tensor | None]:
        assert self.edge is not None
        if sharded(self.parameters):
            found = layer_gradients(self.edge, self.parameters, self.project, slope)
            assert not isinstance(found, str)  # since the same layers were found for the pass that is followed
            return found.found
        with torch.autocast(slope.device.type, enabled=False):
            seen = gradients(
                self.edge,
                self.parameters,
                seed=slope,
                of=words(name),
                reaching=TARGETS,
                retain_graph=True,
            )
        triples = zip(seen, self.parameters, self.sides, strict=True)
        return [None if g is None else projected(g, p, side, self.project) for g, p, side in triples]

    def _completed(self, found: list[Tensor | None]) -> list[Tensor]:
        triples = zip(found, self.parameters, self.sides, strict=True)
        return [zeros(p, side, self.project) if g is None else g for g, p, side in triples]

    def result(self) -> dict[str, list[Tensor]]:
        """By name the gradient, or its projection, of every parameter."""
        if self.uses:
            if self.ratios is not None:
                raise ValueError(
                    "the backward pass of the loss did not reach every target tensor that the consistency depends on: "
                    "back-propagate the whole loss, or rank with another objective"
                )
            self._settle(self.by_itself())  # the loss that is followed does not come here
        return {name: self._completed(each) for name, each in self.found.items()}

    def _settle(self, found: dict[str, list[Tensor]]) -> None:
        self.found = {name: list(each) for name, each in found.items()}
        self.uses, self.nodes, self.edge, self.losses = {}, {}, None, {}

    def at_logits(self, followed: Tensor) -> None:
        """The gradient of the loss that is followed has arrived at the logits."""
        if self.asleep or self.complete or self.ratios is not None:
            return
        line = _along(followed)
        limits = torch.finfo(line.dtype)
        ratios, usable = {}, _is_along(followed)
        for name, slope in self.slopes.items():
            own = _along(slope)
            largest = own.abs().amax()
            negligible = own.abs() <= limits.eps * largest
            ratio = torch.where(negligible, 0.0, own / line)
            precise = ratio.abs() * line.abs().amax() * limits.eps <= _ROUNDING * largest
            usable = usable & (negligible | (precise & (line.abs() > limits.tiny * 1e8))).all()
            ratios[name] = ratio
        if sharded(self.parameters):  # a pass of its own is one of all processes, or of none
            usable = ~torch.tensor(on_any(~usable))
        if usable:  # the one synchronisation with the device that this takes
            self.ratios = {name: RowWeights(ratio, self.rows) for name, ratio in ratios.items()}
        else:  # rows without a gradient: ignored labels, saturated, one pass left out of the loss
            self._settle(self.by_itself())

    def at_use(self, key: int, d: Tensor | None) -> None:
        """The gradient of the loss that is followed has arrived at the output of a layer, shape (rows, ...)."""
        if self.asleep:
            return
        if self.held is not None and d is not None:
            self.held.take(key, d)
        if self.ratios is None or key not in self.uses:
            return
        use = self.uses.pop(key)
        if d is None:
            return
        parameter = self.parameters[use.parameter]
        z = projection_of(parameter, self.sides[use.parameter], self.project, d)
        with torch.no_grad(), torch.autocast(d.device.type, enabled=False):
            for name, weights in self.ratios.items():
                part = kept(contribution(use, d, weights, parameter, z), parameter, z is not None)
                before = self.found[name][use.parameter]
                self.found[name][use.parameter] = part if before is None else before.add_(part)
        if not self.uses:
            self.nodes, self.edge, self.losses = {}, None, {}
            self.ratios = {}  # with the memory that the products took


def share_backward(
    losses: dict[str, Tensor], parameters: list[Parameter], project: Projection | None = None
) -> SharedBackward | str:
    """Look along with the next backward pass through the graph of these losses.

    Returns:
        What will hold the gradients; or why they need a backward pass of their own, in words.
    """
    edges = [_logits_of(loss, parameters) for loss in losses.values()]
    edge = edges[0]
    if edge is None or any(other is None or other.node is not edge.node for other in edges):
        return "the loss does not run through two-label logits that the consistency has as well"
    rows = _marked_rows(edge.node)
    assert rows is not None
    uses = find_uses(edge.node, leaves(parameters), rows)
    if isinstance(uses, str):
        return uses
    if not uses:
        return "no target tensor was found in the graph"
    slopes = {}
    for name, loss in losses.items():
        (slope,) = torch.autograd.grad(loss, [edge], retain_graph=True)
        slopes[name] = slope
    if any(use.saved[0].dtype == torch.float16 for _, use in uses):
        return "activations are in float16, whose range is too small for a ratio of gradients"
    low = any(use.saved[0].dtype == torch.bfloat16 for _, use in uses)
    sides = projectable_sides(parameters, [use for _, use in uses], project)
    shared = SharedBackward(losses, edge, rows, slopes, parameters, sides, project, low)
    shared.found = {name: [None] * len(parameters) for name in losses}
    _listen(shared, edge.node, uses)
    return shared


def _listen(shared: SharedBackward, logits: Node, uses: Iterable[tuple[Node, Use]]) -> None:
    # A graph must not hold what holds the graph: its nodes are not collected.
    reference = weakref.ref(shared)

    def at_logits(grads: tuple[Tensor, ...]) -> None:
        target = reference()
        if target is not None:
            target.at_logits(grads[0])

    def listener(key: int) -> Callable[[tuple[Tensor, ...]], None]:
        def at_use(grads: tuple[Tensor, ...]) -> None:
            target = reference()
            if target is not None:
                target.at_use(key, grads[0])

        return at_use

    logits.register_prehook(at_logits)
    for key, (node, use) in enumerate(uses):
        shared.uses[key], shared.nodes[key] = use, node
        node.register_prehook(listener(key))


def _logits_of(loss: Tensor, parameters: list[Parameter]) -> GradientEdge | None:
    """The marked logits, if the loss depends on the parameters through them alone."""
    targets, found = {id(p) for p in leaves(parameters)}, None
    for node in nodes(loss.grad_fn, lambda node: _marked_rows(node) is not None):
        if _marked_rows(node) is not None:
            if found is not None:
                return None
            found = node
        elif node.name().endswith(LEAF) and id(node.variable) in targets:  # type: ignore[attr-defined]
            return None
    return None if found is None else GradientEdge(found, 0)


def _along(slopes: Tensor) -> Tensor:
    """Shape (rows,): the part of each row's gradient along (1) or (1, -1), in at least single precision."""
    slopes = slopes.float() if slopes.dtype in (torch.float16, torch.bfloat16) else slopes
    return slopes[:, 0] if slopes.shape[1] == 1 else (slopes[:, 0] - slopes[:, 1]) / 2


def _is_along(slopes: Tensor) -> Tensor:
    """Whether nothing of the gradient at the logits points elsewhere."""
    if slopes.shape[1] == 1:
        return torch.isfinite(slopes).all()
    tolerance = 0.02 if slopes.dtype in (torch.float16, torch.bfloat16) else 1e-4
    return (slopes.sum(1).abs() <= tolerance * slopes.abs().amax()).all() & torch.isfinite(slopes).all()
