"""A hardening: its steps are runs, its rows keep to their bounds, its choices see no reported row, and it goes on."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import killed_harden
import killed_study
import tiny_run
from rosetune.data.rows import text_keys
from rosetune.data.sources import load_task
from rosetune.experiments import harden
from rosetune.experiments.adversarial_options import AdversarialOptions
from rosetune.experiments.data import load_data
from rosetune.experiments.harden import run_harden
from rosetune.experiments.harden_options import CANDIDATES, HardenOptions
from rosetune.experiments.harden_rows import rows_to_attack
from rosetune.experiments.harden_rules import Judged
from rosetune.experiments.harden_setting import prepare
from rosetune.experiments.quick import trainer_defaults
from rosetune.report.harden import Hardened, limits
from rosetune.runs.config import RunConfig
from rosetune.runs.normalized import normalized_baseline
from rosetune.runs.run import Run
from rosetune.runs.values import RunError
from tiny_run import Library

TRAINING = {"max_steps": 80, "save_steps": 80, "logging_steps": 80}  # until it tells good from bad
QUICK: dict[str, Any] = {"candidates": "none", "judge_examples": 6, "examples": 6, "budget": 40}
# What the trials are said to score: the first round and the averaging are taken, the second round is not.
SCORES = {
    "none": (0.9, 0.7, 0.5),
    "round-1": (0.9, 0.8, 0.6),
    "round-2": (0.9, 0.8, 0.6),
    "alpha-0.75": (0.9, 0.8, 0.7),
}


def config(library: Library, folder: Path, **options: Any) -> Any:
    return tiny_run.config(library.home, str(folder), training=TRAINING, sets=("clean", "noise"), **options)


@pytest.fixture(scope="module")
def found(library: Library) -> Iterator[dict[str, Any]]:
    """A hardening whose first round is taken and whose second is not."""
    options = HardenOptions(**QUICK, rounds=2, max_share=0.25, max_attacked=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harden, "judge", lambda run, name, attacks: Judged(name, *SCORES[name]))
        yield run_harden(config(library, library.home / "hardening"), options, tiny_run.silent)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_was_taken_is_trained_on_all_rows_and_compared_with_the_plain_run(found: dict[str, Any]) -> None:
    folder = Path(found["folder"])
    assert [trial["name"] for trial in found["trials"]] == ["none", "round-1", "round-2", "alpha-0.75"]
    assert [trial["taken"] for trial in found["trials"]] == [True, True, False, True]
    assert (found["plain"], found["hardened"]) == ("plain", "hardened")
    rows = found["rounds"][0]["rows"]
    assert found["chosen"] == {"trial": "alpha-0.75", "augmentation": "none", "rows": rows, "alpha": 0.75}
    assert found["stopped"] == "round 2 was not taken"
    plain, hardened = Run.open(folder / "plain"), Run.open(folder / "hardened")
    assert (plain.method, hardened.method) == ("vanilla", "pretrained-0.75+adversarial")
    assert hardened.config.adversarial_file == str(folder / "adversarial" / "round-1.jsonl")
    assert plain.identity["data_fingerprint"] == hardened.identity["data_fingerprint"]
    assert {*plain.sets()} == {*hardened.sets()} > {"clean", "typos_1"}
    (one,), (other,) = plain.attacks.values(), hardened.attacks.values()
    assert [row["id"] for row in one[1]] == [row["id"] for row in other[1]]
    assert one[0]["attack"] == other[0]["attack"]
    assert one[0]["max_share"] == 0.25


def test_adversarial_rows_keep_their_bound_and_are_no_reported_or_held_out_rows(
    found: dict[str, Any], library: Library
) -> None:
    folder = Path(found["folder"])
    data = load_task(str(library.home / "my.csv"))
    trial = load_data(Run.open(folder / "trials" / "round-1").config)
    train = dict(zip(trial.splits["train"]["id"][:], trial.splits["train"]["text"][:], strict=True))
    labels = dict(zip(trial.splits["train"]["id"][:], trial.splits["train"]["label"][:], strict=True))
    forbidden = {
        key
        for part in (data.splits["validation"], data.splits["test"], trial.splits["validation"])
        for key in text_keys(part, ("text",))
    }
    rows = lines_of(folder / "adversarial" / "round-2.jsonl")
    assert rows[: found["rounds"][0]["rows"]] == lines_of(folder / "adversarial" / "round-1.jsonl")
    assert 0 < found["rounds"][0]["rows"] <= len(rows) == found["rounds"][1]["rows"]
    assert len({tuple(row["texts"]) for row in rows}) == len(rows)
    for row in rows:
        changed = [
            i
            for i, (a, b) in enumerate(zip(row["original"][0].split(), row["texts"][0].split(), strict=True))
            if a != b
        ]
        assert 0 < len(changed) <= int(0.25 * 8)
        assert [change[0] for change in row["changes"]] == changed
        assert train[row["original_id"]] == row["original"][0]
        assert trial.labels[labels[row["original_id"]]] == row["label"]
        assert not {(row["original"][0].replace(" ", ""),), (row["texts"][0].replace(" ", ""),)} & forbidden


def test_what_a_round_attacks_is_drawn_by_seed_and_round(library: Library) -> None:
    train = load_task(str(library.home / "my.csv")).splits["train"]
    every = {row.id: row.texts for row in rows_to_attack(train, ("text",), set(), HardenOptions(attack_share=1.0), 1)}
    reported = {text_keys(train, ("text",))[0]}

    def drawn(number: int, seed: int = 0) -> list[str]:
        options = HardenOptions(attack_share=0.25, attack_seed=seed)
        return [row.id for row in rows_to_attack(train, ("text",), reported, options, number)]

    assert {*every} == {*train["id"][:]}
    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1) != drawn(1, seed=7)
    assert len(drawn(1)) == round(0.25 * (len(train) - 1))
    assert train["id"][0] not in {*drawn(1), *drawn(2)}
    capped = HardenOptions(attack_share=1.0, max_attacked=3)
    assert len(rows_to_attack(train, ("text",), set(), capped, 1)) == 3


def test_one_class_is_attacked_everywhere(library: Library, tmp_path: Path) -> None:
    """In the rows of a round, to judge, and at the end; the rest of the rows is neither attacked nor added."""
    options = HardenOptions(**QUICK, rounds=1, alphas="none", max_share=0.25, max_attacked=8, attack_class="bad")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harden, "judge", lambda run, name, attacks: Judged(name, *SCORES[name]))
        found = run_harden(config(library, tmp_path / "h"), options, tiny_run.silent)
    folder = Path(found["folder"])
    round_1 = lines_of(folder / "adversarial" / "round-1.deepwordbug.attack.jsonl")[1:]
    assert {result["gold"] for result in round_1} == {0}  # bad, before good
    assert {row["label"] for row in lines_of(folder / "adversarial" / "round-1.jsonl")} == {"bad"}
    for place in ("trials/none", "trials/round-1", "plain", "hardened"):
        (header, results), *_ = Run.open(folder / place).attacks.values()
        assert header["attack_class"] == "bad", place
        assert {result["gold"] for result in results} == {0}, place
    assert found["attack_class"] == "bad"
    assert "on rows of bad alone" in limits(Hardened(found))
    with pytest.raises(RunError, match=r"holds another hardening \(attack_class: .bad. there, None here\)"):
        run_harden(config(library, folder), replace(options, attack_class=None), tiny_run.silent)


def test_where_disguises_are_met_the_plain_model_is_read_behind_a_normalisation(
    library: Library, tmp_path: Path
) -> None:
    """Its weights are the plain run's; what look-alike letters hide it reads as clean text, and is attacked alike."""
    options = HardenOptions(**QUICK, rounds=0, alphas="none", attack="disguises", max_share=0.5)
    wanted = replace(config(library, tmp_path / "h"), sets=("clean", "noise_curve"), noises=("homoglyphs@0.5",))
    lines = list[str]()
    found = run_harden(wanted, options, lines.append)
    plain, control = (Run.open(tmp_path / "h" / found[name]) for name in ("plain", "normalized"))
    weights = "model/model.safetensors"
    assert (plain.folder / weights).read_bytes() == (control.folder / weights).read_bytes()
    said = {
        run: {name: [row["prediction"] for row in run.rows(name)] for name in ("clean", "homoglyphs@0.5")}
        for run in (plain, control)
    }
    assert said[control]["homoglyphs@0.5"] == said[control]["clean"] == said[plain]["clean"]
    assert said[plain]["homoglyphs@0.5"] != said[plain]["clean"]
    (one,), (other,) = plain.attacks.values(), control.attacks.values()
    assert one[0]["attack"] == other[0]["attack"]
    steps = [line for line in lines if line.startswith("[")]
    assert [line.partition(",")[0] for line in steps] == ["[1/4", "[2/4", "[3/4", "[4/4"]
    assert normalized_baseline(control, [plain]) is not None
    assert run_harden(wanted, options, tiny_run.silent) == found


