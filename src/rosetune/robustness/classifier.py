"""A model in hand, whatever it is, as evaluation and attacks see it: texts in, a number per class out.

Nothing here imports torch: a plain function is evaluated without it.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rosetune.robustness.functions import import_function, read_function
from rosetune.robustness.normalization import normalize, normalizing, read_steps

__all__ = [
    "NO_TOKENIZER",
    "CallableClassifier",
    "Classifier",
    "Victim",
    "as_classifier",
    "knows_no_word",
    "load_function",
]

Texts = Sequence[tuple[str, ...]]

NO_TOKENIZER = (
    "holds no tokenizer (no word but special tokens is known): save the one that belongs to the model there, "
    "tokenizer.save_pretrained(folder)"
)
BATCH = 128  # texts that a callable gets at once
OFF = 1e-2  # how far the sum of a row of probabilities, perhaps in half precision, may be from 1


class Victim(Protocol):
    """What an attack needs: texts, each a tuple of one or two strings, to probabilities of shape (texts, labels).

    Its answer to a text must not depend on what else is asked with it. An attribute ``fingerprint`` that identifies
    the model, where there is one, keeps an attack from being resumed with another. A method ``visible(texts, column)``
    gives, where there is one, the number of characters that it sees of a text that is too long for it.
    """

    def __call__(self, texts: Texts) -> NDArray[np.floating]: ...


class Classifier(Victim, Protocol):
    """A victim that knows the names of its classes and gives logits; of a regression there are no names."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def logits(self, texts: Texts) -> NDArray[np.floating]:
        """Shape (texts, labels); softmax gives the probabilities. Of a regression (texts, 1)."""
        ...


def as_classifier(
    model: Any, tokenizer: Any = None, *, labels: Sequence[str] | None = None, batch_size: int | None = None
) -> Classifier:
    """A model in hand as a :class:`Classifier`.

    Args:
        model: a transformers sequence classifier, given with its ``tokenizer``; a transformers text-classification
            pipeline, of which model, tokenizer and ``max_length`` are used; or a function from texts to probabilities:
            it gets a list of strings (of pairs: of tuples of two strings) and returns a row per text, a column per
            class, as an array, a tensor or lists. Or the folder of a run (of a model or a function) or of a saved
            classifier; a normalisation that the folder keeps is applied. (A tokenizer or pipeline that transformers
            loads from it does not apply it.)
        tokenizer: of a transformers model, and of nothing else.
        labels: class names in the order of the outputs. None: as the model's configuration has them; of a function
            "0", "1" and so on.
        batch_size: texts per call. None: 128 for a function, and for a model 16 on a CPU, 128 elsewhere.

    Raises:
        ValueError: a model of another kind, or with other labels; no tokenizer, or one too many; of a folder, a
            damaged normalisation.
    """
    if callable(getattr(model, "logits", None)):
        return model
    if isinstance(model, str | os.PathLike) and tokenizer is None:
        folder = Path(model).expanduser()
        function = load_function(folder, batch_size)
        if function is None:
            return _transformers(*_from_folder(folder), labels, batch_size, None)
        if labels is not None and tuple(labels) != function.labels:
            raise ValueError(f"the labels of {folder} are {', '.join(function.labels)}, in this order: name them so")
        return function
    if _is_a("transformers.pipelines.base", "Pipeline", model):
        if tokenizer is not None:
            raise ValueError("a pipeline brings its own tokenizer: leave out the one given")
        if type(model).__name__ != "TextClassificationPipeline":
            raise ValueError(f"a {type(model).__name__} is no text-classification pipeline: give a function around it")
        length = getattr(model, "_preprocess_params", {}).get("max_length")
        return _transformers(model.model, model.tokenizer, labels, batch_size, length)
    if tokenizer is not None:
        if not callable(tokenizer) or isinstance(model, str):
            raise ValueError(
                "model and tokenizer are objects, not names, and come first: give texts and labels by name "
                "(texts=..., labels=...)"
            )
        return _transformers(model, tokenizer, labels, batch_size, None)
    if _is_a("torch.nn", "Module", model):
        raise ValueError(f"{type(model).__name__} needs its tokenizer to read texts: give both")
    if callable(getattr(model, "predict_proba", None)):
        raise ValueError(f"{type(model).__name__} is no function of texts: give its predict_proba")
    if not callable(model):
        raise ValueError(
            f"{type(model).__name__} is no model: give a transformers model with its tokenizer, a text-classification "
            "pipeline, or a function from a list of texts to probabilities"
        )
    return CallableClassifier(model, labels, batch_size)


