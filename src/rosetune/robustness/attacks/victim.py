"""A model as an attack sees it: texts in, probabilities out."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rosetune.robustness.evaluation import default_length, predict_texts

__all__ = ["TransformersVictim", "Victim"]

DECIMALS = 3  # of a logit


class Victim(Protocol):
    """Texts, each a tuple of one or two strings, to probabilities of shape (texts, labels).

    Its answer to a text must not depend on what else is asked with it. An attribute ``fingerprint`` that identifies
    the model, where there is one, keeps an attack from being resumed with another. A method ``visible(texts, column)``
    gives, where there is one, the number of characters that it sees of a text that is too long for it.
    """

    def __call__(self, texts: Sequence[tuple[str, ...]]) -> NDArray[np.floating]: ...


class TransformersVictim:
    """A sequence classifier with its tokenizer, in batches of texts of like length with little padding.

    The logits are rounded to three decimals before the softmax. A batch's size and padding change a logit by about
    1e-6 (float32); of replacements that the model cannot tell apart, such as several that are all unknown words, that
    noise would choose one, and the attack's result would depend on what else is in the batch.

    Args:
        batch_size, max_length: as in :func:`rosetune.robustness.evaluation.predict`.

    Raises:
        ValueError: a regression model; and on a call, logits that are not finite.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int | None = None,
        max_length: int | None = None,
    ) -> None:
        if cast(int, model.config.num_labels) < 2:
            raise ValueError("a regression model has no label that an attack could change")
        self._model, self._tokenizer, self._batch_size, self._max_length = model, tokenizer, batch_size, max_length

    def __call__(self, texts: Sequence[tuple[str, ...]]) -> NDArray[np.float64]:
        # Half of a surrogate pair, which JSON can hold, is no text for a tokenizer.
        clean = [tuple(text.encode("utf-8", "replace").decode() for text in row) for row in texts]
        logits = predict_texts(
            self._model, self._tokenizer, clean, batch_size=self._batch_size, max_length=self._max_length
        )
        if not np.isfinite(logits).all():
            raise ValueError("the model's logits are not finite: a diverged model")
        rounded = logits.astype(np.float64).round(DECIMALS)
        exponentials = np.exp(rounded - rounded.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def visible(self, texts: tuple[str, ...], column: int) -> int:
        """Characters of one of the texts before the tokenizer cuts it; all of them where that is not known."""
        if not self._tokenizer.is_fast:
            return len(texts[column])
        limit = self._max_length or default_length(self._model, self._tokenizer)
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        encoded = self._tokenizer(*clean, truncation=True, max_length=limit, return_offsets_mapping=True)
        offsets = zip(encoded["offset_mapping"], encoded.sequence_ids(), strict=True)
        end = max((stop for (_, stop), sequence in offsets if sequence == column), default=0)
        cut = len(encoded["input_ids"]) >= limit
        return end if cut else len(texts[column])

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights, the vocabulary and the length at which texts are cut."""
        digest = hashlib.sha256(repr((self._max_length, sorted(self._tokenizer.get_vocab().items()))).encode())
        for name, tensor in self._model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]
