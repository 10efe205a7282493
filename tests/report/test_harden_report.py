"""What a hardening says: tables, verdicts in words, card and picture; of runs that nobody trained."""

import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from made_runs import outcomes, write_attack, write_json, write_run
from rosetune.report.harden import Hardened, print_hardened, steps_grid
from rosetune.report.harden_card import CARD, PICTURE, write_hardened
from rosetune.report.harden_figure import Level, draw_hardened

N = 200


def made(
    folder: Path,
    hardened: tuple[int, int, int] | None,
    plain: tuple[int, int, int] = (180, 100, 60),
    disguised: dict[str, int] | None = None,
) -> Hardened:
    """Of both runs how many rows are right: clean, with typing errors, under attack.

    Args:
        disguised: likewise under homoglyphs, by run; with it there is the plain model behind a normalisation.
    """
    for name, right in (("plain", plain), ("hardened", hardened)):
        if right is None:
            continue
        sets = {part: outcomes(n, N - n) for part, n in zip(("clean", "typos_1"), right, strict=False)}
        if disguised is not None:
            sets["homoglyphs@0.5"] = outcomes(disguised[name], N - disguised[name])
        run = write_run(folder / name, sets, {"seed": 1}, metrics=True)
        statuses = ["failed"] * right[2] + ["success"] * (right[0] - right[2]) + ["skipped"] * (N - right[0])
        write_attack(run, statuses, "deepwordbug", about={"max_share": 0.2, "text_column": "text"})
        write_json(folder / name / "timing.json", {"training_seconds": 60.0, "steps": 100})
    if disguised is not None:
        counts = {"clean": plain[0], "typos_1": plain[1], "homoglyphs@0.5": disguised["normalized"]}
        sets = {part: outcomes(n, N - n) for part, n in counts.items()}
        write_run(folder / "normalized", sets, config={"given": True, "normalize": ["nfkc"]}, metrics=True)
    trial = {"clean": 0.9, "noise": 0.8, "attack": 0.4, "score": 0.75, "steps": 80, "seconds": 40.0, "queries": 1000}
    taken = hardened is not None
    found: dict[str, Any] = {
        "folder": str(folder),
        "plain": "plain",
        "hardened": "hardened" if taken else "plain",
        "chosen": {
            "trial": "round-1" if taken else "none",
            "augmentation": "none",
            "rows": 7 if taken else 0,
            "alpha": None,
        },
        "held_out": 320,
        "trials": [
            {**trial, "name": "none", "rows": 0, "taken": True, "why": ""},
            {**trial, "name": "round-1", "rows": 7, "taken": taken, "why": "+2.0 points of score over none"},
        ],
        "rounds": [{"round": 1, "queries": 500}],
        "stopped": "one round was asked for",
        "attacks": ["deepwordbug"],
        "max_share": 0.2,
        "normalized": None if disguised is None else "normalized",
    }
    return Hardened(found)


def printed(result: Hardened) -> str:
    said = io.StringIO()
    print_hardened(Console(file=said, width=200, highlight=False, emoji=False), result)
    return " ".join(said.getvalue().split())


def test_a_gain_is_told_with_what_it_cost(tmp_path: Path) -> None:
    result = made(tmp_path / "h", (180, 150, 130))
    said = printed(result)
    assert "The hardened model is better: typing errors 1 (+25.0 points), under deepwordbug (+35.0 points)." in said
    assert "The hardened model is not shown to be better or worse: clean (+0.0 points)." in said
    assert "the plain model 100 steps in 60 s, the hardened model 100 steps in 60 s" in said
    queries = sum(r["queries"] for run in (result.plain, result.hardened) for _, p in run.attacks.values() for r in p)
    assert f"4 trainings took 200 s in all, and attacks asked the models about {queries + 2500:,} texts" in said
    assert "round 1: taken, +2.0 points of score over none. The rounds ended: one round was asked for. " in said
    assert "What is kept has no augmentation, 7 adversarial rows." in said
    assert "change at most 20% of a text's words" in said
    assert f"rosetune predict {result.hardened.folder}" in said
    # The whole way to the gate: the next run is attacked as this one was.
    attack = "rosetune attack NEXT_RUN --attack deepwordbug --examples 200 --budget 100 --max_share 0.2"
    assert f"`{attack}`, `rosetune gate NEXT_RUN --baseline {result.hardened.folder}`" in said


