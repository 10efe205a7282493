"""The mean loss of a model over some rows, as a function of its weights, which are never written to."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from rosetune._torch import evaluating, logits_of

__all__ = ["Batch", "MeanLoss", "Measured", "row_losses"]

Batch = dict[str, Tensor]
Weights = Mapping[str, Tensor]


class Measured(NamedTuple):
    """Mean loss and accuracy over the rows; the accuracy of a regression is NaN."""

    loss: float
    accuracy: float


def row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Shape (rows,): cross-entropy, or the squared error of a single output."""
    if logits.shape[-1] == 1:
        return (logits.squeeze(-1) - labels).square()
    return torch.nn.functional.cross_entropy(logits, labels.long(), reduction="none")


class MeanLoss:
    """L(theta), the mean of the rows' losses, for a model in eval mode.

    Of a word embedding only the rows that the inputs read are moved: the loss does not depend on the others.

    Args:
        model: any module that returns logits. Its trainable parameters are theta; those that do not require a gradient
            stay as they are, so that of LoRA the adapters and the head are looked at.
        batches: inputs with ``labels``, on the model's device; rows of about one length share a batch.
        loss: from logits, shape (rows, labels), and labels to a loss a row.

    Attributes:
        parts: by name the moved weights, a view of the model's own or, of an embedding, a copy of the rows that are
            read.
        rows: how many there are.

    Raises:
        ValueError: no rows, or no trainable parameter.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        batches: Sequence[Batch],
        loss: Callable[[Tensor, Tensor], Tensor] = row_losses,
    ) -> None:
        self.model, self.batches, self._loss = model, batches, loss
        self.rows = sum(len(batch["labels"]) for batch in batches)
        self._whole = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        if not self.rows or not self._whole:
            raise ValueError("there is nothing to look at: " + ("no trainable weight" if self.rows else "no row"))
        self._read = _rows_read(model, batches)
        self.parts = {name: self.part(name, whole) for name, whole in self._whole.items()}

    def part(self, name: str, whole: Tensor) -> Tensor:
        """Of a tensor of the shape of a weight, what is moved."""
        return whole[self._read[name]] if name in self._read else whole

    def whole(self, name: str) -> Tensor:
        """The model's own weight."""
        return self._whole[name]

    def full(self, parts: Weights) -> dict[str, Tensor]:
        """Moved weights in the shapes of the model; differentiable."""
        return {
            name: self._whole[name].index_copy(0, self._read[name], part) if name in self._read else part
            for name, part in parts.items()
        }

    def buffers(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Tensors of the shapes of some weights, to :meth:`write` to before they are read.

        Of a table only the rows that are read will be written. So a large one takes only their pages of memory.
        """
        return {name: torch.empty_like(self._whole[name]) for name in names}

    def write(self, name: str, buffer: Tensor, part: Tensor) -> None:
        """Put what is moved of a weight into its copy."""
        if name in self._read:
            buffer.index_copy_(0, self._read[name], part)
        else:
            buffer.copy_(part)

    def measure(self, weights: Weights | None = None) -> Measured:
        """L and accuracy at some weights.

        On a CPU the batches share the threads that torch may use: two batches on a thread each are done sooner than
        one after the other on both.

        Args:
            weights: by name, in the shapes of the model; those that are absent are the model's own.
        """
        moved = {f"model.{name}": weight for name, weight in (weights or {}).items()}
        with evaluating(self.model):
            found = functional_call(_EachBatch(self.model, self._sums), moved, (self.batches,))
        total, right = (sum(column) for column in zip(*found, strict=True))
        return Measured(total / self.rows, right / self.rows)

    def terms(self, parts: Weights) -> Iterator[Tensor]:
        """The summands of L, one a batch, with their graph; eval mode lasts as long as the iteration."""
        with evaluating(self.model):
            for batch in self.batches:
                logits = self._logits(self.full(parts), batch)
                yield self._loss(logits, batch["labels"]).sum() / self.rows

    @torch.inference_mode()
    def _sums(self, model: torch.nn.Module, batch: Batch) -> tuple[float, float]:
        """Over the rows of a batch: their losses, and how many of them are right."""
        logits = logits_of(model(**_inputs(batch))).double()
        right = (logits.argmax(-1) == batch["labels"]).sum() if logits.shape[-1] > 1 else float("nan")
        return float(self._loss(logits, batch["labels"]).double().sum()), float(right)

    def _logits(self, weights: Weights, batch: Batch) -> Tensor:
        # The curvature of a loss is a small difference of large numbers.
        return logits_of(functional_call(self.model, dict(weights), (), _inputs(batch))).double()


class _EachBatch(torch.nn.Module):
    """A model over several batches, so that its weights are put in place once for all of them."""

    def __init__(self, model: torch.nn.Module, work: Callable[[torch.nn.Module, Batch], Any]) -> None:
        super().__init__()
        self.model, self._work = model, work

    def forward(self, batches: Sequence[Batch]) -> list[Any]:
        threads = torch.get_num_threads()
        workers = min(threads, len(batches)) if batches[0]["labels"].device.type == "cpu" else 1
        if workers == 1:
            return [self._work(self.model, batch) for batch in batches]
        torch.set_num_threads(threads // workers)
        try:
            with ThreadPoolExecutor(workers) as pool:
                return [*pool.map(lambda batch: self._work(self.model, batch), batches)]
        finally:
            torch.set_num_threads(threads)


def _inputs(batch: Batch) -> Batch:
    return {name: value for name, value in batch.items() if name != "labels"}


def _rows_read(model: torch.nn.Module, batches: Sequence[Batch]) -> dict[str, Tensor]:
    """By name of the word embedding, which rows of it the inputs read; nothing where it also serves otherwise."""
    get: Any = getattr(model, "get_input_embeddings", None)
    try:
        embedding = None if get is None else get()
    except NotImplementedError:
        embedding = None
    if type(embedding) is not torch.nn.Embedding or not all("input_ids" in batch for batch in batches):
        return {}
    users = [module for module in model.modules() if any(p is embedding.weight for p in module.parameters(False))]
    names = [name for name, p in model.named_parameters() if p is embedding.weight and p.requires_grad]
    if len(users) != 1 or embedding.max_norm is not None or not names:
        return {}
    return {names[0]: torch.cat([batch["input_ids"].flatten() for batch in batches]).unique()}
