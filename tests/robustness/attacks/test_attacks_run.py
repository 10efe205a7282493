"""Runs of attacks: pooling, budget, resumption, hostile texts, figures and transfer."""

import itertools
import json
import random

import numpy as np
import pytest
import torch
from scipy.stats import binom

from helpers import make_model, make_tokenizer
from rosetune.data.synonyms import load_synonyms
from rosetune.robustness.attacks.driver import Recipe, Row
from rosetune.robustness.attacks.problem import Problem
from rosetune.robustness.attacks.recipes import (
    ADDS_WORDS,
    NEEDS_SYNONYMS,
    RECIPES,
    build_recipe,
    deepwordbug,
    genetic,
    pwws,
)
from rosetune.robustness.attacks.run import attack, read_results
from rosetune.robustness.attacks.searches import Greedy
from rosetune.robustness.attacks.summary import Transferred, summary, transfer
from rosetune.robustness.attacks.text import Text
from rosetune.robustness.attacks.transformations import Synonyms
from rosetune.robustness.transformers_classifier import TransformersClassifier
from victims import HOSTILE, SYNONYMS, WORDS, BagOfWords

VOCABULARY = ["superb", "film", "plot", "dull", "acting", "the", "a", "movie", "slow", "dire", "Story"]
WEIGHTS = {"superb": 1.2, "wonderful": 0.7, "dire": -0.9, "film": 0.3, "movie": 0.1, "dull": -1.0, "slow": -0.2}


def make_rows(n=24, pair=False):
    rng = random.Random(0)
    texts = [" ".join(rng.choices(VOCABULARY, k=rng.randrange(1, 10))) for _ in range(2 * n)]
    return [Row(f"e{i}", tuple(texts[i::n][: 1 + pair]), i % 2) for i in range(n)]


def make_recipe(name, **kwargs):
    small = {"population": 6, "iterations": 4} if name == "genetic" else {}
    given = (SYNONYMS,) if name in NEEDS_SYNONYMS else (WORDS,) if name in ADDS_WORDS else ()
    return RECIPES[name](*given, **small, **kwargs)


def run(rows, recipe, victim=None, **kwargs):
    return attack(victim or BagOfWords(WEIGHTS, 0.0), rows, recipe, progress=False, **kwargs)


def plain_loop(victim, row, recipe, budget, seed=0):
    """The attack again, one text at a time, without driver and pool."""
    known = {}

    def ask(text):
        if text not in known:
            if len(known) == budget:
                return None
            known[text] = victim([(text,)])[0]
        return known[text]

    [original] = row.texts
    text, clean = Text(original), ask(original)
    if clean.argmax() != row.gold:
        return "skipped", original, 1
    problem = Problem(text, row.gold, clean, recipe.transformation, recipe.constraints, f"{seed}:{row.id}")
    steps = recipe.search(problem)
    best = (True, clean[row.gold], original)
    answers = None
    while best[0]:
        try:
            question = steps.send(answers)
        except StopIteration:
            break
        answers = []
        for candidate in question.candidates:
            rendered = text.render(candidate)
            answer = ask(rendered)
            if answer is None:
                break
            answers.append(answer)
            if not question.probe:
                right = bool(answer.argmax() == row.gold)
                best = min(best, (right, answer[row.gold], rendered), key=lambda found: found[:2])
        if len(answers) < len(question.candidates):
            break
    return "failed" if best[0] else "success", best[2], len(known)


@pytest.mark.parametrize("budget", [None, 7, 25])
@pytest.mark.parametrize("name", RECIPES)
def test_the_plain_loop_gives_the_same(name, budget):
    rows, recipe = make_rows(), make_recipe(name)
    results = run(rows, recipe, budget=budget)
    assert {result["status"] for result in results} == {"success", "failed", "skipped"}
    for row, result in zip(rows, results, strict=True):
        found = (result["status"], result["perturbed"][0], result["queries"])
        assert found == plain_loop(BagOfWords(WEIGHTS, 0.0), row, recipe, budget)


