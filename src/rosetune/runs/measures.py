"""What is measured on a run beside accuracy, as it is asked for."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosetune.runs.config import RunConfig
from rosetune.runs.files import read_json
from rosetune.runs.values import RunError, guess

__all__ = ["FEATURES", "MEASURES", "SHARED", "VALIDATION", "Measures", "read_features"]

MEASURES = "measures.json"  # in a run's folder: what was asked for at an evaluation
FEATURES = "features.json"  # among predictions: by set the words of each text and its group
SHARED = "shared.json"  # among predictions: how many texts of the clean set were trained on
VALIDATION = "validation"  # a folder among predictions: the rows that a threshold is chosen on


@dataclass(frozen=True)
class Measures:
    """What is asked for; what is None is left as it was.

    Attributes:
        positive_label: the class that is told from the rest. Of two labels the second, where none is named.
        false_positive_rate: at which recall is read; 0.01 where none is named.
        group_column: of the user's file, by which results are split.
    """

    positive_label: str | None = None
    false_positive_rate: float | None = None
    group_column: str | None = None

    @classmethod
    def of(cls, config: RunConfig) -> "Measures":
        """Those of a configuration."""
        return cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(cls)})

    @classmethod
    def read(cls, folder: Path) -> "Measures":
        """Those of a run: of its configuration, and on top what was asked for since.

        Raises:
            RunError: the file is damaged.
        """
        path = folder / MEASURES
        given = read_json(path, "remove it") if path.is_file() else {}
        if not isinstance(given, dict) or not {*given} <= {field.name for field in dataclasses.fields(cls)}:
            raise RunError(f"{path} is damaged (it names no measures): remove it")
        has_config = (folder / "config.yaml").is_file()
        return (cls.of(RunConfig.read(folder)) if has_config else cls()).updated(cls(**given))

    def given(self) -> dict[str, Any]:
        """What is not None."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def updated(self, later: "Measures") -> "Measures":
        """These, with what another asks for on top."""
        return dataclasses.replace(self, **later.given())

    def positive(self, labels: Sequence[str]) -> str | None:
        """The class to be found; None of a regression, and of several labels where none is named.

        Raises:
            RunError: the named class is none of the labels.
        """
        if self.positive_label is None:
            return labels[1] if len(labels) == 2 else None
        if self.positive_label not in labels:
            said = f"{guess(self.positive_label, labels)}" if labels else "the task is a regression"
            raise RunError(f"positive_label {self.positive_label!r} is no label of the data: {said}")
        return self.positive_label


def read_features(place: Path) -> dict[str, dict[str, Any]]:
    """By set ``words``, and ``groups`` by column, each by id; empty of a run of an earlier version.

    Args:
        place: the folder of its predictions.

    Raises:
        RunError: the file is damaged.
    """
    path = place / FEATURES
    found = read_json(path, "remove it and evaluate again") if path.is_file() else {}
    if not isinstance(found, dict) or not all(isinstance(part, dict) for part in found.values()):
        raise RunError(f"{path} is damaged (it describes no rows): remove it and evaluate again")
    return found
