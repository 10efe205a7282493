"""Gradients of a loss that is only looked at, read off the backward pass of the loss that is followed.

With one logit, or two under a softmax, the gradient of any loss at a row of logits has one direction, (1) or (1, -1).
Row b of the backward pass of the loss L that is followed is then l_b times that of a unit direction, and that of another
loss K is k_b times it: k_b / l_b times L's. For a linear layer with input x and output gradient d from L's pass

    grad K = ((k / l) d)^T x        each row of a batch weighted by its own ratio

so that K needs no backward pass of its own. A bias, the gain of a LayerNorm, an embedding and a factor that is
broadcast have forms alike. Inputs and output gradients are found in the autograd graph, not by hooks on modules.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node
from torch.nn import Parameter

from rosetune.methods._gradients import gradients

Projection = Callable[[int, Tensor], Tensor]  # inputs of a layer, a tensor like which: random (inputs, columns)

_MARK = "rosetune.logits"
# Node and position of the parameter among its inputs: the form, and the names of what the node saved for it.
_FORMS = {
    ("AddmmBackward0", 0): ("bias", ("mat1",)),
    ("AddmmBackward0", 2): ("linear", ("mat1",)),
    ("MmBackward0", 1): ("linear", ("self",)),
    ("NativeLayerNormBackward0", 1): ("gain", ("input", "result1", "result2")),
    ("NativeLayerNormBackward0", 2): ("shift", ("input", "result1", "result2")),
    ("MulBackward0", 0): ("factor", ("other",)),
    ("MulBackward0", 1): ("factor", ("self",)),
    ("EmbeddingBackward0", 0): ("embedding", ("indices",)),
}
_VIEWS = ("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0")
_TRANSPOSED, _CAST, _LEAF = "TBackward0", "ToCopyBackward0", "AccumulateGrad"
# What a ratio makes of the rounding of a row's gradient may be this share of the largest gradient at the logits.
_ROUNDING = 1e-4


def mark_logits(logits: Tensor) -> None:
    """Say that a loss depends on the model through these logits alone, shape (rows, labels), rows independent."""
    if logits.grad_fn is not None and logits.dim() == 2 and logits.shape[-1] <= 2:
        logits.grad_fn.metadata[_MARK] = logits.shape[0]


@dataclass
class _Use:
    """Where a parameter enters the graph."""

    parameter: int
    form: str
    saved: tuple[Tensor, ...]
    transposed: bool
    options: tuple[Any, ...] = ()


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
    uses: dict[int, _Use] = field(default_factory=dict)
    found: dict[str, list[Tensor | None]] = field(default_factory=dict)
    whole: dict[str, list[Tensor]] | None = None  # for the check: the same by a backward pass of their own
    ratios: dict[str, Tensor] | None = None
    asleep: bool = False

    @property
    def complete(self) -> bool:
        """Whether the backward pass has been here."""
        return not self.uses

    def by_itself(self) -> dict[str, list[Tensor]]:
        """The gradients by a backward pass of their own, from the logits down."""
        assert self.edge is not None
        self.asleep = True
        try:
            taken = {}
            for name, slope in self.slopes.items():
                about = {"of": f"the {name.replace('_', ' ')}", "reaching": "any of the target tensors"}
                with torch.autocast(slope.device.type, enabled=False):
                    seen = gradients(self.edge, self.parameters, seed=slope, retain_graph=True, **about)
                taken[name] = [
                    projected(torch.zeros_like(p) if g is None else g, side, self.project)
                    for p, g, side in zip(self.parameters, seen, self.sides, strict=True)
                ]
            return taken
        finally:
            self.asleep = False

    def result(self) -> dict[str, list[Tensor]]:
        """By name the gradient, or its projection, of every parameter."""
        if self.uses:
            if self.ratios is not None:
                raise ValueError(
                    "the backward pass of the loss did not reach every target tensor that the consistency depends on: "
                    "back-propagate the whole loss, or rank with another objective"
                )
            self._settle(self.by_itself())  # the loss that is followed does not come here
        zeros = [projected(torch.zeros_like(p), s, self.project) for p, s in zip(self.parameters, self.sides, strict=True)]
        return {
            name: [zero if g is None else g for g, zero in zip(each, zeros, strict=True)]
            for name, each in self.found.items()
        }

    def _settle(self, found: dict[str, list[Tensor]]) -> None:
        self.found = {name: list(each) for name, each in found.items()}
        self.uses, self.edge, self.losses = {}, None, {}

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
        if usable:  # the one synchronisation with the device that this takes
            self.ratios = ratios
        else:  # rows without a gradient: ignored labels, saturated, one pass left out of the loss
            self._settle(self.by_itself())

    def at_use(self, key: int, d: Tensor | None) -> None:
        """The gradient of the loss that is followed has arrived at the output of a layer, shape (rows, ...)."""
        if self.asleep or self.ratios is None or key not in self.uses:
            return
        use = self.uses.pop(key)
        if d is None:
            return
        parameter, side = self.parameters[use.parameter], self.sides[use.parameter]
        z = None if self.project is None or side is None else self.project(parameter.shape[side == "right"], d)
        with torch.no_grad(), torch.autocast(d.device.type, enabled=False):
            for name, ratio in self.ratios.items():
                weight = ratio.repeat_interleave(d.shape[0] // self.rows).to(d.dtype)
                part = _contribution(use, d, weight, parameter, z).to(parameter.dtype)
                before = self.found[name][use.parameter]
                self.found[name][use.parameter] = part if before is None else before.add_(part)
        if not self.uses:
            self.edge, self.losses = None, {}


def projected(gradient: Tensor, side: str | None, project: Projection | None) -> Tensor:
    """A whole gradient under the projection that the layer's own would have had."""
    if project is None or side is None:
        return gradient
    gradient = gradient if side == "right" else gradient.t()
    return gradient @ project(gradient.shape[1], gradient)


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
    rows = int(edge.node.metadata[_MARK])
    uses = _uses(edge.node, parameters, rows)
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
    sides = _sides(parameters, [use for _, use in uses])
    shared = SharedBackward(losses, edge, rows, slopes, parameters, sides, project, low)
    shared.found = {name: [None] * len(parameters) for name in losses}
    _listen(shared, edge.node, uses)
    return shared


