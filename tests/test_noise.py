import subprocess
import sys
import unicodedata

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from rosetune.robustness.noise import _NEIGHBOURS, perturb, typing_errors

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
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
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
            assert new in _NEIGHBOURS[old]
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
    assert all(key in _NEIGHBOURS[near] for key, nears in _NEIGHBOURS.items() for near in nears)
    assert set(_NEIGHBOURS["g"]) == set("tyfhvb")
    assert set(_NEIGHBOURS["Q"]) == set("WA")
    assert len(_NEIGHBOURS) == 52


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
