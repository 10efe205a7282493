"""Where in a model a weight belongs: its layer and its kind."""

import re
from collections.abc import Iterable

import numpy as np

__all__ = ["drift_by_layer", "kind_of", "layer_of", "order_of_layers"]

_LAYER = re.compile(r"(?:^|[._])(?:layers?|blocks?|h)\.(\d+)\.(.+)$")
_POOLER = re.compile(r"(?:^|\.)pooler\.")
_EMBEDDINGS = re.compile(r"embed|(?:^|\.)(?:wte|wpe|shared)\.")


def layer_of(name: str) -> str:
    """The number of the layer, "embeddings", or for what lies above the layers "pooler" or "head".

    A pooler is pre-trained, a head is not.
    """
    found = _LAYER.search(name)
    if found:
        return found[1]
    if _POOLER.search(name):
        return "pooler"
    return "embeddings" if _EMBEDDINGS.search(name) else "head"


def kind_of(name: str) -> str:
    """What a weight is within its layer ("attention.self.query.weight"); outside of layers its last two names."""
    found = _LAYER.search(name)
    return found[2] if found else ".".join(name.split(".")[-2:])


def order_of_layers(layers: Iterable[str]) -> list[str]:
    """The distinct layers from the embeddings up to the head."""
    ends = {"embeddings": -1, "pooler": 10**6, "head": 10**6 + 1}
    return sorted({*layers}, key=lambda layer: ends[layer] if layer in ends else int(layer))


def drift_by_layer(names: Iterable[str], distance: np.ndarray, norm: np.ndarray) -> dict[str, float]:
    """For each layer sqrt(sum ||theta - theta_0||^2 / sum ||theta_0||^2) over its tensors, from the embeddings up."""
    layers = np.array([layer_of(name) for name in names])
    return {
        layer: float(np.linalg.norm(distance[layers == layer]) / np.linalg.norm(norm[layers == layer]))
        for layer in order_of_layers(layers.tolist())
    }
