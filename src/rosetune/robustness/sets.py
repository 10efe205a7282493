"""The sets that a model is evaluated on, built the same way whoever asks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rosetune.data.sources import TaskData, load_advglue, remove_shared
from rosetune.robustness.advglue import originals
from rosetune.robustness.noise import CURVE, noise_curve, perturb
from rosetune.robustness.noise_families import curve_of

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["NOISE_STRENGTHS", "EvaluationSet", "curve_sets", "evaluation_sets", "sets_of_clean"]

NOISE_STRENGTHS = (1, 2)


class EvaluationSet(NamedTuple):
    """Rows to evaluate on, and how many of the published ones were left out since the training data holds them."""

    dataset: "Dataset"
    left_out: int = 0


def curve_sets(noises: Sequence[str] | None = None) -> list[str]:
    """Names of the sets of a noise curve; None: that of :data:`~rosetune.robustness.noise.CURVE`."""
    return [f"{name}@{strength:g}" for name, strength in curve_of(noises or CURVE)]


def sets_of_clean(
    clean: "Dataset", text_columns: Sequence[str], kind: str, seed: int = 0, noises: Sequence[str] | None = None
) -> dict[str, "Dataset"]:
    """The sets of a kind that are made of clean rows alone, by name: "clean", "noise" or "noise_curve".

    Args:
        clean: the rows.
        text_columns: one or two.
        kind, seed, noises: as in :func:`evaluation_sets`.

    Raises:
        ValueError: another kind, or an unknown noise.
    """
    if kind == "clean":
        return {"clean": clean}
    if kind == "noise":
        return {f"typos_{strength}": perturb(clean, text_columns, strength, seed) for strength in NOISE_STRENGTHS}
    if kind == "noise_curve":
        found: dict[str, Dataset] = {}
        for name, strength in curve_of(CURVE if noises is None else noises):
            curve = noise_curve(clean, text_columns, names=[name], strengths=[strength], seed=seed)
            found |= {f"{name}@{strength:g}": noisy for _, _, noisy in curve}
        return found
    raise ValueError(f"no kind of set is called {kind!r}: give some of clean, noise, noise_curve")


def evaluation_sets(
    data: TaskData,
    kind: str,
    *,
    data_dir: str | None = None,
    seed: int = 0,
    noises: Sequence[str] | None = None,
) -> dict[str, EvaluationSet]:
    """Evaluation sets by name.

        clean         the reported split: ``clean``, for MNLI ``clean_mismatched`` too
        noise         the same sentences with typing errors: ``typos_1`` and ``typos_2``
        noise_curve   the same sentences under several noises at every strength: ``ocr@0.25`` and so on
        advglue       ``advglue``, for MNLI ``advglue_mismatched`` too, and where the edition holds them the
                      unperturbed originals of their items, ``advglue_originals`` and so on

    Args:
        kind: as above.
        data_dir: of AdvGLUE's file.
        seed: of the noise.
        noises: of the noise curve, "ocr" at every strength or "ocr@0.5" at one; None: those of
            :data:`~rosetune.robustness.noise.CURVE`.

    Raises:
        DataError: AdvGLUE does not cover the task, its data is not there, or all of it is in the training data.
    """
    _, clean = data.clean
    if kind != "advglue":
        named = sets_of_clean(clean, data.text_columns, kind, seed, noises)
        mismatched = data.splits.get("validation_mismatched")
        if kind == "clean" and mismatched is not None:
            named["clean_mismatched"] = mismatched
        return {name: EvaluationSet(dataset) for name, dataset in named.items()}
    sets: dict[str, EvaluationSet] = {}
    published = load_advglue(data.name, data_dir=data_dir, labels=data.labels, text_columns=data.text_columns)
    for name, dataset in published.items():
        # Rotten Tomatoes holds the originals of many of AdvGLUE's SST-2 items.
        items, left_out = remove_shared(dataset, data.splits["train"], data.text_columns)
        sets[name] = EvaluationSet(items, left_out)
        before = originals(items, data.text_columns)
        if len(before):
            sets[name.replace("advglue", "advglue_originals")] = EvaluationSet(before)
    return sets
