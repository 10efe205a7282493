"""Synonyms from a JSON file and from WordNet, and what is said where they are not there."""

import json
import sys

import pytest

from rosetune.data.synonyms import load_synonyms
from rosetune.data.tables import DataError


def write(folder, value):
    path = folder / "synonyms.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(path)


def test_words_are_lower_case_single_distinct_and_never_their_own_synonym(tmp_path):
    path = write(
        tmp_path,
        {
            "Film": ["Movie", "film", "picture", "movie", "motion picture", "motion_picture", ""],
            "film": ["flick"],
            "br": [],
            "thank you": ["thanks"],
        },
    )
    synonyms = load_synonyms(path)
    assert dict(synonyms) == {"film": ("movie", "picture", "flick"), "br": ()}
    assert load_synonyms(path, limit=2)["film"] == ("movie", "picture")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"synonyms\.json, line 1: not valid JSON"),
        ("[1, 2]", r"synonyms\.json must hold one JSON object .* but holds \[1, 2\]"),
        ('{"film": "movie"}', r"synonyms\.json: the entry of 'film' must be a list of words, but is 'movie'"),
        ('{"a": ["b"], "film": ["movie", 3]}', r"the entry of 'film' must be a list of words, but is \['movie', 3\]"),
        ('{"film": []}', r"synonyms\.json holds no synonyms"),
        ('{"film": ["film", "motion picture"]}', r"synonyms\.json holds no synonyms"),
        ("", r"synonyms\.json is empty"),
    ],
)
def test_a_broken_file_is_named_with_its_entry(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_synonyms(write(tmp_path, text))


def test_a_missing_file_and_a_bad_limit(tmp_path):
    with pytest.raises(
        DataError, match=r"there is no file .*absent\.json: give a JSON file of synonyms, or 'wordnet'"
    ):
        load_synonyms(str(tmp_path / "absent.json"))
    with pytest.raises(DataError, match="there is no file"):
        load_synonyms(str(tmp_path))
    with pytest.raises(ValueError, match="limit must be at least 1, not 0"):
        load_synonyms(write(tmp_path, {"film": ["movie"]}), limit=0)


def test_without_nltk_wordnet_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    monkeypatch.setitem(sys.modules, "nltk.corpus", None)
    with pytest.raises(DataError, match=r"need NLTK: pip install nltk, or name a JSON file"):
        load_synonyms("wordnet")


def test_without_its_corpus_wordnet_says_how_to_get_it(monkeypatch, tmp_path):
    nltk = pytest.importorskip("nltk")
    corpus = pytest.importorskip("nltk.corpus")
    lazy = type(corpus.wordnet)
    if lazy.__name__ != "LazyCorpusLoader":
        pytest.skip("WordNet is loaded already")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.raises(DataError, match=r"nltk\.downloader wordnet.*NLTK_DATA"):
        load_synonyms("wordnet")


def test_wordnet_is_looked_up_word_by_word():
    pytest.importorskip("nltk", reason="NLTK is not installed")
    try:
        synonyms = load_synonyms("wordnet", limit=4)
    except DataError as error:
        pytest.skip(str(error))
    assert {"movie", "picture"} <= set(synonyms["film"])
    assert len(synonyms["good"]) == 4
    assert "movie" in synonyms["films"]
    assert all("_" not in other and other == other.lower() and other != "film" for other in synonyms["film"])
    assert synonyms.get("qqqq", ()) == synonyms.get("Film", ()) == synonyms.get("thank_you", ()) == ()
    assert "film" in set(synonyms)
    assert len(synonyms) > 10_000


def test_the_counter_fitted_neighbours(data_dir):
    synonyms = load_synonyms(str(data_dir / "synonyms" / "counterfitted_neighbors.json"))
    assert len(synonyms) > 40_000
    assert synonyms["film"][:3] == ("movie", "filmmaking", "movies")
    assert max(map(len, synonyms.values())) == 8
    for word, others in synonyms.items():
        assert word not in others
        assert len(set(others)) == len(others)
