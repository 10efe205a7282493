"""A finished run on another labelled file: a set of its own name, with labels matched by name."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from command_line import one_line
from rosetune import examples, scores
from rosetune.data.sources import load_task
from rosetune.runs.run import Run
from tiny_run import Library

ROWS = [("a great film", "good"), ("a dull film", "bad"), ("a lovely plot", "good"), ("a stale plot", "bad")]


def write(path: Path, rows: list[tuple[str, str]], names: tuple[str, str] = ("text", "label")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([names, *rows])
    return path


@pytest.fixture
def run(library: Library, tmp_path: Path) -> Path:
    return library.copy(library.learned(), tmp_path / "run")


def test_it_becomes_a_set_of_its_own_name(run: Path, tmp_path: Path, rosetune: Any) -> None:
    """Gold labels are those of the file whatever their order in it, and the accuracy is counted from the rows."""
    file = write(tmp_path / "Other reviews.csv", ROWS)
    code, out, err = rosetune("evaluate", run, "--test_file", file)
    assert code == 0, err
    assert "Other-reviews" in out
    rows = Run.open(run).rows("file_Other-reviews")
    assert [row["gold"] for row in rows] == [label for _, label in ROWS]
    metrics = Run.open(run).metrics["sets"]["file_Other-reviews"]
    assert metrics["n"] == 4
    assert metrics["accuracy"] == sum(row["gold"] == row["prediction"] for row in rows) / 4
    table = scores([Run.open(run)])
    assert table[table.kind == "file"]["set"].tolist() == ["file_Other-reviews"]
    texts = examples([Run.open(run)], texts=True)
    assert texts[texts.kind == "file"].text.tolist() == [text for text, _ in ROWS]


def test_the_same_file_is_not_predicted_again_and_another_of_its_name_is_refused(
    run: Path, tmp_path: Path, rosetune: Any
) -> None:
    file = write(tmp_path / "more.csv", ROWS)
    rosetune("evaluate", run, "--test_file", file)
    place = run / "predictions" / "file_more.jsonl"
    written = place.stat().st_mtime_ns
    assert rosetune("evaluate", run, "--test_file", file)[0] == 0
    assert place.stat().st_mtime_ns == written
    write(file, ROWS[:3])
    one_line(rosetune("evaluate", run, "--test_file", file), "was evaluated on another file called more.csv: rename")
    assert len(Run.open(run).rows("file_more")) == 4


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        ([("a film", "fine")], ("text", "label"), "line 2: the model does not know the label 'fine'"),
        ([("a film", "good")], ("body", "label"), "'text'"),
        ([("a film", "")], ("text", "label"), "--drop_unlabelled"),
        ([("", "good")], ("text", "label"), "--drop_empty"),
    ],
)
def test_what_does_not_fit_is_one_line(
    rows: list[tuple[str, str]], names: tuple[str, str], message: str, run: Path, tmp_path: Path, rosetune: Any
) -> None:
    before = sorted(path.name for path in (run / "predictions").iterdir())
    one_line(rosetune("evaluate", run, "--test_file", write(tmp_path / "x.csv", [*ROWS, *rows][-1:], names)), message)
    assert sorted(path.name for path in (run / "predictions").iterdir()) == before


def test_texts_of_a_file_that_has_gone_are_not_guessed(run: Path, tmp_path: Path, rosetune: Any) -> None:
    file = write(tmp_path / "gone.csv", ROWS)
    rosetune("evaluate", run, "--test_file", file)
    file.unlink()
    with pytest.raises(ValueError, match=r"gone\.csv"):
        examples([Run.open(run)], texts=True)
    assert len(examples([Run.open(run)])) > 4


def test_the_card_says_what_the_run_is(library: Library, tmp_path: Path) -> None:
    """Its figures are those of metrics.json, and its head is what the hub reads."""
    import yaml
    from huggingface_hub import ModelCard

    run = library.copy(library.run("card", {"update_mask": "rose"}, sets=("clean", "noise")), tmp_path / "run")
    text = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert "rose-ensemble" in text
    metrics = json.loads((run / "metrics.json").read_text())["sets"]
    for name in ("clean", "typos_1", "typos_2"):
        assert f"{100 * metrics[name]['accuracy']:.1f}%" in text
    head = yaml.safe_load(text.split("---\n")[1])
    values = [result["metrics"][0]["value"] for result in head["model-index"][0]["results"]]
    assert values == [round(metrics[name]["accuracy"], 4) for name in ("clean", "typos_1", "typos_2")]
    assert ModelCard(text).data.to_dict()["library_name"] == "transformers"
    shutil.rmtree(run)


def test_texts_are_counted_against_the_rows_that_were_trained_on(
    library: Library, run: Path, tmp_path: Path, rosetune: Any
) -> None:
    """Not those that a subset leaves out, nor those that chose the checkpoint; and the number stays with the set."""
    config = run / "config.yaml"
    config.write_text(config.read_text() + "max_train_samples: 40\nvalidation_from_train: 0.25\n")
    train = load_task(str(library.home / "my.csv")).splits["train"]
    names = ("bad", "good")
    rows = [(row["text"], names[row["label"]]) for row in train]
    seed = Run.open(run).config.seed
    subset = [row["text"] for row in train.shuffle(seed=seed).select(range(40))]
    file = write(tmp_path / "all.csv", rows)
    _, out, err = rosetune("evaluate", run, "--test_file", file)
    assert f"30 of {len(rows)} texts of {file} also occur in the training data" in err
    note = f"30 of {len(rows)} texts of all also occur in the training data"
    assert note in " ".join(out.split())
    left_out = [row for row in rows if row[0] not in subset]
    _, out, err = rosetune("evaluate", run, "--test_file", write(tmp_path / "rest.csv", left_out))
    assert err.startswith("no text of")
    for card in ("README.md", "ROBUSTNESS.md"):
        text = (run / "model" / card).read_text(encoding="utf-8")
        assert note in text
        assert "texts of rest" not in text
    code, out, _ = rosetune("table", run, "--sets", "file", "--format", "markdown")
    assert code == 0
    assert (out.count("texts of all (my) also occur in"), out.count("texts of rest")) == (1, 0)


def test_texts_that_are_in_the_training_data_are_counted(
    library: Library, run: Path, tmp_path: Path, rosetune: Any
) -> None:
    """As the data stands, whatever the case; and it is said where the data is not there any more."""
    lines = (library.home / "my.csv").read_text().splitlines()[1:]
    trained = {*load_task(str(library.home / "my.csv")).splits["train"]["text"][:]}
    known = [tuple(line.rsplit(",", 1)) for line in lines if line.rsplit(",", 1)[0] in trained][:3]
    file = write(tmp_path / "seen.csv", [*ROWS, *((text.upper(), label) for text, label in known)])
    code, _, err = rosetune("evaluate", run, "--test_file", file)
    assert (code, err.count("\n")) == (0, 1)
    assert f"3 of 7 texts of {file} also occur in the training data" in err
    assert rosetune("evaluate", run, "--test_file", write(tmp_path / "new.csv", ROWS))[2].startswith("no text of")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(library.home), "/gone"))
    _, _, err = rosetune("evaluate", run, "--test_file", write(tmp_path / "other.csv", ROWS))
    assert "whether its texts occur in the training data is not known: there is no file" in err
