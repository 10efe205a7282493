"""Words beside a text, disguises, a target class: against brute force, formulas written out, and counts by hand."""

import itertools
import math
from fractions import Fraction
from random import Random

import numpy as np
import pytest

import rosetune
from rosetune.robustness.attacks.additions import AddedWords, benign_words, read_words
from rosetune.robustness.attacks.constraints import Constraints
from rosetune.robustness.attacks.driver import Recipe, Row
from rosetune.robustness.attacks.recipes import RECIPES, benign_append, benign_prepend, build_recipe, disguises
from rosetune.robustness.attacks.run import attack, attack_header, described, read_results
from rosetune.robustness.attacks.searches import Beam
from rosetune.robustness.attacks.summary import summary, transfer
from rosetune.robustness.attacks.text import Text
from rosetune.robustness.attacks.transformations import DISGUISES, Disguises, Synonyms
from rosetune.robustness.noise_families import NOISES
from rosetune.runs.attacked import results_digest
from victims import HOSTILE, BagOfWords

HARM = {"harm": 4.0, "calm": -0.7, "kind": -1.1, "mild": -0.2, "soft": -0.9, "loud": 0.6}
WORDS = ("calm", "kind", "mild", "soft", "loud")
ORDERED = {("kind", "calm"): -1.5, ("calm", "kind"): 0.8, ("soft", "kind"): 2.0, ("mild", "soft"): -0.6}


def attack_one(recipe, text="harm", victim=None, gold=1, **kwargs):
    [result] = attack(victim or BagOfWords(HARM), [Row("a", (text,), gold)], recipe, progress=False, **kwargs)
    return result


# --- words beside a text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_text_stays_between_what_is_added(text):
    parsed = Text(text)
    n = len(parsed)
    behind = "" if not text or text[-1].isspace() else " "
    before = "" if not text or text[0].isspace() else " "
    assert parsed.render({n: "one", n + 1: "two"}) == f"{text}{behind}one two"
    assert parsed.render({-1: "one", -2: "two"}) == f"two one{before}{text}"
    assert parsed.render({n + 3: "", n + 4: "x"}) == f"{text}{behind}x"
    assert (parsed.word(-1), parsed.word(n), [parsed.word(i) for i in range(n)]) == ("", "", parsed.words)


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize(("build", "place"), [(benign_append, "append"), (benign_prepend, "prepend")])
def test_of_a_bag_of_words_the_best_words_are_found(build, place, most):
    """The sum of weights is least for the words of the least weights: kind, soft, calm, one after the other."""
    victim = BagOfWords(HARM)
    result = attack_one(build(WORDS, most=most), "do harm", victim)
    assert result["status"] == "failed"
    best = ["kind", "soft", "calm"][:most]
    added = " ".join(best) if place == "append" else " ".join(reversed(best))
    assert result["perturbed"] == [f"do harm {added}" if place == "append" else f"{added} do harm"]
    at = 2 if place == "append" else 0
    assert sorted(result["changes"]) == sorted([at, "", word] for word in best)
    weight = -0.5 + 4.0 + sum(HARM[word] for word in best)
    assert result["perturbed_probabilities"][1] == pytest.approx(1 / (1 + math.exp(-weight)), abs=1e-6)
    # One question for the text, v for the first place, and one word less for each place after it.
    assert result["queries"] == len(victim.asked) == 1 + sum(len(WORDS) - i for i in range(most))


