"""Words disguised so that people still read them: what each noise may do, and what it must leave."""

import re
import unicodedata
from itertools import groupby
from random import Random

import pytest

from rosetune.robustness.disguises import INVISIBLE, LEET, LOOK_ALIKES
from rosetune.robustness.noise import NOISES

SENTENCE = "A Fascinating exploration, NEARLY perfect; its fussy jokes quickly vex us all."
SEEDS = range(12)


def apply(name: str, text: str, seed: int = 0, strength: float = 1.0) -> str:
    return NOISES[name](text, strength, Random(seed))


def test_look_alikes_are_letters_of_other_scripts_and_no_two_letters_share_one():
    flat = [like for likes in LOOK_ALIKES.values() for like in likes]
    assert len({*flat}) == len(flat)
    for letter, likes in LOOK_ALIKES.items():
        for like in likes:
            assert unicodedata.name(like).split()[0] in ("CYRILLIC", "GREEK", "ARMENIAN")
            assert unicodedata.category(like) == unicodedata.category(letter) or letter == "l"  # a tall palochka
            assert unicodedata.normalize("NFKC", like) == like


@pytest.mark.parametrize(
    ("letter", "name"),
    # Lines of confusables.txt, by the names of the characters.
    [
        ("a", "CYRILLIC SMALL LETTER A"),
        ("e", "CYRILLIC SMALL LETTER IE"),
        ("p", "GREEK SMALL LETTER RHO"),
        ("s", "CYRILLIC SMALL LETTER DZE"),
        ("u", "ARMENIAN SMALL LETTER SEH"),
        ("v", "GREEK SMALL LETTER NU"),
        ("y", "CYRILLIC SMALL LETTER U"),
        ("H", "GREEK CAPITAL LETTER ETA"),
        ("I", "CYRILLIC CAPITAL LETTER BYELORUSSIAN-UKRAINIAN I"),
        ("l", "CYRILLIC LETTER PALOCHKA"),
    ],
)
def test_look_alikes_of_the_unicode_table(letter, name):
    assert unicodedata.lookup(name) in LOOK_ALIKES[letter]


@pytest.mark.parametrize("seed", SEEDS)
def test_homoglyphs_read_as_before(seed):
    after = apply("homoglyphs", SENTENCE, seed)
    assert len(after) == len(SENTENCE)
    for old, new in zip(SENTENCE, after, strict=True):
        assert new == old or new in LOOK_ALIKES[old]
    for old, new in zip(SENTENCE.split(), after.split(), strict=True):
        assert old != new or not set(old) & LOOK_ALIKES.keys()


@pytest.mark.parametrize("seed", SEEDS)
def test_invisible_characters_are_all_that_is_added(seed):
    after = apply("invisible_characters", SENTENCE, seed)
    assert "".join(c for c in after if c not in INVISIBLE) == SENTENCE
    assert all(unicodedata.category(c) == "Cf" for c in INVISIBLE)
    for word in re.split("[^A-Za-z" + INVISIBLE + "]+", after):
        assert not word or (word[0].isalpha() and word[-1].isalpha())
        assert len(word) < 2 or not word.isalpha()


def test_spaced_letters_keep_the_ends_of_words():
    assert apply("spaced_letters", "a superb film, all in all (nearly)") == (
        "a  s u p e r b   f i l m , all in all ( n e a r l y )"
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_leetspeak_writes_signs_inside_words(seed):
    after = apply("leetspeak", SENTENCE, seed)
    for old, new in zip(SENTENCE, after, strict=True):
        assert new == old or new in LEET[old.lower()]
    for old, new in zip(re.findall("[A-Za-z]+", SENTENCE), re.split(r"[ ,;.]+", after), strict=False):
        assert (old[0], old[-1]) == (new[0], new[-1])
        assert (old != new) == any(letter.lower() in LEET for letter in old[1:-1])


@pytest.mark.parametrize("seed", SEEDS)
def test_one_letter_of_a_word_is_repeated(seed):
    for old, new in zip(SENTENCE.split(), apply("repeated_letters", SENTENCE, seed).split(), strict=True):
        assert [letter for letter, _ in groupby(old)] == [letter for letter, _ in groupby(new)]
        more = [len([*b]) - len([*a]) for (_, a), (_, b) in zip(groupby(old), groupby(new), strict=True)]
        assert sorted(more)[:-1] == [0] * (len(more) - 1)
        assert max(more) in ((2, 3, 4) if len(old.strip(",;.")) > 1 else (0,))


@pytest.mark.parametrize("text", ["II", "World War III", "AA", "aa", "Louis XIV", "I"])
def test_numbers_and_one_letter_alone_say_what_they_did(text):
    """One more I is another king."""
    for seed in range(20):
        assert apply("repeated_letters", text, seed).split()[-1] == text.split()[-1]


@pytest.mark.parametrize("name", ["homoglyphs", "invisible_characters", "spaced_letters", "leetspeak"])
@pytest.mark.parametrize(
    "text",
    ["فيلم رائع ومؤثر للغاية", "一部非常精彩而且感人的电影", "बहुत ही शानदार फ़िल्म", "ภาพยนตร์ที่ยอดเยี่ยม", "2 + 2 = 5!"],
)
def test_scripts_without_capitals_are_left_alone(name, text):
    assert apply(name, text) == text


def test_both_forms_of_a_letter_are_drawn():
    drawn = {apply("leetspeak", "bat", seed) for seed in range(30)}
    assert drawn == {"b4t", "b@t"}
    assert {apply("homoglyphs", "y", seed) for seed in range(30)} == {*LOOK_ALIKES["y"]}