def test_where_nothing_is_disguised_there_is_no_control(found: dict[str, Any], library: Library) -> None:
    assert found["normalized"] is None
    wanted = config(library, library.home / "any")
    assert not prepare(wanted, HardenOptions()).has_control
    assert prepare(wanted, HardenOptions(attack="disguises")).has_control
    curve = replace(wanted, sets=("clean", "noise_curve"))
    assert not prepare(curve, HardenOptions()).has_control  # the first eight noises disguise nothing
    disguised = replace(curve, noises=("leetspeak@0.5",))
    assert prepare(disguised, HardenOptions()).has_control
    assert not prepare(replace(disguised, normalize=("all",)), HardenOptions()).has_control


def test_without_a_class_rows_and_folders_are_what_they_were(library: Library) -> None:
    """Hardenings and adversarial rows of earlier versions are found."""
    assert "attack_class" not in HardenOptions().as_identity()
    assert AdversarialOptions().key() == "c92b90a74de9"
    assert AdversarialOptions().key() != AdversarialOptions(attack_class="bad").key()
    wanted = config(library, library.home / "any")
    assert "attack_class" not in prepare(wanted, HardenOptions()).identity
    assert prepare(wanted, HardenOptions(attack_class="bad")).identity["attack_class"] == "bad"


def test_noise_consistency_is_tried_where_it_is_named(library: Library) -> None:
    setting = prepare(config(library, library.home / "any"), HardenOptions(candidates="noise_consistency"))
    trial = setting.trial("noise_consistency", CANDIDATES["noise_consistency"])
    assert (trial.method(), setting.trial("none", {}).method()) == ("noise-consistency", "vanilla")
    assert "noise_consistency" not in HardenOptions().candidates
    smart = config(library, library.home / "any")
    smart.training["objective"] = "r_drop"
    with pytest.raises(RunError, match=r"--candidates noise_consistency takes the place of the objective, .* r_drop"):
        prepare(smart, HardenOptions(candidates="noise_consistency"))


