"""Synonyms of words, from a JSON file of neighbours or from WordNet."""

import importlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rosetune.data.encodings import read_text
from rosetune.data.tables import DataError

__all__ = ["WORDNET", "WordNet", "load_synonyms"]

WORDNET = "wordnet"


def load_synonyms(source: str | os.PathLike[str], limit: int | None = None) -> Mapping[str, tuple[str, ...]]:
    """The synonyms of each word, nearest first: lower-case single words, without the word itself, each once.

    Args:
        source: a JSON file, ``{"film": ["movie", "picture"], ...}``, such as the counter-fitted neighbours that come
            with the code of RIFT; or "wordnet", for WordNet through NLTK.
        limit: at most this many for a word; None: all of them.

    Raises:
        DataError: the file cannot be read, is not JSON, has another shape or no synonym at all; NLTK or its WordNet
            is not there.
        ValueError: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    if source == WORDNET:
        return WordNet(limit)
    path = Path(source).expanduser()
    neighbours: dict[str, list[str]] = {}
    for word, others in _read(path).items():
        if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
            raise DataError(f"{path}: the entry of {word!r} must be a list of words, but is {_shown(others)}")
        neighbours.setdefault(word.lower(), []).extend(others)
    synonyms = {word: _tidy(word, others, limit) for word, others in neighbours.items() if _is_single(word)}
    if not any(synonyms.values()):
        raise DataError(f'{path} holds no synonyms: write an object such as {{"film": ["movie", "picture"]}}')
    return synonyms


class WordNet(Mapping[str, tuple[str, ...]]):
    """The words that share a synset with a word, looked up as they are asked for.

    In WordNet's order, the most frequent sense of each part of speech first. A word is reduced to its base form first
    (films to film), as NLTK does it, while the synonyms stay in theirs.

    Args:
        limit: at most this many for a word.

    Raises:
        DataError: NLTK, or its corpus, is not there; nothing is downloaded.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit, self._wordnet = limit, _wordnet()
        self._known: dict[str, tuple[str, ...]] = {}

    def __getitem__(self, word: str) -> tuple[str, ...]:
        if word not in self._known:
            synsets = self._wordnet.synsets(word) if word == word.lower() else []
            if not synsets:
                raise KeyError(word)
            lemmas = (name for synset in synsets for name in synset.lemma_names())
            self._known[word] = _tidy(word, lemmas, self._limit)
        return self._known[word]

    def __iter__(self) -> Iterator[str]:
        return iter({name.lower(): None for name in self._wordnet.all_lemma_names() if _is_single(name)})

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _wordnet() -> Any:
    try:
        corpus = importlib.import_module("nltk.corpus").wordnet
    except ImportError as error:
        raise DataError("synonyms from wordnet need NLTK: pip install nltk, or name a JSON file") from error
    try:
        corpus.ensure_loaded()
    except LookupError as error:
        raise DataError(
            "NLTK is installed, but not its WordNet: python -m nltk.downloader wordnet, or point NLTK_DATA to a "
            "folder with corpora/wordnet, or name a JSON file"
        ) from error
    return corpus


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"there is no file {path}: give a JSON file of synonyms, or {WORDNET!r} for NLTK's WordNet")
    text = read_text(path)
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg} at column {error.colno})"
        ) from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{path}: lists nested too deeply, or a number of thousands of digits; correct it") from error
    if not isinstance(entries, dict):
        raise DataError(
            f'{path} must hold one JSON object such as {{"film": ["movie", "picture"]}}, but holds {_shown(entries)}'
        )
    return entries


def _tidy(word: str, others: Iterable[str], limit: int | None) -> tuple[str, ...]:
    single = dict.fromkeys(other.lower() for other in others if _is_single(other))
    single.pop(word, None)
    return tuple(single)[:limit]


def _is_single(word: str) -> bool:
    return word.split() == [word] and "_" not in word  # WordNet joins the words of an expression by underscores


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
