"""The layouts of the paper's tables, its own figures beside ours, and each file format read back by its own rules."""

import csv
import io
import json
import re

import pytest
from rich.console import Console

from many_runs import write_methods, write_scores
from rosetune.report.export import FORMATS, ending_format, table_text, write_table
from rosetune.report.paper import print_table, table
from rosetune.report.published import published
from rosetune.robustness.significance import holm
from rosetune.runs.aggregate import AVERAGE, DROP
from rosetune.runs.figures import Column
from rosetune.runs.run import RunError, find_runs

SEEDS = {"vanilla": 3, "r-drop": 3, "rose-first": 3, "r-drop+rose-first": 3, "static": 3}
TASKS = ("sst2", "rte", "qnli", "qqp")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_methods(tmp_path_factory.mktemp("runs"), SEEDS)


def gammas(home):
    found = write_methods(home / "vanilla", {"vanilla": 2})
    for gamma, clean in (("0.1", 0.8), ("0.5", 0.9), (None, 0.7)):
        options = {"order": "ensemble", **({} if gamma is None else {"gamma": float(gamma)})}
        for task in ("sst2", "rte"):
            for seed in (1, 2):
                method = {"update_mask": "rose", "update_mask_kwargs": options}
                sets = {"clean": clean + seed / 100, "advglue": 0.303}
                found.append(write_scores(home / task / f"{gamma}-{seed}", sets, method, seed=seed, task=task))
    return found


def printed(shown, width=120):
    file = io.StringIO()
    print_table(Console(file=file, width=width, highlight=False), shown)
    return file.getvalue()


def names(sheet):
    return [[name for name, _ in block] for block in sheet.blocks]


# --- layouts ------------------------------------------------------------------------------------------------------


def test_table1_has_the_controls_apart_and_the_constant_below(runs):
    main, tests = table(runs).sheets
    assert main.heads == (
        *(("", "seeds"), ("sst2", "clean"), ("sst2", "AdvGLUE"), ("rte", "clean"), ("rte", "AdvGLUE")),
        *(("", "average"), ("", "drop")),
    )
    methods = ["vanilla", "r-drop", "rose-first", "r-drop+rose-first"]
    assert names(main) == [methods, ["controls:", "static"], ["constant prediction"]]
    assert names(tests) == [[*methods[1:], "static"]]
    assert "difference from vanilla" in tests.title


def test_cells_are_the_figures_behind_them(runs):
    shown = table(runs)
    row = shown.found.rows[2]
    entries = dict(shown.sheets[0].blocks[0])["rose-first"]
    assert entries[0].text == "3"
    for entry, column in zip(entries[1:], shown.found.columns, strict=True):
        cell, tested = row.cells[column], row.tests[column]
        assert entry.text == f"{100 * cell.mean:.1f}"
        assert entry.spread == f"±{100 * cell.sd:.1f}"
        assert entry.bold is (tested.p < 0.05)
        assert entry.mark == ("**" if tested.p < 0.05 and tested.p_holm < 0.05 else "*" if tested.p < 0.05 else "")
    assert any(tested.p < 0.05 for tested in row.tests.values())
    assert not all(tested.p < 0.05 for tested in row.tests.values())


def test_seeds_that_are_not_the_same_everywhere_are_said_in_each_cell(tmp_path):
    for seed in (1, 2):
        write_scores(tmp_path / f"{seed}", {"clean": 0.9, **({"advglue": 0.3} if seed == 1 else {})}, seed=seed)
    entries = dict(table(find_runs(tmp_path)).sheets[0].blocks[0])["vanilla"]
    assert [entry.text for entry in entries] == ["1-2", "90.0", "30.0", "60.0", "60.0"]
    assert [entry.spread for entry in entries[1:]] == ["±0.0 (n=2)", "(n=1)", "(n=1)", "(n=1)"]


def test_table2_is_a_method_and_what_is_added_to_it(runs):
    main, tests = table(runs, "table2").sheets
    assert names(main)[0] == ["r-drop", "+ rose-first"]
    assert names(tests) == [["+ rose-first"]]
    assert "difference from r-drop" in tests.title


