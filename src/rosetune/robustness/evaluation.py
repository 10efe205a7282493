"""Predict once and keep a row per example; all else is computed from the rows, in ``rows.py``, without the model."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.data.data_collator import pad_without_fast_tokenizer_warning

from rosetune._torch import evaluating, logits_of
from rosetune.robustness.rows import compare_rows, prediction_rows, set_metrics

__all__ = ["compare_rows", "predict", "predict_texts", "prediction_rows", "set_metrics"]

UNLIMITED = 1_000_000  # tokens: a tokenizer that knows no limit says 1e30
BATCH_ON_CPU, BATCH = 16, 128  # more rows are slower on a CPU: what the layers pass on leaves the cache
Encoded = list[dict[str, list[int]]]


def predict(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    text_columns: Sequence[str],
    *,
    batch_size: int | None = None,
    max_length: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.floating]:
    """Logits of a sequence classifier for every row, in the order of the data set.

    Rows are sorted by length inside, so that a batch holds little padding. The model runs in eval mode on its own
    device; afterwards each of its modules is in the mode it was in before.

    Args:
        text_columns: one column, or two for a pair of texts.
        batch_size: rows per forward; it changes the logits by float rounding at most. None: 16 on a CPU, else 128.
        max_length: longer rows are truncated to this many tokens, special tokens included. By default what tokenizer
            and position embeddings allow, and 512 where neither says.
        progress: called after each batch with the number of rows done and the number of all rows.

    Returns:
        Shape (n, labels): float64 for a model in double precision, float32 for any other.

    Raises:
        ValueError: not one or two text columns, a missing column, or a padding token that is not set or not the same
            in tokenizer and model.
    """
    check_padding(model, tokenizer)
    missing = [column for column in text_columns if column not in dataset.column_names]
    if len(text_columns) not in (1, 2) or missing:
        raise ValueError(f"one or two of the columns {dataset.column_names} hold the text, not {list(text_columns)}")
    plain = dataset.with_format(None)
    texts = [plain[column][:] for column in text_columns]  # iterating over a column decodes row by row
    return _forward(model, tokenizer, encode(model, tokenizer, texts, max_length), batch_size, progress)


def predict_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[tuple[str, ...]],
    *,
    batch_size: int | None = None,
    max_length: int | None = None,
) -> NDArray[np.floating]:
    """:func:`predict` for texts or pairs at hand; those of the same tokens, up to ``max_length``, are computed once.

    Raises:
        ValueError: a padding token that is not set or not the same in tokenizer and model.
    """
    check_padding(model, tokenizer)
    encoded = encode(model, tokenizer, [list(column) for column in zip(*texts, strict=True)], max_length)
    places: dict[tuple[tuple[int, ...], ...], int] = {}
    where = [places.setdefault(tuple(map(tuple, row.values())), len(places)) for row in encoded]
    different = list(dict(zip(where, encoded, strict=True)).values())
    return _forward(model, tokenizer, different, batch_size, None)[where]


def _forward(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: Encoded,
    batch_size: int | None,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.floating]:
    if batch_size is None:
        batch_size = BATCH_ON_CPU if model.device.type == "cpu" else BATCH
    dtype: type[np.floating] = np.float64 if model.dtype == torch.float64 else np.float32
    logits = np.empty((len(encoded), cast(int, model.config.num_labels)), dtype=dtype)
    done = 0
    with evaluating(model), torch.inference_mode():
        for chosen, batch in padded_batches(model, tokenizer, encoded, batch_size):
            output = logits_of(model(**batch))
            if output.shape != logits[chosen].shape:
                raise ValueError(
                    f"{type(model).__name__} gives logits of shape {tuple(output.shape)} for {len(chosen)} texts and "
                    f"{logits.shape[1]} labels: load it with AutoModelForSequenceClassification"
                )
            logits[chosen] = output.to(torch.float64 if dtype is np.float64 else torch.float32).cpu().numpy()
            done += len(chosen)
            if progress is not None:
                progress(done, len(encoded))
    return logits


def padded_batches(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoded: Encoded, batch_size: int
) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
    """Rows of about one length together, as the numbers of the rows and inputs on the model's device."""
    # Longest first: what does not fit in memory fails at once, not at the end.
    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]["input_ids"]))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = pad_without_fast_tokenizer_warning(
            tokenizer,
            [encoded[i] for i in chosen],
            # The side that suits the architecture, not the one a user has set for generation: padding on the left
            # would shift the absolute positions of GPT-2, by as much as the longest row of the batch.
            padding_side=type(tokenizer).padding_side,
            return_tensors="pt",
        )
        yield chosen, dict(batch.to(model.device))


def check_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """See that rows can be padded.

    Raises:
        ValueError: no padding token, or not the same in tokenizer and model.
    """
    expected = model.config.get_text_config().pad_token_id
    if tokenizer.pad_token_id is None or expected is None:
        raise ValueError(
            "rows of a batch cannot be padded without a padding token: set tokenizer.pad_token (for GPT-2: to "
            "tokenizer.eos_token) and model.config.pad_token_id = tokenizer.pad_token_id"
        )
    if tokenizer.pad_token_id != expected:
        # GPT-2 would classify from a padding position, RoBERTa would count positions wrongly; both in silence.
        raise ValueError(
            f"the tokenizer pads with {tokenizer.pad_token_id}, but model.config.pad_token_id is {expected}: "
            "set tokenizer.pad_token or model.config.pad_token_id so that they agree"
        )


def longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Tokens that tokenizer and position embeddings allow, special ones included; None where neither says."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 0
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions -= module.padding_idx + 1  # RoBERTa counts positions from after the padding index
            break
    # XLNet, which knows no limit, says -1.
    return min((n for n in (tokenizer.model_max_length, positions) if 0 < n < UNLIMITED), default=None)


def default_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """:func:`longest_input`, and 512 where neither says."""
    return longest_input(model, tokenizer) or 512


def input_names(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What a tokenizer gives and a model takes: no second segment for a model that knows one, as RoBERTa does."""
    taken = inspect.signature(model.forward).parameters
    any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    refused = {"token_type_ids"} if getattr(model.config.get_text_config(), "type_vocab_size", None) == 1 else set()
    return [name for name in tokenizer.model_input_names if name not in refused and (any_name or name in taken)]


def encode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[list[str]],
    max_length: int | None = None,
) -> Encoded:
    """Rows of token ids, from one or two columns of texts."""
    if not texts or not texts[0]:
        return []
    if max_length is None:
        max_length = default_length(model, tokenizer)
    encoded = tokenizer(*texts, truncation=True, max_length=max_length)
    taken = input_names(model, tokenizer)
    return [{name: encoded[name][i] for name in taken if name in encoded} for i in range(len(texts[0]))]
