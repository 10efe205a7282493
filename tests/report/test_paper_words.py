"""Tables: which metric the paper's figures go with, the unit of each format, names of rows, and LaTeX's signs."""

import csv
import io
import json
import re

import pytest

from many_runs import part, write_methods, write_scores
from rosetune.report.export import table_text
from rosetune.report.paper import print_table, table
from rosetune.runs.run import RunError, find_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_methods(tmp_path_factory.mktemp("runs"), {"vanilla": 3, "rose-first": 2})


def with_f1(home, task="sst2"):
    for method in ("vanilla", "rose-first"):
        sets = {name: part(0.9, f1=0.4) for name in ("clean", "advglue")}
        write_scores(home / task / method, sets, method, task=task)
    return find_runs(home)


def test_the_papers_accuracies_stand_beside_no_other_metric(tmp_path):
    found = with_f1(tmp_path)
    with pytest.raises(RunError, match="figures are accuracies, and sst2 is shown in f1: leave out --paper, or give"):
        table(found, metric=("f1",), paper="roberta-base")
    assert table(found, metric=("accuracy", "f1"), paper=True).printed


def test_a_task_that_the_paper_has_not_may_have_another_metric(tmp_path):
    with_f1(tmp_path / "theirs")
    for seed in (1, 2):
        write_scores(tmp_path / f"{seed}", {"clean": {**part(0.5), "pearson": 0.8}}, seed=seed, task="mine")
    other = [run for run in find_runs(tmp_path) if run.task == "mine"]
    assert table(other, metric=("pearson",), paper=True).found.metrics == {"mine": "pearson"}


def test_the_constants_line_is_missed_with_a_word(tmp_path):
    found = with_f1(tmp_path)
    note = "The best constant prediction is known for accuracy and mse alone, not for f1."
    shown = table(found, metric=("f1",))
    assert note in shown.notes
    assert "constant prediction" not in [name for block in shown.sheets[0].blocks for name, _ in block]
    assert not any("constant prediction" in note for note in table(found).notes)


def test_exported_figures_are_shares_and_said_to_be(runs):
    shown = table(runs)
    found = json.loads(table_text(shown, "json"))
    assert max(figure["mean"] for figure in found["figures"]) <= 1
    assert "Means over seeds, as shares, with the standard deviation." in found["notes"]
    assert "percent" not in str(found["notes"])
    for form in ("markdown", "latex"):
        assert "in percent" in table_text(shown, form)
    lines = list(csv.DictReader(io.StringIO(table_text(shown, "csv"))))
    assert max(float(line["mean"]) for line in lines) <= 1


def test_csv_says_the_unit_beside_it(rosetune, runs):
    _, out, err = rosetune("table", runs[0].folder.parents[2], "--format", "csv")
    assert out.startswith("model,")
    assert "as shares" in err
    assert "percent" not in err


def test_seeds_are_lists_in_json_and_text_in_csv(runs):
    figures = {(f["row"], f["set"]): f for f in json.loads(table_text(table(runs), "json"))["figures"]}
    assert figures["vanilla", "clean"]["seeds"] == [1, 2, 3]
    assert figures["vanilla", "clean"]["common"] is None
    assert figures["rose-first", "clean"]["seeds"] == figures["rose-first", "clean"]["common"] == [1, 2]
    lines = csv.DictReader(io.StringIO(table_text(table(runs), "csv")))
    assert {line["seeds"] for line in lines if line["row"] == "rose-first"} == {"1 2"}


def test_a_row_has_one_name_on_the_terminal(tmp_path):
    """Its options are a number under average and under drop, though the latter's name would have had room."""
    from rich.console import Console

    for gamma in (0.1, 0.5):
        for rate in (0.1, 0.2):
            options = {"update_mask": "rose", "weight_decay": rate}
            options |= {"update_mask_kwargs": {"order": "first", "gamma": gamma}}
            write_scores(tmp_path / f"{gamma}-{rate}", {"clean": 0.9, "advglue": 0.3}, options)
    shown = table(find_runs(tmp_path), "table3", baseline="none")
    average, drop = "average: rose-first (weight_decay=0.1)", "drop: rose-first (weight_decay=0.1)"
    assert [name for block in shown.sheets[0].blocks for name, _ in block][::2] == [average, drop]
    file = io.StringIO()
    print_table(Console(file=file, width=3 * (len(average) - 1), highlight=False), shown)
    lines = file.getvalue().splitlines()
    assert [line.split("  ")[0].strip() for line in lines if "rose-first" in line] == [
        *("average: rose-first #1", "average: rose-first #2", "drop: rose-first #1", "drop: rose-first #2")
    ]
    assert [line for line in lines if line.startswith("#")] == ["#1: weight_decay=0.1", "#2: weight_decay=0.2"]


def test_table2_says_what_it_looks_for(tmp_path):
    found = write_methods(tmp_path, {"vanilla": 1, "r-drop": 1, "r-drop+rose-first": 1})
    said = "Shown are r-drop and what is added to it (r-drop+...): name another method with --baseline for others."
    assert said in table(found, "table2").notes
    own = [run for run in found if run.method != "vanilla"]
    assert said not in table(own, "table2").notes
    with pytest.raises(RunError, match=r"table2 is r-drop and what is added to it .* another method with --baseline"):
        table([run for run in found if run.method == "vanilla"], "table2")


def test_latex_has_minus_signs_and_no_stray_quotes(tmp_path):
    for method, clean in (("vanilla", 0.9), ("rose-first", 0.8)):
        for seed in (1, 2):
            sets = {"clean": clean + seed / 1000, "advglue": 0.3}
            write_scores(tmp_path / method / f"{seed}", sets, method, seed=seed, model="org/a`b-1")
    text = table_text(table(find_runs(tmp_path)), "latex")
    cells = re.findall(r"& ([^&\\]*10\.0[^&\\]*)", text)
    assert any(cell.startswith("$-$10.0") for cell in cells), cells
    assert not re.search(r"[ &{]-\d", text)
    assert r"\texttt{rosetune compare}" in text
    assert r"a\textasciigrave{}b-1" in text  # a name keeps its hyphen
    assert "`" not in text
    assert "--" not in text.replace("& --", "")


def test_a_dash_among_the_tests_is_explained_where_there_is_one(tmp_path, runs):
    for method in ("vanilla", "rose-first"):
        write_scores(tmp_path / method, {"clean": 0.8, "advglue": 0.5}, method)
    said = "A dash among the p (-/-/1): there is no such test; a t-test needs two seeds or more"
    shown = table(find_runs(tmp_path))
    cells = [entry.spread for block in shown.sheets[1].blocks for _, entries in block for entry in entries if entry]
    assert any("-/-/" in cell for cell in cells)
    assert said in " ".join(shown.notes)
    assert said not in " ".join(table(runs).notes)
