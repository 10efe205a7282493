"""Label columns: classes, scores, several in one, the numbers of a regression, and what the hub withholds."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf

import rosetune.data.glue
import rosetune.data.user
from rosetune.data.labels import look_alikes
from rosetune.data.sources import DataError, load_task
from rosetune.data.summary import summarise
from rosetune.data.tasks import TASKS


def own(tmp_path, labels, name="a.csv", **options):
    lines = [f'text {i},"{label}"\n' for i, label in enumerate(labels)]
    (tmp_path / name).write_text("text,label\n" + "".join(lines), encoding="utf-8")
    return load_task(str(tmp_path / name), **options)


# --- scores


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([f"{i / 20:.2f}" for i in range(60)], "'label' holds 60 distinct numbers, one a row: not classes"),
        ([f"{i / 20:.2f}" for i in range(60)] * 5, "'label' holds 60 distinct numbers: not classes"),
        ([f"{i / 20:.2f}".replace(".", ",") for i in range(60)], "60 distinct numbers, one a row: not classes"),
        (["0.5", "1", "1.5", "2"] * 10, "4 distinct numbers: not classes"),
        (["1e-3", "2e-3", "unknown"] * 10, "3 distinct numbers: not classes"),
        (list(range(60)), "60 distinct numbers, one a row: not classes"),
    ],
)
def test_scores_are_refused_with_a_question(labels, message, tmp_path):
    with pytest.raises(DataError, match=f"{message}\\?.*--task_type regression .*--task_type classification"):
        own(tmp_path, labels)


def test_a_different_label_for_each_row_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"holds 30 distinct values, one a row: not classes; name another --label_column"
    ):
        own(tmp_path, [f"name {i}" for i in range(30)])
    with pytest.raises(
        DataError, match=r"too few distinct texts .* 30 in 30 rows with 30 labels, each of which keeps one"
    ):
        own(tmp_path, [f"name {i}" for i in range(30)], task_type="classification")


def test_half_points_are_classes_if_the_user_says_so(tmp_path):
    data = own(tmp_path, ["0.5", "1", "1.5", "2.0"] * 10, task_type="classification")
    assert (data.labels, data.task_type) == (("0.5", "1", "1.5", "2"), "classification")


# --- several labels


@pytest.mark.parametrize(
    "labels",
    [
        ["toxic", "rude", "toxic|rude"] * 10,
        ["a,b", "b,c", "a,c"] * 10,
        ["0", "1", "0,1"] * 10,
        ["[a; b]", "[b; a]", "[a]"] * 10,
    ],
)
def test_joined_labels_are_named(labels, tmp_path):
    with pytest.raises(DataError, match="multi-label classification is not supported"):
        own(tmp_path, labels)
    assert len(own(tmp_path, labels, task_type="classification").labels) == 3


def test_a_comma_within_a_name_is_none_of_these(tmp_path):
    assert own(tmp_path, ["Arts, Crafts", "Business"] * 10).labels == ("Arts, Crafts", "Business")


def test_lists_as_labels_are_named(tmp_path, monkeypatch):
    lines = '{"text": "a", "label": ["x", "y"]}\n'
    (tmp_path / "a.jsonl").write_text(lines)
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: the label is a list: multi-label .* not supported"):
        load_task(str(tmp_path / "a.jsonl"))
    Dataset.from_dict({"text": ["a"], "label": [["x"]]}).to_parquet(str(tmp_path / "a.parquet"))
    with pytest.raises(DataError, match=r"a\.parquet: the column 'label' holds lists .* multi-label"):
        load_task(str(tmp_path / "a.parquet"))
    features = Features({"text": Value("string"), "label": ListOf(ClassLabel(names=["x", "y"]))})
    fetched = {"train": Dataset.from_dict({"text": ["a"], "label": [[0, 1]]}, features=features)}
    monkeypatch.setattr(rosetune.data.user, "fetch", lambda *_: fetched)
    with pytest.raises(DataError, match=r"user/name, split train: the column 'label' holds lists .* multi-label"):
        load_task("user/name")


# --- regression


def test_a_regression_has_float32_labels_and_no_names(tmp_path):
    scores = [round(-1 + i / 20, 2) for i in range(60)]
    data = own(tmp_path, scores, task_type="regression")
    assert (data.labels, data.task_type) == ((), "regression")
    found = {}
    for ds in data.splits.values():
        assert ds.features["label"].dtype == "float32"
        found |= dict(zip(ds["id"], ds["label"], strict=True))
    assert {name: len(ds) for name, ds in data.splits.items()} == {"train": 48, "validation": 6, "test": 6}
    assert found == {str(i): float(np.float32(score)) for i, score in enumerate(scores)}  # -1 is a value here
    assert own(tmp_path, range(60), task_type="regression").splits["train"].features["label"].dtype == "float32"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("good", r"line 4: the label 'good' in column 'label' is no number; correct it"),
        ("0,5", r"line 4: the label '0,5' .* is no number \(write it with a point\)"),
        ("1e400", r"line 4: the label '1e400' .* is no number"),
        ("inf", r"line 4: the label 'inf' .* is no number"),
        ("٣", r"line 4: the label '٣' .* is no number"),
        ("", r"line 4: no label in column 'label'.*--drop_unlabelled"),
    ],
)
def test_regression_labels_that_are_no_numbers(label, message, tmp_path):
    with pytest.raises(DataError, match=message):
        own(tmp_path, ["0.5", "1.5", label, *range(20)], task_type="regression")


def test_a_constant_cannot_be_learned(tmp_path):
    with pytest.raises(DataError, match=r"only the label 2\.5; at least two"):
        own(tmp_path, ["2.5"] * 30, task_type="regression")


def test_stsb_in_glues_layout(tmp_path):
    header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    row = '{}\tmain-captions\tMSRvid\t2012test\t1\tnone\tnone\tA "plane" is {}.\tIt is {}.\t{}\n'
    text = header + "".join(row.format(i, i, i, score) for i, score in enumerate(("5.000", "3.80", "0")))
    (tmp_path / "STS-B").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / "STS-B" / name).write_text(text)
    data = load_task("STS-B", data_dir=str(tmp_path))
    assert (data.name, data.task_type, data.labels) == ("stsb", "regression", ())
    assert data.splits["train"]["label"][:] == pytest.approx([5, 3.8, 0])
    assert data.splits["train"]["sentence1"][0] == 'A "plane" is 0.'
    assert load_task("stsb", data_dir=str(tmp_path), task_type="regression").fingerprint == data.fingerprint
    with pytest.raises(DataError, match="the task stsb is one of regression"):
        load_task("stsb", data_dir=str(tmp_path), task_type="classification")
    assert [name for name, task in TASKS.items() if task.task_type == "regression"] == ["stsb"]


# --- labels that the hub withholds


def hub(monkeypatch, module=rosetune.data.user, **splits):
    """A stand-in for the hub: each split is (labels, feature)."""
    fetched = {}
    for name, (labels, feature) in splits.items():
        columns = {"text": [f"text {i} of {name}" for i in range(len(labels))], "label": labels}
        fetched[name] = Dataset.from_dict(columns, features=Features({"text": Value("string"), "label": feature}))
    monkeypatch.setattr(module, "fetch", lambda *_: fetched)


NAMED = ClassLabel(names=["neg", "pos"])


def test_unlabelled_rows_of_the_hub_are_left_out_and_counted(monkeypatch):
    """SNLI marks pairs without a majority of its annotators by -1."""
    labels = [-1 if i in (5, 7) else i % 2 for i in range(60)]
    hub(monkeypatch, train=(labels, NAMED), test=([-1] * 9, NAMED), validation=([0, 1, None], NAMED))
    data = load_task("user/name")
    assert data.labels == ("neg", "pos")
    assert {name: len(ds) for name, ds in data.splits.items()} == {"train": 58, "validation": 2}
    assert data.left_out == {"train": {"no label": 2}, "validation": {"no label": 1}, "test": {"no label": 9}}
    train = data.splits["train"]
    assert [(int(i) % 2) for i in train["id"]] == train["label"][:]
    assert "left out of the training rows: 2 with no label" in summarise(data).lines()


def test_a_class_called_minus_one_is_a_class(monkeypatch):
    hub(monkeypatch, train=([i % 3 for i in range(60)], ClassLabel(names=["-1", "0", "1"])))
    data = load_task("user/name")
    assert data.labels == ("-1", "0", "1")
    assert sum(len(ds) for ds in data.splits.values()) == 60


def test_a_plain_minus_one_is_asked_about(monkeypatch):
    hub(monkeypatch, train=([-1 + i % 3 for i in range(60)], Value("int64")))
    with pytest.raises(DataError, match=r"row 1: label -1 means unlabelled .*\(20 such rows.*--drop_unlabelled"):
        load_task("user/name")
    assert load_task("user/name", drop_unlabelled=True).labels == ("0", "1")


def test_an_empty_split_of_the_hub_is_refused_at_once(monkeypatch):
    hub(monkeypatch, train=([0, 1] * 30, NAMED), test=([], NAMED))
    with pytest.raises(DataError, match=r"user/name, split test holds no rows; save"):
        load_task("user/name")


def test_unlabelled_rows_of_glue_on_the_hub(monkeypatch):
    feature = ClassLabel(names=["negative", "positive"])
    rows = {name: ([0, 1, -1, 1], feature) for name in ("train", "validation")}
    hub(monkeypatch, rosetune.data.glue, **rows, test=([-1] * 4, feature))
    fetched = rosetune.data.glue.fetch()
    monkeypatch.setattr(
        rosetune.data.glue, "fetch", lambda *_: {k: ds.rename_column("text", "sentence") for k, ds in fetched.items()}
    )
    data = load_task("sst2")
    assert data.left_out == {"train": {"no label": 1}, "validation": {"no label": 1}, "test": {"no label": 4}}
    assert data.splits["train"]["id"][:] == ["0", "1", "3"]


def test_unlabelled_rows_of_a_glue_file(tmp_path):
    (tmp_path / "SST-2").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / "SST-2" / name).write_text("sentence\tlabel\na\t0\nb\t1\nc\t-1\nd\t\n\t1\n")
    with pytest.raises(
        DataError, match=r"train\.tsv, line 6: the text .* line 4: label -1 .*\(2 such rows: lines 4, 5\)"
    ):
        load_task("sst2", data_dir=str(tmp_path))
    data = load_task("sst2", data_dir=str(tmp_path), drop_empty=True, drop_unlabelled=True)
    assert data.splits["train"]["sentence"][:] == ["a", "b"]
    assert data.left_out["train"] == {"empty text": 1, "no label": 2}


# --- labels that look alike


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (["Positive", "positive", "negative"], [("Positive", "positive")]),
        (["café", "cafe\u0301", "bar"], [("café", "cafe\u0301")]),
        (["pos", "pos\u200b", "neg"], [("pos", "pos\u200b")]),
        (["a b", "a\xa0b", "a  b"], [("a b", "a\xa0b", "a  b")]),
        (["1", "true", "0", "False"], [("1", "true"), ("0", "False")]),
        (["straße", "STRASSE"], [("straße", "STRASSE")]),
        (
            ["non-spam", "non_spam", "non spam", "positive.", "positive"],
            [("non-spam", "non_spam", "non spam"), ("positive.", "positive")],
        ),
        (["p\u043es", "pos", "\u0420\u039fS", "neg"], [("p\u043es", "pos", "\u0420\u039fS")]),
        (["yes", "no", "true"], []),
        (["-1", "1", "0", "a-1", "a1", "C++", "C#"], []),
        (["\u0434\u0430", "\u043d\u0435\u0442", "\u043d\u0435"], []),
    ],
)
def test_labels_that_look_alike(labels, groups):
    assert look_alikes(labels) == groups
