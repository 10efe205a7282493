import json

import numpy as np
import pytest
from datasets import Dataset
from scipy.stats import binomtest

from rosetune.data.advglue import load_advglue
from rosetune.data.tasks import find_task
from rosetune.robustness.advglue import advglue_report, average_and_drop, official_score, originals
from rosetune.robustness.rows import prediction_rows
from rosetune.robustness.statistics import estimate

# id, kind, method, original, gold, prediction, prediction on the original
ITEMS = [
    ("0", "word", "TextBugger", "o1", "yes", "no", "yes"),  # misled
    ("1", "word", "TextBugger", "o1", "yes", "yes", "yes"),
    ("2", "word", "TextFooler", "o2", "no", "no", "yes"),  # mended
    ("3", "sentence", "CheckList", "o3", "no", "yes", "no"),  # misled
    ("4", "sentence", "CheckList", "o4", "no", "yes", "yes"),
    ("5", "human", "CheckList", "o5", "yes", "yes", None),  # written by hand
]


def items(annotated=True):
    names = ("id", "data_construction", "method", "original_id", "gold", "prediction")
    rows = [{"set": "advglue", **dict(zip(names, item[:6], strict=True))} for item in ITEMS]
    return rows if annotated else [{k: row[k] for k in ("set", "id", "gold", "prediction")} for row in rows]


def before():
    return [
        {"set": "advglue_originals", "id": item[0], "gold": item[4], "prediction": item[6]}
        for item in reversed(ITEMS)
        if item[6] is not None
    ]


def shares(groups):
    return {name: (group.adversarial.n, group.adversarial.value) for name, group in groups.items()}


class TestReport:
    def test_by_kind_and_by_attack(self):
        report = advglue_report(items())
        assert (report.total.adversarial.n, report.total.adversarial.value) == (6, 0.5)
        assert shares(report.by_kind) == {"human": (1, 1), "sentence": (2, 0), "word": (3, pytest.approx(2 / 3))}
        assert shares(report.by_method) == {
            "human/CheckList": (1, 1),
            "sentence/CheckList": (2, 0),
            "word/TextBugger": (2, 0.5),
            "word/TextFooler": (1, 1),
        }
        assert report.total.original is report.total.change is report.total.success_rate is None

    def test_beside_the_originals(self):
        total = advglue_report(items(), before()).total
        assert (total.original.n, total.original.value) == (5, 0.6)
        assert (total.change.n, total.change.only_a, total.change.only_b) == (5, 2, 1)
        assert total.change.value == pytest.approx(-0.2)
        assert total.change.p == binomtest(1, 3).pvalue
        assert total.success_rate == pytest.approx(2 / 3)

    def test_flips_by_group_and_a_group_without_originals(self):
        report = advglue_report(items(), before())
        word = report.by_kind["word"]
        assert (word.change.only_a, word.change.only_b, word.success_rate) == (1, 1, 0.5)
        assert report.by_method["word/TextFooler"].success_rate is None  # no original was right
        assert report.by_kind["human"].original is None

    def test_items_of_one_original_are_drawn_together(self):
        own = estimate([0, 1, 1, 0, 0, 1], clusters=["o1", "o1", "o2", "o3", "o4", "o5"])
        total = advglue_report(items()).total.adversarial
        assert (total.low, total.high, total.originals) == (own.low, own.high, 5)
        one = [{**row, "original_id": "o"} for row in items()]
        assert advglue_report(one).total.adversarial.high > 0.95  # one original says next to nothing

    def test_plain_edition_and_hidden_labels(self):
        rows = [*items(annotated=False), {"set": "advglue", "id": "9", "gold": None, "prediction": "no"}]
        report = advglue_report(rows)
        assert report.total.adversarial.n == 6
        assert list(report.by_kind) == ["unknown"]
        assert list(report.by_method) == ["unknown/unknown"]

    def test_is_json(self):
        found = advglue_report(items(), before())
        report = found.as_json()
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        own, change = found.total.adversarial, found.total.change
        shown = {"n": 6, "originals": 5, "accuracy": 0.5, "low": own.low, "high": own.high}
        assert list(report["total"]["adversarial"].items()) == list(shown.items())
        assert report["total"]["change"]["difference"] == change.value
        assert report["total"]["change"]["p_value"] == change.p
        assert report["by_kind"]["human"]["original"] is report["by_kind"]["human"]["change"] is None
        assert list(report["by_method"]) == list(found.by_method)

    def test_refusals(self):
        with pytest.raises(ValueError, match="no row has a gold label"):
            advglue_report([])
        with pytest.raises(ValueError, match="several sets"):
            advglue_report([*items(), {**items()[0], "set": "clean", "id": "9"}])
        with pytest.raises(ValueError, match="more than once in the originals"):
            advglue_report(items(), before() * 2)
        with pytest.raises(ValueError, match="'7' belongs to no item"):
            advglue_report(items(), [{**before()[0], "id": "7"}])
        with pytest.raises(ValueError, match="another gold label"):
            advglue_report(items(), [{**before()[0], "gold": "maybe"}])


