"""Attacks by the number of changed words, of two runs."""

from pathlib import Path

from made_runs import ROSE, outcomes, write_attack, write_run
from rosetune.report.attacks import words_differences_grid
from rosetune.report.compare import compared_as_json
from rosetune.runs.run import Run


def test_two_runs_under_one_attack_at_each_number_of_words(tmp_path: Path) -> None:
    """Every success changes one of four words: more than a fifth of them."""
    runs = []
    for name, training, statuses in (
        ("a", {}, ["failed"] * 2 + ["success"] * 7 + ["skipped"]),
        ("b", ROSE, ["failed"] * 6 + ["success"] * 3 + ["skipped"]),
    ):
        run = write_run(tmp_path / name, {"clean": outcomes(9, 1)}, training, metrics=True)
        write_attack(run, statuses, "deepwordbug")
        runs.append([Run.open(run.folder)])
    a, b = runs
    found = compared_as_json(a, b, {})["at_most_words"]["attack:deepwordbug"]
    assert {limit: (round(d["a"]["value"], 3), round(d["b"]["value"], 3)) for limit, d in found.items()} == {
        **dict.fromkeys(("1", "2", "3"), (0.2, 0.6)),
        **dict.fromkeys(("10%", "20%"), (0.9, 0.9)),
    }
    assert found["1"]["only_b"] == 4
    grid = words_differences_grid(a, b, {"attack:deepwordbug": "deepwordbug"})
    assert [row[:3] for row in grid.rows if row is not None] == [
        ("deepwordbug", "", ""),
        *((f"  {said}", "20.0", "60.0") for said in ("1 word", "2 words", "3 words")),
        *((f"  {said}", "90.0", "90.0") for said in ("10% of words", "20% of words")),
    ]
