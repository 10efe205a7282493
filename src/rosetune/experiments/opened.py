"""A model that is there, weights or function, as whoever predicts sees it: rows in, logits out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from rosetune.experiments.lengths import Cut, cut_texts
from rosetune.experiments.models import load_trained
from rosetune.robustness.classifier import CallableClassifier, load_function
from rosetune.robustness.evaluation import default_length, predict
from rosetune.robustness.functions import read_function
from rosetune.robustness.normalization import read_steps

__all__ = ["OpenedFunction", "OpenedWeights", "open_model", "told_steps"]

AT_ONCE = 1024  # texts between two moves of the bar
Progress = Callable[[int, int], None]


def open_model(name: str | Path) -> "OpenedWeights | OpenedFunction":
    """The model of a run's folder, of any folder with a saved classifier, or of a hub id.

    Raises:
        RunError: there is no trained model.
        ValueError: it is a function, whose module is not there or has changed.
    """
    function = load_function(Path(name).expanduser())
    return OpenedWeights(name) if function is None else OpenedFunction(function)


def told_steps(name: str | Path) -> str | None:
    """A sentence on the normalisation that a model's folder keeps; None where it keeps none.

    Raises:
        ValueError: it is damaged, or a function whose module is not there or has changed.
    """
    folder = Path(name).expanduser()
    about = read_function(folder)
    kept = read_steps(folder) or read_steps(folder / "model") if about is None else about["normalize"]
    return f"texts are normalised first: {', '.join(kept)}" if kept else None


class OpenedWeights:
    """A transformers model with its tokenizer."""

    def __init__(self, name: str | Path) -> None:
        self._model, self._tokenizer, self.labels = load_trained(name)
        self.multi_label: bool = self._model.config.problem_type == "multi_label_classification"

    def cut(self, dataset: Dataset, columns: Sequence[str]) -> Cut | None:
        """The texts that are longer than what the model reads of them."""
        return cut_texts(self._tokenizer, dataset, columns, default_length(self._model, self._tokenizer))

    def logits(
        self, dataset: Dataset, columns: Sequence[str], progress: Progress, batch_size: int | None = None
    ) -> NDArray[np.floating]:
        """Shape (rows, labels)."""
        return predict(self._model, self._tokenizer, dataset, columns, batch_size=batch_size, progress=progress)


class OpenedFunction:
    """A function of a user's, which gets whole texts."""

    multi_label = False

    def __init__(self, function: CallableClassifier) -> None:
        self._function, self.labels = function, function.labels

    def cut(self, dataset: Dataset, columns: Sequence[str]) -> Cut | None:
        """What the function leaves of a text only itself knows."""
        return None

    def logits(
        self, dataset: Dataset, columns: Sequence[str], progress: Progress, batch_size: int | None = None
    ) -> NDArray[np.floating]:
        """Logarithms of the probabilities, shape (rows, labels)."""
        texts = list(zip(*(dataset[column][:] for column in columns), strict=True))
        found: list[NDArray[Any]] = []
        for start in range(0, len(texts), AT_ONCE):
            found.append(self._function.logits(texts[start : start + AT_ONCE]))
            progress(min(start + AT_ONCE, len(texts)), len(texts))
        return np.concatenate(found) if found else np.empty((0, len(self.labels)))
