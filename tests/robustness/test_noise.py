import math
import os
import re
import subprocess
import sys
import unicodedata
from random import Random

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from rosetune.robustness.edits import NEIGHBOURING_KEYS
from rosetune.robustness.noise import CURVE, NOISES, make_noisy, noise_curve, perturb, typing_errors

SENTENCE = "Wonderful performances, although SOMEWHAT predictable; the ending doesn't disappoint 3rd-time viewers."
LONG = " ".join([SENTENCE] * 30)


def distance(a: str, b: str) -> int:
    """Optimal string alignment: insertions, deletions, substitutions and adjacent transpositions."""
    d = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i][j] = min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1)
    return d[-1][-1]


def words_hit(text: str, strength: int, seed: int = 0) -> set[int]:
    pairs = zip(text.split(), typing_errors(text, strength, seed).split(), strict=True)
    return {i for i, (before, after) in enumerate(pairs) if before != after}


def test_strength_zero_and_empty_text_change_nothing():
    assert typing_errors(SENTENCE, 0) == SENTENCE
    assert typing_errors("", 3) == ""
    assert typing_errors(" \n\t", 3) == " \n\t"


@pytest.mark.parametrize("strength", [-1, 1.5, "2"])
def test_invalid_strength(strength):
    with pytest.raises(ValueError, match="whole number"):
        typing_errors(SENTENCE, strength)


def test_same_text_and_seed_give_the_same_errors_another_seed_others():
    assert typing_errors(LONG, 2, seed=4) == typing_errors(LONG, 2, seed=4)
    assert len({typing_errors(LONG, 2, seed=seed) for seed in range(20)}) == 20


def test_errors_do_not_depend_on_process_or_hash_seed():
    program = f"from rosetune.robustness.noise import typing_errors; print(typing_errors({SENTENCE!r}, 3, 1), end='')"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {typing_errors(SENTENCE, 3, 1)}


def test_errors_are_pinned():
    # Published robustness numbers depend on these bytes: a change here changes every noise set.
    assert typing_errors("a charming, well-acted comedy with lonely characters", 2, seed=0) == (
        "a charmign, well-acted comeyd wtih lonely characetrs"
    )


@pytest.mark.parametrize("seed", range(10))
def test_strength_one_makes_at_most_one_edit_per_word_and_each_strength_builds_on_the_last(seed):
    plain = "wonderful performances although somewhat predictable ending disappoint viewers " * 10
    for before, after in zip(plain.split(), typing_errors(plain, 1, seed).split(), strict=True):
        assert distance(before, after) <= 1
    for strength in (1, 2, 3):
        pairs = zip(
            typing_errors(plain, strength, seed).split(), typing_errors(plain, strength + 1, seed).split(), strict=True
        )
        assert all(distance(before, after) <= 1 for before, after in pairs)
        assert words_hit(plain, strength, seed) <= words_hit(plain, strength + 1, seed)


@pytest.mark.parametrize("strength", [1, 2, 3])
def test_share_of_words_hit_is_the_documented_one(strength):
    plain = "wonderful performances although somewhat predictable ending disappoint viewers " * 500
    share = len(words_hit(plain, strength)) / 4000
    assert share == pytest.approx(1 - 0.75**strength, abs=0.03)  # four standard errors


def test_all_three_kinds_of_edit_occur_about_equally_often():
    plain = "wonderful predictable disastrous " * 400
    kinds = {"neighbour": 0, "drop": 0, "swap": 0}
    for before, after in zip(plain.split(), typing_errors(plain, 1).split(), strict=True):
        if len(after) < len(before):
            kinds["drop"] += 1
        elif sorted(before) == sorted(after) and before != after:
            kinds["swap"] += 1
        elif before != after:
            (old, new) = next((x, y) for x, y in zip(before, after, strict=True) if x != y)
            assert new in NEIGHBOURING_KEYS[old]
            kinds["neighbour"] += 1
    assert sum(kinds.values()) == pytest.approx(300, abs=60)
    assert all(count > 70 for count in kinds.values())


