"""The command that attacks a run as another one was attacked, given again: the same attack on the same rows."""

import shlex
from pathlib import Path
from typing import Any

import pytest

import rosetune as package
import tiny_run
from made_runs import outcomes, write_attack, write_run
from rosetune.runs.attack_command import attack_commands
from rosetune.runs.compare import not_compared
from rosetune.runs.run import Run, RunError
from tiny_run import Library


@pytest.mark.parametrize(
    "options",
    [
        "--attack deepwordbug,random",
        "--attack deepwordbug --max_share 0.25 --seed 3 --budget 30",
        "--attack random --budget none --set typos_1 --protected fil.+ \\d",
        "--attack disguises --noises leetspeak,homoglyphs --attack_class bad --max_share 0.5",
        "--attack disguises --noises homoglyphs,invisible_characters,spaced_letters,leetspeak,repeated_letters",
        "--attack benign_append,deepwordbug --words WORDS --added_words 2 --target_class good",
        "--attack benign_prepend --attack_class good",
        "--attack pwws,deepwordbug --synonyms SYNONYMS --max_share 0.3",
    ],
)
def test_the_command_makes_the_same_attack(library: Library, tmp_path: Path, rosetune: Any, options: str) -> None:
    one, two = (library.copy(library.learned(), tmp_path / name) for name in ("one", "two"))
    (tmp_path / "w.txt").write_text("great\nlovely\nwarm\n")
    synonyms = tiny_run.write_synonyms(tmp_path / "s.json")
    words = [{"WORDS": tmp_path / "w.txt", "SYNONYMS": synonyms}.get(w, w) for w in shlex.split(options)]
    code, _, err = rosetune("attack", one, *words, "--examples", 5)
    assert code == 0, err
    for command in attack_commands(two, Run.open(one)):
        verb, *rest = shlex.split(command)[1:]
        assert verb == "attack"
        code, _, err = rosetune(verb, *rest)
        assert code == 0, err
    before, after = Run.open(one), Run.open(two)
    assert len(before.attacks) == len(words[1].split(","))
    assert before.attacks.keys() == after.attacks.keys()
    for name, (_, results) in before.attacks.items():
        assert [row["id"] for row in results] == [row["id"] for row in after.attacks[name][1]]
    assert not not_compared([before], [after])


def test_the_gate_asks_for_the_attack_that_the_other_side_has(tmp_path: Path, rosetune: Any) -> None:
    """Followed to the letter, the command ends the refusals: it does not ask for the plain attack of that name."""
    sides = [write_run(tmp_path / name, {"clean": outcomes(8, 2)}, {"seed": 1}) for name in ("kept", "next")]
    name, about = "deepwordbug-0a1b2c3d", {"recipe": "deepwordbug", "max_share": 0.2, "text_column": "text"}
    write_attack(sides[0], ["failed"] * 10, name, budget=1000, about=about)
    kept, new = (Run.open(side.folder) for side in sides)
    command = f"`rosetune attack {new} --attack deepwordbug --examples 10 --budget 1000 --max_share 0.2`"
    for limits in ({}, {"max_success_rate": 0.5}, {"sets": "deepwordbug"}, {"sets": name}):
        with pytest.raises(RunError) as error:
            package.gate(new, baseline=kept, **limits)
        assert f"{command} makes" in str(error.value)
    with pytest.raises(RunError) as error:
        package.gate(kept, baseline=new)
    assert f"{command} makes it" in str(error.value)
    write_attack(sides[1], ["failed"] * 10, name, budget=1000, about=about)
    assert package.gate(Run.open(new.folder), baseline=kept).passed


def test_words_of_a_file_that_is_not_named_are_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", {"clean": outcomes(8, 2)})
    write_attack(run, ["failed"], "benign_append-12345678", about={"recipe": "benign_append"})
    opened = Run.open(run.folder)
    header = opened.attacks["benign_append-12345678"][0]
    header["attack"]["transformation"] = {"type": "AddedWords", "words": ["great"], "place": "append", "most": 5}
    (command,) = attack_commands("NEXT", opened)
    assert command == "rosetune attack NEXT --attack benign_append --examples 1 --budget 100 --words FILE"
