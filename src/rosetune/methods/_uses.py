"""Where parameters enter the autograd graph, and what an output gradient there makes of their gradient."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import Parameter

from rosetune.methods._row_weights import RowWeights
from rosetune.methods._shards import kept, nothing

Projection = Callable[[int, Tensor], Tensor]  # inputs of a layer, a tensor like which: random (inputs, columns)

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
_TRANSPOSED, _CAST, LEAF = "TBackward0", "ToCopyBackward0", "AccumulateGrad"
_RECOMPUTED = "activations are recomputed or moved (checkpointing)"


@dataclass
class Use:
    """Where a parameter enters the graph."""

    parameter: int
    form: str
    saved: tuple[Tensor, ...]
    transposed: bool
    options: tuple[Any, ...] = ()


def nodes(root: Node | None, last: Callable[[Node], bool]) -> Iterable[Node]:
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


def reaching(root: Node | None, without: set[int]) -> set[Node]:
    """The nodes of a graph from which a leaf is reached that is none of these, by ``id``."""
    found: set[Node] = set()
    seen, stack = set(), [] if root is None else [(root, False)]
    while stack:
        node, below_is_known = stack.pop()
        below = [other for other, _ in node.next_functions if other is not None]
        if below_is_known:
            is_leaf = node.name().endswith(LEAF) and id(node.variable) not in without  # type: ignore[attr-defined]
            if is_leaf or any(other in found for other in below):
                found.add(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((other, False) for other in below)
    return found


def find_uses(
    root: Node, parameters: list[Parameter], rows: int | None = None, left_out: dict[int, str] | None = None
) -> list[tuple[Node, Use]] | str:
    """Each place where a parameter enters the graph below a node.

    Args:
        rows: of the batch, where each place must have them; None: whatever it has.
        left_out: takes the numbers of parameters that are used otherwise than is known here, and what is in their
            way; None: a single one of them is in the way of all.

    Returns:
        Node and use; or what is in the way, in words.
    """
    index = {id(p): i for i, p in enumerate(parameters)}
    uses = []
    for node in nodes(root, lambda node: node.name() in (_TRANSPOSED, _CAST) and _leaf(node, index) is not None):
        if node.name() in (_TRANSPOSED, _CAST) and _leaf(node, index) is not None:
            continue
        for position, (below, _) in enumerate(node.next_functions):
            leaf = None if below is None else _leaf(below, index)
            if leaf is not None:
                use = _use(node, position, *leaf, rows)
                if not isinstance(use, str):
                    uses.append((node, use))
                elif left_out is None or use == _RECOMPUTED:
                    return use
                else:
                    left_out.setdefault(leaf[0], use)
    return [(node, use) for node, use in uses if use.parameter not in (left_out or {})]


def _leaf(node: Node, index: dict[int, int]) -> tuple[int, bool] | None:
    """Which parameter a node is, but for a transposition and a change of precision, and whether it is transposed."""
    transposed = False
    while node.name() in (_TRANSPOSED, _CAST):
        transposed ^= node.name() == _TRANSPOSED
        below = node.next_functions[0][0]
        if below is None:
            return None
        node = below
    if not node.name().endswith(LEAF):
        return None
    found = index.get(id(node.variable))  # type: ignore[attr-defined]
    return None if found is None else (found, transposed)


def _use(node: Any, position: int, parameter: int, transposed: bool, rows: int | None) -> Use | str:
    form, names = _FORMS.get((node.name(), position), (None, ()))
    if form is None or (transposed and form != "linear"):
        return f"a target tensor enters the graph at {node.name()}"
    if any(getattr(node, f"_raw_saved_{name}").unpack_hook is not None for name in names):
        return _RECOMPUTED
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
    if rows is None:
        return Use(parameter, form, saved, transposed, options)
    count = saved[0].shape[0] if saved[0].dim() else 0
    if form in ("linear", "bias"):
        source = node.next_functions[1 if node.name() == "AddmmBackward0" else 0][0]
        # Of the layer's input before its leading dimensions were joined.
        if source is not None and source.name() in _VIEWS and saved[0].dim() == 2:
            count = int(source._saved_self_sym_sizes[0])
    if count == 0 or (count != rows if form not in ("linear", "bias") else count % rows):
        return "a target tensor is used on something that has not the rows of the batch"
    return Use(parameter, form, saved, transposed, options)


def projectable_sides(parameters: list[Parameter], uses: list[Use], project: Projection | None) -> list[str | None]:
    """From where the gradient of each is projected: "right" (out, in), "left" (in, out), or None.

    From the side of the layer's inputs. Only where all uses of a parameter are products on the same side; nowhere
    without a projection.
    """
    if project is None:
        return [None] * len(parameters)
    found: list[set[str | None]] = [set() for _ in parameters]
    for use in uses:
        found[use.parameter].add(("right" if use.transposed else "left") if use.form == "linear" else None)
    return [next(iter(kinds)) if len(kinds) == 1 else None for kinds in found]


def contribution(use: Use, d: Tensor, weights: RowWeights, parameter: Parameter, z: Tensor | None) -> Tensor:
    """What the output gradient d of one use adds to the parameter's gradient, or to its projection by z.

    Args:
        weights: a factor of each row.
    """
    x = use.saved[0]
    if use.form == "bias":
        factors = weights.spread(d.shape[0], d.dtype)
        return d.sum(0) if factors is None else factors @ d
    if use.form == "linear":
        if z is not None:
            return d.t() @ weights.sketch(x, z)
        if x.shape[1] <= d.shape[1]:
            x = weights.times(x)
        else:
            d = weights.times(d)
        return d.t() @ x if use.transposed else x.t() @ d
    weighted = weights.times(d)
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


def projected(gradient: Tensor, parameter: Tensor, side: str | None, project: Projection | None) -> Tensor:
    """A whole gradient of one process under the projection that the layer's own would have had, as it is kept."""
    if project is None or side is None:
        return kept(gradient, parameter, is_sketch=False)
    gradient = gradient if side == "right" else gradient.t()
    return gradient @ project(gradient.shape[1], gradient)


def zeros(parameter: Tensor, side: str | None, project: Projection | None) -> Tensor:
    """The gradient of what a loss does not reach, in the form of the others."""
    if project is None or side is None:
        return nothing(parameter, None)
    like = torch.empty(0, dtype=parameter.dtype, device=parameter.device)
    rows, width = parameter.shape if side == "right" else parameter.shape[::-1]
    return nothing(parameter, (rows, project(width, like).shape[1]))


def projection_of(parameter: Parameter, side: str | None, project: Projection | None, like: Tensor) -> Tensor | None:
    """Shape (in, columns), or None where nothing is projected."""
    return None if project is None or side is None else project(parameter.shape[side == "right"], like)
