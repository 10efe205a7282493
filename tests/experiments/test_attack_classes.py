"""Attacks on one class of a run's rows, and with words of its training texts, from the command to every table."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import rosetune as package
from command_line import one_line
from rosetune.data.rows import make_dataset, make_task_data
from rosetune.experiments.attack import is_attacked
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.attack_parts import file_name
from rosetune.experiments.targets import Target
from rosetune.report.controls import not_attacked, results_grid
from rosetune.robustness.attacks.additions import benign_words
from rosetune.runs.attacked import attack_title, usual_label
from rosetune.runs.compare import not_compared
from rosetune.runs.computed import computed_controls
from rosetune.runs.run import Run, RunError
from tiny_run import Library

ATTACKS = "benign_append,disguises"
NAME = "attack:benign_append-bad-"


@pytest.fixture
def pair(library: Library, tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of one task that tell good from bad."""
    other = library.run("learned_again", {"max_steps": 40, "learning_rate": 5e-3, "save_steps": 40, "seed": 2})
    return library.copy(library.learned(), tmp_path / "one"), library.copy(other, tmp_path / "two")


def test_one_class_from_the_command_to_every_table(pair: tuple[Path, Path], rosetune: Any, tmp_path: Path) -> None:
    """Counted by hand from the predictions: of the clean set's bad rows, and of no other."""
    words = ("--attack", ATTACKS, "--attack_class", "bad", "--examples", "all", "--budget", 200)
    code, out, err = rosetune("attack", *pair, *words, "--json")
    assert code == 0, err
    printed = json.loads(out)
    assert printed["attack_class"] == "bad"
    runs = [Run.open(folder) for folder in pair]
    for run in runs:
        clean = run.rows("clean")
        bad = {row["id"] for row in clean if row["gold"] == "bad"}
        right = {row["id"] for row in clean if row["gold"] == row["prediction"] == "bad"}
        assert 0 < len(bad) < len(clean)
        assert f"{run}: {len(clean) - len(bad)} of {len(clean)} rows are of other classes: not attacked" in err
        for attack in ATTACKS.split(","):
            figures = printed["runs"][str(run)][attack]
            assert (figures["n"], figures["attacked"]) == (len(bad), len(right))
            assert figures["not_attacked"] == len(clean) - len(bad)
            assert figures["by_class"]["bad"]["succeeded"] == figures["succeeded"]
            [stem] = [name for name in run.attacks if name.startswith(f"{attack}-bad-")]
            header, results = run.attacks[stem]
            assert {result["id"] for result in results} == bad
            assert (header["attack_class"], header["not_attacked"]) == ("bad", len(clean) - len(bad))
            assert attack_title(header) == f"{attack} on bad"
            assert usual_label(run, f"attack:{stem}") in (0, 1)
    assert printed["runs"][str(runs[0])]["benign_append"]["succeeded"] > 0
    cell = printed["transfer"]["benign_append"][str(pair[0])][str(pair[1])]
    assert 0 <= cell["fooled"]["value"] <= 1
    # What comes of it is read everywhere.
    code, again, err = rosetune("attack", *pair, *words)
    assert "rows of bad only" in " ".join(again.split())
    assert "were not attacked, and are not in these figures" in " ".join(again.split())
    assert "Nobody has judged that it still means what it did" in " ".join(again.split())
    assert "benign_append was done before" in err
    code, out, err = rosetune("compare", *pair)
    assert code == 0, err
    assert "under benign_append on bad" in " ".join(out.split())
    assert rosetune("report", *pair, "-o", tmp_path / "page.html")[0] == 0
    assert "benign_append on bad" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert {*package.scores(runs).query("kind == 'attack'").n} == {len(bad)}
    assert "benign_append on bad" in (pair[0] / "model/README.md").read_text(encoding="utf-8").replace("\\", "")
    # A model that says one label whatever it reads keeps all rows of that label, or none.
    [name] = [name for name in runs[0].sets() if name.startswith(NAME)]
    [constant] = [c for c in computed_controls([runs[0]], [runs[1]], name) if c.control == "constant"]
    assert constant.accuracy in (0.0, 1.0)
    assert "under benign_append on bad" in " ".join(map(str, results_grid(runs[0], {"other": runs[1]}).columns))
    (pair[1] / "attacks" / f"{name.removeprefix('attack:')}.jsonl").unlink()
    said = " ".join(not_attacked(Run.open(pair[0]), {"other": Run.open(pair[1])}))
    assert "--attack benign_append --attack_class bad`" in said


def test_words_come_from_the_training_texts_of_the_other_class(pair: tuple[Path, Path], rosetune: Any) -> None:
    code, _, err = rosetune("attack", pair[0], "--attack", "benign_append", "--examples", 12)
    assert code == 0, err
    header, results = Run(pair[0]).attacks["benign_append"]  # all is default: the recipe's name alone
    from rosetune.data.sources import load_task

    train = load_task(Run(pair[0]).config.task).splits["train"]
    texts, golds = train["text"][:], train["label"][:]
    allowed = {label: {*benign_words(texts, [gold != label for gold in golds])} for label in (0, 1)}
    added = [(result["gold"], word) for result in results for *_, word in result["changes"]]
    assert added
    assert all(word in allowed[gold] for gold, word in added)
    for result in results:
        assert result["perturbed"][0].startswith(result["texts"][0])
        assert len(result["changes"]) <= 5
    assert "attack_class" not in header


