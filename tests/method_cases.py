"""Every objective and update mask, with options under which it acts on a small model: importable as ``method_cases``.

A new method is among them as soon as it is in its dict; options for it go into OBJECTIVE_OPTIONS or MASK_OPTIONS.
"""

import re
from pathlib import Path

import numpy as np
from torch import nn

from helpers import ROSES, make_model
from rosetune.mask_trace import MaskTrace
from rosetune.methods import OBJECTIVES, UPDATE_MASKS
from rosetune.methods._targets import LAYER_WEIGHTS

# Options without which a method does nothing, or nothing that such small models show; SYNONYMS and TRACE are paths.
SYNONYMS = "synonyms.json"
TRACE = "mask_trace.npz"
OBJECTIVE_OPTIONS = {
    "smart": {"epsilon": 0.05, "noise_std": 0.02, "step_size": 0.1, "bregman_weight": 0.5},
    "r3f": {"epsilon": 0.05},
    "rift": {"synonyms": SYNONYMS, "steps": 2},
}
# Several variants of a method.
MASK_OPTIONS = {
    "rose": {
        **ROSES,
        "corrected": {"order": "ensemble", "second_order": "corrected", "trace": True},
        "sketched": {"order": "first", "upper": 0.5, "sketch": 4, "trace": True},
        "economy": {"order": "first", "upper": 0.5, "refresh": 2, "trace": True},
        "auto": {"upper": "auto", "trace": True},
    },
    "static": {"upper": {"upper": 0.5}, "frozen": {"frozen": "."}},
    "replay": {"": {"trace": TRACE}},
    "child_tuning": {"D": {"mode": "D"}, "F": {"mode": "F"}},
}
MASKS = {"none": {}} | {
    f"{name}-{variant}" if variant else name: {"update_mask": name, "update_mask_kwargs": options}
    for name in UPDATE_MASKS
    for variant, options in MASK_OPTIONS.get(name, {"": {}}).items()
}
# Further variants of a mask, which need not meet every objective.
ONCE = ("rose-corrected", "rose-auto", "rose-sketched", "rose-economy", "static-frozen", "random_step")
PAIRS = [(o, m) for o in OBJECTIVES for m in MASKS if m not in ONCE or o == "cross_entropy"]


def method(objective: str, mask: str, synonyms: str, model: nn.Module | None = None, **more) -> dict:
    """Arguments that name this objective and this mask, with their options; a trace is of this model."""
    options = {
        name: synonyms if value == SYNONYMS else value for name, value in OBJECTIVE_OPTIONS.get(objective, {}).items()
    }
    chosen = dict(MASKS[mask])
    if (chosen.get("update_mask_kwargs") or {}).get("trace") == TRACE:
        chosen["update_mask_kwargs"] = {"trace": write_trace(Path(synonyms).parent, model or make_model())}
    return {"objective": objective, "objective_kwargs": {**options, **more} or None, **chosen}


def write_trace(folder: Path, model: nn.Module) -> str:
    """Six steps of multipliers for the model's default targets; returns its path."""
    targets = {n: p.numel() for n, p in model.named_parameters() if p.requires_grad and re.search(LAYER_WEIGHTS, n)}
    multipliers = np.random.default_rng(0).choice([0.0, 0.5, 1.0], (6, len(targets))).astype(np.float32)
    MaskTrace(tuple(targets), np.array([*targets.values()]), multipliers).save(folder / TRACE)
    return str(folder / TRACE)
