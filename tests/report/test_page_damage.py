"""What the page says of figures that are damaged, unfinished or not there for all seeds; and its titles and order."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from made_runs import ROSE, outcomes, write_attack, write_json, write_run
from many_runs import write_scores
from rosetune.report.html.page import write_report
from rosetune.runs.run import Run, RunError

SETS = {"clean": outcomes(8, 2), "typos_1": outcomes(6, 4)}


def page(home: Path) -> tuple[str, list[str]]:
    said: list[str] = []
    return write_report([str(home)], home.parent / "page.html", report=said.append).read_text(), said


def spoil(run: Run, name: str, **figures: Any) -> None:
    path = run.folder / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["sets"][name] |= figures
    path.write_text(json.dumps(metrics))


@pytest.mark.parametrize(
    ("name", "figures", "told"),
    [
        (
            "clean",
            {"accuracy": "0.8"},
            "accuracy on clean is '0.8' in metrics.json: evaluate again: `rosetune evaluate",
        ),
        ("clean", {"accuracy": float("nan")}, "accuracy on clean is nan in metrics.json: evaluate again"),
        ("typos_1", {"accuracy": 1.5}, "accuracy on typos_1 is 1.5 in metrics.json"),
        ("typos_1", {"accuracy": None}, "accuracy on typos_1 is missing in metrics.json: evaluate again"),
        ("clean", {"low": "0.1"}, "low on clean is '0.1' in metrics.json"),
        ("clean", {"high": True}, "high on clean is True in metrics.json"),
        ("clean", {"n": 0}, "metrics.json is damaged at clean: evaluate again"),
        ("clean", {"constant": {"accuracy": []}}, "accuracy on clean is [] in metrics.json"),
        ("clean", {"constant": 0.5}, "metrics.json is damaged at clean"),
    ],
)
def test_a_bad_number_leaves_its_run_out(tmp_path: Path, name: str, figures: dict[str, Any], told: str) -> None:
    home = tmp_path / "runs"
    write_run(home / "good", SETS, {"seed": 1}, metrics=True)
    bad = write_run(home / "bad", SETS, {"seed": 2}, metrics=True)
    spoil(bad, name, **figures)
    text, said = page(home)
    (line,) = said
    assert line.startswith(f"{bad} is left out: ")
    assert told in line
    assert "1 run of 1 task" in text
    spoil(Run(home / "good"), name, **figures)
    with pytest.raises(RunError, match="none of 2 runs can be read"):
        page(home)


def test_a_bad_number_of_advglue_leaves_its_run_out(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    write_run(home / "good", SETS, {"seed": 1}, metrics=True)
    bad = write_run(home / "bad", SETS, {"seed": 2}, metrics=True)
    kinds = {"by_kind": {"word": {"adversarial": {"n": 3, "accuracy": "0.3"}}}, "by_method": {}}
    path = bad.folder / "metrics.json"
    write_json(path, json.loads(path.read_text()) | {"advglue": {"sets": {"advglue": kinds}}})
    _, said = page(home)
    assert [line.partition(": evaluate")[0] for line in said] == [
        f"{bad} is left out: accuracy on advglue is '0.3' in metrics.json"
    ]


def test_an_unfinished_attack_is_named(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    run = write_run(home / "a", SETS, {"seed": 1}, metrics=True)
    write_attack(run, ["success", "failed"], rows=5)
    text, said = page(home)
    again = "give its `rosetune attack` again, which goes on"
    assert said == [f"{run}: the attack pwws is left out, since 2 of 5 rows are done: {again}"]
    assert "the attack pwws is left out" in text


def test_a_set_that_a_seed_lacks_is_named(tmp_path: Path) -> None:
    """It has no mean, though the other seed has a figure."""
    home = tmp_path / "runs"
    curve = {f"ocr@{strength}": outcomes(5, 5) for strength in (0.1, 0.2, 0.3)}
    write_run(home / "1", SETS | curve, {"seed": 1}, metrics=True)
    write_run(home / "2", {"clean": SETS["clean"]}, {"seed": 2}, metrics=True)
    text, said = page(home)
    assert said == [f"vanilla on my has no mean of typing errors 1, the noise curve, which {home / '2'} lacks"]
    assert "vanilla on my has no mean of typing errors 1" in text


def test_attacks_of_one_recipe_are_told_apart(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    run = write_run(home / "a", SETS, {"seed": 1}, metrics=True)
    write_attack(run, ["success", "failed"], "pwws-0513778b", budget=300, about={"recipe": "pwws"})
    text, said = page(home)
    assert said == []
    assert "under pwws<" in text
    assert "0513778b" not in re.sub(r"<td.*?</td>", "", text)
    write_attack(run, ["success", "failed"], "pwws-841146c9", budget=150, about={"recipe": "pwws"})
    text, _ = page(home)
    for title in ("under pwws (budget=300)", "under pwws (budget=150)"):
        assert title in text
    assert '"attacks":["pwws (budget=300)","pwws (budget=150)"]' in text


def test_what_two_unlike_p_are_is_said(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    for seed in (1, 2, 3):
        write_run(home / f"a{seed}", {"clean": outcomes(7 + seed % 2, 3)}, {"seed": seed}, metrics=True)
        write_run(home / f"b{seed}", {"clean": outcomes(8, 2 + seed % 2)}, {**ROSE, "seed": seed}, metrics=True)
    text, _ = page(home)
    assert "one-tailed p of t-test / Holm / sign-flip" in text
    assert "p is two-sided here: of one pair that of a test over its examples, of several that of a t-test" in text


def test_a_last_line_is_none_of_progress(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    write_run(home / "a", SETS, {"seed": 1}, metrics=True)
    (home / "logs").mkdir()
    lines = ["--- folder runs/x/seed-1-0123456789ab", "rte: 2,000 rows", "step 5/156, 00:20 gone, 10:00 left"]
    (home / "logs" / "rte-vanilla-seed-1-0123456789ab.log").write_text("\n".join(lines))
    (home / "logs" / "rte-rose-seed-1-ba9876543210.log").write_text("evaluating clean: 1/9, 00:20 gone, 00:17 left\n")
    _, said = page(home)
    assert sorted(line.partition(" (")[0] for line in said) == [
        "rte-rose-seed-1-ba9876543210 left nothing but its log; it said nothing",
        "rte-vanilla-seed-1-0123456789ab left nothing but its log; its last line: rte: 2,000 rows",
    ]


@pytest.mark.parametrize("file", ["metrics.json", "run.json", "config.yaml"])
def test_a_damaged_run_of_a_sweep_is_left_out_and_has_not_left_its_log_alone(tmp_path: Path, file: str) -> None:
    home = tmp_path / "runs"
    write_run(home / "my" / "vanilla" / "seed-2-0123456789ab", SETS, {"seed": 2}, metrics=True)
    bad = write_run(home / "my" / "vanilla" / "seed-1-ba9876543210", SETS, {"seed": 1}, metrics=True)
    damaged = (bad.folder / file).read_text()
    (bad.folder / file).write_text(damaged[: len(damaged) // 2] + "{")
    (home / "logs").mkdir()
    (home / "logs" / "my-vanilla-seed-1-ba9876543210.log").write_text(
        "--- folder x/seed-1-ba9876543210\nall went well\n"
    )
    _, (said,) = page(home)
    assert said.startswith(f"{bad} is left out: ")


def alike(home: Path) -> str:
    """Three seeds of two methods, each with the same accuracy for every seed."""
    for seed in (1, 2, 3):
        write_run(home / f"a{seed}", SETS, {"seed": seed}, metrics=True)
        write_run(home / f"b{seed}", {**SETS, "clean": outcomes(9, 1)}, {**ROSE, "seed": seed}, metrics=True)
    return page(home)[0]


def test_seeds_that_are_all_alike_have_no_interval_rather_than_one_without_width(tmp_path: Path) -> None:
    text = alike(tmp_path / "runs")
    assert '80.0<br><span class="dim">[-]</span><br><span class="dim">sd 0.0</span>' in text
    assert not re.search(r"\[([\d.]+), ?\1\]", text)
    assert "nan" not in text.lower()
    assert "clean 80.0 [no interval], typing errors 1 60.0 [no interval]" in text
    assert 'class="e"' not in text  # no bar
    for told in ("there is no interval, [-], and no p", "without a bar where all seeds have the same score"):
        assert told in text
    assert "p -" in text
    assert "p -: there is no test, since all pairs of seeds differ by the same" in text


def test_no_mark_hides_another_of_the_same_figures(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    for name, training in (("a", {}), ("b", ROSE), ("c", {"objective": "r_drop"})):
        write_run(home / name, SETS if name != "c" else {**SETS, "clean": outcomes(9, 1)}, training, metrics=True)
    text, _ = page(home)
    chart = text.partition("typing errors 1 against clean accuracy")[2].partition("</figure>")[0]
    marks = re.findall(r'class="m" transform="translate\(([^)]*)\)(?:scale\(([^)]*)\))?"', chart)
    (lower,) = [(at, scale) for at, scale in marks if scale]
    assert float(lower[1]) > 1
    assert [at for at, _ in marks].count(lower[0]) == 2  # the other lies upon it, and is smaller
    assert len(marks) == 3


def test_the_columns_of_attacks_are_explained_where_there_are_attacks(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    run = write_run(home / "a", SETS, metrics=True)
    assert "accuracy on the rows that were attacked" not in page(home)[0]
    write_attack(run, ["failed", "success"], "pwws")
    assert "accuracy on the rows that were attacked" in page(home)[0]


def test_the_list_of_all_runs_has_a_heading_of_its_own(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    for task in ("one", "two"):
        write_run(home / task, SETS, task=task, metrics=True)
    assert "<h3>All runs and their folders</h3>" in page(home)[0]


def test_one_run_keeps_the_interval_over_its_rows(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    write_run(home / "a", {"clean": outcomes(10), "typos_1": outcomes(6, 4)}, metrics=True)
    text, _ = page(home)
    assert '100.0<br><span class="dim">[69.2,100.0]</span>' in text  # Clopper-Pearson: 0.025 ** (1 / 10)


def test_tasks_stand_in_one_order(tmp_path: Path) -> None:
    """Rosetune's own first, as in every table, whatever the names of the folders."""
    home = tmp_path / "runs"
    for i, task in enumerate(("zoo", "rte", "sst2")):
        run = write_scores(home / f"{i}", {"clean": 0.9, "advglue": 0.4}, task=task, model="m")
        for name in ("clean", "advglue"):
            (run.folder / "predictions").mkdir(exist_ok=True)
            (run.folder / "predictions" / f"{name}.jsonl").write_text("")
    text, said = page(home)
    assert said == []
    assert re.findall(r"<span>(\w+): accuracy in %", text) == ["sst2", "rte", "zoo"]
    heads = re.findall(r"<th scope=\"col\">(\w+)<br>clean</th>", text)
    assert heads == ["sst2", "rte", "zoo"]
