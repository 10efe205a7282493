"""Predictions for new texts: what they are, what is kept of the input, and in which shape they come."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import tiny_run
from rosetune import cli
from rosetune.data.readers import read_table
from rosetune.experiments.given import evaluate_given
from rosetune.experiments.predict import predict_texts
from rosetune.report.predictions import predictions_table
from rosetune.runs.config import RunConfig
from rosetune.runs.values import RunError

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with tiny_run.quick():
        yield


def classifier(folder: Path, labels: tuple[str, ...], **options: Any) -> Path:
    """A saved classifier whose head is large enough to tell texts apart, and has no favourite."""
    tiny_run.write_model(folder)
    config = {"num_labels": len(labels) or 1, **options}
    if labels:
        config |= {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    model = AutoModelForSequenceClassification.from_pretrained(folder, ignore_mismatched_sizes=True, **config)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        model.classifier.weight.copy_(4 * torch.randn(model.classifier.weight.shape, generator=generator))
        model.classifier.bias.zero_()
        model.save_pretrained(folder)
        model.classifier.bias.copy_(-logits(folder, TEXTS).mean(0))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("two"), ("bad", "good"))


@pytest.fixture
def rosetune(capsys: pytest.CaptureFixture[str]) -> Call:
    """Call `predict`; exit code, standard output and standard error."""

    def call(*words: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            cli.main(["predict", *map(str, words)])
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def logits(folder: Path, *texts: list[str]) -> torch.Tensor:
    """By transformers alone, a text at a time."""
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    with torch.no_grad():
        return torch.cat([model(**tokenizer(*row, return_tensors="pt")).logits for row in zip(*texts, strict=True)])


def refused(answer: tuple[int, str, str], *parts: str) -> None:
    code, out, err = answer
    assert (code, out) == (2, "")
    assert err.startswith("rosetune: error: ")
    assert err.count("\n") == 1
    assert all(part in err for part in parts), err


TEXTS = ["the film was great", "a dull and empty plot", "", "été 🌹 – fine", "[PAD] lovely"]


# --- what is predicted


def test_one_label_is_a_softmax(two: Path) -> None:
    found = predict_texts(str(two), texts=TEXTS)
    z = logits(two, TEXTS)
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in found.rows], z.softmax(-1), atol=2e-6)
    assert [row["label"] for row in found.rows] == [("bad", "good")[i] for i in z.argmax(-1)]
    assert [row["text"] for row in found.rows] == TEXTS
    assert found.text_columns == ("text",)
    assert {row["label"] for row in found.rows} == {"bad", "good"}


def test_many_labels_are_a_sigmoid_each(tmp_path: Path, rosetune: Call) -> None:
    names = ("toxic", "threat", "insult")
    folder = classifier(tmp_path, names, problem_type="multi_label_classification")
    code, out, err = rosetune(folder, *(word for text in TEXTS for word in ("--text", text)), "--json")
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    expected = logits(folder, TEXTS).sigmoid().numpy()
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in rows], expected, atol=2e-6)
    assert [row["labels"] for row in rows] == [
        [n for n, p in zip(names, row, strict=True) if p >= 0.5] for row in expected
    ]
    assert not any("label" in row for row in rows)
    rosetune(folder, "--text", TEXTS[0], "--output_file", tmp_path / "out.csv")
    table = read_table(tmp_path / "out.csv").columns
    assert list(table) == ["text", "labels", *(f"probability_{name}" for name in names)]
    assert json.loads(table["labels"][0]) == rows[0]["labels"]


def test_a_model_of_many_labels_is_not_evaluated_as_if_it_had_one(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "model", ("bad", "good"), problem_type="multi_label_classification")
    data = tiny_run.write_csv(tmp_path / "my.csv")
    out = tmp_path / "run"
    config = RunConfig(task=str(data), model_name_or_path=str(folder), output_dir=str(out), given=True)
    with pytest.raises(RunError, match="several labels at once"):
        evaluate_given(config)
    assert not (out / "metrics.json").exists()


def test_one_output_is_a_value(tmp_path: Path) -> None:
    folder = classifier(tmp_path, ())
    rows = predict_texts(str(folder), texts=TEXTS).rows
    np.testing.assert_allclose([row["value"] for row in rows], logits(folder, TEXTS)[:, 0], atol=2e-6)
    assert list(rows[0]) == ["text", "value"]


def test_labels_without_names_and_texts_that_are_cut_are_said(tmp_path: Path) -> None:
    folder = tiny_run.write_model(tmp_path)
    lines: list[str] = []
    texts = ["warm " * 62, "warm " * 63, "warm " * 200]
    rows = predict_texts(str(folder), texts=texts, report=lines.append).rows
    assert lines == [
        f"{folder} does not name its labels: they are shown as LABEL_0 to LABEL_1",
        "2 of 3 texts are longer than the 64 tokens that the model reads (the longest 202): they are predicted "
        "from their beginning",
    ]
    assert rows[0]["probabilities"] == rows[1]["probabilities"] == rows[2]["probabilities"]


# --- which texts


def test_pairs_from_flags_files_and_lines(two: Path, here: Path, rosetune: Call, monkeypatch: Any) -> None:
    """For a model from elsewhere the columns are those of a known task."""
    premises, hypotheses = TEXTS[:2], ["the music was fine", "an ending"]
    expected = logits(two, premises, hypotheses).softmax(-1).numpy()
    pairs = list(zip(premises, hypotheses, strict=True))
    lines = "".join(f"{a}\t{b}\n" for a, b in pairs)
    (here / "a.csv").write_text("hypothesis,premise\n" + "".join(f"{b},{a}\n" for a, b in pairs), encoding="utf-8")
    (here / "b.csv").write_text("x,y\n" + "".join(f"{a},{b}\n" for a, b in pairs), encoding="utf-8")
    (here / "c.txt").write_text(lines, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    flags = [word for a, b in pairs for word in ("--text", a, "--text_pair", b)]
    for words in (
        flags,
        ["--input_file", "a.csv"],
        ["--input_file", "b.csv", "--text_columns", "x,y"],
        ["--input_file", "c.txt", "--text_columns", "x,y"],
        ["--input_file", "-", "--text_columns", "x,y"],
    ):
        code, out, err = rosetune(two, *words, "--json")
        assert (code, err) == (0, ""), words
        rows = [json.loads(line) for line in out.splitlines()]
        np.testing.assert_allclose([list(row["probabilities"].values()) for row in rows], expected, atol=2e-6)
    (here / "c.txt").write_text("one\ttwo\nthree\n", encoding="utf-8")
    refused(
        rosetune(two, "--input_file", "c.txt", "--text_columns", "x,y"), "c.txt, line 2: one text per line, or a pair"
    )
    refused(rosetune(two, "--input_file", "b.csv"), "b.csv: name its text columns with --text_columns", "'x', 'y'")
    refused(rosetune(two, "--text", "a", "--text", "b", "--text_pair", "c"), "but got 2 --text and 1 --text_pair")


def test_half_a_character_is_refused_with_its_place(two: Path, here: Path, rosetune: Call, monkeypatch: Any) -> None:
    half, said = "half \ud83d", "half a character (a lone surrogate); correct it or drop the row"
    refused(rosetune(two, "--text", "whole 🌹", "--text", half), f"--text number 2 holds {said}")
    refused(rosetune(two, "--text", "a", "--text_pair", half), f"--text_pair number 1 holds {said}")
    lines = f"whole\n{half}\n".encode("utf-7")
    (here / "a.txt").write_bytes(lines)
    refused(rosetune(two, "--input_file", "a.txt", "--encoding", "utf-7"), f"a.txt, line 2 holds {said}")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    refused(rosetune(two, "--encoding", "utf-7"), f"standard input, line 2 holds {said}")
    (here / "a.jsonl").write_text(json.dumps({"text": half}))
    refused(rosetune(two, "--input_file", "a.jsonl"), f"column 'text' holds {said}")
    (here / "b.jsonl").write_text(json.dumps({"text": "a", "note": half}))  # of a column that is only kept
    refused(rosetune(two, "--input_file", "b.jsonl", "--json"), "cannot hold '\\ud83d' of the input: correct it")


def test_a_run_names_its_columns(two: Path, here: Path, rosetune: Call) -> None:
    (here / "run").mkdir()
    (here / "run/model").symlink_to(two)
    identity = {"task": "mine", "text_columns": ["body"], "training": {}}
    (here / "run/run.json").write_text(json.dumps(identity), encoding="utf-8")
    (here / "a.csv").write_text("text,body\nx,the film was great\n", encoding="utf-8")
    code, out, _ = rosetune("run", "--input_file", "a.csv", "--json")
    assert code == 0
    row = json.loads(out)
    expected = logits(two, ["the film was great"]).softmax(-1)[0]
    np.testing.assert_allclose(list(row["probabilities"].values()), expected, atol=2e-6)
    (here / "b.csv").write_text("text\nx\n", encoding="utf-8")
    refused(rosetune("run", "--input_file", "b.csv"), "has no column 'body'", "--text_columns")


def test_standard_input_where_nothing_else_is_given(two: Path, rosetune: Call, monkeypatch: Any) -> None:
    def stdin(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    stdin("\ufeffthe film was great\r\n\nété\n".encode())
    code, out, err = rosetune(two, "--json")
    assert code == 0
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["the film was great", "", "été"]
    assert err == "warning: 1 of 3 rows is without a text (the first is row 2): what is predicted there says nothing\n"
    stdin("été\n".encode("cp1252"))
    assert json.loads(rosetune(two, "--json", "--encoding", "cp1252")[1])["text"] == "été"
    stdin(b"fine\n\xe9\n")
    refused(rosetune(two), "standard input, line 2: not in UTF-8; pass its --encoding")
    stdin(b"")
    refused(rosetune(two), "give --text", "--input_file", "standard input, which is empty")
    stdin(b"not read\n")
    assert json.loads(rosetune(two, "--json", "--text", "fine")[1])["text"] == "fine"


# --- what is kept, and where it goes


def test_all_columns_are_kept_in_every_kind_of_file(two: Path, here: Path, rosetune: Call) -> None:
    texts = ['the film,\nwas "great"\tindeed', "a dull plot", "null"]
    rows = [{"id": str(i), "text": text, "label": "x", "note": None if i else "a;b"} for i, text in enumerate(texts)]
    with open("a.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    expected = logits(two, texts).softmax(-1).numpy()
    for ending in ("csv", "tsv", "jsonl", "parquet"):
        code, out, err = rosetune(two, "--input_file", "a.csv", "--output_file", f"out/p.{ending}")
        assert (code, out) == (0, "")
        assert err == (
            "the input's column 'label' is kept as 'input_label', since predictions use that name\n"
            + ("made the folder out\n" if ending == "csv" else "")
            + f"3 predictions written to out/p.{ending}\n"
        )
        if ending == "jsonl":
            lines = [json.loads(line) for line in (here / "out/p.jsonl").read_text(encoding="utf-8").splitlines()]
            columns = {name: [line[name] for line in lines] for name in lines[0] if name != "probabilities"}
            found = [list(line["probabilities"].values()) for line in lines]
            assert list(lines[0]["probabilities"]) == ["bad", "good"]
        else:
            columns = read_table(here / f"out/p.{ending}").columns
            assert list(columns)[-3:] == ["label", "probability_bad", "probability_good"]
            pair = (columns["probability_bad"], columns["probability_good"])
            found = [[float(cell) for cell in row] for row in zip(*pair, strict=True)]
        assert list(columns)[:5] == ["id", "text", "input_label", "note", "label"], ending
        assert columns["text"] == texts, ending
        assert columns["note"] == ["a;b", "", ""], ending
        assert columns["label"] == [("bad", "good")[i] for i in expected.argmax(-1)]
        np.testing.assert_allclose(found, expected, atol=2e-6)
    assert not list((here / "out").glob("*.partial"))


def test_values_keep_their_types_from_json_and_parquet(two: Path, here: Path, rosetune: Call) -> None:
    rows = [{"text": "fine", "n": 7, "x": 1.5, "ok": True, "tags": ["a", "b"]}, {"text": "dull", "n": 8, "x": None}]
    (here / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    types = {"text": pa.string(), "n": pa.int64(), "x": pa.float64(), "ok": pa.bool_(), "tags": pa.list_(pa.string())}
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(types)), here / "a.parquet")
    for source in ("a.jsonl", "a.parquet"):
        for target in ("p.jsonl", "p.parquet"):
            assert rosetune(two, "--input_file", source, "--output_file", target)[0] == 0
            if target == "p.jsonl":
                found = [json.loads(line) for line in (here / target).read_text(encoding="utf-8").splitlines()]
            else:
                found = pq.read_table(here / target).to_pylist()
            for row, one in zip(rows, found, strict=True):
                assert {name: one[name] for name in types} == {"ok": None, "tags": None, **row}
    assert rosetune(two, "--input_file", "a.jsonl", "--output_file", "p.csv")[0] == 0
    columns = read_table(here / "p.csv").columns
    assert (columns["n"], columns["x"], columns["ok"]) == (["7", "8"], ["1.5", ""], ["true", ""])
    assert json.loads(columns["tags"][0]) == ["a", "b"]
    (here / "mixed.jsonl").write_text('{"text": "a", "n": 1}\n{"text": "b", "n": "x"}\n', encoding="utf-8")
    answer = rosetune(two, "--input_file", "mixed.jsonl", "--output_file", "mixed.parquet")
    refused(answer, "mixed.parquet: the column 'n' holds values of several kinds")
    assert not list(here.glob("mixed.parquet*"))


def test_files_that_cannot_be_written(two: Path, here: Path, rosetune: Call) -> None:
    (here / "a.csv").write_text("text\nx\n", encoding="utf-8")
    for path, message in (
        ("p.xlsx", "let its name end in one of .csv, .tsv, .jsonl, .parquet"),
        ("p", "let its name end in one of"),
        (".", "is a folder: name a file"),
        ("a.csv/p.csv", "Not a directory): name another file"),
        ("./a.csv", "is the input itself"),
    ):
        refused(rosetune(two, "--input_file", "a.csv", "--output_file", path), message)
    assert [path.name for path in here.iterdir()] == ["a.csv"]
    assert (here / "a.csv").read_text() == "text\nx\n"
    (here / "b.jsonl").write_text('{"text": "a", "other": "\\ud800"}\n', encoding="utf-8")
    refused(rosetune(two, "--input_file", "b.jsonl", "--output_file", "p.csv"), "half a character")
    assert not list(here.glob("p.csv*"))


# --- what is printed


def test_a_pipe_gets_a_line_for_each_row(two: Path, rosetune: Call) -> None:
    texts = ["one\ntwo\tthree", r"C:\new", "fine"] * 20
    code, out, err = rosetune(two, *(word for text in texts for word in ("--text", text)))
    assert (code, err) == (0, "")
    head, *lines = out.removesuffix("\n").split("\n")
    assert head.split("\t") == ["text", "label", "probability_bad", "probability_good"]
    assert len(lines) == 60
    rows = [line.split("\t") for line in lines]
    assert [row[0] for row in rows[:3]] == [r"one\ntwo\tthree", r"C:\\new", "fine"]
    np.testing.assert_allclose(
        [[float(row[2]), float(row[3])] for row in rows], logits(two, texts).softmax(-1), atol=2e-6
    )


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_keeps_its_lines_at_any_width(two: Path, width: int) -> None:
    texts = ["first\r\nsecond [bold] line", "warm " * 200, "\x1b[31mred\tend", "電影 " * 40]
    found = predict_texts(str(two), texts=texts, report=lambda line: None)
    out = Console(width=width, file=io.StringIO())
    out.print(predictions_table(found.rows, found.text_columns, width))
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 4 + len(texts)  # the frame's and the heads'
    assert all(len(line) <= width for line in lines)
    assert "\x1b" not in "".join(lines)
    assert lines[3].startswith("│ first⏎second")
    assert "�[31mred⇥end" in lines[5]
    assert "…" in lines[4]
    for row, line in zip(found.rows, lines[3:], strict=False):
        assert line.endswith(f"│ {row['label']:5} │ {max(row['probabilities'].values()):.3f}       │")


def test_a_terminal_gets_a_table_of_the_first(two: Path, rosetune: Call, monkeypatch: Any) -> None:
    words = [word for i in range(60) for word in ("--text", f"fine {i}")]
    monkeypatch.setattr("rosetune.verbs.predict._on_terminal", lambda: True)
    code, out, _ = rosetune(two, *words)
    assert code == 0
    assert out.count("│ fine ") == 50
    assert out.endswith("... and 10 more; --output_file or --json gives all 60\n")