def test_a_wide_beam_finds_what_brute_force_finds():
    """Where the order of words counts: the best of all ordered choices of at most two; greedy may miss it."""
    victim = BagOfWords(HARM, bias=3.0, pairs=ORDERED)
    choices = [added for k in range(3) for added in itertools.permutations(WORDS, k)]
    texts = {added: " ".join(("harm", *added)) for added in choices}
    best = min(choices, key=lambda added: victim.logit((texts[added],)))
    assert best == ("kind", "calm")
    wide, greedy = (attack_one(benign_append(WORDS, most=2, beam=beam), victim=victim) for beam in (5, 1))
    assert (wide["status"], wide["perturbed"]) == ("failed", [texts[best]])
    assert greedy["perturbed"] == [texts[best]]  # its first word is the best one alone
    lured = BagOfWords({**HARM, "soft": -1.2}, bias=3.0, pairs=ORDERED)
    wide, greedy = (attack_one(benign_append(WORDS, most=2, beam=beam), victim=lured) for beam in (5, 1))
    assert wide["perturbed"] == ["harm kind calm"]
    assert greedy["perturbed"][0].startswith("harm soft")
    assert lured.logit(tuple(wide["perturbed"])) < lured.logit(tuple(greedy["perturbed"]))


def test_a_search_ends_with_the_first_success_and_adds_no_word_that_does_not_help():
    mild = BagOfWords({"harm": 1.2, "kind": -1.1}, bias=-0.5)
    result = attack_one(benign_append(("loud", "kind", "calm"), most=3), victim=mild)
    assert (result["status"], result["perturbed"], result["queries"]) == ("success", ["harm kind"], 4)
    stubborn = BagOfWords({"harm": 9.0, "kind": -1.1, "loud": 0.6})
    result = attack_one(benign_append(("loud", "kind"), most=4), victim=stubborn)
    assert (result["status"], result["perturbed"]) == ("failed", ["harm kind"])


def test_words_by_label_and_where_there_are_none():
    by_label = {0: ("loud",), 1: ("kind",)}
    victim = BagOfWords({"loud": 3.0, "kind": -3.0, "harm": 2.0})
    rows = [Row("spam", ("harm",), 1), Row("ham", ("hello",), 0), Row("none", ("",), 0)]
    results = attack(victim, rows, benign_append(by_label), progress=False)
    assert [result["perturbed"] for result in results] == [["harm kind"], ["hello loud"], ["loud"]]
    [alone] = attack(victim, rows[:1], benign_append({0: ("loud",)}), progress=False)
    assert (alone["status"], alone["queries"]) == ("failed", 1)


def test_nothing_is_appended_where_the_model_does_not_look():
    class Short(BagOfWords):
        def visible(self, texts, column):
            return 4

    seen, unseen = (attack_one(benign_append(WORDS), text, Short(HARM)) for text in ("harm", "harm here"))
    assert len(seen["changes"]) == 4
    assert (unseen["queries"], unseen["changes"]) == (1, [])
    assert attack_one(benign_prepend(WORDS), "harm here", Short(HARM))["changes"]


def test_max_share_counts_added_words_against_those_of_the_text():
    text = "a harm in a text of ten words as one"
    for share, most in ((0.1, 1), (0.25, 2), (1.0, 4), (0.05, 0)):
        recipe = build_recipe("benign_append", words=WORDS, max_share=share)
        assert len(attack_one(recipe, text, BagOfWords({**HARM, "harm": 9.0}))["changes"]) == most


def test_a_beam_also_replaces_words():
    """Left to right, words that stay as they are included: the best of all choices where effects add up."""
    synonyms = {"harm": ("hurt", "calm"), "loud": ("mild", "kind"), "soft": ("loud",)}
    victim = BagOfWords({**HARM, "hurt": 3.0}, bias=1.0)
    result = attack_one(Recipe("x", Beam(2), Synonyms(synonyms)), "loud harm soft", victim)
    assert result["perturbed"] == ["kind calm soft"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AddedWords(("a",), "beside"), 'place must be "append" or "prepend"'),
        (lambda: benign_append(("a",), most=0), "at least 1 word"),
        (lambda: benign_append(()), "there are no words to add"),
        (lambda: Beam(0), "width must be at least 1"),
        (lambda: build_recipe("benign_append"), "benign_append adds words: give candidates"),
        (lambda: Disguises(("blur",)), "disguises are some of homoglyphs, .* typing, ocr, .* not blur"),
        (
            lambda: Disguises(("punctuation_dropped",)),
            "disguises are some of .*, random_case, not punctuation_dropped",
        ),
        (lambda: Disguises(("homoglyph",)), r"^no disguise is called 'homoglyph'; did you mean homoglyphs\?$"),
        (lambda: Disguises(samples=0), "samples must be at least 1"),
    ],
)
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- which words speak for a class -----------------------------------------------------------------------------------