@pytest.mark.parametrize("strength", [1, 2, 5, 50])
def test_first_letters_short_words_and_everything_but_letters_survive(strength):
    after = typing_errors(LONG, strength)
    for old, new in zip(LONG.split(), after.split(), strict=True):
        assert old[0] == new[0]
        if len([c for c in old if c.isalpha()]) <= 3:
            assert old == new
    assert [c for c in after if not c.isalpha()] == [c for c in LONG if not c.isalpha()]
    assert after.count("'t ") == LONG.count("'t ")
    assert "3rd-" in after


def test_a_word_keeps_three_letters_whatever_the_strength():
    for seed in range(20):
        assert len(typing_errors("four", 100, seed)) >= 3


def test_every_hit_really_changes_the_word_even_where_swaps_do_not():
    text = "baaaa " * 2000  # neighbouring keys and drops only: swapping two a is no edit
    words = typing_errors(text, 1).split()
    hit = [word for word in words if word != "baaaa"]
    assert len(hit) == pytest.approx(500, abs=80)
    cyrillic = typing_errors("бббб " * 400, 1).split()  # no neighbours, no swaps: a drop is what remains
    assert set(cyrillic) == {"бббб", "ббб"}


def test_case_is_kept():
    text = "SHOUTING " * 300
    assert typing_errors(text, 2).isupper()
    assert typing_errors(text.lower(), 2).islower()


def test_neighbours_are_symmetric_and_near():
    assert all(key in NEIGHBOURING_KEYS[near] for key, nears in NEIGHBOURING_KEYS.items() for near in nears)
    assert set(NEIGHBOURING_KEYS["g"]) == set("tyfhvb")
    assert set(NEIGHBOURING_KEYS["Q"]) == set("WA")
    assert len(NEIGHBOURING_KEYS) == 52


@pytest.mark.parametrize(
    "text",
    [
        "превосходный актёрский ансамбль " * 20,
        "فيلم رائع ومؤثر للغاية " * 20,
        "סרט נפלא ומרגש במיוחד " * 20,
        "一部非常精彩而且感人的电影 " * 20,
        "ภาพยนตร์ที่ยอดเยี่ยม " * 20,
    ],
)
def test_other_scripts_are_only_dropped_and_swapped(text):
    after = typing_errors(text, 2)
    assert after != text
    assert set(after) <= set(text)
    assert len(after.split()) == len(text.split())
    assert [word[0] for word in after.split()] == [word[0] for word in text.split()]


def test_combining_marks_stay_on_their_letter():
    text = unicodedata.normalize("NFD", "déjà élévé répété préféré ") * 50
    letters = set(unicodedata.normalize("NFC", text))
    after = unicodedata.normalize("NFC", typing_errors(text, 2))
    plain = set("abcdefghijklmnopqrstuvwxyz")  # neighbours of the letters without a mark
    assert set(after) <= letters | plain
    assert not any(unicodedata.combining(c) for c in after)


def test_emoji_digits_and_odd_characters_survive_byte_for_byte():
    odd = ["👩‍👩‍👧‍👦", "🇩🇪", "❤️", "1️⃣", "12345", "x²³⁴⁵", "½½½½", "\u200f\u200e", "_____", "\ud83d", "①②③④⑤", "<br/>"]
    text = "\u2003".join(odd)
    assert typing_errors(text, 20) == text
    mixed = " wonderful ".join(odd)
    assert [token for token in typing_errors(mixed, 2).split() if token[0] != "w"] == odd


def test_ten_thousand_words():
    text = "unforgettable cinema " * 5000
    assert len(typing_errors(text, 3).split()) == 10_000