@pytest.mark.parametrize("name", RECIPES)
def test_neither_pool_nor_order_nor_company_matters(name):
    rows, recipe = make_rows(), make_recipe(name)
    expected = {result["id"]: result for result in run(rows, recipe, seed=3)}
    for pool, chosen in [(1, rows), (7, rows[::-1]), (512, rows[5:9])]:
        for result in run(chosen, recipe, seed=3, pool=pool):
            assert result == expected[result["id"]]


def test_another_seed_is_another_attack():
    rows = make_rows()
    assert run(rows, deepwordbug(), seed=0) == run(rows, deepwordbug(), seed=0)
    assert run(rows, deepwordbug(), seed=0) != run(rows, deepwordbug(), seed=1)


@pytest.mark.parametrize("name", RECIPES)
def test_the_budget_is_kept_and_repeats_are_not_counted(name):
    rows, recipe = make_rows(), make_recipe(name)
    free = run(rows, recipe)
    for budget in (1, 2, 5, 17):
        for row, unlimited in zip(rows, free, strict=True):
            victim = BagOfWords(WEIGHTS, 0.0)
            [result] = run([row], recipe, victim, budget=budget)
            assert result["queries"] == len(victim.asked) == len(set(victim.asked)) <= budget
            assert result["queries"] == min(budget, unlimited["queries"])
            if unlimited["queries"] <= budget:
                assert result == unlimited


def test_pools_are_full_across_rows_and_never_larger():
    victim = BagOfWords(WEIGHTS, 0.0)
    results = run(make_rows(), deepwordbug(), victim, pool=40)
    assert max(victim.sizes) == 40
    assert sum(victim.sizes) == sum(result["queries"] for result in results)
    assert len(victim.sizes) < sum(victim.sizes) / 10


def test_of_a_pair_the_named_column_is_attacked():
    rows, recipe = make_rows(pair=True), make_recipe("pwws")
    for column, untouched in [(-1, 0), (1, 0), (0, 1)]:
        results = run(rows, recipe, column=column)
        assert any(result["status"] == "success" for result in results)
        for result in results:
            assert result["column"] == 1 - untouched
            assert result["perturbed"][untouched] == result["texts"][untouched]
    assert run(rows, recipe, column=-1) == run(rows, recipe, column=1)


def test_a_result_says_what_was_changed():
    for result in run(make_rows(), make_recipe("textfooler")):
        text = Text(result["texts"][0])
        assert text.render({i: after for i, _, after in result["changes"]}) == result["perturbed"][0]
        assert all(text.words[i] == before != after for i, before, after in result["changes"])
        assert (result["perturbed_prediction"] != result["gold"]) == (result["status"] != "failed")
        assert result["status"] != "skipped" or (result["changes"], result["queries"]) == ([], 1)


# files


class Killed(Exception):
    pass


class Dying(BagOfWords):
    def __init__(self, calls):
        super().__init__(WEIGHTS, 0.0)
        self.left = calls

    def __call__(self, texts):
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().__call__(texts)