def test_a_finished_hardening_does_nothing(found: dict[str, Any], library: Library) -> None:
    folder, said = Path(found["folder"]), list[str]()
    before = tiny_run.snapshot(folder)
    options = HardenOptions(**QUICK, rounds=2, max_share=0.25, max_attacked=30)
    assert run_harden(config(library, folder), options, said.append) == found
    assert said == [f"{folder} is finished; nothing to do"]
    assert tiny_run.snapshot(folder) == before
    assert not [*folder.glob("trials/*/model/*.safetensors")]
    with pytest.raises(RunError, match=r"holds another hardening \(rounds: 2 there, 1 here\)"):
        run_harden(config(library, folder), HardenOptions(**QUICK, rounds=1, max_share=0.25, max_attacked=30))


def test_adversarial_rows_make_another_run_and_their_absence_the_same(library: Library, tmp_path: Path) -> None:
    """The identity of a run without them is what it always was; with them their content counts, not their place."""
    wanted = config(library, tmp_path)
    about: dict[str, Any] = {
        "task": "my",
        "text_columns": ["text"],
        "fingerprint": "x",
        "defaults": trainer_defaults(),
    }
    plain = wanted.identity(**about)
    assert "adversarial_file" not in plain
    assert wanted.method() == "vanilla"
    identities = []
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
        wanted.adversarial_file = str(tmp_path / name)
        identities.append(wanted.identity(**about))
    assert identities[0] == identities[1] != identities[2]
    assert {**identities[0], "adversarial_file": None} == {**plain, "adversarial_file": None}
    wanted.adversarial_file = str(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"there is no file .*nowhere: correct --adversarial_file"):
        wanted.identity(**about)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": 5}, "5 held-out rows of .*my.csv are too few to choose on"),
        ({"held_out": 0.999}, "leaves nothing on one side"),
        ({"max_train_samples": 50}, "leave out max_train_samples: the rows that a round attacks"),
        ({"label_noise": 0.1}, "leave out label_noise"),
        ({"training": {"augmentation": "noise"}}, "leave out --augmentation: hardening chooses it"),
        ({"training": {"lerning_rate": 1.0}}, "unknown training argument 'lerning_rate'"),
    ],
)
def test_a_mistake_is_found_before_any_work(
    library: Library, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    wanted = tiny_run.config(library.home, str(tmp_path / "h"), **options)
    with pytest.raises(ValueError, match=message):
        run_harden(wanted, HardenOptions(**QUICK), tiny_run.silent)
    assert not (tmp_path / "h").exists()


def test_every_run_takes_two_epochs_unless_a_length_is_given(library: Library, tmp_path: Path) -> None:
    for training, expected in (({}, 2), ({"num_train_epochs": 5}, 5), ({"max_steps": 7}, None)):
        wanted = RunConfig(task=str(library.home / "my.csv"), model_name_or_path="demo", training=training)
        setting = prepare(wanted, HardenOptions())
        assert {c.training.get("num_train_epochs") for c in (setting.trial("a", {}), setting.final("b", {}))} == {
            expected
        }


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [("good", {}, "only the label 'good'"), ("{i}.5", {"task_type": "regression"}, "is a regression")],
)
def test_a_file_without_classes_to_tell_apart_is_refused(
    tmp_path: Path, label: str, options: dict[str, Any], message: str
) -> None:
    lines = "".join(f"text {i},{label.format(i=i)}\n" for i in range(50))
    (tmp_path / "my.csv").write_text(f"text,label\n{lines}")
    with pytest.raises(ValueError, match=message):
        run_harden(tiny_run.config(tmp_path, "h", **options), None, tiny_run.silent)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_hardening_that_is_killed_again_and_again_comes_to_the_same(tmp_path: Path) -> None:
    assert killed_study.died(killed_harden.__file__, tmp_path, kills=4) >= 3
