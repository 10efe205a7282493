"""Words in other pieces: never other letters, the tokenizer's own pieces at rate 0, characters at rate 1."""

from collections import Counter
from random import Random

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from rosetune.augmentation import SubwordDropout
from rosetune.augmentation.subword import bpe_dropout, max_match_dropout

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LETTERS = "abcdehlno"


def word_piece(length=64):
    pieces = [*SPECIAL, *LETTERS, *(f"##{c}" for c in LETTERS), "ab", "abc", "##bc", "##cd", "hello", "hel", "##lo"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=length, **names)


MERGES = [("l", "l"), ("h", "e"), ("he", "ll"), ("hell", "o"), ("b", "c"), ("a", "bc")]


def byte_pairs():
    vocabulary = {piece: i for i, piece in enumerate((*LETTERS, *("".join(pair) for pair in MERGES)))}
    tokenizer = Tokenizer(models.BPE(vocabulary, MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64)


def pieces(tokenizer, rate, *texts, seed=0):
    features = SubwordDropout(rate=rate)(texts, tokenizer, Random(seed))
    return tokenizer.convert_ids_to_tokens(features["input_ids"])


@pytest.mark.parametrize("make", [word_piece, byte_pairs])
@pytest.mark.parametrize("texts", [("hello abcd",), ("abc", "hello bcd a"), ("",)])
def test_rate_zero_is_the_tokenizer_and_rate_one_is_characters(make, texts):
    tokenizer = make()
    features = SubwordDropout(rate=0.0)(texts, tokenizer, Random(0))
    assert features == dict(tokenizer(*texts, truncation=True))
    letters = [piece for piece in pieces(tokenizer, 1.0, *texts) if piece not in SPECIAL]
    assert [letter.removeprefix("##") for letter in letters] == [c for text in texts for c in text if c != " "]


@pytest.mark.parametrize("make", [word_piece, byte_pairs])
def test_no_letter_changes_and_the_pieces_differ(make):
    tokenizer, seen = make(), set()
    for seed in range(40):
        found = pieces(tokenizer, 0.4, "hello abcd", seed=seed)
        seen.add(tuple(found))
        assert "".join(p.removeprefix("##") for p in found if p not in SPECIAL) == "helloabcd"
    assert len(seen) > 5


def test_chances_of_max_match_dropout():
    """ "abc" is passed over with chance r, then "ab" is, and from "a" on "##bc" is."""
    vocabulary, r, n = dict.fromkeys(("a", "ab", "abc", "##b", "##c", "##bc"), 0), 0.3, 4000
    options = {"vocabulary": vocabulary, "prefix": "##", "unknown": "[UNK]", "rate": r}
    found = Counter(tuple(max_match_dropout(["abc"], Random(seed), **options)) for seed in range(n))
    expected = {
        ("abc",): 1 - r,
        ("ab", "##c"): r * (1 - r),
        ("a", "##bc"): r * r * (1 - r),
        ("a", "##b", "##c"): r * r * r,
    }
    assert found.keys() == expected.keys()
    for way, chance in expected.items():
        assert found[way] / n == pytest.approx(chance, abs=4 * (chance * (1 - chance) / n) ** 0.5)


def test_chances_of_bpe_dropout():
    """Two rounds: b c merges, then a bc does; a pair that is left out of the first round ends the word."""
    merges, r, n = {("b", "c"): 0, ("a", "bc"): 1}, 0.3, 4000
    options = {"vocabulary": dict.fromkeys("abc", 0), "merges": merges, "rate": r}
    found = Counter(tuple(bpe_dropout(["abc"], Random(seed), **options)) for seed in range(n))
    expected = {("a", "b", "c"): r, ("a", "bc"): (1 - r) * r, ("abc",): (1 - r) ** 2}
    assert found.keys() == expected.keys()
    for way, chance in expected.items():
        assert found[way] / n == pytest.approx(chance, abs=4 * (chance * (1 - chance) / n) ** 0.5)


def test_what_cannot_be_cut_stays():
    assert pieces(word_piece(), 1.0, "zzz a") == ["[CLS]", "[UNK]", "a", "[SEP]"]


def test_long_texts_are_cut_from_the_longer_one_of_a_pair():
    tokenizer = word_piece(length=10)
    assert pieces(tokenizer, 1.0, "hello", "abc") == (
        ["[CLS]", "h", "##e", "##l", "##l", "[SEP]", "a", "##b", "##c", "[SEP]"]
    )
    features = SubwordDropout(rate=1.0)(("hello hello hello",), tokenizer, Random(0))
    assert [len(column) for column in features.values()] == [10] * len(features)
    assert features["input_ids"][-1] == tokenizer.sep_token_id


def test_rows_stay_with_the_rest_of_the_chance():
    kept = [SubwordDropout(p=0.25)(("hello",), word_piece(), Random(seed)) is None for seed in range(200)]
    assert sum(kept) == pytest.approx(150, abs=25)


def test_other_tokenizers_are_refused():
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, "[UNK]")))
    with pytest.raises(ValueError, match="WordPiece and BPE, and this one is WordLevel: take the augmentation noise"):
        SubwordDropout()(("a",), words, Random(0))
