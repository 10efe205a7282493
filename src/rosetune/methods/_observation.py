"""Gradients of losses that are looked at and not followed: kept for one step, averaged, reduced to norms."""

import logging

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import Parameter

from rosetune._torch import world_size
from rosetune.methods._gradients import TARGETS, gradients, words
from rosetune.methods._shards import leaves, norms, on_any, require_data_parallel, sharded
from rosetune.methods._shared_backward import SharedBackward, share_backward
from rosetune.methods._sketch import layer_gradients
from rosetune.methods._uses import Projection, projected, zeros

logger = logging.getLogger(__name__)


class Observation:
    """The norms of some losses' gradients, averaged over the micro-batches and ranks of one step.

    Where it can, it takes them from the backward pass that follows (see ``_shared_backward``); the first batch with
    each number of rows is checked. Else ``torch.autograd.grad`` takes them in a pass of their own. Either leaves
    ``.grad`` alone, and DistributedDataParallel's reducer does not fire. One gradient buffer of the parameters is held
    for each loss until :meth:`discard`, or of their random projections where there is a ``projection``.
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[Tensor]] = {}
        self._micro_batches = 0
        self._marks: list[tuple[int, int] | None] = []  # .grad as it was at the last observation
        self._pending: list[tuple[SharedBackward, dict[str, list[Tensor]] | None, bool]] = []
        self._names: set[str] = set()
        self._own: set[str] = set()  # sums that are nobody else's tensors
        self._totals: dict[str, tuple[list[Tensor], int]] = {}
        self._checked: set[int] = set()  # numbers of rows
        self._differs = False
        self._weight: float | None = None  # of the consistency in a loss whose rest is the task's
        self._projection: Projection | None = None
        self._sides: list[str | None] | None = None
        self._said: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(
        self,
        losses: dict[str, Tensor],
        parameters: list[Parameter],
        only_norms: bool = False,
        projection: Projection | None = None,
        weight: float | None = None,
    ) -> None:
        """Take the gradients of one micro-batch's losses, before its backward pass.

        Args:
            losses: scalars by name, the same names in every micro-batch of a step.
            parameters: what the gradients are taken of; one that a loss does not reach counts as zero.
            only_norms: keep the norms, and average those.
            projection: random numbers that the gradients of linear layers are multiplied with; those of a step are
                alike.
            weight: the loss that is followed is the task loss plus this times the consistency. Where neither comes
                with its backward pass, the gradient of the task loss is then taken as the difference.
        """
        if not losses:
            return
        in_shards = sharded(parameters)
        if in_shards:
            require_data_parallel(parameters, only_norms)
        self._settle(complete=True)
        self._names.update(losses)
        if self._micro_batches and self._sides is None:
            projection = None  # as the step began
        self._projection = projection
        shared = None if self._weight is not None else self._share(losses, parameters, projection)
        if shared is None:
            difference = weight is not None and len(losses) == 2 and not only_norms and not in_shards
            if difference and not self._micro_batches:
                self._weight = weight
            if self._weight is not None:
                losses = {"consistency": losses["consistency"]}
            self._sum(self._by_themselves(losses, parameters, projection), only_norms)
        else:
            # Processes that have other numbers of rows make the same passes.
            checked = bool(self._checked) if in_shards else shared.rows in self._checked
            whole = None if checked else shared.by_itself()
            self._pending.append((shared, whole, only_norms))
        self._micro_batches += 1
        self._marks = _marks(parameters)

    @property
    def awaited(self) -> SharedBackward | None:
        """What looks along with the coming backward pass, where that is the only one of the step so far."""
        waiting = [shared for shared, _, _ in self._pending if not shared.complete]
        return waiting[0] if waiting and self._micro_batches == 1 else None

    def norms(self, name: str, only_norms: bool = False) -> Tensor:
        """Shape (parameters,): the norm of the mean gradient, or the mean norm."""
        total, parts = self._total(name)
        return (total[0] if only_norms else norms(total)) / parts

    def overflowed(self) -> Tensor | None:
        """Whether a gradient so far is not finite, on its device; None where the pass that gives them is yet to come.

        Under float16 there is no such pass (see ``_shared_backward``).
        """
        sums = [tensor for each in self._sums.values() for tensor in each]
        return (~torch.isfinite(norms(sums))).any() if sums else None

    def task_norms(self, parameters: list[Parameter], clip: float | Tensor, only_norms: bool = False) -> Tensor:
        """Shape (parameters,): those of the task loss, in the units of ``.grad``.

        Args:
            clip: what ``.grad`` was multiplied with since its backward pass.
        """
        if "task_loss" in self and self._weight is None:
            return self.norms("task_loss", only_norms) * clip
        taken = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        if self._weight is not None:
            pairs = zip(taken, parameters, self._sides or [None] * len(taken), strict=True)
            taken = [projected(gradient, p, side, self._projection) for gradient, p, side in pairs]
            total, parts = self._total("consistency")
            taken = list(torch._foreach_sub(taken, torch._foreach_mul(total, self._weight * clip / parts)))
        return norms(taken)

    def _total(self, name: str) -> tuple[list[Tensor], int]:
        """The sum over the micro-batches and ranks of the step, and how many they are."""
        self._settle()
        if name not in self._totals:
            total, parts = self._sums[name], self._micro_batches
            if world_size() > 1:
                total = [tensor.clone() for tensor in total] if parts == 1 else total  # see _sum
                ours = [tensor for tensor in total if not isinstance(tensor, DTensor)]  # shards are summed already
                for work in [torch.distributed.all_reduce(tensor, async_op=True) for tensor in ours]:
                    work.wait()
            self._totals[name] = total, parts * world_size()
        return self._totals[name]

    def discard(self) -> None:
        """Forget what was added since the last step."""
        self._sums, self._micro_batches, self._pending = {}, 0, []
        self._names, self._own, self._totals, self._weight = set(), set(), {}, None

    def discard_used(self, parameters: list[Parameter]) -> None:
        """Forget it if a backward pass has run since: then the step that it was for has been skipped."""
        if self._micro_batches and _marks(parameters) != self._marks:
            self.discard()

    def _share(
        self, losses: dict[str, Tensor], parameters: list[Parameter], projection: Projection | None
    ) -> SharedBackward | None:
        if self._differs:
            return None
        shared = share_backward(losses, parameters, projection)
        if isinstance(shared, SharedBackward) and projection is not None:
            self._sides = shared.sides if self._sides is None else self._sides
            if shared.sides != self._sides:
                shared = "the layers are used otherwise than in the first step"
        if isinstance(shared, SharedBackward):
            self._say("the gradients that rank come from the backward pass of the loss, and cost none of their own")
            return shared
        self._say(f"the gradients that rank cost a backward pass of their own: {shared}")
        return None

    def _by_themselves(
        self, losses: dict[str, Tensor], parameters: list[Parameter], projection: Projection | None
    ) -> dict[str, list[Tensor]]:
        taken = {}
        for name, loss in losses.items():
            layers = projection is not None or sharded(parameters)
            seen = self._by_layers(loss, parameters, projection) if layers else None
            sides = self._sides or [None] * len(parameters)
            if seen is None:
                with torch.autocast(loss.device.type, enabled=False):
                    whole = gradients(loss, leaves(parameters), of=words(name), reaching=TARGETS, retain_graph=True)
                triples = zip(whole, parameters, sides, strict=True)
                seen = [None if g is None else projected(g, p, side, projection) for g, p, side in triples]
            triples = zip(seen, parameters, sides, strict=True)
            taken[name] = [zeros(p, side, projection) if g is None else g for g, p, side in triples]
        return taken

    def _by_layers(
        self, loss: Tensor, parameters: list[Parameter], projection: Projection | None
    ) -> list[Tensor | None] | None:
        taken = layer_gradients(loss, parameters, projection)
        if not isinstance(taken, str):
            found, sides, whole = taken
            for reason in dict.fromkeys(whole.values()):
                number = list(whole.values()).count(reason)
                self._say(f"{number} of {len(found)} gradients that rank are not sketched but exact: {reason}")
            if projection is not None and self._sides is None:
                self._sides = sides
            if projection is None or sides == self._sides:
                return found
            taken = "the layers are used otherwise than in the first step"
        form = "exact, and whole on every process for a moment" if sharded(parameters) else "not sketched but exact"
        self._say(f"the gradients that rank are {form}: {taken}")
        return None

    def _settle(self, complete: bool = False) -> None:
        """Add up what backward passes have left; with ``complete`` only where they have run."""
        waiting = []
        for shared, whole, only_norms in self._pending:
            if complete and not shared.complete:
                waiting.append((shared, whole, only_norms))
                continue
            found = shared.result()
            if whole is not None:
                found = self._check(shared, found, whole)
            self._sum(found, only_norms)
        self._pending = waiting

    def _check(
        self, shared: SharedBackward, found: dict[str, list[Tensor]], whole: dict[str, list[Tensor]]
    ) -> dict[str, list[Tensor]]:
        """What was found, unless a backward pass of its own says otherwise."""
        tolerance = 0.05 if shared.low_precision else 1e-3
        for name, seen in found.items():
            there, here = norms(whole[name]), norms(seen)
            off = (there - here).abs() > tolerance * there + 1e-6 * there.max()
            if on_any(off.any()) if sharded(shared.parameters) else off.any():
                logger.warning(
                    "the rows of a batch are not independent in this model (%d of %d gradients differ): the gradients "
                    "that rank take a backward pass of their own from now on",
                    *(int(off.sum()), len(seen)),
                )
                self._differs = True
                return whole
        if shared.ratios is not None:
            self._checked.add(shared.rows)
        return found

    def _sum(self, found: dict[str, list[Tensor]], only_norms: bool) -> None:
        for name, seen in found.items():
            seen = [norms(seen)] if only_norms else seen
            if name not in self._sums:
                self._sums[name] = seen
            elif sharded(seen):  # among vectors and sketches, which are not
                self._sums[name] = [before + now for before, now in zip(self._sums[name], seen, strict=True)]
            elif name in self._own:
                torch._foreach_add_(self._sums[name], seen)
            else:  # not in place: autograd may have handed out one tensor for two parameters
                self._sums[name] = list(torch._foreach_add(self._sums[name], seen))
                self._own.add(name)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            logger.info(text)


def _marks(parameters: list[Parameter]) -> list[tuple[int, int] | None]:
    """Changes with every backward pass that reaches one of the parameters."""
    return [None if p.grad is None else (id(p.grad), p.grad._version) for p in parameters]
