"""A model in hand, evaluated, attacked and compared without a folder."""

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from transformers import TextClassificationPipeline

import rosetune
from helpers import make_model, make_tokenizer
from rosetune.robustness.evaluation import predict
from rosetune.robustness.noise import CURVE, STRENGTHS, typing_errors
from rosetune.robustness.rows import compare_rows, prediction_rows, set_metrics
from rosetune.robustness.statistics import estimate

SYLLABLES = [a + b for a in "bdfgklmnprst" for b in "aeiou"]


def named_model(*names):
    """A classifier with names of its classes, by default "bad" and "good"."""
    model = make_model(initializer_range=0.5)
    model.config.id2label = dict(enumerate(names or ("bad", "good")))
    model.config.label2id = {name: i for i, name in model.config.id2label.items()}
    return model


def make_texts(syllables, n=40):
    """Texts of words of so many syllables; those of one are in the vocabulary of the tests' tokenizer."""
    rng = np.random.default_rng(0)
    return [" ".join("".join(rng.choice(SYLLABLES, syllables)) for _ in range(rng.integers(1, 9))) for _ in range(n)]


TEXTS, KNOWN = make_texts(2), make_texts(1)
LABELS = ["good" if i % 2 else "bad" for i in range(40)]


def share_of_a(texts):
    """p(good): the share of the letter a among the vowels, in a way no two texts tie."""
    p = [(0.5 + text.count("a")) / (1.1 + sum(map(text.count, "aeiou"))) for text in texts]
    return [[1 - x, x] for x in p]


class TestThreeLines:
    def test_a_pipeline(self):
        model, tokenizer = named_model().eval(), make_tokenizer()

        pipe = TextClassificationPipeline(model=model, tokenizer=tokenizer)
        result = rosetune.evaluate(pipe, texts=KNOWN, labels=LABELS)
        scores = result.scores()

        predicted = [found["label"] for found in pipe(KNOWN)]
        assert scores.accuracy[0] == np.mean([a == b for a, b in zip(predicted, LABELS, strict=True)])

    def test_a_model_and_its_tokenizer(self):
        model, tokenizer = named_model(), make_tokenizer()

        result = rosetune.evaluate(model, tokenizer, KNOWN, LABELS)
        scores = result.scores()

        dataset = Dataset.from_dict({"text": KNOWN, "label": [int(label == "good") for label in LABELS]})
        rows = prediction_rows("clean", dataset, predict(model, tokenizer, dataset, ["text"]), ("bad", "good"))
        shown = [{key: row[key] for key in row if key != "logits"} for row in result.rows["clean"]]
        assert shown == [{key: row[key] for key in row if key != "logits"} for row in rows]
        metrics = set_metrics(result.rows["clean"], ("bad", "good"))
        assert metrics["calibration"]["nll"] == pytest.approx(set_metrics(rows, ("bad", "good"))["calibration"]["nll"])
        first = scores.iloc[0].to_dict()
        assert first == {
            **{"set": "clean", "kind": "clean", "constant": 0.5},
            **{name: metrics[name] for name in ("n", "accuracy", "low", "high", "f1", "mcc")},
            **{name: metrics["calibration"][name] for name in ("ece", "brier")},
        }