def _from_folder(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a run's folder, or of any saved classifier."""
    place = folder / "model" if (folder / "model").is_dir() else folder
    if not (place / "config.json").is_file():
        raise ValueError(f"{folder} holds no saved model (no config.json): give its folder, or the model itself")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, info = AutoModelForSequenceClassification.from_pretrained(
        place, local_files_only=True, output_loading_info=True
    )
    if info["missing_keys"]:
        raise ValueError(f"{folder} holds no trained classifier: {sorted(info['missing_keys'])[0]} would be random")
    tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
    if knows_no_word(tokenizer):
        raise ValueError(f"{folder} {NO_TOKENIZER}")
    steps = read_steps(place)
    return model, normalizing(tokenizer, steps) if steps else tokenizer


def knows_no_word(tokenizer: Any) -> bool:
    """Whether it is what transformers makes of a folder without one: special tokens alone, and at most a space."""
    return len(tokenizer) <= len({*tokenizer.all_special_ids}) + 2


def load_function(folder: Path, batch_size: int | None = None) -> "CallableClassifier | None":
    """The function that a run's folder was made of, with its columns in the order of the run's labels; or None.

    Raises:
        ValueError: its module cannot be imported, or is not what it was.
    """
    about = read_function(folder)
    if about is None:
        return None
    function, steps = import_function(about["callable"], about["root"]), about["normalize"]

    def normalized(texts: list[Any]) -> Any:
        return function([_normalized(text, steps) for text in texts] if steps else texts)

    outputs = [name.casefold().strip() for name in about["outputs"]]
    columns = [outputs.index(name.casefold().strip()) for name in about["labels"]]
    told = f"{about['callable']}:{about['sha256'][:16]}:{','.join((*about['outputs'], *steps))}"
    name = about["callable"]
    return CallableClassifier(normalized, about["labels"], batch_size, name=name, columns=columns, fingerprint=told)


def _normalized(text: str | tuple[str, ...], steps: Sequence[str]) -> str | tuple[str, ...]:
    return normalize(text, steps) if isinstance(text, str) else tuple(normalize(part, steps) for part in text)


class CallableClassifier:
    """A function from a list of texts to probabilities; its logits are their logarithms.

    The logarithm keeps the largest class and, under softmax, the probabilities. A probability of 0 counts as 1e-300,
    so that log-likelihoods stay finite.

    Args:
        function, labels, batch_size: as in :func:`as_classifier`.
        name: with which errors begin, such as "guard:predict"; None: there is none.
        columns: of each label the column of the function's answer; None: the labels are in the order of the columns.
        fingerprint: see :class:`Victim`.

    Raises:
        ValueError: a batch size below 1; and on a call, what is wrong with the function's answer.
    """

    def __init__(
        self,
        function: Callable[[list[Any]], Any],
        labels: Sequence[str] | None = None,
        batch_size: int | None = None,
        *,
        name: str | None = None,
        columns: Sequence[int] | None = None,
        fingerprint: str | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self._function, self._batch_size = function, batch_size or BATCH
        self._labels = None if labels is None else tuple(labels)
        self._name, self._columns, self.fingerprint = name, columns, fingerprint

    @property
    def labels(self) -> tuple[str, ...]:
        """The names given, or numbers in the order of the columns.

        Raises:
            ValueError: none were given, and there was no answer yet to count the columns of.
        """
        if self._labels is None:
            raise ValueError("a function names no classes before it has answered: give labels")
        return self._labels

    def logits(self, texts: Texts) -> NDArray[np.float64]:
        """The logarithms of the probabilities, shape (texts, labels)."""
        return np.log(np.maximum(self(texts), 1e-300))

    def __call__(self, texts: Texts) -> NDArray[np.float64]:
        batches = [list(texts[start : start + self._batch_size]) for start in range(0, len(texts), self._batch_size)]
        answers = [self._ask([text[0] if len(text) == 1 else text for text in batch]) for batch in batches]
        return np.concatenate(answers) if answers else np.empty((0, len(self._labels or ())))

    def _ask(self, texts: list[Any]) -> NDArray[np.float64]:
        try:
            return self._answer(texts)
        except ValueError as error:
            if self._name is None:
                raise
            raise ValueError(f"{self._name}: {error}") from error

    def _answer(self, texts: list[Any]) -> NDArray[np.float64]:
        try:
            answer = self._function(texts)
        except (Exception, SystemExit) as error:
            said = str(error).strip().split("\n")[0]
            first = _short(texts[0])
            on = f"a batch of {len(texts)} texts that begins with {first}" if len(texts) > 1 else f"the text {first}"
            raise ValueError(f"the model failed on {on}: {type(error).__name__}: {said}") from error
        probabilities = _array(answer)
        if not probabilities.size:
            raise ValueError(f"the model gives no answer to {len(texts)} texts: return a row of probabilities each")
        if probabilities.ndim == 1 or probabilities.shape[1:] == (1,):
            raise ValueError(
                "the model gives a single number per text, not a probability per class: of two classes return "
                "[1 - p, p]"
            )
        if probabilities.ndim != 2 or len(probabilities) != len(texts):
            raise ValueError(
                f"the model gives an answer of shape {probabilities.shape} to {len(texts)} texts: return a row per "
                "text and a column per class"
            )
        self._check(probabilities, texts)
        shares = probabilities / probabilities.sum(axis=1, keepdims=True)
        return shares if self._columns is None else shares[:, self._columns]

    def _check(self, probabilities: NDArray[np.float64], texts: list[Any]) -> None:
        columns = probabilities.shape[1]
        if self._labels is None:
            self._labels = tuple(map(str, range(columns)))
        if columns != len(self._labels):
            raise ValueError(f"the model gives {columns} probabilities per text for {len(self._labels)} labels")
        finite = np.isfinite(probabilities).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"the model gives a probability that is not finite for {_short(texts[finite.argmin()])}: return "
                "a number from 0 to 1 for every class"
            )
        sums = probabilities.sum(axis=1)
        proper = (probabilities >= 0).all(axis=1) & (np.abs(sums - 1) <= OFF)
        if not proper.all():
            at = int(proper.argmin())
            raise ValueError(
                f"the model gives {np.round(probabilities[at], 3).tolist()} for {_short(texts[at])}, which are no "
                "probabilities that sum to 1: if they are logits, apply a softmax"
            )


def _transformers(
    model: Any, tokenizer: Any, labels: Sequence[str] | None, batch_size: int | None, max_length: int | None
) -> Classifier:
    from rosetune.robustness.transformers_classifier import TransformersClassifier

    return TransformersClassifier(model, tokenizer, labels=labels, batch_size=batch_size, max_length=max_length)


def _is_a(module: str, name: str, value: Any) -> bool:
    """Whether the value is of a class of a module, which is not imported for the question: then it is none."""
    return module in sys.modules and isinstance(value, getattr(sys.modules[module], name))


def _array(answer: Any) -> NDArray[np.float64]:
    if hasattr(answer, "detach"):  # a tensor, perhaps of a type that numpy lacks
        answer = answer.detach().cpu().double().numpy()
    try:
        return np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the model gives {_short(answer)}, which is no table of numbers: return a row per text and a column per "
            "class"
        ) from error


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:56]}...{shown[-1]}"