def _listen(shared: SharedBackward, logits: Node, uses: Iterable[tuple[Node, _Use]]) -> None:
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

    logits.register_prehook(at_logits)  # type: ignore[arg-type]
    for key, (node, use) in enumerate(uses):
        shared.uses[key] = use
        node.register_prehook(listener(key))  # type: ignore[arg-type]


def _logits_of(loss: Tensor, parameters: list[Parameter]) -> GradientEdge | None:
    """The marked logits, if the loss depends on the parameters through them alone."""
    targets, found = {id(p) for p in parameters}, None
    for node in _nodes(loss.grad_fn, lambda node: _MARK in node.metadata):
        if _MARK in node.metadata:
            if found is not None:
                return None
            found = node
        elif node.name().endswith(_LEAF) and id(node.variable) in targets:  # type: ignore[attr-defined]
            return None
    return None if found is None else GradientEdge(found, 0)


def _nodes(root: Node | None, last: Callable[[Node], bool]) -> Iterable[Node]:
    """Every node of a graph once, and nothing below those that are ``last``."""
    seen, stack = set(), [] if root is None else [root]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        if not last(node):
            stack.extend(below for below, _ in node.next_functions if below is not None)


def _uses(root: Node, parameters: list[Parameter], rows: int) -> list[tuple[Node, _Use]] | str:
    """Each place where a parameter enters the graph below a node."""
    index = {id(p): i for i, p in enumerate(parameters)}
    uses = []
    for node in _nodes(root, lambda node: node.name() in (_TRANSPOSED, _CAST) and _leaf(node, index) is not None):
        if node.name() in (_TRANSPOSED, _CAST) and _leaf(node, index) is not None:
            continue
        for position, (below, _) in enumerate(node.next_functions):
            leaf = None if below is None else _leaf(below, index)
            if leaf is not None:
                use = _use(node, position, *leaf, rows)
                if isinstance(use, str):
                    return use
                uses.append((node, use))
    return uses