class TestEvaluate:
    def test_the_sets_and_their_texts(self):
        asked = []

        def function(texts):
            asked.append(texts)
            return share_of_a(texts)

        result = rosetune.evaluate(function, texts=TEXTS, labels=LABELS, label_names=["bad", "good"], seed=3)
        assert list(result.rows) == ["clean", "typos_1", "typos_2"]
        assert asked[0] == TEXTS[:1]  # the first answer comes before any work
        assert asked[1:] == [TEXTS, *([typing_errors(text, n, 3) for text in TEXTS] for n in (1, 2))]
        assert result.scores()[["set", "kind"]].values.tolist() == [
            ["clean", "clean"],
            ["typos_1", "noise"],
            ["typos_2", "noise"],
        ]
        right = [(p > 0.5) == (label == "good") for (_, p), label in zip(share_of_a(TEXTS), LABELS, strict=True)]
        own = estimate(right)
        assert result.scores().loc[0, ["accuracy", "low", "high"]].tolist() == [own.value, own.low, own.high]

    def test_the_noise_curve(self):
        result = rosetune.evaluate(share_of_a, texts=TEXTS[:6], labels=[0, 1] * 3, sets="noise_curve, clean")
        assert list(result.rows) == [*(f"{name}@{s:g}" for name in CURVE for s in STRENGTHS), "clean"]
        assert set(result.scores().kind) == {"noise_curve", "clean"}
        options = {"texts": TEXTS[:2], "labels": [0, 1], "sets": "noise_curve"}
        named = rosetune.evaluate(share_of_a, noises=["leetspeak"], **options)
        assert list(named.rows) == [f"leetspeak@{s:g}" for s in STRENGTHS]
        one = rosetune.evaluate(share_of_a, noises=["leetspeak@0.5", "ocr@0.3", "ocr@0.3"], **options)
        assert list(one.rows) == ["leetspeak@0.5", "ocr@0.3"]
        assert one.rows["leetspeak@0.5"] == named.rows["leetspeak@0.5"]
        with pytest.raises(ValueError, match="unknown noise 'blur'"):
            rosetune.evaluate(share_of_a, noises=["blur"], **options)

    def test_pairs(self):
        pairs, asked = [("ba be", "ka"), ["lo", "li la"]], []

        def function(texts):
            asked.append(texts)
            return [[0.1, 0.9]] * len(texts)

        result = rosetune.evaluate(function, texts=pairs, labels=[1, 1], sets=["clean"])
        assert asked[1] == [("ba be", "ka"), ("lo", "li la")]
        assert result.scores().accuracy[0] == 1.0

    def test_labels_of_every_kind_are_the_same(self):
        indices = [int(label == "good") for label in LABELS]
        options = {"label_names": ["bad", "good"], "sets": "clean"}
        expected = rosetune.evaluate(share_of_a, texts=TEXTS, labels=LABELS, **options)
        for labels in (
            indices,
            np.array(indices),
            pd.Series(indices, dtype=float),
            [bool(i) for i in indices],
            [label.upper() for label in LABELS],
            np.array(LABELS),
        ):
            found = rosetune.evaluate(
                share_of_a, texts=TEXTS, labels=labels, label_names=["bad", "good"], sets="clean"
            )
            assert found == expected

    def test_unlabelled_texts_do_not_count(self):
        labels = [1, -1, None, 0, float("nan")]
        result = rosetune.evaluate(share_of_a, texts=TEXTS[:5], labels=labels, sets="clean")
        assert [row["gold"] for row in result.rows["clean"]] == ["1", None, None, "0", None]
        assert result.scores().n.tolist() == [2]

    def test_a_data_set_is_aligned_by_the_names_of_its_classes(self):
        features = Features(
            {"id": Value("string"), "text": Value("string"), "label": ClassLabel(names=["good", "bad"])}
        )
        columns = {"id": [f"r{i}" for i in range(40)], "text": KNOWN, "label": [i % 2 for i in range(40)]}
        dataset = Dataset.from_dict(columns, features=features)
        model, tokenizer = named_model(), make_tokenizer()
        result = rosetune.evaluate(model, tokenizer, dataset, sets="clean")
        assert result.labels == ("bad", "good")
        assert [row["gold"] for row in result.rows["clean"]] == ["good", "bad"] * 20
        assert [row["id"] for row in result.rows["clean"]] == columns["id"]
        assert rosetune.evaluate(model, tokenizer, dataset, dataset["label"], sets="clean") == result
        # A model that was never told the names takes over those of the data, in their order.
        unnamed = rosetune.evaluate(make_model(), tokenizer, dataset, sets="clean")
        assert unnamed.labels == ("good", "bad")
        with pytest.raises(ValueError, match=r"has 2 classes.*the model 3 outputs"):
            rosetune.evaluate(make_model(num_labels=3), tokenizer, dataset)

    def test_originals_are_drawn_together(self):
        columns = {"text": TEXTS, "label": [0, 1] * 20, "original_id": [f"o{i // 8}" for i in range(40)]}
        clustered = rosetune.evaluate(share_of_a, texts=Dataset.from_dict(columns), sets="clean").scores()
        right = [(p > 0.5) == bool(i % 2) for i, (_, p) in enumerate(share_of_a(TEXTS))]
        own = estimate(right, clusters=columns["original_id"])
        assert (clustered.low[0], clustered.high[0]) == (own.low, own.high)

    def test_regression(self):
        model, tokenizer = make_model(num_labels=1, initializer_range=0.5), make_tokenizer()
        gold = np.random.default_rng(0).normal(size=40)
        scores = rosetune.evaluate(model, tokenizer, KNOWN, gold, sets="clean").scores()
        output = predict(model, tokenizer, Dataset.from_dict({"text": KNOWN}), ["text"])[:, 0].astype(float)
        own = estimate((output - gold) ** 2)
        assert scores.columns.tolist() == [
            *("set", "kind", "n", "mse", "low", "high", "pearson", "spearman", "constant"),
        ]
        assert scores.loc[0, ["mse", "low", "high"]].tolist() == pytest.approx(
            [own.value, own.low, own.high], rel=1e-4
        )
        assert scores.constant[0] == pytest.approx(gold.var())
        with pytest.raises(ValueError, match="no number, but the model is a regression"):
            rosetune.evaluate(model, tokenizer, KNOWN, LABELS)
        with pytest.raises(ValueError, match="no label that an attack could change"):
            rosetune.attack(model, tokenizer, KNOWN, gold)

    @pytest.mark.parametrize(
        ("texts", "labels", "message"),
        [
            (None, [1], "there are no texts"),
            ("a text", [1], "texts are a str"),
            ([], [], "there are no texts"),
            (["a", None], [0, 1], "text 1 is no string: None"),
            (["a", float("nan")], [0, 1], "text 1 is no string: nan"),
            ([("a", "b"), "c"], [0, 1], "texts have 1 and 2 parts"),
            ([("a", "b", "c")], [0], "texts have 3 parts"),
            (["a", "b"], [0], "2 texts, but 1 labels"),
            (["a", "b"], None, "no labels to compare"),
            (["a", "b"], [0, 2], "label 2 of text 1 is no index of the model's classes"),
            (["a", "b"], [0, 0.5], "label 0.5 of text 1 is no index"),
            (["a", "b"], ["bad", "fine"], "label 'bad' of text 0 is none of the model's.*give label_names"),
            (["a", "b"], ["bad", 1], "some labels are names and others numbers"),
            (["a", "b"], [[0], [1]], "label 0 is neither a name nor a number"),
            (["a", "b"], [-1, None], "no text has a label"),
            (["a", "b\ud83d"], [0, 1], "text 1 holds half a character.*correct it or drop the row"),
            ([("a", "\ude00 b"), ("a", "b")], [0, 1], "text 0 holds half a character"),
            (["a", "b"], ["0", "\ud83d"], "label 1 holds half a character"),
            (pd.DataFrame({"text": ["a"]}), [0], "texts are a DataFrame"),
            (DatasetDict({"train": Dataset.from_dict({"text": ["a"]})}), [0], "a DatasetDict with train: give one"),
            (Dataset.from_dict({"sentence": ["a"], "label": [0]}), None, "no column 'text', but sentence, label"),
            (Dataset.from_dict({"text": ["a", "b"], "label": [0, 1], "id": ["x", "x"]}), None, "id occurs more than"),
        ],
    )
    def test_what_is_wrong_with_the_data_is_one_line(self, texts, labels, message):
        with pytest.raises(ValueError, match=message) as caught:
            rosetune.evaluate(share_of_a, texts=texts, labels=labels)
        assert "\n" not in str(caught.value)

    def test_unknown_sets(self):
        with pytest.raises(ValueError, match="no kind of set is called 'advglue'"):
            rosetune.evaluate(share_of_a, texts=["a"], labels=[0], sets=["clean", "advglue"])
        with pytest.raises(ValueError, match="sets names no kind"):
            rosetune.evaluate(share_of_a, texts=["a"], labels=[0], sets=())