def test_a_loss_is_said_and_a_choice_that_did_not_hold(tmp_path: Path) -> None:
    said = printed(made(tmp_path / "h", (140, 100, 60)))
    assert "The hardened model is worse: clean (-20.0 points)." in said
    assert f"The choice was made on held-out rows, and stands: {tmp_path / 'h' / 'hardened'}. " in said
    assert f"it is not shown to gain; the plain model, in {tmp_path / 'h' / 'plain'}, costs less." in said


def test_rows_that_an_attack_could_not_change_are_counted(tmp_path: Path) -> None:
    """Of the rows that withstood, 5 had nothing to change and 7 used up the budget."""
    result = made(tmp_path / "h", (180, 150, 130))
    _, rows = next(iter(result.hardened.attacks.values()))
    withstood = [row for row in rows if row["status"] == "failed"]
    for i, row in enumerate(withstood):
        row["queries"] = 1 if i < 5 else 100 if i < 12 else 9
    said = printed(result)
    told = "of 130 rows that withstood, 5 had no word to change and 7 used up the budget, which says nothing of it."
    assert f"Hardened model, under deepwordbug: {told}" in said


def test_where_nothing_gained_the_plain_model_is_kept(tmp_path: Path) -> None:
    result = made(tmp_path / "h", None)
    said = printed(result)
    assert "Nothing gained on the held-out rows: the plain model is as good as all that was tried" in said
    assert "The hardened model" not in said
    assert "rosetune compare" not in said
    assert f"rosetune predict {result.plain.folder}" in said
    text = write_hardened(result)[0].read_text(encoding="utf-8")
    assert r"| clean | 200 | 90.0 \[" in text
    assert "hardened %" not in text


DISGUISED = {"plain": 100, "hardened": 130, "normalized": 180}


def test_a_normalisation_that_wins_is_named_with_what_it_wins(tmp_path: Path) -> None:
    """100 rows of 200 are right under look-alike letters, 130 of the hardened model, 180 behind the normalisation."""
    pytest.importorskip("matplotlib")
    result = made(tmp_path / "h", (180, 150, 130), disguised=DISGUISED)
    said = printed(result)
    assert "no training) the plain model is better: homoglyphs 0.5 (+40.0 points)." in said
    assert "It is better than the hardened model: homoglyphs 0.5 (+25.0 points)." in said
    assert f"--model_name_or_path {result.hardened.folder} --task my.csv --normalize all`" in said
    assert f"rosetune compare {result.plain.folder} {result.hardened.folder} --controls normalize=" in said
    assert " homoglyphs 0.5 200 50.0 90.0 65.0 +15.0 " in said
    assert " under deepwordbug 200 30.0 - 65.0 +35.0 " in said
    card, picture = (path.read_text(encoding="utf-8") for path in write_hardened(result))
    assert r"| homoglyphs 0.5 | 200 | 50.0 \[" in card
    assert "| set | n | plain % | normalised % | hardened % | gain |" in card
    assert ">normalised<" in picture
    assert ">accuracy, homoglyphs 0.5 (%)<" in picture


def test_a_normalisation_that_gains_nothing_and_one_without_a_hardened_model(tmp_path: Path) -> None:
    none = printed(made(tmp_path / "none", (180, 150, 130), disguised={**DISGUISED, "normalized": 100}))
    assert "the plain model gains nothing. Cost:" in none
    assert "put the model that is kept behind it" not in none
    alone = made(tmp_path / "alone", None, disguised=DISGUISED)
    said = printed(alone)
    assert "the plain model is better: homoglyphs 0.5 (+40.0 points). A normalisation goes with any training" in said
    assert f"--model_name_or_path {alone.plain.folder} " in said
    assert "than the hardened model" not in said


