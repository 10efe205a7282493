"""What attacks are called in tables, and what is said of those that are not finished or count more than once."""

import json

import pytest

from many_runs import write_scores
from rosetune.report.paper import table
from rosetune.runs.run import Run
from rosetune.runs.titles import attack_titles, titles_of


def attacked(folder, *attacks, seed=1):
    """A run under attacks: of each its file, its budget, more of its recipe, and the number of rows that are done."""
    run = write_scores(folder, {"clean": 0.9}, seed=seed)
    (folder / "attacks").mkdir()
    for name, budget, about, done in attacks:
        lines = [{"attack": {"name": "deepwordbug", **about}, "budget": budget, "seed": 0, "column": 0, "model": "x"}]
        lines += [{"id": str(i), "status": "failed" if i else "success", "gold": 0} for i in range(done)]
        file = folder / "attacks" / f"{name}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        described = {"recipe": "deepwordbug", "set": "clean", "rows": 4, "text_column": "text", "synonyms": None}
        file.with_suffix(".json").write_text(json.dumps(described))
    return Run.open(run.folder)


TWO = (("deepwordbug-0513778b", 300, {}, 4), ("deepwordbug-841146c9", 150, {}, 4))
NAMES = ("attack:deepwordbug-0513778b", "attack:deepwordbug-841146c9")


def test_an_attack_alone_is_called_by_its_recipe(tmp_path):
    run = attacked(tmp_path / "a", TWO[0])
    assert attack_titles([run], NAMES) == {NAMES[0]: "under deepwordbug"}
    assert titles_of([run], ["clean", NAMES[0], "attack:absent"]) == {
        "clean": "clean",
        NAMES[0]: "under deepwordbug",
        "attack:absent": "under absent",
    }


def test_attacks_of_one_recipe_are_told_apart_by_what_differs(tmp_path):
    runs = [attacked(tmp_path / "a", TWO[0]), attacked(tmp_path / "b", TWO[1])]
    assert attack_titles(runs, NAMES) == {
        NAMES[0]: "under deepwordbug (budget=300)",
        NAMES[1]: "under deepwordbug (budget=150)",
    }


def test_where_the_headers_say_nothing_the_hash_does(tmp_path):
    """Other synonyms are another recipe, of which nothing short can be said."""
    files = [("deepwordbug", None, {}, 4), ("deepwordbug-aaaaaaaa", None, {"words": [1]}, 4)]
    titles = attack_titles([attacked(tmp_path / "a", *files)], ["attack:deepwordbug", "attack:deepwordbug-aaaaaaaa"])
    assert [*titles.values()] == ["under deepwordbug (defaults)", "under deepwordbug (aaaaaaaa)"]


def test_columns_tell_apart_what_nothing_else_does(tmp_path):
    """Those of two tasks differ anyway."""
    pair = [attacked(tmp_path / name, TWO[i]) for i, name in enumerate("ab")]
    about = pair[1].folder / "attacks" / f"{TWO[1][0]}.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"text_column": "hypothesis"}))
    titles = [*attack_titles([Run(run.folder) for run in pair], NAMES).values()]
    assert titles == ["under deepwordbug (budget=300)", "under deepwordbug (budget=150)"]
    lines = (pair[1].folder / "attacks" / f"{TWO[1][0]}.jsonl").read_text()
    (pair[1].folder / "attacks" / f"{TWO[1][0]}.jsonl").write_text(lines.replace('"budget": 150', '"budget": 300'))
    titles = [*attack_titles([Run(run.folder) for run in pair], NAMES).values()]
    assert titles == ["under deepwordbug (text_column=text)", "under deepwordbug (text_column=hypothesis)"]


def test_heads_of_a_table_have_the_titles(tmp_path):
    run = attacked(tmp_path / "a", *TWO)
    heads = table([run], sets=("clean", "attack")).sheets[0].heads
    assert [head for task, head in heads if task] == [
        "clean",
        "under deepwordbug (budget=300)",
        "under deepwordbug (budget=150)",
    ]
    assert [head for _, head in table([run], sets=("clean", NAMES[1])).sheets[0].heads][:3] == [
        "seeds",
        "clean",
        "under deepwordbug",
    ]


def test_two_attacks_of_one_recipe_count_twice_and_it_is_said(tmp_path):
    run = attacked(tmp_path / "a", *TWO)
    said = "Average and drop count deepwordbug on sst2 2 times"
    (note,) = [note for note in table([run], sets=("clean", "attack")).notes if said in note]
    assert note.endswith(f"--sets, such as {NAMES[0]}.")
    assert said not in str(table([run], sets=("clean", NAMES[1])).notes)


@pytest.mark.parametrize("done", [0, 3])
def test_an_attack_that_is_not_finished_is_named(tmp_path, done):
    run = attacked(tmp_path / "a", ("deepwordbug", 300, {}, 4), ("deepwordbug-half", 150, {}, done))
    shown = table([run], sets=("clean", "attack"))
    assert [column.set for column in shown.found.columns if column.task] == ["clean", "attack:deepwordbug"]
    (note,) = [note for note in shown.notes if "deepwordbug-half" in note]
    assert note == (
        f"{tmp_path / 'a'}: the attack deepwordbug-half is left out, since {done} of 4 rows are done: give its "
        "`rosetune attack` again, which goes on."
    )
    assert "deepwordbug-half" not in str(table([run], sets=("clean",)).notes)
