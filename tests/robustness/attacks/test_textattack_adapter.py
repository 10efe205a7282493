"""Recipes of TextAttack through the adapter; the part that runs them needs the optional package."""

import importlib.util
import random

import numpy as np
import pytest

from rosetune.robustness.attacks import textattack_adapter
from rosetune.robustness.attacks.driver import Row
from rosetune.robustness.attacks.run import read_results
from rosetune.robustness.attacks.summary import summary
from rosetune.robustness.attacks.textattack_adapter import attack_with_textattack
from rosetune.robustness.attacks.textattack_adapter import textattack_recipes as recipes
from victims import HOSTILE, BagOfWords

WEIGHTS = {"superb": 1.2, "wonderful": 0.7, "dire": -0.9, "film": 0.3, "movie": 0.1, "dull": -1.0, "slow": -0.2}
RECIPE = "DeepWordBugGao2018"


def make_rows(n=8, pair=False):
    rng = random.Random(0)
    texts = [" ".join(rng.choices(list(WEIGHTS), k=rng.randrange(2, 7))) for _ in range(2 * n)]
    return [Row(f"e{i}", tuple(texts[i::n][: 1 + pair]), i % 2) for i in range(n)]


def run(rows, name=RECIPE, victim=None, **kwargs):
    return attack_with_textattack(victim or BagOfWords(WEIGHTS, 0.0), rows, name, progress=False, **kwargs)


@pytest.mark.skipif(importlib.util.find_spec("textattack") is not None, reason="TextAttack is installed")
def test_where_it_is_missing_the_error_says_how_to_install_it():
    for call in (recipes, lambda: run(make_rows(2))):
        with pytest.raises(ValueError, match=r"'rosetune\[textattack\]'.* --no-deps textattack=="):
            call()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a b c", "a x c", [[1, "b", "x"]]),
        ("a b c", "a b c", []),
        ("a b c", "a c", [[1, "b", ""]]),
        ("a c", "a b c", [[1, "", "b"]]),
        ("a b c", "a x y c", [[1, "b", "x"], [2, "", "y"]]),
        ("a b c d", "x d", [[0, "a", "x"], [1, "b", ""], [2, "c", ""]]),
        ("", "a", [[0, "", "a"]]),
    ],
)
def test_changes_of_words(before, after, expected):
    assert textattack_adapter._changes(before.split(), after.split()) == expected


class TestInstalled:
    @pytest.fixture(autouse=True)
    def _installed(self):
        if importlib.util.find_spec("textattack") is None:
            pytest.skip("TextAttack is optional and large")

    def test_recipes_are_the_classes(self):
        assert {"DeepWordBugGao2018", "PWWSRen2019", "TextFoolerJin2019"} <= set(recipes())
        assert "AttackRecipe" not in recipes()

    def test_a_known_answer(self):
        # Any edit makes "superb" a word without weight, and the tie goes to label 0; "film" alone does not suffice.
        victim = BagOfWords({"superb": 1.2, "film": -0.3}, 0.0)
        right, wrong = Row("a", ("superb film",), 1), Row("b", ("superb film",), 0)
        found, skipped = run([right, wrong], victim=victim)
        assert (found["status"], found["gold"], found["prediction"], found["perturbed_prediction"]) == (
            "success",
            1,
            1,
            0,
        )
        [[position, before, after]] = found["changes"]
        assert (position, before, found["words"], found["column"]) == (0, "superb", 2, 0)
        assert found["perturbed"] == [f"{after} film"]
        assert 1 + 2 + 1 <= found["queries"] <= 1 + 2 + 4  # the text, two words masked, up to four forms of one
        clean = victim([("superb film",)])[0]
        assert found["probabilities"] == pytest.approx(clean, abs=1e-6)
        assert found["perturbed_probabilities"] == pytest.approx(victim([(f"{after} film",)])[0], abs=1e-6)
        assert (skipped["status"], skipped["queries"], skipped["changes"]) == ("skipped", 1, [])
        assert skipped["perturbed"] == skipped["texts"] == ["superb film"]
        assert summary([found, skipped])["attack_success_rate"] == 1.0

    def test_every_result_is_what_the_victim_says(self):
        victim = BagOfWords(WEIGHTS, 0.0)
        results = run(make_rows(12))
        assert {result["status"] for result in results} == {"success", "failed", "skipped"}
        for result in results:
            answers = victim([tuple(result["texts"]), tuple(result["perturbed"])])
            assert answers.argmax(axis=1).tolist() == [result["prediction"], result["perturbed_prediction"]]
            assert (result["status"] == "success") == (
                result["prediction"] == result["gold"] != result["perturbed_prediction"]
            )

    def test_of_a_pair_the_named_column_is_attacked(self):
        for column, untouched in [(-1, 0), (1, 0), (0, 1)]:
            results = run(make_rows(pair=True), column=column)
            assert any(result["changes"] for result in results)
            for result in results:
                assert result["column"] == 1 - untouched
                assert result["perturbed"][untouched] == result["texts"][untouched]

    def test_the_budget_is_kept(self):
        rows = make_rows()
        for budget in (1, 2, 5):
            for result in run(rows, budget=budget):
                assert result["queries"] <= budget

    def test_a_row_depends_on_no_other_and_the_generators_are_put_back(self):
        rows = make_rows()
        random.seed(3)
        np.random.seed(3)
        expected = run(rows, seed=1)
        after = (random.random(), np.random.random())
        random.seed(3)
        np.random.seed(3)
        assert after == (random.random(), np.random.random())
        assert run(rows[::-1], seed=1)[::-1] == expected
        assert run(rows[2:4], seed=1) == expected[2:4]
        assert run(rows, seed=2) != expected

    def test_a_killed_run_goes_on_to_the_same_file(self, tmp_path):
        rows = make_rows()
        whole = run(rows, path=tmp_path / "whole.jsonl")
        path = tmp_path / "part.jsonl"
        run(rows, path=path)
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:4]) + lines[4][:20])
        victim = BagOfWords(WEIGHTS, 0.0)
        assert run(rows, victim=victim, path=path) == whole
        assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
        assert not {row.texts for row in rows[:3]} & set(victim.asked)
        header, _ = read_results(path)
        assert (header["attack"]["type"], header["attack"]["name"]) == ("TextAttack", RECIPE)
        with pytest.raises(ValueError, match=r"another attack \(it differs in budget\)"):
            run(rows, path=path, budget=50)

    def test_hostile_texts_get_through(self, tmp_path):
        rows = [Row(i, (text,), 1) for i, text in enumerate(HOSTILE)]
        path = tmp_path / "a.jsonl"
        results = run(rows, victim=BagOfWords({"film": 0.1, "good": 0.1}, 0.5), budget=40, path=path)
        assert [result["id"] for result in results] == list(range(len(rows)))
        assert read_results(path)[1] == results

    @pytest.mark.parametrize(
        ("name", "kwargs", "said"),
        [
            ("DeepWordBug", {}, "TextAttack has no recipe 'DeepWordBug', but .*DeepWordBugGao2018"),
            ("InputReductionFeng2018", {}, "its goal is InputReduction"),
            (RECIPE, {"budget": 0}, "budget must be at least 1"),
            (RECIPE, {"column": 1}, "there is no column 1"),
        ],
    )
    def test_refused(self, name, kwargs, said):
        with pytest.raises(ValueError, match=said):
            run(make_rows(2), name, **kwargs)

    def test_a_label_that_the_model_has_not(self):
        with pytest.raises(ValueError, match="row 'a': ValueError: its label is 2, but the model has 2 labels"):
            run([Row("a", ("superb",), 2)])