def test_words_of_a_file_and_their_number(pair: tuple[Path, Path], rosetune: Any, tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("great\nlovely\n")
    options = ("--attack", "benign_prepend,disguises", "--words", tmp_path / "w.txt", "--added_words", 1)
    more = ("--noises", "leetspeak,ocr", "--target_class", "good", "--examples", 8)
    code, out, err = rosetune("attack", pair[0], *options, *more, "--json")
    assert code == 0, err
    assert json.loads(out)["target_class"] == "good"
    [(_, results)] = [found for name, found in Run(pair[0]).attacks.items() if name.startswith("benign_prepend-good-")]
    words = {word for result in results for *_, word in result["changes"]}
    assert words <= {"great", "lovely"}
    assert {len(result["changes"]) for result in results} <= {0, 1}
    assert {(result["gold"], result["target"]) for result in results} == {(0, 1)}


def test_a_plan_knows_whether_one_class_was_attacked(pair: tuple[Path, Path], rosetune: Any) -> None:
    run = Run.open(pair[0])
    options = {"attack_class": "good", "examples": None, "budget": 50}
    asked = AttackOptions(("disguises",), **options)
    assert not is_attacked(run, ["text"], asked)
    words = ("--attack", "disguises", "--attack_class", "good", "--examples", "all", "--budget", 50)
    assert rosetune("attack", pair[0], *words)[0] == 0
    run = Run.open(pair[0])
    assert is_attacked(run, ["text"], asked)
    assert not is_attacked(run, ["text"], AttackOptions(("disguises",), **{**options, "attack_class": "bad"}))
    assert not is_attacked(run, ["text"], AttackOptions(("disguises",), examples=None, budget=50))
    other = [name for name in run.attacks if name.startswith("disguises")]
    assert f"attack:{other[0]}" in not_compared([run], [Run.open(pair[1])])


def test_names_of_files_are_what_they_were() -> None:
    """Where no new option is given: attacks of earlier versions are found, and not repeated."""

    def name(attack: str, **options: Any) -> str:
        return file_name(attack, 0, ["text"], AttackOptions((attack,), **options), {})

    def hashed(**different: Any) -> str:
        return hashlib.sha256(json.dumps(different).encode()).hexdigest()[:8]

    assert name("deepwordbug") == "deepwordbug"
    assert name("random", budget=20, seed=3) == f"random-{hashed(budget=20, seed=3)}"
    assert name("random", set="typos_1", max_share=0.2) == f"random-{hashed(set='typos_1', max_share=0.2)}"
    assert name("random", attack_class="a/b c") == f"random-a-b-c-{hashed(attack_class='a/b c')}"
    both = AttackOptions(("benign_append", "random"), added_words=2)
    assert file_name("random", 0, ["text"], both, {}) == "random"  # which adds no words
    assert file_name("benign_append", 0, ["text"], both, {}) == f"benign_append-{hashed(added_words=2)}"


def test_rows_of_one_class_are_drawn_alike() -> None:
    texts, golds = [f"text {i}" for i in range(90)], [0, 1, 2] * 30
    train = make_dataset(["0", "1"], {"text": ["a", "b"]}, [0, 1])
    data = make_task_data("t", ["text"], ["x", "y", "z"], {"train": train, "validation": train})
    rows = make_dataset([f"r{i}" for i in range(90)], {"text": texts}, golds)

    def target(examples: int | None, attacked: int | None, aim: int | None = None) -> Target:
        return Target(Run(Path("run")), data, rows, examples, 0, 0, attacked, aim)

    everything = [row for row in target(None, None).rows(set()) if row.gold == 1]
    assert target(None, 1).rows(set()) == everything  # the order of all rows, without the others
    assert target(7, 1).rows(set()) == everything[:7]
    assert (target(7, 1).wanted, target(7, 1).not_attacked, target(7, 1).unlabelled) == (7, 60, 0)
    assert {row.gold for row in target(None, None, 2).rows(set())} == {0, 1}
    assert (target(None, None, 2).not_attacked, target(None, 0, 2).not_attacked) == (30, 60)
    one = make_dataset(["r0"], {"text": ["a"]}, [0])
    with pytest.raises(RunError, match="no row of the class that is to be attacked"):
        Target(Run(Path("run")), data, one, None, 0, 0, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("random", "--attack_class", "worse"), "has no label 'worse': give one of bad, good"),
        (("random", "--target_class", "worse"), "has no label 'worse'"),
        (("random", "--attack_class", "bad", "--target_class", "bad"), "are both bad: give two labels"),
        (("random", "--added_words", "3"), "--added_words is for benign_append and benign_prepend"),
        (("benign_append", "--noises", "leetspeak"), "--noises is for disguises"),
        (("disguises", "--noises", "blur"), "disguises are some of homoglyphs"),
        (("benign_append", "--added_words", "0"), "--added_words must be at least 1"),
        (("benign_append", "--words", "gone.txt"), "cannot read words from gone.txt"),
    ],
)
def test_what_is_wrong_is_one_line(words: tuple[str, ...], message: str, library: Library, rosetune: Any) -> None:
    one_line(rosetune("attack", library.learned(), "--attack", *words), message)
    assert not (library.learned() / "attacks").exists()