def _leaf(node: Node, index: dict[int, int]) -> tuple[int, bool] | None:
    """Which parameter a node is, but for a transposition and a change of precision, and whether it is transposed."""
    transposed = False
    while node.name() in (_TRANSPOSED, _CAST):
        transposed ^= node.name() == _TRANSPOSED
        below = node.next_functions[0][0]
        if below is None:
            return None
        node = below
    if not node.name().endswith(_LEAF):
        return None
    found = index.get(id(node.variable))  # type: ignore[attr-defined]
    return None if found is None else (found, transposed)


def _use(node: Any, position: int, parameter: int, transposed: bool, rows: int) -> _Use | str:
    form, names = _FORMS.get((node.name(), position), (None, ()))
    if form is None or (transposed and form != "linear"):
        return f"a target tensor enters the graph at {node.name()}"
    if any(getattr(node, f"_raw_saved_{name}").unpack_hook is not None for name in names):
        return "activations are recomputed or moved (checkpointing)"
    saved = tuple(getattr(node, f"_saved_{name}").detach() for name in names)
    options: tuple[Any, ...] = ()
    if node.name() == "AddmmBackward0" and (node._saved_alpha, node._saved_beta) != (1, 1):
        return "a target tensor enters the graph at a scaled product"
    if form in ("gain", "shift"):
        options = (list(node._saved_normalized_shape),)
    if form == "embedding":
        if node._saved_scale_grad_by_freq or node._saved_sparse:
            return "an embedding has sparse or scaled gradients"
        padding = node._saved_padding_idx  # unsigned there, so that -1 (none) comes as 2^64 - 1
        options = (padding if padding < 2**63 else -1,)
    count = saved[0].shape[0] if saved[0].dim() else 0
    if form in ("linear", "bias"):
        source = node.next_functions[1 if node.name() == "AddmmBackward0" else 0][0]
        # Of the layer's input before its leading dimensions were joined.
        if source is not None and source.name() in _VIEWS and saved[0].dim() == 2:
            count = int(source._saved_self_sym_sizes[0])
    if count == 0 or (count != rows if form not in ("linear", "bias") else count % rows):
        return "a target tensor is used on something that has not the rows of the batch"
    return _Use(parameter, form, saved, transposed, options)


def _sides(parameters: list[Parameter], uses: list[_Use]) -> list[str | None]:
    """How the gradient of each may be projected: only where all of its uses are products on the same side."""
    found: list[set[str | None]] = [set() for _ in parameters]
    for use in uses:
        found[use.parameter].add(("right" if use.transposed else "left") if use.form == "linear" else None)
    return [next(iter(kinds)) if len(kinds) == 1 else None for kinds in found]


def _contribution(use: _Use, d: Tensor, weight: Tensor, parameter: Parameter, z: Tensor | None) -> Tensor:
    x = use.saved[0]
    if use.form == "bias":
        return weight @ d
    if use.form == "linear":
        if z is not None:
            return d.t() @ ((x @ z).mul_(weight[:, None]))
        if x.shape[1] < d.shape[1]:
            x = x * weight[:, None]
        else:
            d = d * weight[:, None]
        return d.t() @ x if use.transposed else x.t() @ d
    weighted = d * weight.view(-1, *[1] * (d.dim() - 1))
    if use.form == "embedding":
        (padding,) = use.options
        return torch.ops.aten.embedding_dense_backward(weighted, x, parameter.shape[0], padding, False)
    if use.form == "factor":
        return (weighted * x).sum_to_size(parameter.shape)
    x, mean, rstd = use.saved
    (shape,) = use.options
    ones = torch.ones(shape, dtype=x.dtype, device=x.device)
    wanted = [False, use.form == "gain", use.form == "shift"]
    parts = torch.ops.aten.native_layer_norm_backward(weighted, x, shape, mean, rstd, ones, ones, wanted)
    return parts[1] if use.form == "gain" else parts[2]


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