def test_table3_has_a_column_per_value(tmp_path):
    shown = table(gammas(tmp_path), "table3")
    main, _ = shown.sheets
    assert main.heads == (("gamma", "unset"), ("gamma", "0.1"), ("gamma", "0.5"))
    assert names(main) == [
        ["average: vanilla", "average: rose-ensemble"],
        ["drop: vanilla", "drop: rose-ensemble"],
    ]
    average = dict(main.blocks[0])["average: rose-ensemble"]
    assert [entry.text for entry in average] == [
        f"{100 * (clean + 0.015 + 0.303) / 2:.1f}" for clean in (0.7, 0.8, 0.9)
    ]
    assert dict(main.blocks[0])["average: vanilla"][1:] == [None, None]


def test_what_is_not_there(runs):
    with pytest.raises(RunError, match="no layout is called 'table9': choose one of table1, table2, table3"):
        table(runs, "table9")
    with pytest.raises(
        RunError, match="no run was given the option gamma, and a default makes no column: choose among "
    ) as error:
        table(runs, "table3")
    offered = str(error.value).rpartition("choose among ")[2].split(", ")
    assert {"order", "upper"} & {*offered}
    assert not {"data_fingerprint", "processes", "text_columns", "task", "seed"} & {*offered}


# --- the paper's own ----------------------------------------------------------------------------------------------


def test_the_papers_figures_stand_below_the_same_method(runs):
    shown = table(runs, paper=True)
    block = shown.sheets[0].blocks[0]
    assert [name for name, _ in block][:4] == ["vanilla", "  the paper", "r-drop", "  the paper"]
    assert [entry.text for entry in block[1][1]][:5] == ["5", "94.29", "24.05", "77.91", "28.15"]
    clean, robust = (94.29 + 77.91) / 2, (24.05 + 28.15) / 2
    assert [entry.text for entry in block[1][1]][5:] == [f"{(clean + robust) / 2:.2f}", f"{clean - robust:.2f}"]
    assert "Its average and drop are computed from its figures on sst2, rte." in shown.notes
    assert all(entry.mark == "" for entry in block[1][1])


@pytest.mark.parametrize(
    ("model", "method", "average", "drop"),
    [
        ("roberta-base", "vanilla", 56.98, 64.41),
        ("roberta-base", "rose-ensemble", 65.02, 47.84),
        ("roberta-large", "freelb", 75.95, 33.53),
        ("roberta-large", "r-drop+rose-second", 74.91, 34.74),
    ],
)
def test_its_four_tasks_have_its_printed_average(model, method, average, drop):
    columns = [Column(task, name) for task in TASKS for name in ("clean", "advglue")]
    found = published(model, method, (*columns, AVERAGE, DROP), TASKS)
    assert (found[AVERAGE], found[DROP]) == (average, drop)
    # The paper's own arithmetic.
    values = [found[column] for column in columns]
    assert sum(values) / 8 == pytest.approx(average, abs=0.011)
    assert sum(values[::2]) / 4 - sum(values[1::2]) / 4 == pytest.approx(drop, abs=0.011)


def test_no_average_of_the_papers_where_it_has_not_all_figures():
    columns = [Column(task, name) for task in ("sst2", "mrpc") for name in ("clean", "advglue")]
    found = published("roberta-base", "vanilla", (*columns, AVERAGE, DROP), ("sst2", "mrpc"))
    assert [column.task for column in found] == ["sst2", "sst2"]


def test_a_file_beside_them_leaves_the_papers_average(tmp_path):
    for task in ("sst2", "rte"):
        write_scores(tmp_path / task, {"clean": 0.9, "advglue": 0.3, "file_mine": 0.1}, task=task)
    shown = table(find_runs(tmp_path), sets=("clean", "advglue", "file"), paper=True)
    assert {AVERAGE, DROP} < {*shown.printed["roberta-base", "vanilla"]}


