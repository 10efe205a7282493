"""``rosetune harden``: words in, tables, a card and a picture; mistakes in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import one_line
from rosetune.data import embedded
from tiny_run import Library


def words(library: Library, folder: Path, *more: Any) -> list[Any]:
    given = ["harden", "--task", library.home / "my.csv", "--model_name_or_path", library.home / "model"]
    given += ["--output-dir", folder, "--max_steps", 2, "--per_device_train_batch_size", 8, "--sets", "clean"]
    return [
        *given,
        "--candidates",
        "none",
        "--alphas",
        "none",
        "--examples",
        3,
        "--judge_examples",
        3,
        "--budget",
        20,
        *more,
    ]


def test_a_hardening_in_which_nothing_is_tried(rosetune: Any, library: Library, tmp_path: Path) -> None:
    asked = words(library, tmp_path / "h", "--rounds", 0)
    code, out, err = rosetune(*asked, "--dry_run")
    assert code == 0, err
    assert "plain run on 96 rows" in out
    assert not (tmp_path / "h").exists()
    code, out, err = rosetune(*asked)
    assert code == 0, err
    assert "[1/3, " in err
    assert "Nothing gained on the held-out rows" in " ".join(out.split())
    assert (tmp_path / "h" / "card.md").is_file()
    code, out, err = rosetune(*asked, "--json")
    assert code == 0, err
    assert err == f"{tmp_path / 'h'} is finished; nothing to do\n"
    assert json.loads(out)["hardened"] == "plain"
    one_line(
        rosetune(*words(library, tmp_path / "h", "--rounds", 1)),
        "holds another hardening (rounds: 0 there, 1 here): choose another --output_dir, or delete that folder",
    )


def test_a_model_that_cannot_be_loaded_claims_no_folder(
    rosetune: Any, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the corrected command, with another option, is not refused."""
    (tmp_path / "empty").mkdir()
    asked = words(library, tmp_path / "h", "--rounds", 0)
    one_line(rosetune(*asked, "--model_name_or_path", tmp_path / "empty"), f"cannot load '{tmp_path / 'empty'}'")
    assert not (tmp_path / "h").exists()
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)  # as without the package of the embedded model
    embedded.embedded_model_path.cache_clear()
    one_line(rosetune(*asked, "--model_name_or_path", "demo"), 'pip install "rosetune[demo]"')
    assert not (tmp_path / "h").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--candidates", "noize"], "did you mean noise?"),
        (["--attack", "deepwordbugs"], "did you mean deepwordbug?"),
        (["--attack_class", "god"], "there is no label 'god' for --attack_class: did you mean good?"),
        (["--rounds", "9"], "--rounds must lie between 0 and 5"),
        (["--max_share", "2"], "--max_share must lie in (0, 1]"),
        (["--task", "nowhere.csv"], "there is no file or folder nowhere.csv"),
        (["--seed", "1,2"], "a hardening has one seed, not '1,2'"),
        (["--seed=1,2"], "a hardening has one seed, not '1,2'"),
        (["--lerning_rate", "1"], "did you mean --learning_rate?"),
        (["--held_out", "3"], "3 held-out rows of"),
        (["--augmentation", "noise"], "leave out --augmentation"),
    ],
)
def test_a_mistake_is_one_line(rosetune: Any, library: Library, tmp_path: Path, more: list[str], message: str) -> None:
    one_line(rosetune(*words(library, tmp_path / "h"), *more), message)
    assert not (tmp_path / "h").exists()


def test_the_end_meets_disguises_unless_sets_are_named(rosetune: Any, library: Library, tmp_path: Path) -> None:
    disguises = ["homoglyphs@0.5", "leetspeak@0.5", "spaced_letters@0.5"]
    asked = words(library, tmp_path / "h", "--rounds", 0)
    place = asked.index("--sets")
    code, out, err = rosetune(*asked[:place], *asked[place + 2 :])
    assert code == 0, err
    there = {path.stem for path in (tmp_path / "h" / "plain" / "predictions").glob("*@*.jsonl")}
    assert there == {*disguises}
    assert {path.stem for path in (tmp_path / "h" / "normalized" / "predictions").glob("*@*.jsonl")} == there
    assert "Behind a normalisation (--normalize all, no training) the plain model" in " ".join(out.split())
    (tmp_path / "options.yaml").write_text("sets: [clean]\n", encoding="utf-8")
    asked = words(library, tmp_path / "other", "--rounds", 0, "--config", tmp_path / "options.yaml")
    code, out, err = rosetune(*asked[:place], *asked[place + 2 :])
    assert code == 0, err
    assert not (tmp_path / "other" / "normalized").exists()


def test_no_argument_of_the_trainer_is_needed(rosetune: Any, tmp_path: Path) -> None:
    """It is the data that is missing here."""
    one_line(rosetune("harden", "--task", tmp_path / "no.csv", "--model_name_or_path", "demo"), "there is no file")


def test_the_help_names_what_the_embedded_model_needs(rosetune: Any) -> None:
    code, out, _ = rosetune("harden", "--help")
    assert code == 0
    assert "demo for the embedded MiniLM (pip install 'rosetune[demo]')" in " ".join(out.split())