@pytest.mark.parametrize("calls", [0, 5, 15, 25])
def test_a_killed_run_goes_on_to_the_same_file(tmp_path, calls):
    rows, recipe = make_rows(), make_recipe("genetic")
    whole = run(rows, recipe, path=tmp_path / "whole.jsonl", pool=2)
    path = tmp_path / "folder" / "part.jsonl"
    with pytest.raises(Killed):
        run(rows, recipe, Dying(calls), path=path, pool=2)
    before = path.read_bytes()
    done = {result["id"] for result in read_results(path)[1]}
    assert len(done) < len(rows)
    path.write_bytes(before[: -len(before) // 40])  # and its last lines are lost, one of them in part
    again = BagOfWords(WEIGHTS, 0.0)
    kept = {result["id"] for result in read_results(path)[1]}
    assert run(rows, recipe, again, path=path, pool=2) == whole
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not {row.texts for row in rows if row.id in kept} & set(again.asked)
    untouched = BagOfWords(WEIGHTS, 0.0)
    assert run(rows, recipe, untouched, path=path) == whole
    assert untouched.asked == []


def test_more_rows_may_follow_but_no_other_attack(tmp_path):
    rows, path = make_rows(), tmp_path / "a.jsonl"
    run(rows[:5], deepwordbug(), path=path, budget=50)
    assert run(rows, deepwordbug(), path=path, budget=50) == run(rows, deepwordbug(), budget=50)
    header, results = read_results(path)
    assert [result["id"] for result in results] == [row.id for row in rows]
    assert header["attack"]["search"] == {"type": "Greedy", "importance": "combined", "unk": "[UNK]", "bonus": False}
    for kwargs, differs in [({"budget": 51}, "budget"), ({"budget": 50, "seed": 1}, "seed")]:
        with pytest.raises(ValueError, match=rf"another attack \(it differs in {differs}\)"):
            run(rows, deepwordbug(), path=path, **kwargs)
    with pytest.raises(ValueError, match="differs in attack"):
        run(rows, deepwordbug(max_edits=29), path=path, budget=50)
    with pytest.raises(ValueError, match="'e5' that is not among the rows"):
        run(rows[:5], deepwordbug(), path=path, budget=50)
    with pytest.raises(ValueError, match="'e0' that is not among the rows"):
        run([Row("e0", ("other",), 0), *rows[1:]], deepwordbug(), path=path, budget=50)


def test_other_synonyms_are_another_attack(tmp_path):
    run(make_rows(3), pwws(SYNONYMS), path=tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="differs in attack"):
        run(make_rows(3), pwws({**SYNONYMS, "plot": ("tale",)}), path=tmp_path / "a.jsonl")


@pytest.mark.parametrize("content", ["notes", "notes\n", '{"a": 1}\n', '{"attack"\n', '{"attack": {}}\n[1]\n'])
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"a\.jsonl"):
        run(make_rows(3), deepwordbug(), path=path)
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("rows", "kwargs", "said"),
    [
        (make_rows(2), {"budget": 0}, "budget must be at least 1"),
        (make_rows(2), {"pool": 0}, "pool must be at least 1"),
        (make_rows(2), {"column": 1}, "there is no column 1"),
        ([Row("a", (), 0)], {}, "has 0 texts"),
        ([Row("a", (None,), 0)], {}, "no string"),
        ([Row("a", ("x",), 0)] * 2, {}, "more than once"),
        ([Row("a", ("x",), 2)], {}, "has the label 2, but the model has 2 labels"),
        ([Row("a", ("x",), -1)], {}, "has the label -1"),
    ],
)
def test_refused(rows, kwargs, said):
    with pytest.raises(ValueError, match=said):
        run(rows, deepwordbug(), **kwargs)


def test_a_victim_that_gives_nonsense_is_refused():
    for answer in (np.full((1, 2), np.nan), np.ones((3, 2)), np.ones(1)):
        with pytest.raises(ValueError, match="1 rows of finite probabilities"):
            run([Row("a", ("x",), 0)], deepwordbug(), lambda texts, answer=answer: answer)


# hostile texts


@pytest.mark.parametrize("name", RECIPES)
def test_hostile_texts_get_through(tmp_path, name):
    long = " ".join(f"superb{i} film ," for i in range(5000))
    rows = [Row(i, (text,), 1) for i, text in enumerate([*HOSTILE, long])]
    recipe = make_recipe(name)
    path = tmp_path / "a.jsonl"
    results = run(rows, recipe, BagOfWords({"film": 0.1, "good": 0.1}, 0.5), budget=60, path=path)
    assert [result["id"] for result in results] == list(range(len(rows)))
    assert read_results(path)[1] == results
    assert all(result["queries"] <= 60 for result in results)
    if name not in ADDS_WORDS:
        assert results[0]["status"] == "failed"  # there is nothing to change in an empty text
        assert results[0]["queries"] == 1


def test_thousands_of_words_without_a_budget():
    recipe = Recipe("x", Greedy("delete"), Synonyms({"superb": ("dire",)}))
    [result] = run([Row("a", ("superb " * 4_000,), 1)], recipe, lambda texts: np.tile([0.25, 0.75], (len(texts), 1)))
    assert (result["status"], result["queries"]) == ("failed", 1 + 2 * 4_000)