def test_its_table_of_gamma(tmp_path):
    shown = table(gammas(tmp_path), "table3", paper=True)
    rows = [(name, [entry and entry.text for entry in entries]) for name, entries in shown.sheets[0].blocks[0]]
    assert rows[-1] == ("  the paper", [None, "59.35", "65.02"])


def test_its_models_are_matched_by_name_or_named(tmp_path):
    runs = write_methods(tmp_path, {"vanilla": 2}, model="org/tiny")
    with pytest.raises(RunError, match=r"no figures of tiny: name one of its models .* --paper roberta-base"):
        table(runs, paper=True)
    with pytest.raises(RunError, match="no figures of bert: it has roberta-base and roberta-large"):
        table(runs, paper="bert")
    shown = table(runs, paper="roberta-large")
    assert dict(shown.sheets[0].blocks[0])["  the paper"][1].text == "96.08"
    assert "Beside tiny stand its figures of roberta-large." in shown.notes


# --- the terminal -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 120, 200])
def test_no_figure_is_cut_at_any_width(runs, width):
    shown = table(runs)
    text = printed(shown, width)
    for sheet in shown.sheets:
        for block in sheet.blocks:
            for name, entries in block:
                pieces = {name.strip()} if width >= 40 else set()
                for entry in entries:
                    pieces |= set() if entry is None else {f"{entry.text}{entry.mark}", entry.spread}
                assert all(piece in text for piece in pieces)


def test_names_with_many_options_leave_room_for_the_figures(tmp_path):
    """At 80 columns it stays a table: a number stands for the options, and below it what they are."""
    found = []
    for rate in (1e-5, 2e-5):
        for decay in (0.1, 0.2):
            options = {"learning_rate": rate, "weight_decay": decay, "update_mask": "rose"}
            sets = {"clean": 0.9 + decay / 10, "advglue": 0.3}
            found += [write_scores(tmp_path / f"{rate}-{decay}-{s}", sets, options, seed=s) for s in (1, 2)]
    shown = table(found, baseline="none")
    text = printed(shown, 80)
    assert max(map(len, text.splitlines())) <= 80
    line = next(line for line in text.splitlines() if line.startswith("rose-ensemble #3"))
    assert line.split()[2:4] == ["2", "91.0"]
    assert [line for line in text.splitlines() if line.startswith("#3: ")] == [
        "#3: learning_rate=2e-05, weight_decay=0.1"
    ]
    assert "rose-ensemble (learning_rate=2e-05, weight_decay=0.1)" in printed(shown, 200)


def test_what_is_shown_is_no_markup(tmp_path):
    write_scores(tmp_path / "a", {"clean": 0.9}, task="[red]x[/red]")
    assert "[red]x[/red]" in printed(table(find_runs(tmp_path)))


# --- formats ------------------------------------------------------------------------------------------------------


def test_csv_holds_every_figure(runs):
    shown = table(runs, paper=True)
    lines = list(csv.DictReader(io.StringIO(table_text(shown, "csv"))))
    assert len(lines) == 5 * 6
    by_place = {(line["row"], line["task"], line["set"]): line for line in lines}
    for row in shown.found.rows:
        for column, cell in row.cells.items():
            line = by_place[row.group.name, column.task or "", column.set]
            assert float(line["mean"]) == pytest.approx(cell.mean, rel=1e-11)
            assert float(line["sd"]) == pytest.approx(cell.sd, rel=1e-11)
            if column in row.tests:
                assert float(line["p_holm"]) == pytest.approx(row.tests[column].p_holm, rel=1e-11)
    assert float(by_place["vanilla", "sst2", "advglue"]["paper"]) == pytest.approx(0.2405)
    assert by_place["static", "sst2", "advglue"]["paper"] == ""


def test_json_is_strict_and_has_the_options(runs):
    def refuse(name):
        raise AssertionError(name)

    found = json.loads(table_text(table(runs), "json"), parse_constant=refuse)
    assert len(found["figures"]) == 5 * 6
    assert found["rows"][2]["options"]["sst2"]["update_mask_kwargs.order"] == "first"
    assert len(found["rows"][2]["runs"]["rte"]) == 3
    assert found["baselines"] == {"roberta-base": "vanilla"}
    assert found["figures"][0]["p"] is None


