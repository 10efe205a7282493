"""The data of a run and the sets it is evaluated on, built the same way for every verb."""

from datasets import Dataset

from rosetune.data.sources import TaskData, load_advglue, load_task, remove_shared
from rosetune.experiments.config import RunConfig
from rosetune.robustness.advglue import originals
from rosetune.robustness.noise import noise_curve, perturb

__all__ = ["NOISE_STRENGTHS", "ORIGINALS", "evaluation_sets", "kind_of", "load_data"]

NOISE_STRENGTHS = (1, 2)
ORIGINALS = "advglue_originals"


def load_data(config: RunConfig) -> TaskData:
    """The task's data, as the configuration names it.

    Raises:
        DataError: the data cannot be read.
    """
    return load_task(
        config.task,
        data_dir=config.data_dir,
        text_columns=config.text_columns,
        label_column=config.label_column,
        validation_file=config.validation_file,
        test_file=config.test_file,
    )


def evaluation_sets(data: TaskData, kind: str, *, data_dir: str | None = None, seed: int = 0) -> dict[str, Dataset]:
    """Evaluation sets by name.

        clean         the reported split: ``clean``, for MNLI ``clean_mismatched`` too
        noise         the same sentences with typing errors: ``typos_1`` and ``typos_2``
        noise_curve   the same sentences under every noise at every strength: ``ocr@0.25`` and so on
        advglue       ``advglue``, for MNLI ``advglue_mismatched`` too, and where the edition holds them the
                      unperturbed originals of their items, ``advglue_originals`` and so on

    Args:
        kind: as above.
        data_dir: of AdvGLUE's file.
        seed: of the noise.

    Raises:
        DataError: AdvGLUE does not cover the task, or its data is not there.
    """
    _, clean = data.clean
    if kind == "clean":
        mismatched = data.splits.get("validation_mismatched")
        return {"clean": clean, **({} if mismatched is None else {"clean_mismatched": mismatched})}
    if kind == "noise":
        return {f"typos_{strength}": perturb(clean, data.text_columns, strength, seed) for strength in NOISE_STRENGTHS}
    if kind == "noise_curve":
        curve = noise_curve(clean, data.text_columns, seed=seed)
        return {f"{name}@{strength:g}": noisy for name, strength, noisy in curve}
    sets: dict[str, Dataset] = {}
    items_of = load_advglue(data.name, data_dir=data_dir, labels=data.labels, text_columns=data.text_columns)
    for name, dataset in items_of.items():
        # Rotten Tomatoes holds the originals of many of AdvGLUE's SST-2 items.
        items, _ = remove_shared(dataset, data.splits["train"], data.text_columns)
        before = originals(items, data.text_columns)
        sets |= {name: items, **({name.replace("advglue", ORIGINALS): before} if len(before) else {})}
    return sets


def kind_of(set_name: str) -> str:
    """The kind that a set belongs to."""
    if set_name.startswith("typos_"):
        return "noise"
    return "noise_curve" if "@" in set_name else set_name.split("_")[0]