def test_words_by_the_ratio_written_out():
    rng = Random(0)
    texts = [" ".join(rng.choices(["alpha", "beta", "gamma", "Delta", "x", "w3b", "é-té"], k=4)) for _ in range(40)]
    benign = [rng.random() < 0.4 for _ in texts]
    ours = [{*text.lower().replace("-", " ").split()} for text, own in zip(texts, benign, strict=True) if own]
    others = [{*text.lower().replace("-", " ").split()} for text, own in zip(texts, benign, strict=True) if not own]

    def ratio(word):
        b, o = (sum(word in words for words in part) for part in (ours, others))
        return Fraction(b + 1, len(ours) + 2) / Fraction(o + 1, len(others) + 2)

    known = ["alpha", "beta", "gamma", "delta", "té"]
    expected = sorted((word for word in known if ratio(word) > 1), key=ratio, reverse=True)
    assert len({ratio(word) for word in expected}) == len(expected) > 1
    assert benign_words(texts, benign) == tuple(expected)
    assert benign_words(texts, benign, count=1) == tuple(expected[:1])


def test_of_words_with_one_ratio_the_seed_decides():
    texts, benign = ["aa bb cc dd ee ff gg hh", "xx"], [True, False]
    first, again, other = (benign_words(texts, benign, count=4, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert {*first} | {*other} <= {*texts[0].split()}
    with pytest.raises(ValueError, match="no word is in more texts of the class"):
        benign_words(["aa", "aa"], [True, False])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("यह हिन्दी भाषा में है", {"यह", "हिन्दी", "भाषा", "में", "है"}),
        ("இது தமிழ்", {"இது", "தமிழ்"}),
        ("ශ්‍රී ලංකා", {"ශ්‍රී", "ලංකා"}),  # with a zero-width joiner
        ("می‌خواهم 3 کتاب", {"می‌خواهم", "کتاب"}),
        ("cafe\u0301 nai\u0308ve", {"cafe\u0301", "nai\u0308ve"}),
        (
            "Don't: well-acted, w3b2you a_bc fr\u200cee Straße",
            {"don", "well", "acted", "you", "bc", "fr", "ee", "straße"},
        ),
        (f"a ab {'b' * 20} {'c' * 21}", {"ab", "b" * 20}),
    ],
)
def test_words_are_whole_in_every_script(text, words):
    assert {*benign_words([text, ""], [True, False])} == words