@pytest.mark.slow
def test_a_hundred_thousand_rows(tmp_path):
    rows = [Row(i, (VOCABULARY[i % 11],), 1) for i in range(100_000)]
    results = run(rows, pwws(SYNONYMS), path=tmp_path / "a.jsonl")
    assert [result["id"] for result in results] == list(range(100_000))
    assert (tmp_path / "a.jsonl").read_bytes().count(b"\n") == 100_001


# figures


def summary_rows(*parts):
    """Results as far as figures need them: status, queries, words changed, words, confidence before and after."""
    names = ("status", "queries", "changes", "words", "probabilities", "perturbed_probabilities")
    return [
        dict(zip(names, (s, q, [[0, "a", "b"]] * c, w, [1 - p, p], [1 - r, r]), strict=True), id=f"r{i}", gold=1)
        for i, (s, q, c, w, p, r) in enumerate(parts)
    ]


def test_summary_by_hand():
    results = summary_rows(
        ("success", 10, 2, 10, 0.9, 0.3),
        ("success", 26, 1, 5, 0.8, 0.4),
        ("failed", 30, 0, 10, 0.7, 0.6),
        ("skipped", 1, 0, 10, 0.2, 0.2),
    )
    found = summary(results)
    # Of four rows one is wrong before; the successes change 2 and 1 of 10 and 5 words, both 20% of them.
    at_most = {limit: share["value"] for limit, share in found.pop("at_most_words").items()}
    assert at_most == {"1": 0.5, "2": 0.25, "3": 0.25, "10%": 0.75, "20%": 0.25}
    intervals = {name: found.pop(name) for name in list(found) if name.endswith(("_low", "_high"))}
    assert found == {
        "n": 4,
        "attacked": 3,
        "succeeded": 2,
        "nothing_to_change": 0,
        "out_of_budget": 0,
        "clean_accuracy": 0.75,
        "accuracy_under_attack": 0.25,
        "attack_success_rate": pytest.approx(2 / 3),
        "mean_queries": 22.0,
        "median_queries": 26.0,
        "mean_confidence_before": pytest.approx(0.8),
        "mean_confidence_after": pytest.approx(1.3 / 3),
        "mean_words_changed": 1.5,
        "mean_share_changed": pytest.approx(0.2),
    }
    assert list(intervals) == [
        f"{a}_{b}" for a in ("accuracy_under_attack", "attack_success_rate") for b in ("low", "high")
    ]
    wrong = summary(summary_rows(("skipped", 1, 0, 10, 0.2, 0.2)))
    assert (wrong["accuracy_under_attack"], wrong["attack_success_rate"], wrong["mean_queries"]) == (0.0, None, None)
    assert (wrong["attack_success_rate_low"], wrong["mean_confidence_after"], wrong["median_queries"]) == (None,) * 3
    with pytest.raises(ValueError, match="no results"):
        summary([])


def test_intervals_of_a_summary_are_binomial_and_resample_originals():
    """200 independent rows: the bootstrap of a share p has the quantiles of Binomial(200, p) / 200."""
    status = ["success"] * 90 + ["failed"] * 60 + ["skipped"] * 50
    results = summary_rows(*((s, 5, 1, 10, 0.9, 0.3) for s in status))
    found = summary(results)
    for name, k, n in (("accuracy_under_attack", 60, 200), ("attack_success_rate", 90, 150)):
        expected = binom(n, k / n).ppf([0.025, 0.975]) / n
        assert [found[f"{name}_low"], found[f"{name}_high"]] == pytest.approx(expected, abs=1.01 / n)
    # Every row five times, all five of one original: five times the rows, and no more is known.
    copies = [
        {**result, "id": f"{result['id']}-{i}", "original_id": result["id"]} for result in results for i in range(5)
    ]
    clustered = summary(copies)
    for name in ("accuracy_under_attack_low", "attack_success_rate_high"):
        assert clustered[name] == pytest.approx(found[name], abs=1e-9)
    alone = summary([{**copy, "original_id": None} for copy in copies])
    width, narrow = (f["accuracy_under_attack_high"] - f["accuracy_under_attack_low"] for f in (clustered, alone))
    assert width / narrow == pytest.approx(5**0.5, rel=0.05)