class TestAttack:
    def test_examples_mislead_the_model(self):
        result = rosetune.attack(
            share_of_a, texts=TEXTS, labels=LABELS, label_names=["bad", "good"], budget=60, examples=30
        )
        table = result.examples()
        assert table.columns.tolist() == [
            *("id", "status", "gold", "prediction", "perturbed_prediction"),
            *("original", "perturbed", "words_changed", "queries"),
        ]
        assert len(table) == 30
        assert set(table.status) == {"success", "failed", "skipped"}

        def predicted(text):
            return ["bad", "good"][int(np.argmax(share_of_a([text])[0]))]

        for row in table.itertuples():
            assert row.original == TEXTS[row.id]
            assert row.gold == LABELS[row.id]
            assert row.prediction == predicted(row.original)
            assert row.perturbed_prediction == predicted(row.perturbed)
            assert (row.status == "skipped") == (row.prediction != row.gold)
            assert (row.status == "success") == (row.prediction == row.gold != row.perturbed_prediction)
            assert row.queries <= 60
        own = estimate(table.status == "failed")
        summary = result.summary
        assert summary["accuracy_under_attack"] == own.value
        assert (summary["accuracy_under_attack_low"], summary["accuracy_under_attack_high"]) == (own.low, own.high)

    def test_the_first_examples_are_among_more_of_them(self):
        few, many = (rosetune.attack(share_of_a, texts=TEXTS, labels=[0, 1] * 20, examples=n) for n in (5, 12))
        assert few.results == many.results[:5]
        everything = rosetune.attack(share_of_a, texts=TEXTS, labels=[-1, *([0, 1] * 20)[1:]], examples=None)
        assert {result["id"] for result in everything.results} == set(range(1, 40))

    def test_a_transformer_by_synonyms(self):
        model, tokenizer = named_model(), make_tokenizer()
        synonyms = {a + b: tuple(a + c for c in "aeiou" if c != b) for a in "bdfgklmnprst" for b in "aeiou"}
        rows = rosetune.evaluate(model, tokenizer, KNOWN, LABELS, sets="clean").rows["clean"]
        labels = [row["prediction"] for row in rows]
        result = rosetune.attack(model, tokenizer, KNOWN, labels, attack="pwws", synonyms=synonyms, examples=10)
        assert result.summary["clean_accuracy"] == 1.0
        assert result.summary["succeeded"] > 0
        changed = [(before, after) for found in result.results for _, before, after in found["changes"]]
        assert all(after in synonyms[before] for before, after in changed)

    def test_of_a_pair_one_text_stays(self):
        pairs = [(text, "ka ki") for text in TEXTS]
        result = rosetune.attack(
            lambda texts: share_of_a([first for first, _ in texts]), texts=pairs, labels=[0, 1] * 20, column=0
        )
        table = result.examples()
        assert set(table.other) == {"ka ki"}
        assert (table.original != table.perturbed).any()

    def test_refusals(self):
        def attack(**options):
            rosetune.attack(share_of_a, **{"texts": TEXTS, "labels": [0, 1] * 20, **options})

        with pytest.raises(ValueError, match="no attack is called 'deepwordbgu': did you mean deepwordbug"):
            attack(attack="deepwordbgu")
        with pytest.raises(ValueError, match="pwws replaces words by synonyms: give some"):
            attack(attack="pwws")
        for option, message in (("examples", "at least 1"), ("budget", "at least 1 query")):
            with pytest.raises(ValueError, match=message):
                attack(**{option: 0})
        with pytest.raises(ValueError, match="there is no column 1"):
            attack(column=1)