def test_words_from_a_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\ufeffkind\n\n  calm \nkind\n", encoding="utf-8")
    assert read_words(path) == ("kind", "calm")
    path.write_text(" \n")
    with pytest.raises(ValueError, match="holds no word"):
        read_words(path)
    for content in (None, b"\xff\xfe\x00"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot read words from"):
            read_words(tmp_path / "gone.txt" if content is None else path)


# --- disguises -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*DISGUISES, "typing", "ocr", "upper_case", "lower_case", "random_case"])
def test_a_disguise_is_what_the_noise_of_that_name_makes(name):
    """With the numbers that the noise draws, so that the bounds are the noise's."""
    for word in ("wonderful", "Film", "to", "a", "سلام", "naïve"):
        for seed in range(5):
            expected = NOISES[name].edit([*word], Random(seed))
            forms = Disguises((name,))(word, Random(seed))
            assert forms == ([] if expected in (None, [*word]) else ["".join(expected)])


def test_all_disguises_by_default_and_the_weakest_word_first():
    assert {*DISGUISES} == {*NOISES} - {*list(NOISES)[:8]}
    assert len(Disguises()("wonderful", Random(0))) == len(DISGUISES)
    assert len(Disguises(samples=4)("wonderful", Random(0))) > len(DISGUISES)
    victim = BagOfWords({"harmful": 2.0, "grave": 0.3}, bias=-0.5)
    result = attack_one(disguises(), "grave and harmful", victim)
    assert (result["status"], [position for position, *_ in result["changes"]]) == ("success", [2])
    only = attack_one(build_recipe("disguises", noises=["spaced_letters"]), "grave and harmful", victim)
    assert only["perturbed"] == ["grave and  h a r m f u l "]


# --- a target class, and counts by class -----------------------------------------------------------------------------


class ThreeClasses:
    """p = softmax of the number of words a, b and c."""

    def __call__(self, texts):
        counts = np.array([[text.split().count(word) for word in "abc"] for (text,) in texts], dtype=float)
        odds = np.exp(counts)
        return odds / odds.sum(axis=1, keepdims=True)


def test_a_third_label_is_no_success_for_a_target():
    rows = [Row("1", ("a a",), 0), Row("2", ("a a a a",), 0), Row("3", ("b a a",), 1)]
    words = benign_append(("b", "c", "c c", "c c c"), most=2)
    free, aimed = (attack(ThreeClasses(), rows, words, progress=False, target=target) for target in (None, 2))
    assert [result["status"] for result in free] == ["success", "success", "skipped"]
    assert [result["status"] for result in aimed] == ["success", "success", "skipped"]
    assert all("target" not in result for result in free)
    assert [result["target"] for result in aimed] == [2, 2, 2]
    to_b = attack(ThreeClasses(), rows[:2], benign_append(("c c c", "b"), most=1), progress=False, target=1)
    assert [(result["status"], result["perturbed_prediction"]) for result in to_b] == [("failed", 0), ("failed", 0)]
    # What raises p(b) stays, though "c c c" lowers p(a) by more.
    assert [result["perturbed"] for result in to_b] == [["a a b"], ["a a a a b"]]
    with pytest.raises(ValueError, match="'3' has the label that the attack aims at"):
        attack(ThreeClasses(), rows, words, progress=False, target=1)
    with pytest.raises(ValueError, match="has the label 7, but the model has 3 labels"):
        attack(ThreeClasses(), rows, words, progress=False, target=7)


@pytest.mark.parametrize("name", RECIPES)
def test_of_two_classes_the_other_as_target_changes_nothing(name):
    material = {"synonyms": {"harm": ("hurt", "calm"), "loud": ("mild",)}, "words": WORDS}
    recipe = build_recipe(name, **material)
    rows = [Row(i, (f"{text} harm",), 1) for i, text in enumerate(("loud", "kind loud soft", "wonderful harm"))]
    free, aimed = (attack(BagOfWords(HARM), rows, recipe, budget=90, progress=False, target=t) for t in (None, 0))
    assert [{k: v for k, v in result.items() if k != "target"} for result in aimed] == free


def test_a_header_has_a_target_only_where_there_is_one(tmp_path):
    """Files of the version before are found, and go on."""
    rows, options = [Row("a", ("harm",), 1)], {"budget": None, "seed": 0, "column": 0}
    header = attack_header({}, BagOfWords(HARM), rows, **options)
    assert header == {"attack": {}, "budget": None, "seed": 0, "column": 0, "model": None}
    assert attack_header({}, BagOfWords(HARM), rows, **options, target=0) == {**header, "target": 0}
    attack(BagOfWords(HARM), rows, benign_append(WORDS), path=tmp_path / "a.jsonl", progress=False)
    with pytest.raises(ValueError, match="another attack"):
        attack(BagOfWords(HARM), rows, benign_append(WORDS), path=tmp_path / "a.jsonl", progress=False, target=0)
    assert read_results(tmp_path / "a.jsonl")[0]["attack"] == described(benign_append(WORDS))


def test_summaries_and_transfer_by_class_counted_by_hand():
    def result(i, gold, status, **more):
        row = {"id": str(i), "status": status, "gold": gold, "queries": 3, "changes": [[1, "", "x"]], "words": 2}
        texts = {"texts": [f"t{i}"], "perturbed": [f"p{i}"]}
        return {**row, "probabilities": [0.5, 0.3, 0.2], "perturbed_probabilities": [0.5, 0.3, 0.2], **texts, **more}

    outcomes = [(0, "success"), (0, "failed"), (0, "skipped"), (2, "success"), (2, "success"), (2, "failed")]
    results = [result(i, *outcome) for i, outcome in enumerate(outcomes)]
    classes = summary(results, labels=("a", "b", "c"))["by_class"]
    assert [*classes] == ["a", "c"]
    assert {key: classes["a"][key] for key in ("n", "attacked", "succeeded", "clean_accuracy")} == {
        **{"n": 3, "attacked": 2, "succeeded": 1},
        "clean_accuracy": 2 / 3,
    }
    assert (classes["c"]["attack_success_rate"], classes["c"]["accuracy_under_attack"]) == (2 / 3, 1 / 3)
    assert "by_class" not in summary(results)

    def victim(texts):  # says what each text's number is told to be
        said = {"t0": 0, "p0": 1, "t3": 2, "p3": 1, "t4": 2, "p4": 0, "t5": 2, "p5": 2, "t1": 0, "p1": 0}
        return np.eye(3)[[said.get(text, 0) for (text,) in texts]]

    free = transfer({"x": results}, {"y": victim})["x"]["y"]
    aimed = transfer({"x": [{**row, "target": 1} for row in results]}, {"y": victim})["x"]["y"]
    assert (free.fooled.n, free.fooled.value) == (3, 1.0)
    assert (aimed.fooled.n, aimed.fooled.value) == (3, 2 / 3)  # p4 is taken for a, which was not wanted
    assert free.accuracy == aimed.accuracy
    assert results_digest(results) != results_digest([{**row, "target": 1} for row in results])


# --- in Python -------------------------------------------------------------------------------------------------------


def harmful(texts):
    return BagOfWords(HARM)([(text,) for text in texts])


def test_one_class_in_python():
    texts = ["harm now", "hello", "do harm", "a kind word", "harm"]
    labels, names = ["bad", "fine", "bad", "fine", "fine"], ["fine", "bad"]
    given = {"texts": texts, "labels": labels, "label_names": names, "examples": None}
    result = rosetune.attack(harmful, attack="benign_append", words=WORDS, attack_class="bad", **given)
    assert sorted(result.results, key=lambda row: row["id"])[0]["id"] == 0
    assert {row["id"] for row in result.results} == {0, 2}
    assert (result.attack_class, result.target_class, result.not_attacked) == ("bad", None, 3)
    assert (result.summary["not_attacked"], [*result.summary["by_class"]]) == (3, ["bad"])
    aimed = rosetune.attack(harmful, attack="benign_append", words=WORDS, target_class=0, **given)
    assert {row["id"] for row in aimed.results} == {0, 2}
    with pytest.raises(ValueError, match="they differ in attack_class, target_class"):
        rosetune.compare(result, aimed)
    with pytest.raises(ValueError, match="no class is called 'evil': give one of fine, bad"):
        rosetune.attack(harmful, attack_class="evil", **given)
    with pytest.raises(ValueError, match="no text is of the class"):
        rosetune.attack(harmful, attack_class="bad", target_class="bad", **given)
    disguised = rosetune.attack(harmful, attack="disguises", noises=["leetspeak"], attack_class=1, **given)
    assert {row["status"] for row in disguised.results} == {"success"}


def test_limits_are_those_of_the_recipe():
    assert benign_append(WORDS, max_share=0.5).constraints == Constraints(max_share=0.5)
    assert build_recipe("benign_prepend", words=WORDS, added_words=2).transformation == AddedWords(WORDS, "prepend", 2)
