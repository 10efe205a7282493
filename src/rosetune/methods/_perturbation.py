"""Perturb the word embeddings of any model: one forward hook, one ascent step, one projection."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rosetune._torch import forward, unwrap
from rosetune.methods._shards import refuse_shards

NORMS = {"l2": 2.0, "linf": float("inf")}
Change = Callable[[Tensor], Tensor]


def word_embeddings(model: torch.nn.Module) -> torch.nn.Module:
    """The table that turns token ids into vectors, before positions, normalisation and dropout.

    Raises:
        ValueError: the model names none.
    """
    find = getattr(unwrap(model), "get_input_embeddings", None)
    table = None if find is None else find()
    if not isinstance(table, torch.nn.Module):
        raise ValueError(
            f"{type(unwrap(model)).__name__} has no get_input_embeddings(), so that its word embeddings cannot be "
            "perturbed: use a transformers model, or add that method to yours"
        )
    return table


@torch.no_grad()
def embed(model: torch.nn.Module, features: dict[str, Any]) -> Tensor:
    """Word embeddings of a batch, shape (batch, tokens, width), detached.

    Raises:
        ValueError: the model names no table of them, or has it in shards.
    """
    if isinstance(features.get("inputs_embeds"), Tensor):
        return features["inputs_embeds"].detach()
    table = word_embeddings(model)
    # Looked up by itself, a table in shards is not gathered, or takes itself for the whole model.
    what, why = "an objective that perturbs word embeddings", "which gathers them within the model's forward only"
    refuse_shards(table.parameters(), what, why)
    return table(features["input_ids"])


@contextmanager
def changed_embeddings(model: torch.nn.Module, features: dict[str, Any], change: Change) -> Iterator[None]:
    """Within this, the word embeddings e that one forward looks up for ``input_ids`` are ``change(e)``.

    Args:
        change: from and to shape (batch, tokens, width); gradients flow through it.

    Raises:
        ValueError: the model's forward does not look its word embeddings up in that table, does so more than once, or
            not as (batch, tokens, width).
    """
    seen = []

    def hook(module: torch.nn.Module, args: Any, output: Tensor) -> Tensor:
        seen.append(True)
        if len(seen) > 1 or output.shape[:2] != features["input_ids"].shape:
            raise ValueError(
                f"{type(unwrap(model)).__name__} looks its word embeddings up more than once, or not in the order of "
                "(batch, tokens), so that they cannot be perturbed (GPT-2 does where it gets token_type_ids: leave "
                "them out)"
            )
        return change(output)

    handle = word_embeddings(model).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
    if not seen:
        raise ValueError(
            f"{type(unwrap(model)).__name__} does not call get_input_embeddings() in its forward, so that its word "
            "embeddings cannot be perturbed (an encoder-decoder does not; torch.compile hides it: train without)"
        )


def forward_changed(model: torch.nn.Module, features: dict[str, Any], change: Change) -> Any:
    """One forward whose word embeddings e are ``change(e)``, also where the batch holds them as ``inputs_embeds``.

    Args:
        features: inputs without labels.
        change: as in :func:`changed_embeddings`.

    Raises:
        ValueError: as in :func:`changed_embeddings`.
    """
    if isinstance(features.get("inputs_embeds"), Tensor):
        return forward(model, {**features, "inputs_embeds": change(features["inputs_embeds"])})
    with changed_embeddings(model, features, change):
        return forward(model, features)


def token_mask(features: dict[str, Any], like: Tensor) -> Tensor:
    """Shape (batch, tokens, 1): 1 for a token, 0 for padding; ones without an attention mask.

    Args:
        like: word embeddings, whose dtype and device are taken.
    """
    mask = features.get("attention_mask")
    if not isinstance(mask, Tensor) or mask.dim() != 2:
        return like.new_ones(*like.shape[:2], 1)
    return mask.unsqueeze(-1).to(like)


def row_norm(x: Tensor, norm: str) -> Tensor:
    """The l2 or linf norm of each row as a whole, shape (batch, 1, 1)."""
    return torch.linalg.vector_norm(x.flatten(1), NORMS[norm], dim=1)[:, None, None]


def finite_rows(x: Tensor) -> Tensor:
    """Which rows are free of NaN and infinity, shape (batch, 1, 1)."""
    return x.isfinite().flatten(1).all(1)[:, None, None]


def ascend(delta: Tensor, gradient: Tensor, step_size: float, norm: str) -> tuple[Tensor, Tensor]:
    """One step of normalised gradient ascent, delta + step_size g / ||g||, each row by itself.

    A row whose gradient is not finite stays where it is; so does one whose gradient is zero.

    Args:
        delta, gradient: shape (batch, tokens, width).
        norm: "l2" or "linf", of the whole row.

    Returns:
        The new delta, without a graph, and the number of rows that stayed because of NaN or infinity.
    """
    gradient = gradient.detach()
    finite = finite_rows(gradient)
    gradient = torch.where(finite, gradient, torch.zeros_like(gradient))
    length = row_norm(gradient, norm)
    direction = gradient / length.clamp_min(torch.finfo(gradient.dtype).tiny)
    return delta.detach() + step_size * direction, (~finite).sum()


def project(delta: Tensor, radius: float, norm: str) -> Tensor:
    """The nearest point of each row in the ball of this radius around zero: scaled (l2) or clamped (linf)."""
    if norm == "linf":
        return delta.clamp(-radius, radius)
    length = row_norm(delta, norm)
    return delta * (radius / length.clamp_min(torch.finfo(delta.dtype).tiny)).clamp_max(1.0)


class DropoutState:
    """The random state from which a pass draws its dropout, so that another pass can draw the same.

    Passes of the same shape then have the same dropout masks. State is captured where this is made.
    """

    def __init__(self, features: dict[str, Any]) -> None:
        self._device = next(v for v in features.values() if isinstance(v, Tensor)).device
        self._states = self._read()

    @contextmanager
    def again(self, enabled: bool = True) -> Iterator[None]:
        """Within this, dropout is drawn as it was after the capture; afterwards the random state goes on as before."""
        if not enabled:
            yield
            return
        before = self._read()
        self._write(self._states)
        try:
            yield
        finally:
            self._write(before)

    def _read(self) -> list[Tensor]:
        """The state of the CPU and, where the batch is on an accelerator, of that."""
        states = [torch.get_rng_state()]
        if self._device.type != "cpu":
            states.append(torch.get_device_module(self._device).get_rng_state(*self._which()))
        return states

    def _write(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.type != "cpu":
            torch.get_device_module(self._device).set_rng_state(states[1], *self._which())

    def _which(self) -> list[torch.device]:
        return [] if self._device.type == "mps" else [self._device]  # torch.mps knows one device only
