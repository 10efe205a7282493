"""Parameters in shards (FSDP2): what stands in the graph for them, and what is summed over the processes.

Under ``fully_shard`` a parameter is a DTensor of which each process holds a part. For forward and backward pass the
whole one is gathered into a plain tensor, which is the leaf of the autograd graph and is freed again.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial
from torch.nn import Parameter

from rosetune._torch import world_size


def sharded(parameters: Sequence[Tensor]) -> bool:
    """Whether any of them is in shards."""
    return any(isinstance(parameter, DTensor) for parameter in parameters)


def refuse_shards(parameters: Iterable[Tensor], what: str, why: str) -> None:
    """Say at once what does not work on parameters in shards.

    Raises:
        ValueError: one of them is.
    """
    if any(isinstance(parameter, DTensor) for parameter in parameters):
        raise ValueError(f"{what} does not work under FSDP, {why}: use DistributedDataParallel, or another method")


def require_data_parallel(parameters: Sequence[Tensor], only_norms: bool) -> None:
    """Shards of which this package can tell a gradient that is that of the global batch.

    Raises:
        ValueError: tensor parallelism or a group of some of the processes; the norms of single processes are asked
            for.
    """
    for parameter in parameters:
        if not isinstance(parameter, DTensor):
            continue
        shards = sum(not placement.is_replicate() for placement in parameter.placements)
        if shards > 1 or parameter.device_mesh.size() != world_size():
            raise ValueError(
                f"a tensor is sharded over {parameter.device_mesh.size()} of {world_size()} processes in {shards} "
                "ways, but ROSE's risks need plain data parallelism: use FSDP2 over all processes (with replicas or "
                "without), no tensor or pipeline parallelism"
            )
        if only_norms:
            raise ValueError(
                "reduce='norms' needs the whole gradient of each process, which no process has under FSDP: leave it "
                "out, and give Rose sketch=16 where memory or time is short"
            )


def leaves(parameters: Sequence[Parameter]) -> list[Parameter]:
    """What stands in the autograd graph for each parameter: itself, or under FSDP2 the gathered one.

    Raises:
        ValueError: a sharded parameter is no longer FSDP2's, or another version of torch keeps it elsewhere.
    """
    if not sharded(parameters):
        return list(parameters)
    try:
        gathered = {id(held.sharded_param): held._unsharded_param for held in _held()}
        return [gathered[id(p)] if isinstance(p, DTensor) else p for p in parameters]
    except (AttributeError, ImportError, KeyError) as error:
        raise ValueError(
            f"torch {torch.__version__} does not say where FSDP2 holds a target tensor (tried with torch 2.13): give "
            "the optimizer the named_parameters() of the model that fully_shard was applied to, after one forward"
        ) from error


def _held() -> Iterator[Any]:
    """FSDP2's own records of parameters, of every model of this process."""
    from torch.distributed._composable_state import _module_state_mapping  # torch's own, which may move

    for reference in list(_module_state_mapping.values()):
        state: Any = reference()
        for group in getattr(state, "_fsdp_param_groups", ()):
            for held in group.fsdp_params:
                if hasattr(held, "_unsharded_param"):  # not before its first forward
                    yield held


def kept(part: Tensor, parameter: Tensor, is_sketch: bool) -> Tensor:
    """What is kept of a gradient that one process has, in the precision of the parameter.

    Of a whole matrix of a sharded parameter its own shard of the sum over all processes, by a reduce-scatter; vectors
    and sketches as they are, to be summed at the end of the step.
    """
    part = part.to(parameter.dtype)
    if is_sketch or part.dim() < 2 or not isinstance(parameter, DTensor):
        return part
    mesh, partial = parameter.device_mesh, [Partial()] * parameter.device_mesh.ndim
    return DTensor.from_local(part, mesh, partial, run_check=False).redistribute(mesh, parameter.placements)


def nothing(parameter: Tensor, columns: tuple[int, int] | None) -> Tensor:
    """Zeros in the form that :func:`kept` gives.

    Args:
        columns: shape of the sketch; None: there is none.
    """
    if columns is not None or (isinstance(parameter, DTensor) and parameter.dim() < 2):
        shape = parameter.shape if columns is None else columns
        return torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)
    return torch.zeros_like(parameter)


def on_any(flag: Tensor) -> bool:
    """Whether it is true on any of the processes."""
    here = flag.to(torch.int32).reshape(1).clone()
    torch.distributed.all_reduce(here, torch.distributed.ReduceOp.MAX)
    return bool(here)


def norms(tensors: list[Tensor]) -> Tensor:
    """Shape (n,): Frobenius norms, in at least single precision."""
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32
    if any(isinstance(tensor, DTensor) for tensor in tensors):
        squares = norms([t.to_local() if isinstance(t, DTensor) else t for t in tensors]).square()
        squares /= torch.tensor([_copies(tensor) for tensor in tensors]).to(squares)
        torch.distributed.all_reduce(squares)
        return squares.sqrt()
    half = any(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in tensors)
    each = torch._foreach_norm(tensors, 2, dtype) if half else torch._foreach_norm(tensors, 2)
    return torch.stack([norm.to(dtype) for norm in each])


def _copies(tensor: Tensor) -> int:
    """How many processes hold each scalar of a tensor."""
    if not isinstance(tensor, DTensor):
        return world_size()
    sizes = [tensor.device_mesh.size(i) for i, placement in enumerate(tensor.placements) if not placement.is_shard()]
    return math.prod(sizes)