def markdown_tables(text):
    """By a reader's rules: lines that begin with a pipe; a cell ends at a pipe that is not escaped."""
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in part.splitlines()] for part in tables]


def test_markdown_is_tables_of_one_width(runs):
    text = table_text(table(runs), "markdown")
    main, tests = markdown_tables(text)
    for part in (main, tests):
        assert len({len(line) for line in part}) == 1
        assert all(re.fullmatch(r":?-+:?", cell) for cell in part[1])
    assert [cell.strip() for cell in main[0]] == [
        *("", "seeds", "sst2 clean", "sst2 AdvGLUE", "rte clean", "rte AdvGLUE", "average", "drop")
    ]
    assert text.count("\n- ") == len(table(runs).notes)


def test_a_name_cannot_break_markdown(tmp_path):
    write_scores(tmp_path / "a", {"clean": 0.9}, task="a|b *c* <d>")
    (main,) = markdown_tables(table_text(table(find_runs(tmp_path)), "markdown"))
    assert main[0][2].strip() == r"a\|b \*c\* \<d\> clean"


def latex_cells(text):
    return [re.split(r"(?<!\\)&", line.removesuffix(r"\\")) for line in text.splitlines() if line.endswith(r"\\")]


def test_latex_is_balanced_and_of_one_width(tmp_path):
    write_methods(tmp_path, {"vanilla": 2, "r-drop": 2}, tasks=("my_task & 100%", "rte"), model="org/b_e#r~t^$")
    text = table_text(table(find_runs(tmp_path)), "latex")
    bare = re.sub(r"\\[{}]", "", text)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended) == ["table", "table", "tabular", "tabular"]
    assert r"my\_task \& 100\%" in text
    assert r"b\_e\#r\textasciitilde{}t\textasciicircum{}\$" in text
    assert not re.search(r"(?<!\\)[%#$_](?!\^|\\pm|\{)", re.sub(r"^%.*|\$\\pm\$|\$\^\{\*+\}\$|\$-\$", "", text))
    for part in re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, re.DOTALL):
        for line in latex_cells(part[1]):
            spans = sum(int(found[1]) if (found := re.search(r"\\multicolumn{(\d+)}", cell)) else 1 for cell in line)
            assert spans == len(part[0])
    for rule in ("toprule", "midrule", "bottomrule"):
        assert f"\\{rule}" in text


def test_latex_marks_as_the_paper_does(runs):
    shown = table(runs)
    bold = sum(
        entry is not None and entry.bold
        for sheet in shown.sheets
        for block in sheet.blocks
        for _, e in block
        for entry in e
    )
    assert bold > 0
    assert table_text(shown, "latex").count("\\textbf{") == bold


def test_the_ending_says_the_format(runs, tmp_path):
    shown = table(runs)
    for ending, form in ((".md", "markdown"), (".tex", "latex"), (".csv", "csv"), (".JSON", "json")):
        assert ending_format(f"a{ending}") == form
        write_table(tmp_path / f"a{ending}", shown)
        assert (tmp_path / f"a{ending}").read_text(encoding="utf-8") == table_text(shown, form)
    write_table(tmp_path / "plain", shown, "csv")
    assert (tmp_path / "plain").read_text().startswith("model,")
    with pytest.raises(RunError, match=r"a.pdf: the ending says the format, and is one of .md, .tex, .csv, .json"):
        write_table(tmp_path / "a.pdf", shown)
    assert {*FORMATS} == {"markdown", "latex", "csv", "json"}