class TestCompare:
    def sides(self, **options):
        def better(texts):
            return [[1 - p, p] if len(text) % 3 else [float(i == 0) for i in range(2)] for text, (_, p) in both(texts)]

        def both(texts):
            return zip(texts, share_of_a(texts), strict=True)

        return [
            rosetune.evaluate(function, texts=TEXTS, labels=LABELS, label_names=["bad", "good"], **options)
            for function in (share_of_a, better)
        ]

    def test_a_row_per_set(self):
        a, b = self.sides()
        table = rosetune.compare(a, b)
        assert table.columns.tolist() == ["set", "n", "a", "b", "difference", "low", "high", "p", "verdict"]
        assert table.set.tolist() == ["clean", "typos_1", "typos_2"]
        for row in table.itertuples():
            d = compare_rows(a.rows[row.set], b.rows[row.set])
            assert (row.n, row.a, row.b, row.difference) == (40, d.a.value, d.b.value, d.value)
            assert (row.low, row.high, row.p, row.verdict) == (d.low, d.high, d.p, d.verdict)
        assert table.b.tolist() == b.scores().accuracy.tolist()

    def test_the_same_verdict_whichever_way_it_is_asked(self):
        gold = ["bad", "good"] * 40
        side = [
            {"clean": [{"set": "clean", "id": i, "gold": g, "prediction": p} for i, (g, p) in enumerate(rows)]}
            for rows in (zip(gold, gold, strict=True), zip(gold, ["bad"] * 80, strict=True))
        ]
        assert rosetune.compare(side[1], side[0]).verdict.tolist() == [1]
        assert rosetune.compare(side[0], side[1]).verdict.tolist() == [-1]
        assert rosetune.compare(side[0], side[0]).verdict.tolist() == [0]

    def test_a_set_of_one_side_is_not_lost(self):
        a, b = self.sides(sets="clean")[0], self.sides()[1]
        table = rosetune.compare(a, b)
        assert table.set.tolist() == ["clean", "typos_1", "typos_2"]
        assert table.difference.notna().tolist() == table.verdict.notna().tolist() == [True, False, False]

    def test_attacks(self):
        options = {"texts": TEXTS, "labels": LABELS, "label_names": ["bad", "good"]}
        a = rosetune.attack(share_of_a, **options)
        b = rosetune.attack(share_of_a, **options, attack="random")
        with pytest.raises(ValueError, match="attack:deepwordbug on a, attack:random on b"):
            rosetune.compare(a, b)
        with pytest.raises(ValueError, match="different budgets, 1000 and 3: attack both with the same"):
            rosetune.compare(a, rosetune.attack(share_of_a, **options, budget=3))
        limited = rosetune.attack(share_of_a, **options, max_share=0.5, protected=["film"])
        assert (limited.max_share, limited.protected) == (0.5, ("film",))
        assert (a.max_share, a.protected) == (None, ())
        with pytest.raises(ValueError, match=r"differ in constraints\.max_share, constraints\.protected; attack both"):
            rosetune.compare(a, limited)
        synonyms = ({"film": ("movie",)}, {"film": ("picture",)})
        pair = [rosetune.attack(share_of_a, **options, attack="pwws", synonyms=words) for words in synonyms]
        with pytest.raises(ValueError, match=r"differ in transformation\.\w+; attack both alike"):
            rosetune.compare(*pair)
        steady = rosetune.attack(lambda texts: [[0.5, 0.5 + 1e-9]] * len(texts), **options)
        table = rosetune.compare(a, steady)
        assert table.loc[0, ["a", "b"]].tolist() == [side.summary["accuracy_under_attack"] for side in (a, steady)]
        assert table.loc[0, "b"] == 0.5  # one label always: right on its half, which nothing changes

    def test_refusals(self):
        a, b = self.sides(sets="clean")
        with pytest.raises(ValueError, match="str is no evaluation"):
            rosetune.compare(a, "runs/b")
        with pytest.raises(ValueError, match="clean: the two sides do not hold the same examples"):
            rosetune.compare(a, {"clean": b.rows["clean"][1:]})
