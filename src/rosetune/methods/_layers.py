"""The numbered layers of an encoder, and which of them are trained."""

import re

import torch

from rosetune._torch import unwrap
from rosetune.methods._targets import BODY_PARAMETERS, LAYER_PARAMETERS

__all__ = ["encoder_layers", "freeze_below"]

# Embeddings and layers, and the normalisation of DeBERTa's relative positions, which every layer reads.
_BODY = BODY_PARAMETERS + r"|encoder\.LayerNorm\."


def encoder_layers(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The layers of a Transformer in their order, of whatever architecture.

    Raises:
        ValueError: there are none, or several such lists, as in an encoder-decoder.
    """
    inner = unwrap(model)
    found = [
        (name, module)
        for name, module in inner.named_modules()
        if isinstance(module, torch.nn.ModuleList) and re.search(LAYER_PARAMETERS, f"{name}.0.")
    ]
    outer = [
        (name, module)
        for name, module in found
        if not any(name.startswith(f"{other}.") for other, _ in found)  # in a layer there may be a list again
    ]
    if len(outer) != 1:
        lists = ", ".join(name for name, _ in outer) or "none"
        raise ValueError(
            f"{type(inner).__name__} has no single list of layers (found: {lists}), so that its last ones are not "
            "known: take an encoder such as BERT, RoBERTa, DistilBERT, DeBERTa or ModernBERT"
        )
    return outer[0][1]


def freeze_below(model: torch.nn.Module, trained: int) -> list[str]:
    """Train the last layers of an encoder and what lies above them, freeze embeddings and the layers below.

    Above them are pooler and head, and a normalisation after the last layer.

    Args:
        model: of transformers; its weights' ``requires_grad`` is set.
        trained: number of layers, from the last one down; 0 trains pooler and head alone.

    Returns:
        The names of the weights that are still trained.

    Raises:
        ValueError: the model has fewer layers, or none that are known; or layers that share their weights (ALBERT).

    Example:
        >>> freeze_below(model, 2)
        >>> RobustTrainer(model, args, train_dataset=rows).train()
    """
    layers = encoder_layers(model)
    count = getattr(getattr(unwrap(model), "config", None), "num_hidden_layers", len(layers))
    if count != len(layers):
        raise ValueError(
            f"{type(unwrap(model)).__name__} goes {count} times through {len(layers)} layers, which share their "
            "weights: its last ones cannot be trained alone"
        )
    if trained > len(layers):
        raise ValueError(f"the model has {len(layers)} layers, of which the last {trained} cannot be trained")
    kept = {id(p) for layer in list(layers)[len(layers) - trained :] for p in layer.parameters()}
    for name, parameter in unwrap(model).named_parameters():
        if re.search(_BODY, name) and id(parameter) not in kept:
            parameter.requires_grad_(False)
    return [name for name, parameter in unwrap(model).named_parameters() if parameter.requires_grad]