def test_a_worse_normalisation_says_so(tmp_path: Path) -> None:
    said = printed(made(tmp_path / "h", (180, 150, 130), disguised={**DISGUISED, "normalized": 60}))
    assert "gains nothing, and is worse: homoglyphs 0.5 (-20.0 points)." in said


def test_noises_at_several_strengths_are_a_curve_and_not_in_the_table(tmp_path: Path) -> None:
    result = made(tmp_path / "h", (180, 150, 130), disguised=DISGUISED)
    assert "homoglyphs@0.5" in result.shown
    assert result.unshown() == []


def test_card_and_picture_say_the_same_and_are_the_same_again(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = made(tmp_path / "h", (180, 150, 130))
    assert [path.name for path in write_hardened(result)] == [CARD, PICTURE]
    card, picture = ((tmp_path / "h" / name).read_text(encoding="utf-8") for name in (CARD, PICTURE))
    assert f"]({PICTURE})" in card
    assert r"| under deepwordbug | 200 | 30.0 \[" in card
    for words in (
        "clean accuracy (%)",
        "accuracy, under deepwordbug (%)",
        "accuracy, typing errors 1 (%)",
        "hardened",
    ):
        assert f">{words}<" in picture
    write_hardened(result)
    assert (tmp_path / "h" / PICTURE).read_text(encoding="utf-8") == picture


def test_an_attack_on_one_class_is_called_so(tmp_path: Path) -> None:
    result = made(tmp_path / "h", (180, 150, 130))
    for run in (result.plain, result.hardened):
        run.attacks["deepwordbug"][0]["attack_class"] = "good"
    assert "under deepwordbug on good (+35.0 points)" in printed(result)
    assert r"| under deepwordbug on good | 200 | 30.0 \[" in write_hardened(result)[0].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("plain", "hardened", "across", "up"),
    [
        ((0.95, 0.94), (0.96, 0.95), (90, 100), (90, 100)),
        ((0.995, 0.03), (0.99, 0.002), (90, 100), (0, 10)),
        ((0.9, 0.3), (0.9, 0.82), (85, 95), (25, 85)),
    ],
)
def test_axes_of_the_picture_span_ten_points_and_hold_all_intervals(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plain: tuple[float, float],
    hardened: tuple[float, float],
    across: tuple[int, int],
    up: tuple[int, int],
) -> None:
    """Two panels: on typing errors as given, on the other set as on the first but for the plain model."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    figure, half = Figure(), 0.02
    monkeypatch.setattr("rosetune.report.harden_figure.drawing", lambda path: nullcontext(figure))

    def level(value: float) -> Level:
        return Level(100, value, max(0.0, value - half), min(1.0, value + half))

    levels = {
        side: {"clean": level(clean), "typos_1": level(robust), "typos_2": level(hardened[1])}
        for side, (clean, robust) in (("plain", plain), ("hardened", hardened))
    }
    long = "under benign_append on spam (budget=300, max_share=0.2)"
    draw_hardened(levels, {"clean": "clean", "typos_1": "typing 1", "typos_2": long}, tmp_path / "x.svg")
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 2
    for axes in panels:
        assert axes.get_xlim() == across
        assert axes.get_ylim() == up
        assert max(map(len, axes.get_ylabel().splitlines())) <= 36
    assert " ".join(panels[1].get_ylabel().split()) == f"accuracy, {long} (%)"


def test_without_matplotlib_there_is_a_card_and_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rosetune.report.harden_card.find_spec", lambda name: None)
    (card,) = write_hardened(made(tmp_path / "h", (180, 150, 130)))
    assert PICTURE not in card.read_text(encoding="utf-8")


def test_the_steps_add_up() -> None:
    grid = steps_grid("folder", [("plain run", 60.0), ("attacks", 30.0)])
    assert grid.rows[-1] == ("all", "2 min")
