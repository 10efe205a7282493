"""Noisy copies of rows that are tokenised already."""

from collections.abc import Sequence
from functools import cached_property
from random import Random
from typing import Any

import torch
from torch import Tensor

from rosetune._torch import unwrap
from rosetune.augmentation.noise import NoiseAugmentation
from rosetune.robustness.edits import generator

_UNLIMITED = 10**6  # what a tokenizer without a limit says is far beyond it


class NoisyRows:
    """Decodes rows, puts noise into their texts, and tokenises them again.

    Args:
        tokenizer: the model's.
        noise: which noises at which strengths.
        seed: of the noise.
    """

    def __init__(self, tokenizer: Any, noise: NoiseAugmentation, seed: int) -> None:
        self._tokenizer, self._noise, self._seed = tokenizer, noise, seed
        names = ("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id")
        self._unknown, self._pad = (getattr(tokenizer, f"{name}_token_id", None) for name in ("unk", "pad"))
        self._marks = {getattr(tokenizer, name, None) for name in names} - {None}

    def features(self, model: torch.nn.Module, inputs: dict[str, Any], step: int) -> dict[str, Any]:
        """The inputs of the noisy copies, padded; what happens to a row depends on (seed, step, row) alone.

        A row is told by its tokens: neither its place in a batch nor the number of micro-batches or processes matters.

        Args:
            model: whose position embeddings limit the length.
            inputs: with ``input_ids`` of shape (batch, tokens).
            step: of the training.

        Raises:
            ValueError: there are no ``input_ids``.
        """
        if not isinstance(inputs.get("input_ids"), Tensor):
            raise ValueError(f"noise needs input_ids, but the batch has only {', '.join(inputs)}")
        given: Tensor = inputs["input_ids"]
        ids = given.cpu()  # at once, since each row would wait for a GPU
        attention = inputs.get("attention_mask")
        seen = torch.ones_like(ids) if attention is None else attention.cpu()
        rows = [row[kept.bool()].tolist() for row, kept in zip(ids, seen, strict=True)]
        texts = [
            self._noisy(parts, generator(f"{self._seed}:{step}:{row}"))
            for row, parts in zip(rows, self._parts(rows), strict=True)
        ]
        width = max(map(len, texts))
        columns = [[row[i] if i < len(row) else "" for row in texts] for i in range(width)]
        limit = self._limit(model)
        encoded = self._tokenizer(
            *columns, padding=True, truncation=limit is not None, max_length=limit, return_tensors="pt"
        )
        return {name: encoded[name].to(given.device) for name in encoded if name in inputs}

    def _parts(self, rows: Sequence[list[int]]) -> list[list[list[int]]]:
        """The one text of each row, or the two of a pair, in their places: also where one of them is empty."""
        gaps = [self._gaps(row) for row in rows]
        pair = self._pair if self._pair and all(len(own) >= self._pair[2] for own in gaps) else None
        return [_in_place(own, pair) or self._runs(row) for row, own in zip(rows, gaps, strict=True)]

    @cached_property
    def _pair(self) -> tuple[int, int, int] | None:
        """In which gaps the texts of a pair stand, and of how many; None: special tokens do not tell a pair."""
        alone, gaps = (self._gaps(self._tokenizer(*texts)["input_ids"]) for texts in (("a",), ("a", "b")))
        filled = [at for at, gap in enumerate(gaps) if gap]
        return (filled[0], filled[1], len(gaps)) if len(filled) == 2 and len(alone) < len(gaps) else None

    def _gaps(self, row: Sequence[int]) -> list[list[int]]:
        """What stands before, between and behind the special tokens."""
        gaps: list[list[int]] = [[]]
        for token in row:
            if token in self._marks:
                gaps.append([])
            elif token != self._pad:
                gaps[-1].append(token)
        return gaps

    def _runs(self, row: list[int]) -> list[list[int]]:
        """The first run of tokens that are not special, and all that follows it."""
        parts: list[list[int]] = []
        inside = False
        for token in row:
            if token in self._marks or token == self._pad:
                inside = False
                continue
            if not inside and len(parts) < 2:
                parts.append([])
            parts[-1].append(token)
            inside = True
        return parts or [[]]

    def _noisy(self, parts: list[list[int]], rng: Random) -> list[str]:
        """The one text of a row, or the two of a pair, with noise."""
        pieces = [self._pieces(part) for part in parts]
        noisy = iter(self._noise.noisy([piece for part in pieces for piece in part], rng))
        mark = f" {getattr(self._tokenizer, 'unk_token', None)} "
        return [mark.join(next(noisy) for _ in part) for part in pieces]

    def _pieces(self, part: list[int]) -> list[str]:
        """The text between tokens that stand for unknown words, which noise would take for words of their own."""
        pieces: list[list[int]] = [[]]
        for token in part:
            if token == self._unknown:
                pieces.append([])
            else:
                pieces[-1].append(token)
        return [self._tokenizer.decode(piece, clean_up_tokenization_spaces=False) for piece in pieces]

    def _limit(self, model: torch.nn.Module) -> int | None:
        config = getattr(unwrap(model), "config", None)
        known = (self._tokenizer.model_max_length, getattr(config, "max_position_embeddings", None))
        limits = [int(n) for n in known if isinstance(n, int) and 0 < n < _UNLIMITED]
        return min(limits, default=None)


def _in_place(gaps: Sequence[list[int]], pair: tuple[int, int, int] | None) -> list[list[int]] | None:
    """The two texts of a pair; None where special tokens within a text have moved them."""
    if pair is None or len(gaps) != pair[2] or any(gap for at, gap in enumerate(gaps) if at not in pair[:2]):
        return None
    return [gaps[at] for at in pair[:2]]