def test_perturb_changes_text_columns_only_and_no_row_depends_on_another():
    features = Features(
        {
            "id": Value("string"),
            "premise": Value("large_string"),
            "hypothesis": Value("string"),
            "label": ClassLabel(names=["no", "yes"]),
        }
    )
    rows = {
        "id": ["a", "b", "c"],
        "premise": [SENTENCE, None, "another interesting sentence " * 4],
        "hypothesis": [SENTENCE, "completely different things " * 4, ""],
        "label": [0, 1, 1],
    }
    dataset = Dataset.from_dict(rows, features=features)
    noisy = perturb(dataset, ["premise", "hypothesis"], 2, seed=3)
    assert noisy.features == features
    assert noisy["id"][:] == rows["id"]
    assert noisy["label"][:] == rows["label"]
    assert noisy["premise"][:] == [text and typing_errors(text, 2, 3) for text in rows["premise"]]
    assert noisy["hypothesis"][:] == [typing_errors(text, 2, 3) for text in rows["hypothesis"]]
    assert noisy["premise"][0] != SENTENCE
    assert dataset["premise"][0] == SENTENCE
    alone = perturb(dataset.select([2]), ["premise"], 2, seed=3)
    assert alone["premise"][0] == noisy["premise"][2]


def test_perturb_of_one_column_leaves_the_other():
    dataset = Dataset.from_dict({"first": [LONG], "second": [LONG]})
    noisy = perturb(dataset, ["second"], 1, 0)
    assert noisy["first"][0] == LONG
    assert noisy["second"][0] != LONG


def test_perturb_refuses_unknown_columns_and_takes_empty_sets():
    dataset = Dataset.from_dict({"text": [], "label": []})
    assert len(perturb(dataset, ["text"], 1, 0)) == 0
    with pytest.raises(ValueError, match="sentence"):
        perturb(dataset, ["sentence"], 1, 0)
    with pytest.raises(ValueError, match="whole number"):
        perturb(dataset, ["text"], -1, 0)


def test_perturb_writes_no_file_beside_a_data_set_on_disk(tmp_path):
    Dataset.from_dict({"text": [SENTENCE] * 3}).save_to_disk(tmp_path / "set")
    before = sorted((tmp_path / "set").iterdir())
    perturb(Dataset.load_from_disk(tmp_path / "set"), ["text"], 1, 0)
    assert sorted((tmp_path / "set").iterdir()) == before


HOSTILE = {
    "empty": "",
    "blank": " \n\t\u3000",
    "marks only": "...!?!--(;)\u201c\u2026\u00bf",
    "emoji": "👩‍👩‍👧‍👦 🇩🇪 ❤️ 1️⃣ #️⃣ *️⃣ 👍🏽",
    "right to left": "\u202bفيلم رائع، ومؤثر!\u202c \u200fסרט נפלא.",
    "control": "a\x00b\x07 c\x1b[31mred\x7f \u0085 \u2028 zero\u200bwidth \ufeff",
    "surrogate": "half \ud83d pair",
    "marks of letters": unicodedata.normalize("NFD", "déjà élévé ") + "\u0301\u0301",
    "case": "ß ﬁ İstanbul ǆ STRASSE ΣΊΣΥΦΟΣ",
    "digits": "3.5 out of 10, 1,000,000 l33t",
    "no space": "x" * 5000,
}


def apply(name: str, text: str, strength: float, seed: int = 0) -> str:
    return NOISES[name](text, strength, Random(seed))


def closed_up(name: str, text: str) -> str:
    """Spaced letters with dots in the place of the spaces, so that a word is one word again."""
    return re.sub(r" (\w(?: \w){3,}) ", lambda m: m[1].replace(" ", "."), text) if name == "spaced_letters" else text


