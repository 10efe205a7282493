"""`rosetune table`: flags, files, and folders that are no finished runs, each of which is named and left out."""

import json
import os
import shutil

import pytest

from many_runs import write_methods, write_scores


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_methods(folder, {"vanilla": 3, "rose-first": 3})
    return folder


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def test_a_table_is_printed(rosetune, home):
    code, out, err = rosetune("table", home)
    assert (code, err) == (0, "")
    assert "roberta-base: accuracy" in out
    assert "rose-first" in out
    assert "0.125 with 3 seeds, so that it never falls below 0.05" in out


def test_formats_go_to_standard_output(rosetune, home):
    code, out, _ = rosetune("table", home, "--format", "json", "--sets", "clean", "--baseline", "rose-first")
    assert code == 0
    found = json.loads(out)
    assert found["baselines"] == {"roberta-base": "rose-first"}
    assert {figure["set"] for figure in found["figures"]} == {"clean"}


@pytest.mark.parametrize("form", [[], ["--format", "json"]])
def test_a_closed_pipe_is_no_fault(rosetune, home, monkeypatch, form):
    """As of a tool that SIGPIPE ends: 128 + 13, and not a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        code, _, err = rosetune("table", home, *form)
    assert (code, err) == (141, "")


def test_a_file_by_its_ending(rosetune, home, tmp_path):
    code, out, err = rosetune("table", home, "-o", tmp_path / "new" / "a.tex")
    assert (code, out) == (0, "")
    assert err == f"made the folder {tmp_path / 'new'}\nwritten to {tmp_path / 'new' / 'a.tex'}\n"
    assert (tmp_path / "new" / "a.tex").read_text().startswith("% needs")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "a.pdf"], "a.pdf: the ending says the format"),
        (["--format", "pdf"], "no format is called 'pdf': choose one of markdown, latex, csv, json"),
        (["--layout", "table9"], "no layout is called 'table9'"),
        (["--baseline", "rose-frist"], "did you mean rose-first?"),
        (["--metric", "acuracy"], "did you mean accuracy?"),
        (["--sets", "advglu"], "did you mean advglue?"),
        (["--layout", "table3", "--option", "ordr"], "no run was given the option ordr: did you mean order?"),
        (["--paper", "bert"], "the paper has no figures of bert"),
        (["--held_out"], "no run is left to show"),
    ],
)
def test_mistakes_are_one_line(rosetune, home, words, message):
    code, out, err = rosetune("table", home, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


DAMAGE = {
    "truncated": lambda run: cut(run / "metrics.json"),
    "empty": lambda run: (run / "metrics.json").write_text(""),
    "binary": lambda run: (run / "metrics.json").write_bytes(bytes(range(256))),
    "foreign": lambda run: (run / "metrics.json").write_text('{"accuracy": 0.99, "epoch": 3}'),
    "foreign sets": lambda run: (run / "metrics.json").write_text('{"sets": {"clean": 0.99}}'),
    "foreign parts": lambda run: (run / "metrics.json").write_text('{"sets": {"clean": {"accuracy": 0.99}}}'),
    "a list": lambda run: (run / "metrics.json").write_text("[0.99]"),
    "brackets": lambda run: (run / "metrics.json").write_text("[" * 200_000),
    "a folder": lambda run: as_folder(run / "metrics.json"),
    "NaN": lambda run: (run / "metrics.json").write_text(
        '{"labels": ["a", "b"], "sets": {"clean": {"n": 9, "accuracy": NaN, "constant": {"accuracy": 0.5}}}}'
    ),
    "no run.json": lambda run: (run / "run.json").unlink(),
    "truncated run.json": lambda run: cut(run / "run.json"),
    "foreign run.json": lambda run: (run / "run.json").write_text('{"id": 3}'),
    "no config": lambda run: (run / "config.yaml").unlink(),
    "binary config": lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe\x00"),
    "foreign config": lambda run: (run / "config.yaml").write_text("services: {web: {image: nginx}}"),
    "a config of brackets": lambda run: (run / "config.yaml").write_text("[" * 100_000),
    "a seed that is none": lambda run: (run / "config.yaml").write_text(
        "task: sst2\nmodel_name_or_path: m\nseed: [1]\n"
    ),
    "a method that is none": lambda run: (run / "config.yaml").write_text(
        "task: sst2\nmodel_name_or_path: m\nupdate_mask: {rose: 1}\n"
    ),
}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def as_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_damaged_is_named_and_counts_for_nothing(rosetune, home, tmp_path, kind):
    place = tmp_path / "runs"
    shutil.copytree(home, place)
    _, before, _ = rosetune("table", place, "--format", "csv")
    write_scores(place / "other", {"clean": 0.1, "advglue": 0.1}, seed=9)
    DAMAGE[kind](place / "other")
    code, out, err = rosetune("table", place, "--format", "csv")
    assert (code, out) == (0, before)
    assert f"{place / 'other'} is left out: " in err
    assert err.count("is left out") == 1
    said = err.partition(" is left out: ")[2].partition("; ")[0].partition(": ")[0]
    assert said
    assert str(place / "other") not in said  # it was named just before


def test_files_beside_the_runs_are_no_runs(rosetune, home, tmp_path):
    place = tmp_path / "runs"
    shutil.copytree(home, place)
    (place / "notes.txt").write_text("metrics")
    (place / "half" / "predictions").mkdir(parents=True)
    _, out, err = rosetune("table", place, "--format", "csv")
    assert "left out" not in err
    assert out == rosetune("table", home, "--format", "csv")[1]


def test_where_all_is_damaged_nothing_is_shown(rosetune, tmp_path):
    write_scores(tmp_path / "a", {"clean": 0.9})
    (tmp_path / "a" / "metrics.json").write_text("")
    code, out, err = rosetune("table", tmp_path)
    assert (code, out) == (2, "")
    assert "there is no finished run in" in err