def test_with_changed_labels_each_method_meets_vanilla_on_the_same_ones(tmp_path):
    """Runs as the plans of Match-Tuning make them: a rate chosen for each method and each variant of a task."""
    variants = {"sst2": {}, "sst2-rare": {"imbalance": 0.1}, "sst2-flipped": {"label_noise": 0.2}, "rte": {}}
    accuracy = {
        "vanilla": {"sst2": 0.90, "sst2-rare": 0.60, "sst2-flipped": 0.70, "rte": 0.65},
        "match-tuning": {"sst2": 0.91, "sst2-rare": 0.80, "sst2-flipped": 0.75, "rte": 0.66},
    }
    rates = iter([1e-4, 2e-4, 4e-4, 1e-4, 4e-4, 1e-4, 2e-4, 2e-4])
    runs = []
    for method, by_variant in accuracy.items():
        for name, value in by_variant.items():
            training = {"learning_rate": next(rates), **({} if method == "vanilla" else {"objective": "match_tuning"})}
            for seed in (1, 2, 3):
                runs.append(
                    write_scores(
                        tmp_path / method / name / f"{seed}",
                        {"clean": round(value + seed / 1000, 4)},
                        training,
                        seed=seed,
                        task=name.partition("-")[0],
                        max_train_samples=1600,
                        **variants[name],
                    )
                )
    shown = table(runs, sets=("clean",))
    main, tests = shown.sheets
    heads = [task for task, _ in main.heads if task]
    assert heads == ["sst2", "sst2 (imbalance=0.1)", "sst2 (label_noise=0.2)", "rte"]
    assert names(main)[0] == ["vanilla", "match-tuning"]
    differences = dict(zip(tests.heads, dict(tests.blocks[0])["match-tuning"], strict=True))
    gains = {"sst2": "+1.0", "sst2 (imbalance=0.1)": "+20.0", "sst2 (label_noise=0.2)": "+5.0", "rte": "+1.0"}
    assert {task: entry.text for (task, _), entry in differences.items() if task} == gains
    assert not any("not all rows were trained on the same data" in note for note in shown.notes)


def test_table3_corrects_over_the_tests_that_it_shows(tmp_path):
    shown = table(gammas(tmp_path), "table3")
    seen = [
        entry for sheet in shown.sheets[1:] for block in sheet.blocks for _, entries in block for entry in entries
        if entry is not None
    ]  # fmt: skip
    made = [tested for row in shown.found.rows for tested in row.tests.values()]
    assert len(made) == len(seen) == 6
    counted = [tested.p for tested in made if tested.p is not None]
    expected = holm(counted)
    assert [tested.p_holm for tested in made if tested.p is not None] == pytest.approx(expected)
    assert any(f"over the table's {len(counted)} t-tests" in note for note in shown.notes)


def test_the_legend_says_nothing_of_what_is_not_there(tmp_path):
    """No correction where no t-test was made, no word of AdvGLUE's sentences without AdvGLUE, no average of none."""
    for method, clean in (("vanilla", 0.8), ("r-drop", 0.9)):
        write_scores(tmp_path / method, {"clean": clean, "typos_1": clean / 2}, method)
    told = " ".join(table(find_runs(tmp_path), paper=True).notes)
    assert "No t-test against vanilla: it needs two seeds or more, and spread." in told
    assert "drop: clean minus robust, less is better." in told
    assert not any(word in told for word in ("AdvGLUE", "Holm", "p < 0.05"))
    told = " ".join(table(find_runs(tmp_path), sets=("clean",), paper=True).notes)
    assert "Its average and drop" not in told
    assert "drop: " not in told


def test_from_14_seeds_on_the_sign_flip_test_is_said_to_be_drawn(tmp_path):
    runs = [
        write_scores(tmp_path / method / f"{seed}", {"clean": round(base + seed / 500, 4)}, method, seed=seed)
        for method, base in (("vanilla", 0.8), ("rose-first", 0.85))
        for seed in range(1, 15)
    ]
    shown = table(runs)
    (row,) = [row for row in shown.found.rows if row.tests]
    # All gains are above zero; of the 9,999 random flips some may equal the observed signs.
    assert row.tests[Column("sst2", "clean")].p_sign_flip >= 1e-4
    told = " ".join(shown.notes)
    assert "exact up to 13 seeds and drawn at random from 14 on" in told
    assert "at least 0.0001 with 14 seeds" in told
