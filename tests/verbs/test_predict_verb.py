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
    cut = "1 of 6 texts are longer than the 64 tokens that the model reads (the longest 202)"
    assert code == 0
    assert err == f"{cut}: it is predicted from their beginning\n"
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


def test_a_folder_is_no_output_file(trained: Path, rosetune: Any, in_tmp: Path) -> None:
    """Nothing in it is touched."""
    write(in_tmp / "precious.txt", "")
    one_line(rosetune("predict", trained, "--text", "a", "--output_file", in_tmp), "is a folder: name a file")
    one_line(rosetune("predict", trained, "--text", "a", "--output_file", "precious.txt/p.jsonl"), "cannot write to")
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


def test_ten_thousand_rows_in_a_pipe(trained: Path, rosetune: Any, in_tmp: Path) -> None:
    texts = [f"the film was {word} [bold] {i}" for i in range(5000) for word in ("great", "dull")]
    write(in_tmp / "many.txt", "".join(f"{text}\n" for text in texts))
    code, out, _ = rosetune("predict", trained, "--input_file", "many.txt", "--batch_size", 512)
    assert code == 0
    head, *lines = out.splitlines()
    assert head.split("\t") == ["text", "label", "probability_bad", "probability_good"]
    assert [line.split("\t")[0] for line in lines] == texts  # no markup of ours
    assert {line.split("\t")[1] for line in lines[::2]} == {"good"}


def test_any_saved_classifier_predicts(trained: Path, rosetune: Any) -> None:
    code, out, _ = rosetune("predict", trained / "model", "--text", "a great film", "--json")
    assert code == 0
    assert json.loads(out)["label"] == "good"
