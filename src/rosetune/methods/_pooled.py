"""The pooled state of a sequence classifier: what its last linear layer turns into logits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rosetune._torch import forward, unwrap


def final_layer(model: torch.nn.Module) -> torch.nn.Linear:
    """The linear layer whose outputs are the logits.

    The last linear layer with as many outputs as the model has labels: ``classifier`` of BERT, DistilBERT, DeBERTa and
    ModernBERT, ``classifier.out_proj`` of RoBERTa and ELECTRA, ``score`` of GPT-2; under peft, the copy that is
    trained, or the layer that an adapter stands beside.

    Raises:
        ValueError: there is none.
    """
    return _find(model)[1]


@contextmanager
def changed_pooling(model: torch.nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within this, ``change`` replaces the pooled states of every forward.

    Args:
        change: from and to shape (batch, width).

    Raises:
        ValueError: in the forward: the model has no pooled state, since its last layer sees every token (GPT-2-style).
    """

    def hook(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        states = args[0]
        if states.dim() != 2:
            raise ValueError(
                f"{type(unwrap(model)).__name__} has no pooled state: its last layer scores every token (it gets "
                f"{tuple(states.shape)}); take a model that pools before its last layer, such as BERT or RoBERTa"
            )
        return (change(states), *args[1:])

    # An adapter calls the layer it stands beside from its own forward, and must see the changed states as well.
    name = _find(model)[0].removesuffix("base_layer").removesuffix(".")
    handle = unwrap(model).get_submodule(name).register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def forward_pooled(
    model: torch.nn.Module, features: dict[str, Any], change: Callable[[Tensor], Tensor] | None = None
) -> tuple[Any, Tensor]:
    """One forward, and the pooled state of each row.

    The pooled state is the last layer's input: with an architecture's own dense layer, activation and dropout, where
    it has them.

    Args:
        features: inputs without labels.
        change: replaces the pooled states, from and to shape (batch, width).

    Returns:
        The outputs, and the pooled states as they went into the last layer, shape (batch, width), with their graph.

    Raises:
        ValueError: the model has no pooled state, since its last layer sees every token (GPT-2-style).
    """
    seen: list[Tensor] = []

    def keep(states: Tensor) -> Tensor:
        seen.append(states if change is None else change(states))
        return seen[-1]

    with changed_pooling(model, keep):
        outputs = forward(model, features)
    if not seen:
        raise ValueError(f"{type(unwrap(model)).__name__} does not use its last linear layer in its forward")
    return outputs, seen[-1]


def _find(model: torch.nn.Module) -> tuple[str, torch.nn.Linear]:
    """The last layer and its name."""
    inner = unwrap(model)
    labels = getattr(getattr(inner, "config", None), "num_labels", None)
    modules = dict(inner.named_modules())
    adapters = tuple(f"{name}." for name, module in modules.items() if hasattr(module, "base_layer"))
    found = [
        (name, module)
        for name, module in modules.items()
        if isinstance(module, torch.nn.Linear)
        and (labels is None or module.out_features == labels)
        and "original_module" not in name.split(".")
        and (name.endswith(".base_layer") or not name.startswith(adapters))
    ]
    if not found:
        raise ValueError(
            f"{type(inner).__name__} has no linear layer with {labels} outputs at its end, and so no pooled state "
            "that this method could use: take a model with a linear classification head"
        )
    return found[-1]