@pytest.mark.parametrize("name", NOISES)
class TestEveryNoise:
    @pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
    def test_hostile_text(self, name, text):
        assert apply(name, text, 0) == text
        for strength in (0.3, 1):
            after = apply(name, text, strength)
            assert isinstance(after, str)
            assert after == apply(name, text, strength)

    def test_ten_thousand_words(self, name):
        text = "Unforgettable cinema, " * 5000
        after = closed_up(name, apply(name, text, 0.5))
        assert len(after.split()) == 10_000
        assert after != text or name == "punctuation_inserted"  # commas stand everywhere

    def test_words_touched_at_a_strength_stay_touched_alike_at_a_greater_one(self, name):
        levels = [closed_up(name, apply(name, LONG, strength)).split(" ") for strength in (0, 0.2, 0.5, 1)]
        assert len({len(words) for words in levels}) == 1
        touched = [sum(a != b for a, b in zip(levels[0], words, strict=True)) for words in levels]
        assert touched == sorted(touched)
        assert touched[1] < touched[2] < touched[3] or name == "lower_case"
        for word, less, more in zip(levels[0], levels[1], levels[2], strict=True):
            # A word of several units (3rd-time) may be touched again elsewhere.
            assert less in (word, more) or not word.isalpha()

    @pytest.mark.parametrize("text", [*HOSTILE.values(), LONG], ids=[*HOSTILE, "long"])
    def test_what_was_touched_is_where_the_texts_differ(self, name, text):
        noisy, touched = make_noisy(text, name, 0.6, seed=2)
        pieces, end, noisy_end = [], 0, 0
        for t in touched:
            assert text[end : t.start] == noisy[noisy_end : t.noisy_start]  # what stands between is as it was
            assert text[t.start : t.end] != noisy[t.noisy_start : t.noisy_end]
            pieces += [text[end : t.start], noisy[t.noisy_start : t.noisy_end]]
            end, noisy_end = t.end, t.noisy_end
        assert "".join(pieces) + text[end:] == noisy
        assert text[end:] == noisy[noisy_end:]

    def test_seeds(self, name):
        assert len({apply(name, LONG, 0.5, seed) for seed in range(5)}) == 5

    @pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan, 2])
    def test_invalid_strength(self, name, strength):
        with pytest.raises(ValueError, match="share of words touched"):
            apply(name, SENTENCE, strength)


@pytest.mark.parametrize("name", ["typing", "ocr", "upper_case", "random_case"])
@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_share_of_words_touched_is_the_strength(name, strength):
    plain = "wonderful performances although somewhat predictable ending disappoint viewers " * 500
    after = apply(name, plain, strength)
    share = sum(a != b for a, b in zip(plain.split(), after.split(), strict=True)) / 4000
    assert share == pytest.approx(strength, abs=4 * math.sqrt(strength * (1 - strength) / 4000))


def test_typing_noise_is_one_typing_error_in_words_of_more_than_three_letters():
    for before, after in zip(LONG.split(), apply("typing", LONG, 1).split(), strict=True):
        long_parts = [part for part in re.findall("[A-Za-z]+", before) if len(part) > 3]
        assert distance(before, after) == len(long_parts)


def test_ocr_errors_change_one_shape_and_never_a_digit():
    assert {apply("ocr", "o", 1, seed) for seed in range(20)} == {"0"}
    assert {apply("ocr", "I", 1, seed) for seed in range(20)} == {"l", "1"}
    assert {apply("ocr", "barn", 1, seed) for seed in range(40)} == {"bam"}
    assert {apply("ocr", "mall", 1, seed) for seed in range(80)} == {"rnall", "ma1l", "maIl", "mal1", "malI"}
    assert apply("ocr", "1,000 in 3 x 58", 1) in {"1,000 1n 3 x 58", "1,000 ln 3 x 58"}


def test_casing():
    assert apply("upper_case", SENTENCE, 1) == SENTENCE.upper()
    assert apply("lower_case", SENTENCE, 1) == SENTENCE.lower()
    after = apply("random_case", LONG, 1)
    assert after.lower() == LONG.lower()
    turned = sum(a != b for a, b in zip(LONG, after, strict=True)) / sum(c.isalpha() for c in LONG)
    assert 0.4 < turned < 0.6
    assert {apply("random_case", "a b", 1, seed) for seed in range(9)} == {"A B"}  # a touched word always changes