class TestScores:
    def rows(self, name, pairs):
        return [{"set": name, "id": i, "gold": g, "prediction": p} for i, (g, p) in enumerate(pairs)]

    def test_qqp_averages_accuracy_and_f1(self):
        yes, no = "duplicate", "not_duplicate"
        rows = self.rows("advglue", [(yes, yes), (yes, yes), (yes, no), (no, yes), (no, no), (no, no), (no, no)])
        assert official_score("qqp", {"advglue": rows}) == pytest.approx((5 / 7 + 2 * 2 / (2 * 2 + 1 + 1)) / 2)
        none = self.rows("advglue", [(no, no)])
        assert official_score("qqp", {"advglue": none}) == 0.5
        spelled = [{**row, **{key: row[key].title() for key in ("gold", "prediction")}} for row in rows]
        assert official_score("qqp", {"advglue": spelled}) == official_score("qqp", {"advglue": rows})

    def test_mnli_averages_both_parts_and_not_all_items(self):
        right, wrong = ("neutral", "neutral"), ("neutral", "entailment")
        sets = {
            "advglue": self.rows("advglue", [right, wrong]),
            "advglue_mismatched": self.rows("advglue_mismatched", [right] * 4),
            "clean": self.rows("clean", [wrong]),
        }
        assert official_score("MNLI", sets) == 0.75
        with pytest.raises(ValueError, match="mnli needs labelled rows of advglue_mismatched"):
            official_score("mnli", {"advglue": sets["advglue"]})

    def test_other_tasks_are_plain_accuracy(self):
        rows = self.rows("advglue", [("positive", "positive"), ("positive", "negative")])
        assert official_score("sst2", {"advglue": rows}) == 0.5
        with pytest.raises(ValueError, match="does not cover the task 'cola'"):
            official_score("cola", {"advglue": rows})

    @pytest.mark.parametrize(
        ("clean", "adversarial", "average", "drop"),
        [  # rows of the paper's Table 1: vanilla and ROSE-Ensemble of the base model, vanilla of the large one
            ((94.29, 77.91, 92.97, 91.58), (24.05, 28.15, 27.43, 19.49), 56.98, 64.41),
            ((94.09, 78.63, 92.64, 90.39), (39.36, 38.02, 39.59, 47.44), 65.02, 47.84),
            ((96.08, 85.92, 94.58, 92.09), (56.08, 61.73, 63.38, 40.60), 73.81, 36.72),
        ],
    )
    def test_average_and_drop_are_those_of_the_paper(self, clean, adversarial, average, drop):
        tasks = ("sst2", "rte", "qnli", "qqp")
        sides = (dict(zip(tasks, side, strict=True)) for side in (clean, adversarial))
        assert average_and_drop(*sides) == pytest.approx((average, drop), abs=0.006)

    def test_drop_needs_the_same_tasks(self):
        for clean, adversarial in (({}, {}), ({"rte": 0.8}, {"sst2": 0.3})):
            with pytest.raises(ValueError, match="the same tasks"):
                average_and_drop(clean, adversarial)


class TestJoin:
    def dataset(self):
        columns = {
            "id": ["0", "1", "2"],
            "sentence1": ["a", "b", "c"],
            "sentence2": ["d", "e", "f"],
            "method": ["T3", "", "SCPN"],
            "data_construction": ["sentence", "", "sentence"],
            "original_id": ["x", "y", "x"],
            "original_sentence1": ["A", None, "A "],
            "original_sentence2": ["d", None, "f"],
            "label": [0, 1, 0],
        }
        return Dataset.from_dict(columns)

    def test_prediction_rows_carry_what_the_report_needs(self):
        rows = prediction_rows("advglue", self.dataset(), np.eye(2)[[0, 1, 1]], ["yes", "no"])
        assert [row["method"] for row in rows] == self.dataset()["method"][:]
        assert [row["original_id"] for row in rows] == ["x", "y", "x"]
        assert advglue_report(rows).by_kind.keys() == {"sentence", "unknown"}

    def test_originals(self):
        part = originals(self.dataset(), ["sentence1", "sentence2"])
        assert part["id"][:] == ["0", "2"]
        assert part["sentence1"][:] == ["A", "A "]
        assert part["sentence2"][:] == ["d", "f"]
        assert part["label"][:] == [0, 0]
        with pytest.raises(ValueError, match="no column"):
            originals(self.dataset(), ["sentence"])


@pytest.mark.parametrize(("task", "n", "with_original"), [("sst2", 148, 131), ("rte", 81, 81)])
def test_the_real_file(data_dir, task, n, with_original):
    dataset = load_advglue(task, data_dir=str(data_dir))["advglue"]
    spec = find_task(task)
    part = originals(dataset, spec.text_columns)
    assert (len(dataset), len(part)) == (n, with_original)
    constant = [
        prediction_rows(name, ds, np.eye(2)[[1] * len(ds)], spec.labels)
        for name, ds in (("advglue", dataset), ("advglue_originals", part))
    ]
    report = advglue_report(constant[0], constant[1])
    assert sum(group.adversarial.n for group in report.by_method.values()) == n
    assert sum(group.adversarial.n for group in report.by_kind.values()) == n
    assert (report.total.change.only_a, report.total.change.only_b) == (0, 0)  # a constant is never misled
    texts = zip(*(dataset[f"original_{column}"][:] for column in spec.text_columns), strict=True)
    assert report.total.adversarial.originals <= n - with_original + len({*texts} - {(None,) * len(spec.text_columns)})
    counted = {"sst2": ("sentence/StressTest", 19), "rte": ("word/TextBugger", 24)}[task]
    assert report.by_method[counted[0]].adversarial.n == counted[1]
