"""Which tensors a mask may touch, and the ranking of them: shared by every update mask."""

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import Parameter

# Every parameter inside a numbered encoder or decoder layer, of any architecture: BERT's encoder.layer.0, RoBERTa,
# ELECTRA and DeBERTa alike, DistilBERT's transformer.layer.0, GPT-2's h.0, ModernBERT's layers.0, T5's block.0,
# ALBERT's albert_layers.0; LoRA's lora_A.default.weight below them too.
LAYER_PARAMETERS = r"(?:^|[._])(?:layers?|blocks?|h)\.\d+\."

# Only the weights of those layers. For RoBERTa these are the tensors that the authors of ROSE select ("layer" and
# "weight" in the name).
LAYER_WEIGHTS = LAYER_PARAMETERS + r"(?:.+\.)?weight$"

# The layers, and the embeddings below them: token, position and segment tables, ELECTRA's embeddings_project,
# DeBERTa's rel_embeddings, GPT-2's wte and wpe, T5's shared. Pooler and head are left.
BODY_PARAMETERS = LAYER_PARAMETERS + r"|embed|(?:^|\.)(?:wte|wpe|shared)\."

# Gains and biases of the normalisations: LayerNorm, sa_layer_norm, attn_norm, input_layernorm, norm1, ln_1, ln_f.
NORM_PARAMETERS = r"(?i)(?:^|[._])(?:[^.]*norm[^.]*|ln_?[^._]{0,2})\.(?:weight|bias)$"


def select_targets(optimizer: torch.optim.Optimizer, pattern: str) -> list[tuple[str, Parameter]]:
    """Names and parameters that match the pattern (re.search) and are trained, in the optimizer's order.

    Raises:
        ValueError: the optimizer's parameters have no names, or nothing matches.
    """
    found: list[tuple[str, Parameter]] = []
    names: list[str] = []
    for group in optimizer.param_groups:
        if "param_names" not in group:
            raise ValueError(
                "an update mask chooses tensors by name, but the optimizer was given plain parameters: "
                "pass model.named_parameters() instead of model.parameters()"
            )
        pairs = zip(group["param_names"], group["params"], strict=True)
        trained = [(name, parameter) for name, parameter in pairs if parameter.requires_grad]
        names.extend(name for name, _ in trained)
        found.extend((name, parameter) for name, parameter in trained if re.search(pattern, name))
    if not found:
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise ValueError(
            f"target_parameters={pattern!r} matches none of the {len(names)} trainable tensors ({shown}): "
            "give a regular expression that finds the tensors to be masked"
        )
    return found


def check_pattern(pattern: str, option: str = "target_parameters") -> str:
    """The pattern itself, once it is known to be a regular expression."""
    try:
        re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{option}={pattern!r} is not a regular expression: {error}") from error
    return pattern


def kept_count(upper: float, n: int) -> int:
    """floor(upper n + 1e-9): how many of n ranks i satisfy i/n <= upper (Eq. 3 of the ROSE paper).

    The 1e-9 forgives binary fractions: 0.7 * 10 is 7.
    """
    return int(upper * n + 1e-9)


def closest_draw(order: Sequence[int], sizes: Sequence[int], share: float, match: str) -> list[int]:
    """The first tensors of an order that make up a share of the tensors or, as closely as that order allows, scalars.

    Args:
        order: indices, the first to be taken first.
        sizes: scalars of each tensor.
        share: in [0, 1].
        match: "tensors" takes floor(share n + 1e-9) of them; "scalars" takes each tensor that brings the number of
            scalars nearer to its share.
    """
    if match == "tensors":
        return list(order[: kept_count(share, len(order))])
    budget, taken, total = share * sum(sizes), [], 0
    for index in order:
        if abs(total + sizes[index] - budget) < abs(total - budget):
            taken.append(index)
            total += sizes[index]
    return taken


def seeded_permutation(n: int, *seeds: int) -> list[int]:
    """A permutation that depends on the seeds alone, never on the global random state."""
    return [int(i) for i in np.random.default_rng(list(seeds)).permutation(n)]