def test_punctuation():
    text = "Well, it's (nearly) fine... #1!"
    assert apply("punctuation_dropped", text, 1) == "Well its nearly fine 1"
    assert apply("punctuation_doubled", text, 1) == "Well,, it''s ((nearly)) fine...... ##1!!"
    inserted = apply("punctuation_inserted", "one, two three\nfour 5 six", 1)
    assert re.fullmatch(r"one, two[,.;:-] three[,.;:-]\nfour[,.;:-] 5 six", inserted)
    assert apply("punctuation_dropped", "#️⃣ *️⃣", 1) == "#️⃣ *️⃣"


PINNED = {
    "typing": "a charming, well-acted coemdy wtih lonely charactesr",
    "ocr": "a charmin9, we1l-acted comcdy with lone1y character5",
    "upper_case": "A charming, WELL-acted comedy with LONELY CHARACTERS",
    "lower_case": "a charming, well-acted comedy with lonely characters",
    "random_case": "A CharmING, well-actEd CoMeDY With LOnELY CHarACTeRS",
    "punctuation_dropped": "a charming, well-acted comedy with lonely characters",
    "punctuation_doubled": "a charming, well--acted comedy with lonely characters",
    "punctuation_inserted": "a: charming, well-acted comedy. with lonely characters",
}


class TestNoiseCurve:
    def dataset(self) -> Dataset:
        rows = {"id": ["a", "b", "c"], "one": [SENTENCE, None, ""], "two": ["Fine, really", SENTENCE, "x"]}
        return Dataset.from_dict({**rows, "label": [0, 1, 1]})

    def test_every_noise_at_every_strength_in_order(self):
        curve = [(name, strength) for name, strength, _ in noise_curve(self.dataset(), ["one"], strengths=(0.5, 1))]
        assert curve == [(name, strength) for name in PINNED for strength in (0.5, 1)]
        assert (*PINNED,) == CURVE == (*NOISES,)[: len(CURVE)]

    def test_text_columns_only_and_strength_zero_is_the_data_set(self):
        dataset = self.dataset()
        for name, strength, noisy in noise_curve(dataset, ["one", "two"], strengths=(0, 1)):
            assert noisy.features == dataset.features
            assert (noisy["id"][:], noisy["label"][:]) == (["a", "b", "c"], [0, 1, 1])
            assert noisy["one"][1:] == [None, ""]
            assert (noisy["one"][0] == SENTENCE) == (strength == 0), name
            assert noisy["one"][0] == noisy["two"][1]  # equal texts get equal noise

    def test_a_row_does_not_depend_on_its_place_but_on_the_seed(self):
        dataset = self.dataset()
        [(_, _, whole)] = noise_curve(dataset, ["two"], names=["ocr"], strengths=[0.5])
        [(_, _, alone)] = noise_curve(dataset.select([1]), ["two"], names=["ocr"], strengths=[0.5])
        [(_, _, other)] = noise_curve(dataset, ["two"], names=["ocr"], strengths=[0.5], seed=1)
        assert alone["two"][0] == whole["two"][1] != other["two"][1]

    def test_pinned(self):
        # Published curves depend on these bytes.
        dataset = Dataset.from_dict({"text": ["a charming, well-acted comedy with lonely characters"]})
        found = {name: noisy["text"][0] for name, _, noisy in noise_curve(dataset, ["text"], strengths=[0.5])}
        assert found == PINNED

    def test_refusals(self):
        with pytest.raises(ValueError, match="no column"):
            list(noise_curve(self.dataset(), ["three"]))
        with pytest.raises(ValueError, match="unknown noise 'blur'; there are typing, ocr"):
            list(noise_curve(self.dataset(), ["one"], names=["blur"]))
        with pytest.raises(ValueError, match=r"^unknown noise 'leetspeek'; did you mean leetspeak\?$"):
            list(noise_curve(self.dataset(), ["one"], names=["leetspeek"]))
        with pytest.raises(ValueError, match="share of words touched"):
            list(noise_curve(self.dataset(), ["one"], strengths=[0.1, 10]))
        empty = Dataset.from_dict({"text": []})
        assert all(len(noisy) == 0 for _, _, noisy in noise_curve(empty, ["text"]))
