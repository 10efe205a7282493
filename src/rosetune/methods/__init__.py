"""Objectives and update masks, each by its paper's name.

Any objective composes with any update mask. A new method is one file here and one line below.
"""

import inspect
import json
from collections.abc import Mapping
from typing import Any

from rosetune._axes import check_name, check_options
from rosetune.methods._contracts import (
    ChoosingMask,
    DenseMask,
    EarlyMask,
    Objective,
    ObjectiveOutput,
    ObservingMask,
    PreparedMask,
    ScaledMask,
    SparingMask,
    StatefulObjective,
    TracedMask,
    UpdateMask,
)
from rosetune.methods.child_tuning import ChildTuning
from rosetune.methods.controls import LayerNormOnly, RandomMask, StaticMask, UniformMask
from rosetune.methods.cross_entropy import CrossEntropy
from rosetune.methods.freelb import FreeLB
from rosetune.methods.latent_adversarial import LatentAdversarial
from rosetune.methods.magma import Magma, RandomStep
from rosetune.methods.match_tuning import MatchTuning
from rosetune.methods.noise_consistency import NoiseConsistency
from rosetune.methods.r3f import R3F
from rosetune.methods.r_drop import RDrop
from rosetune.methods.replay import ReplayedMask
from rosetune.methods.rift import Rift
from rosetune.methods.rose import Rose
from rosetune.methods.smart import Smart

__all__ = [
    "OBJECTIVES",
    "UPDATE_MASKS",
    "ChoosingMask",
    "DenseMask",
    "EarlyMask",
    "Objective",
    "ObjectiveOutput",
    "ObservingMask",
    "PreparedMask",
    "ScaledMask",
    "SparingMask",
    "StatefulObjective",
    "TracedMask",
    "UpdateMask",
    "build",
    "build_from",
]

OBJECTIVES: dict[str, type] = {
    "cross_entropy": CrossEntropy,
    "r_drop": RDrop,
    "smart": Smart,
    "freelb": FreeLB,
    "rift": Rift,
    "match_tuning": MatchTuning,
    "r3f": R3F,
    "noise_consistency": NoiseConsistency,
    "latent_adversarial": LatentAdversarial,
}

UPDATE_MASKS: dict[str, type] = {
    "rose": Rose,
    "child_tuning": ChildTuning,
    "magma": Magma,
    "random_step": RandomStep,
    "random": RandomMask,
    "static": StaticMask,
    "replay": ReplayedMask,
    "uniform": UniformMask,
    "layer_norm_only": LayerNormOnly,
}


def build(axis: str, name: str, options: Mapping[str, Any] | str | None = None, **defaults: Any) -> Any:
    """An objective or update mask by name.

    Args:
        axis: "objective" or "update_mask".
        name: a key of :data:`OBJECTIVES` or :data:`UPDATE_MASKS`.
        options: its keyword arguments, or their JSON.
        defaults: values for options that are not given, used where the method has an option of that name.

    Raises:
        ValueError: an unknown name or option, or a value outside its range.
    """
    table = OBJECTIVES if axis == "objective" else UPDATE_MASKS
    check_name(axis, name, {"objective": OBJECTIVES, "update_mask": UPDATE_MASKS})
    return build_from(axis, table, name, options, **defaults)


def build_from(
    axis: str,
    table: Mapping[str, type],
    name: str,
    options: Mapping[str, Any] | str | None = None,
    **defaults: Any,
) -> Any:
    """A member of any axis by its name in a table; the arguments and errors are those of :func:`build`."""
    check_name(axis, name, {axis: table})
    options = _parse(axis, options)
    known = inspect.signature(table[name]).parameters
    check_options(axis, name, options, known)
    given = {key: value for key, value in defaults.items() if key in known and key not in options}
    try:
        return table[name](**given, **options)
    except TypeError as error:
        raise ValueError(f"{axis}_kwargs of {name!r}: {error}") from error


def _parse(axis: str, options: Mapping[str, Any] | str | None) -> dict[str, Any]:
    parsed: Any = options or {}
    if isinstance(options, str):
        try:
            parsed = json.loads(options)
        except json.JSONDecodeError as error:
            raise ValueError(f"{axis}_kwargs must be JSON such as '{{\"upper\": 0.6}}': {error}") from error
    if not isinstance(parsed, Mapping):
        raise ValueError(f"{axis}_kwargs must be a mapping of options, not {options!r}")
    return dict(parsed)
