"""A transformers sequence classifier with its tokenizer: texts in, logits or probabilities out."""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rosetune.robustness.evaluation import default_length, predict_texts

__all__ = ["TransformersClassifier"]

DECIMALS = 3  # of a logit


class TransformersClassifier:
    """A sequence classifier with its tokenizer, in batches of texts of like length with little padding.

    For an attack, logits are rounded to three decimals before the softmax. A batch's size and padding change a logit
    by about 1e-6 (float32); of replacements that the model cannot tell apart, such as several that are all unknown
    words, that noise would choose one, and the attack's result would depend on what else is in the batch.

    Args:
        labels: class names in the order of the logits; None: as the model's configuration has them.
        batch_size, max_length: as in :func:`rosetune.robustness.evaluation.predict`.

    Attributes:
        labels: class names; none of a regression.
        unk_token: the tokenizer's unknown word, which some attacks put in a word's place.

    Raises:
        ValueError: a model without a configuration or for several labels at once; not a name for every logit, or the
            configuration's names in another order; and on a call, logits that are not finite.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        labels: Sequence[str] | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
    ) -> None:
        self._model, self._tokenizer, self._batch_size, self._max_length = model, tokenizer, batch_size, max_length
        self.labels = _labels(model, labels)
        self.unk_token: str | None = tokenizer.unk_token

    def logits(self, texts: Sequence[tuple[str, ...]]) -> NDArray[np.floating]:
        """Shape (texts, labels), float32 (float64 of a model in double precision)."""
        # Half of a surrogate pair, which JSON can hold, is no text for a tokenizer.
        clean = [tuple(text.encode("utf-8", "replace").decode() for text in row) for row in texts]
        found = predict_texts(
            self._model, self._tokenizer, clean, batch_size=self._batch_size, max_length=self._max_length
        )
        if not np.isfinite(found).all():
            raise ValueError("the model's logits are not finite: a diverged model")
        return found

    def __call__(self, texts: Sequence[tuple[str, ...]]) -> NDArray[np.float64]:
        if not self.labels:
            raise ValueError("a regression model has no label that an attack could change")
        return softmax(self.logits(texts).astype(np.float64).round(DECIMALS), axis=1)

    def visible(self, texts: tuple[str, ...], column: int) -> int:
        """Characters of one of the texts before the tokenizer cuts it; all of them where that is not known."""
        if not self._tokenizer.is_fast:
            return len(texts[column])
        limit = self._max_length or default_length(self._model, self._tokenizer)
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        encoded = self._tokenizer(*clean, truncation=True, max_length=limit, return_offsets_mapping=True)
        offsets = zip(encoded["offset_mapping"], encoded.sequence_ids(), strict=True)
        end = max((stop for (_, stop), sequence in offsets if sequence == column), default=0)
        if len(encoded["input_ids"]) < limit:
            return len(texts[column])
        return self._shown(clean, column, limit) if hasattr(self._tokenizer, "normalization") else end

    def _shown(self, texts: list[str], column: int, limit: int) -> int:
        """Characters of a text, before it is normalised, that a model needs to see what it sees of the whole."""

        def ids(end: int) -> list[int]:
            parts = [text[:end] if place == column else text for place, text in enumerate(texts)]
            return list(self._tokenizer(*parts, truncation=True, max_length=limit)["input_ids"])

        whole = ids(len(texts[column]))
        return bisect_left(range(len(texts[column])), True, key=lambda end: ids(end) == whole)

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights, the vocabulary, the normalisation and the length at which texts are cut."""
        digest = hashlib.sha256(repr((self._max_length, sorted(self._tokenizer.get_vocab().items()))).encode())
        digest.update("".join(getattr(self._tokenizer, "normalization", ())).encode())
        for name, tensor in self._model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]


def _labels(model: PreTrainedModel, given: Sequence[str] | None) -> tuple[str, ...]:
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "id2label"):
        raise ValueError(f"{type(model).__name__} is no transformers model with a configuration: give a function")
    if config.problem_type == "multi_label_classification":
        raise ValueError("the model gives several labels at once (multi_label_classification): that is not supported")
    names = tuple(str(config.id2label[i]) for i in range(config.num_labels))
    if len(names) == 1:
        if given:
            raise ValueError(f"a model with one output is a regression: it has no labels {', '.join(given)}")
        return ()
    if given is None:
        return names
    if len(given) != len(names):
        raise ValueError(f"the model has {len(names)} outputs, but {len(given)} label names are given")
    own, other = ([name.casefold() for name in side] for side in (names, given))
    if own != other and sorted(own) == sorted(other):
        raise ValueError(f"the model's outputs are {', '.join(names)} (config.id2label), in this order: name them so")
    return tuple(given)
