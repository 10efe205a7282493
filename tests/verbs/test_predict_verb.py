"""`rosetune predict`: the labels of a plain forward, from texts and files, into tables and files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import one_line
from rosetune._files import write_text
from rosetune.experiments.predict import predict_texts
from tiny_run import Library


@pytest.fixture(scope="module")
def trained(library: Library) -> Path:
    """A run that can tell good from bad, on single texts."""
    return library.learned()


@pytest.fixture(scope="module")
def trained_on_pairs(library: Library) -> Path:
    return library.run("pairs", {"max_steps": 2}, task=str(library.home / "pairs.csv"))


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def forward(run: Path, *texts: list[str]) -> tuple[list[str], Any]:
    """Labels and probabilities by transformers alone, a text at a time."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(run / "model")
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    with torch.no_grad():
        rows = [
            model(**tokenizer(*row, return_tensors="pt")).logits.softmax(-1)[0] for row in zip(*texts, strict=True)
        ]
    return [model.config.id2label[int(row.argmax())] for row in rows], torch.stack(rows).numpy()


TEXTS = ["the film was great", "a dull and empty plot", "", "été 🌹 – fine", "warm " * 200, "[PAD] lovely"]


def test_predictions_are_those_of_a_plain_forward(trained: Path, rosetune: Any) -> None:
    words = [word for text in TEXTS for word in ("--text", text)]
    code, out, err = rosetune("predict", trained, "--json", *words)
    assert code == 0
    assert err.splitlines() == [
        "1 of 6 texts is longer than the 64 tokens that the model reads (the longest 202): it is predicted from its "
        "beginning"
    ]
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    labels, probabilities = forward(trained, [text if len(text) < 500 else "warm " * 62 for text in TEXTS])
    assert [row["label"] for row in rows] == labels
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in rows], probabilities, atol=2e-6)
    assert list(rows[0]["probabilities"]) == ["bad", "good"]
    assert rows[0]["label"] == "good"
    assert rows[1]["label"] == "bad"


def test_pairs(trained_on_pairs: Path, trained: Path, rosetune: Any) -> None:
    pair = ["the film was great", "a dull plot"]
    code, out, _ = rosetune("predict", trained_on_pairs, "--text", pair[0], "--text-pair", pair[1], "--json")
    assert code == 0
    row = json.loads(out)
    assert (row["premise"], row["hypothesis"]) == (pair[0], pair[1])
    labels, probabilities = forward(trained_on_pairs, pair[:1], pair[1:])
    assert row["label"] == labels[0]
    np.testing.assert_allclose(list(row["probabilities"].values()), probabilities[0], atol=2e-6)
    message = "the model reads premise and hypothesis, so it takes a --text and a --text_pair each, but got 1 --text"
    one_line(rosetune("predict", trained_on_pairs, "--text", "a"), message)
    one_line(rosetune("predict", trained, "--text", "a", "--text_pair", "b"), "so it takes a --text each")


def test_input_files(trained: Path, rosetune: Any, in_tmp: Path) -> None:
    write(in_tmp / "a.txt", "the film was great\n\na dull plot\n")
    write(in_tmp / "b.csv", 'id,text\n1,the film was great\n2,""\n3,a dull plot\n')
    write(in_tmp / "c.jsonl", '{"text": "the film was great"}\n{"text": ""}\n{"text": "a dull plot"}\n')
    write(in_tmp / "d.csv", "id,body\n1,the film was great\n2,\n3,a dull plot\n")
    outputs = []
    for name, more in (("a.txt", []), ("b.csv", []), ("c.jsonl", []), ("d.csv", ["--text_columns", "body"])):
        code, out, err = rosetune("predict", trained, "--input_file", name, "--output_file", "out/p.jsonl", *more)
        assert (code, out) == (0, "")
        assert "warning: 1 of 3 rows is without a text (the first is row 2): " in err
        assert err.endswith("\n3 predictions written to out/p.jsonl\n")
        assert ("made the folder out\n" in err) == (not outputs)  # once: then it is there
        rows = [json.loads(line) for line in (in_tmp / "out/p.jsonl").read_text(encoding="utf-8").splitlines()]
        outputs.append([(row.get("text", row.get("body")), row["label"], row["probabilities"]) for row in rows])
    assert all(output == outputs[0] for output in outputs)
    assert [label for _, label, _ in outputs[0]][::2] == ["good", "bad"]
    assert not list((in_tmp / "out").glob("*.partial"))


def test_a_folder_is_no_output_file(trained: Path, rosetune: Any, in_tmp: Path) -> None:
    """Nothing in it is touched."""
    write(in_tmp / "precious.txt", "")
    one_line(rosetune("predict", trained, "--text", "a", "--output_file", in_tmp), "is a folder: name a file")
    one_line(rosetune("predict", trained, "--text", "a", "--output_file", "precious.txt/p.jsonl"), "Not a directory)")
    with pytest.raises(IsADirectoryError):
        write_text(in_tmp, "")
    assert [path.name for path in in_tmp.iterdir()] == ["precious.txt"]
    assert not list(in_tmp.parent.glob("*.partial"))


def test_no_rows(trained: Path, rosetune: Any, in_tmp: Path) -> None:
    assert predict_texts(str(trained), texts=[]).rows == []
    write(in_tmp / "empty.txt", "")
    one_line(rosetune("predict", trained, "--input_file", "empty.txt"), "empty.txt is empty")
    write(in_tmp / "header.csv", "text\n")
    one_line(rosetune("predict", trained, "--input_file", "header.csv"), "header.csv has a header but no rows")
    one_line(rosetune("predict", trained, "--input_file", "none.csv"), "none.csv")


def test_ten_thousand_rows_and_a_table_of_the_first(
    trained: Path, rosetune: Any, in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetune.verbs.predict._on_terminal", lambda: True)
    write(
        in_tmp / "many.txt",
        "".join(f"the film was {word} [bold] {i}\n" for i in range(5000) for word in ("great", "dull")),
    )
    code, out, _ = rosetune("predict", trained, "--input_file", "many.txt", "--batch_size", 512)
    assert code == 0
    assert out.endswith("... and 9950 more; --output_file or --json gives all 10000\n")
    assert out.count("great [bold]") == 25  # no markup of ours


def test_any_saved_classifier_predicts(trained: Path, rosetune: Any) -> None:
    code, out, _ = rosetune("predict", trained / "model", "--text", "a great film", "--json")
    assert code == 0
    assert json.loads(out)["label"] == "good"
