"""Predictions carry what they were made of: other texts under the same name are refused, or not compared."""

import json
from pathlib import Path
from typing import Any

import pytest

import tiny_run
from command_line import one_line
from rosetune.runs.compare import not_compared
from rosetune.runs.files import read_fingerprints
from rosetune.runs.run import Run
from rosetune.runs.table import examples
from rosetune.runs.values import RunError
from tiny_run import Library


def write_advglue(folder: Path, texts: list[str]) -> Path:
    """AdvGLUE's file with these sentences of SST-2, negative and positive in turns."""
    (folder / "adv_glue").mkdir(parents=True)
    items = [{"sentence": text, "label": i % 2, "idx": i} for i, text in enumerate(texts)]
    (folder / "adv_glue/dev.json").write_text(json.dumps({"sst2": items}))
    return folder


TEXTS = ["a dul film indeed", "a grate film indeed", "an awfull plot indeed", "a lovly plot indeed"]


@pytest.fixture(scope="module")
def home(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of the user's own that AdvGLUE covers, and AdvGLUE in two editions."""
    folder = tmp_path_factory.mktemp("made-of")
    text = (library.home / "my.csv").read_text().replace(",good", ",positive").replace(",bad", ",negative")
    (folder / "sst2.csv").write_text(text)
    write_advglue(folder / "one", TEXTS)
    write_advglue(folder / "two", [*TEXTS[:3], "a warrm plot indeed"])
    return folder


def words(home: Path, library: Library, run: Path, edition: str) -> list[Any]:
    data = ("--task", home / "sst2.csv", "--text_columns", "text", "--data_dir", home / edition)
    small = ("--max_steps", 1, "--disable_tqdm", "true", "--sets", "clean,advglue")
    return ["train", *data, "--model_name_or_path", library.home / "model", "--output_dir", run, *small]


def test_advglue_from_another_folder_is_refused(home: Path, library: Library, tmp_path: Path, rosetune: Any) -> None:
    """Whichever verb reads it; the same edition from another place is the same."""
    run, place = tmp_path / "run", tmp_path / "run/predictions"
    code, _, err = rosetune(*words(home, library, run, "one"))
    assert code == 0, err
    assert {*read_fingerprints(place)} == {"clean", "advglue"}
    before = tiny_run.snapshot(run)
    write_advglue(tmp_path / "moved", TEXTS)
    for same in (home / "one", tmp_path / "moved"):
        code, _, err = rosetune("evaluate", run, "--sets", "advglue", "--data_dir", same)
        assert code == 0, err
    said = f"{place}: advglue.jsonl was predicted on other texts or labels than AdvGLUE holds here"
    one_line(rosetune("evaluate", run, "--sets", "clean,advglue", "--data_dir", home / "two"), said)
    one_line(rosetune(*words(home, library, run, "two")), said)
    assert tiny_run.snapshot(run) == before
    (place / "advglue.jsonl").unlink()  # as the message says
    code, _, err = rosetune("evaluate", run, "--sets", "clean,advglue", "--data_dir", home / "two")
    assert code == 0, err
    after = tiny_run.snapshot(run)
    assert len(Run.open(run).rows("advglue")) == 4
    assert after[str(place / "clean.jsonl")] == before[str(place / "clean.jsonl")]
    texts = home / "two/adv_glue/dev.json"
    config = run / "config.yaml"
    with pytest.raises(RunError, match=r"AdvGLUE is not what .* was evaluated on"):
        examples([Run.open(run)], texts=True)  # which reads the folder of config.yaml
    config.write_text(config.read_text().replace(str(home / "one"), str(home / "two")))
    table = examples([Run.open(run)], texts=True)
    asked = [item["sentence"] for item in json.loads(texts.read_text())["sst2"]]
    assert table[table["set"] == "advglue"].text.tolist() == asked


def test_editions_are_not_compared_with_each_other(
    home: Path, library: Library, tmp_path: Path, rosetune: Any
) -> None:
    for name, edition, seed in (("a", "one", 1), ("b", "one", 2), ("c", "two", 2)):
        code, _, err = rosetune(*words(home, library, tmp_path / name, edition), "--seed", seed)
        assert code == 0, err
    a, b, c = (Run.open(tmp_path / name) for name in "abc")
    assert not_compared([a], [b]) == {}
    reasons = not_compared([a], [c])
    assert reasons == {"advglue": "not the same texts: other data, or noise of another version"}
    (c.folder / "predictions/fingerprints.json").unlink()  # a run of the version before
    assert not_compared([a], [Run.open(c.folder)]) == {}


@pytest.mark.parametrize("name", ["clean", "typos_2", "ocr@0.25"])
def test_every_kind_is_looked_at(name: str, library: Library, tmp_path: Path, rosetune: Any) -> None:
    """Here the fingerprint is changed, as if the noise were drawn otherwise; without one all is taken as it is."""
    kind = {"clean": "clean", "typos_2": "noise", "ocr@0.25": "noise_curve"}[name]
    run = library.copy(library.learned(), tmp_path / "run")
    assert rosetune("evaluate", run, "--sets", kind)[0] == 0
    path = run / "predictions/fingerprints.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, name: "0" * 16}))
    task = ("--task", library.home / "my.csv")  # given anew, the data is read anew
    one_line(rosetune("evaluate", run, "--sets", kind, *task), f"{name}.jsonl was predicted on other texts or labels")
    path.unlink()
    before = tiny_run.snapshot(run)
    assert rosetune("evaluate", run, "--sets", kind, *task)[0] == 0
    assert tiny_run.snapshot(run) == before


def test_a_further_file_that_is_read_otherwise(library: Library, tmp_path: Path, rosetune: Any) -> None:
    """The options of its reading are its own, and are kept: its texts can be joined."""
    run = library.copy(library.learned(), tmp_path / "run")
    file = tmp_path / "more.csv"
    file.write_text("text;label\na great film;good\na dull film;bad\n;good\na stale film;-1\n", encoding="utf-8")
    start = ("evaluate", run, "--test_file", file)
    one_line(rosetune(*start), "--drop_empty --drop_unlabelled")
    code, _, err = rosetune(*start, "--drop_empty", "--drop_unlabelled", "--delimiter", ";")
    assert code == 0, err
    assert "1 rows left out (empty text)" in err
    assert "1 rows left out (no label)" in err
    table = examples([Run.open(run)], texts=True)
    assert table[table.kind == "file"].text.tolist() == ["a great film", "a dull film"]
    file.write_text("text;label\na great film;good\n", encoding="utf-8")
    one_line(rosetune(*start, "--delimiter", ";"), "was evaluated on another file called more.csv")


def test_minus_one_is_no_label_in_a_further_file_either(library: Library, tmp_path: Path, rosetune: Any) -> None:
    """As in the files of the task: refused with the option that leaves it out; a class only where it is one."""
    run = library.copy(library.learned(), tmp_path / "run")
    file = tmp_path / "more.csv"
    file.write_text("text,label\na great film,good\na dull film,-1\n", encoding="utf-8")
    one_line(rosetune("evaluate", run, "--test_file", file), "line 3: label -1 means unlabelled")
    signs = tmp_path / "signs.csv"
    signs.write_text((library.home / "my.csv").read_text().replace(",good", ",1").replace(",bad", ",-1"))
    own = library.run("signs", {"max_steps": 1}, task=str(signs))
    run = library.copy(own, tmp_path / "signs")
    file.write_text("text,label\na great film,1\na dull film,-1\n", encoding="utf-8")
    assert rosetune("evaluate", run, "--test_file", file)[0] == 0
    assert [row["gold"] for row in Run.open(run).rows("file_more")] == ["1", "-1"]
