"""AdvGLUE's items: labels by name, originals that are known or not, and what training has seen."""

import json

import pytest
from rosetune.experiments.sets import evaluation_sets

from rosetune.data.rows import make_dataset, make_task_data
from rosetune.data.sources import DataError, load_advglue, remove_shared

MNLI = ("entailment", "neutral", "contradiction")


def folder(tmp_path, content, name="dev_ann.json"):
    (tmp_path / name).write_text(json.dumps(content))
    return str(tmp_path)


def mnli(n=6):
    return {"mnli": [{"premise": f"p {i}", "hypothesis": f"h {i}", "label": i % 3, "idx": i} for i in range(n)]}


def own_data(labels, columns=("premise", "hypothesis"), name="mnli"):
    texts = {column: [f"{column} of mine {i}" for i in range(9)] for column in columns}
    ds = make_dataset(map(str, range(9)), texts, [i % len(labels) for i in range(9)])
    return make_task_data(name, columns, labels, {"train": ds, "validation": ds})


@pytest.mark.parametrize(
    "labels", [MNLI, ("contradiction", "entailment", "neutral"), ("Neutral", "CONTRADICTION", "Entailment")]
)
def test_labels_are_matched_by_name(labels, tmp_path):
    """A file of one's own has its labels in the order of the alphabet, AdvGLUE in that of GLUE."""
    ds = evaluation_sets(own_data(labels), "advglue", data_dir=folder(tmp_path, mnli()))["advglue"]
    assert [labels[label].lower() for label in ds["label"]] == [MNLI[i % 3] for i in range(6)]


@pytest.mark.parametrize("labels", [("0", "1", "2"), ("yes", "maybe", "no"), ("entailment", "not_entailment")])
def test_labels_that_do_not_match_are_refused(labels, tmp_path):
    with pytest.raises(DataError, match=r"mnli have the labels 'entailment', .*give its labels AdvGLUE's names"):
        evaluation_sets(own_data(labels), "advglue", data_dir=folder(tmp_path, mnli()))


def test_labels_in_two_spellings_are_refused(tmp_path):
    both = ("Entailment", "ENTAILMENT", "neutral", "contradiction")
    with pytest.raises(DataError, match="have the labels"):
        load_advglue("mnli", data_dir=folder(tmp_path, mnli()), labels=both)
    exact = load_advglue("mnli", data_dir=str(tmp_path), labels=("ENTAILMENT", *MNLI))["advglue"]
    assert exact["label"][:] == [1, 2, 3, 1, 2, 3]


def test_text_columns_take_the_names_of_the_run(tmp_path):
    where = folder(tmp_path, {**mnli(), "sst2": [{"sentence": "a", "original_sentence": "b", "label": 0, "idx": 0}]})
    glue = load_advglue("mnli", data_dir=where, text_columns=("sentence1", "sentence2"))["advglue"]
    assert (glue["sentence1"][0], glue["sentence2"][0]) == ("p 0", "h 0")
    turned = load_advglue("mnli", data_dir=where, text_columns=("hypothesis", "premise"))["advglue"]
    assert (turned["premise"][0], turned["hypothesis"][0]) == ("p 0", "h 0")
    review = load_advglue("sst2", data_dir=where, text_columns=("review",))["advglue"]
    assert (review["review"][:], review["original_review"][:]) == (["a"], ["b"])
    with pytest.raises(DataError, match="texts 'premise', 'hypothesis', the training data has 'a', 'b'"):
        load_advglue("mnli", data_dir=where, text_columns=("a", "b"))


SST2 = [
    {"sentence": "a qood film", "original_sentence": "a good film", "data_construction": "word"},
    {"sentence": "a goood film", "original_sentence": "A good film .", "data_construction": "word"},
    {"sentence": "by hand", "data_construction": "human"},
    {"sentence": "By hand!", "data_construction": "human"},
]


def test_originals_are_known_absent_or_unknown(tmp_path):
    items = [{**item, "label": 0, "idx": i} for i, item in enumerate(SST2)]
    ds = load_advglue("sst2", data_dir=folder(tmp_path, {"sst2": items}))["advglue"]
    first, second, *by_hand = ds["original_id"]
    assert first == second is not None
    assert by_hand == [None, None]
    assert ds["data_construction"][:] == ["word", "word", "human", "human"]


def test_the_plain_edition_knows_no_originals(tmp_path):
    items = [{"sentence": item["sentence"], "label": 0, "idx": i} for i, item in enumerate(SST2)]
    ds = load_advglue("sst2", data_dir=folder(tmp_path, {"sst2": items}, "dev.json"))["advglue"]
    assert ds["original_id"][:] == [None] * 4
    assert ds["data_construction"][:] == [""] * 4


def test_what_training_has_seen_is_counted_and_nothing_left_is_an_error(tmp_path):
    items = [{**item, "label": 0, "idx": i} for i, item in enumerate(SST2)]
    ds = load_advglue("sst2", data_dir=folder(tmp_path, {"sst2": items}))["advglue"]
    train = make_dataset(["0", "1"], {"sentence": ["a good film", "other"]}, [0, 1])
    left = remove_shared(ds, train, ["sentence"])
    assert (left.dropped, left.rows["sentence"][:]) == (2, ["by hand", "By hand!"])
    seen = make_dataset(["0", "1"], {"sentence": ["a good film", "by hand"]}, [0, 1])
    with pytest.raises(
        DataError, match=r"all 4 texts of the evaluation set, or their originals, occur in the training"
    ):
        remove_shared(ds, seen, ["sentence"])