def test_transfer_by_hand():
    rows = make_rows(40)
    victims = {"a": BagOfWords(WEIGHTS, 0.0), "b": BagOfWords({**WEIGHTS, "dire": 0.5, "slow": -0.9}, 0.1)}
    results = {name: run(rows, make_recipe("textfooler"), victim) for name, victim in victims.items()}
    matrix = transfer(results, victims)
    for source, target in itertools.product("ab", "ab"):

        def right(text, gold, target=target):
            return victims[target]([(text,)])[0].argmax() == gold

        tried = [r for r in results[source] if r["status"] == "success" and right(r["texts"][0], r["gold"])]
        fooled = [r for r in tried if not right(r["perturbed"][0], r["gold"])]
        correct = [r for r in results[source] if right(r["perturbed"][0], r["gold"])]
        cell = matrix[source][target]
        assert (cell.fooled.n, cell.fooled.value) == (len(tried), len(fooled) / len(tried))
        assert (cell.accuracy.n, cell.accuracy.value) == (40, len(correct) / 40)
    for name in "ab":
        assert matrix[name][name].fooled.value == 1.0
        assert matrix[name][name].fooled.low < 1.0
        assert matrix[name][name].accuracy.value == summary(results[name])["accuracy_under_attack"]
    assert 0 < matrix["a"]["b"].fooled.low < matrix["a"]["b"].fooled.value < matrix["a"]["b"].fooled.high < 1
    assert transfer({"a": []}, victims)["a"]["b"] == Transferred(None, None)


def test_transfer_draws_rows_of_one_original_together():
    rows = make_rows(40)
    victims = {"a": BagOfWords(WEIGHTS, 0.0), "b": BagOfWords({**WEIGHTS, "dire": 0.5, "slow": -0.9}, 0.1)}
    results = run(rows, make_recipe("textfooler"), victims["a"])
    alone = transfer({"a": results}, victims)["a"]["b"].accuracy
    copies = [{**result, "original_id": i} for i, result in enumerate(results) for _ in range(4)]
    found = transfer({"a": copies}, victims)["a"]["b"].accuracy
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


# a real model


@pytest.fixture
def victim():
    """In double precision, since single precision rounds by the batch, at times over the edge of a third decimal."""
    model = make_model(initializer_range=0.5, num_labels=3).double()
    return TransformersClassifier(model, make_tokenizer(), batch_size=16)


def test_a_transformer_in_any_batches(victim):
    rng = random.Random(0)
    words = [a + b for a in "bcdfghk" for b in "aeiou"]
    texts = [tuple(" ".join(rng.choices(words, k=rng.randrange(20))) for _ in range(2)) for _ in range(50)]
    together = victim(texts)
    assert together.shape == (50, 3)
    assert together.sum(axis=1) == pytest.approx(1)
    for text, expected in zip(texts, together, strict=True):
        assert victim([text])[0] == pytest.approx(expected, abs=1e-12)
    # Logits from the model itself, a text at a time; rounding to three decimals moves a probability by less than this.
    victim._model.eval()
    with torch.no_grad():
        alone = [
            victim._model(**victim._tokenizer(*text, return_tensors="pt")).logits.softmax(-1)[0] for text in texts
        ]
    victim._model.train()
    assert together == pytest.approx(torch.stack(alone).numpy(), abs=1e-3)
    victim(texts)
    assert victim._model.training


