"""The Mixed Signals Generalization Set's own files."""

import json
import os
from pathlib import Path
from typing import Any

from rosetune.analysis.probing.items import Item, Part, Probe, Rows

__all__ = ["read_msgs"]

_FEATURES = {"linguistic": "linguistic_feature_label", "surface": "surface_feature_label"}


def read_msgs(folder: str | os.PathLike[str], linguistic: str = "control_raising", surface: str = "length") -> Probe:
    """A probe from folders of JSON Lines as the authors publish them.

    ``<linguistic>_<surface>/`` holds the ambiguous ``train.jsonl`` and a ``test.jsonl``, of which the rows whose
    labels differ are the test, and the others, as far as they were not for training, show whether a model has learnt
    its own task. ``<linguistic>_control/`` and ``<surface>_control/`` hold the controls, of the authors' number of
    rows.

    Args:
        folder: of the unpacked archive.
        linguistic: "control_raising" for the paper's syntactic construction.
        surface: "length", or "lexical_content_the".

    Raises:
        ValueError: a file or field is missing, or a part of the design is empty.
    """
    root = Path(folder)
    mixed = root / f"{linguistic}_{surface}"
    train = [item for item in _read(mixed / "train.jsonl") if item.linguistic == item.surface]
    others = _read(mixed / "test.jsonl", held_out=True)
    test = [item for item in others if item.linguistic != item.surface]
    ambiguous = Part(_labelled(train, "linguistic", mixed), _labelled(test, "linguistic", mixed))
    known = {sentence for sentence, _ in ambiguous.train}
    same = [item for item in others if item.linguistic == item.surface and item.sentence not in known]
    agreeing = _labelled(same, "linguistic", mixed, "where both features agree, held out in test.jsonl")
    syntax, other = (
        _control(root / f"{linguistic}_control", "linguistic"),
        _control(root / f"{surface}_control", "surface"),
    )
    return Probe(ambiguous, syntax, other, agreeing)


def _control(place: Path, feature: str) -> Part:
    train, test = (_labelled(_read(place / f"{part}.jsonl"), feature, place) for part in ("train", "test"))
    return Part(train, test)


def _read(path: Path, *, held_out: bool = False) -> list[Item]:
    """The rows of a file; those of the condition "training" are left out where they are to be held out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; unpack MSGS's data there") from error
    items = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            labels = [_label(row[field]) for field in _FEATURES.values()]
            if not held_out or row.get("condition") != "training":
                items.append(Item(str(row["sentence"]), *labels))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number} is no row of MSGS ({error}): give its own files") from error
    return items


def _label(value: Any) -> int | None:
    if value is None:
        return None
    if value not in (0, 1):
        raise ValueError(f"a label is {value!r}")
    return int(value)


def _labelled(items: list[Item], feature: str, place: Path, which: str = "that this probe needs") -> Rows:
    found = tuple((item.sentence, getattr(item, feature)) for item in items if getattr(item, feature) is not None)
    if {label for _, label in found} != {0, 1}:
        raise ValueError(f"{place} has no rows of both labels of the {feature} feature {which}")
    return found