def test_an_attack_on_a_transformer_does_not_depend_on_the_pool(victim, tmp_path):
    rng = random.Random(1)
    words = [a + b for a in "bdfghklmnprst" for b in "aeiou"]
    synonyms = {a + b: tuple(a + c for c in "aeiou" if c != b) for a in "bdfghklmnprst" for b in "aeiou"}
    texts = [" ".join(rng.choices(words, k=rng.randrange(3, 12))) for _ in range(12)]
    gold = victim([(text,) for text in texts]).argmax(axis=1).tolist()
    rows = [Row(i, (text,), label) for i, (text, label) in enumerate(zip(texts, gold, strict=True))]
    for recipe in (pwws(synonyms), deepwordbug(importance="unk"), genetic(synonyms, population=6, iterations=2)):
        results = run(rows, recipe, victim, path=tmp_path / f"{recipe.name}.jsonl")
        assert results == run(rows[::-1], recipe, victim, pool=5)[::-1]
        assert summary(results)["succeeded"] > 0
    header, _ = read_results(tmp_path / "pwws.jsonl")
    assert header["model"] == victim.fingerprint
    other = TransformersClassifier(make_model(seed=1, num_labels=3), make_tokenizer())
    with pytest.raises(ValueError, match="differs in model"):
        run(rows, pwws(synonyms), other, path=tmp_path / "pwws.jsonl")


def test_a_transformer_takes_hostile_texts(victim):
    texts = [(text,) for text in [*HOSTILE, "ba " * 10_000]]
    assert np.isfinite(victim(texts)).all()


def test_refused_models():
    regression = TransformersClassifier(make_model(num_labels=1), make_tokenizer())
    with pytest.raises(ValueError, match="regression"):
        run(make_rows(2), deepwordbug(), regression)
    broken = make_model()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        TransformersClassifier(broken, make_tokenizer())([("ba",)])


def test_a_recipe_by_its_name():
    assert build_recipe("deepwordbug") == deepwordbug()
    assert build_recipe("pwws", SYNONYMS, unk="<unk>") == pwws(SYNONYMS, unk="<unk>")
    assert build_recipe("genetic", SYNONYMS, unk="<unk>") == genetic(SYNONYMS)  # it puts in no unknown word
    limited = build_recipe("deepwordbug", max_share=0.2, protected=["film"]).constraints
    assert (limited.max_share, limited.protected, limited.max_edits) == (0.2, ("film",), 30)
    with pytest.raises(ValueError, match="did you mean pwws"):
        build_recipe("pww")
    with pytest.raises(ValueError, match="textfooler replaces words by synonyms"):
        build_recipe("textfooler")


def test_synonyms_from_a_file(tmp_path):
    path = tmp_path / "synonyms.json"
    path.write_text(json.dumps(SYNONYMS))
    assert run(make_rows(), pwws(load_synonyms(path))) == run(make_rows(), pwws(SYNONYMS))


def test_words_that_the_model_does_not_see_cost_no_queries():
    class Cut(BagOfWords):
        """Sees the first five words."""

        def __call__(self, texts):
            return super().__call__([(" ".join(text.split()[:5]),) for (text,) in texts])

        def visible(self, texts, column):
            return len(" ".join(texts[column].split()[:5]))

    text = "superb film plot dull story " + "superb " * 10_000
    short = run([Row("a", ("superb film plot dull story",), 1)], deepwordbug(), Cut(WEIGHTS, 0.0))[0]
    long = run([Row("a", (text,), 1)], deepwordbug(), Cut(WEIGHTS, 0.0), budget=500)[0]
    assert long["status"] == short["status"] == "success"
    assert long["changes"] == short["changes"]


def test_what_a_tokenizer_cuts_is_not_visible():
    tokenizer = make_tokenizer()
    victim = TransformersClassifier(make_model(), tokenizer, max_length=6)
    texts = ("the film the film the film the film",)
    seen = texts[0][: victim.visible(texts, 0)]
    assert tokenizer(seen)["input_ids"] == tokenizer(*texts, truncation=True, max_length=6)["input_ids"]
    assert victim.visible(("the film",), 0) == len("the film")


def test_rows_that_withstood_for_want_of_words_or_queries_are_counted():
    rows = [Row("words", ("superb film plot acting",), 1), Row("none", ("! ?",), 1)]
    results = run(rows, deepwordbug(), BagOfWords({"superb": 9.0}, 9.0), budget=5)
    assert [result["status"] for result in results] == ["failed", "failed"]
    found = summary(results, 5)
    assert (found["nothing_to_change"], found["out_of_budget"]) == (1, 1)
