"""What the name of an evaluation set means, and that every set that is made has a name that says it."""

import pytest

from rosetune.robustness.noise import noise_curve
from rosetune.robustness.noise_families import NOISES
from rosetune.runs.sets import KINDS, SetName

# name, kind, noise, strength, mismatched, is_original, robust, clean set of MNLI, title
NAMES = [
    ("clean", "clean", None, None, False, False, False, "clean", "clean"),
    ("clean_mismatched", "clean", None, None, True, False, False, "clean_mismatched", "clean, mismatched"),
    ("typos_1", "noise", "typos", 1.0, False, False, True, "clean", "typing errors 1"),
    ("typos_2", "noise", "typos", 2.0, False, False, True, "clean", "typing errors 2"),
    ("ocr@0.25", "noise_curve", "ocr", 0.25, False, False, False, "clean", "ocr 0.25"),
    ("random_case@1", "noise_curve", "random_case", 1.0, False, False, False, "clean", "random case 1"),
    ("advglue", "advglue", None, None, False, False, True, "clean", "AdvGLUE"),
    ("advglue_originals", "advglue", None, None, False, True, False, "clean", "AdvGLUE's originals"),
    ("advglue_mismatched", "advglue", None, None, True, False, True, "clean_mismatched", "AdvGLUE, mismatched"),
    (
        *("advglue_originals_mismatched", "advglue", None, None, True, True, False, "clean_mismatched"),
        "its originals, mism.",
    ),
    ("file_my-other", "file", None, None, False, False, False, "clean", "my-other"),
    ("attack:pwws", "attack", None, None, False, False, True, "clean", "under pwws"),
]


@pytest.mark.parametrize("expected", NAMES, ids=lambda expected: expected[0])
def test_each_name(expected):
    name = expected[0]
    s = SetName.parse(name)
    of_mnli = ("clean", "clean_mismatched", name)
    found = (s.name, s.kind, s.noise, s.strength, s.mismatched, s.is_original, s.robust, s.clean(of_mnli), s.title)
    assert found == expected
    assert s.on_curve is (s.kind == "noise_curve")
    assert s.clean(("clean",)) == "clean"  # where there is no other


def test_attacks_and_files_by_their_own_name():
    for name in ("pwws", "pwws-bba78933", "typos_1", "clean", "file_x", "a@b", "attack:x", "[v2]"):
        assert SetName.of_attack(name).attack == name
        assert SetName.of_attack(name).kind == "attack"
        assert SetName.of_file(name).kind == "file"
        assert SetName.of_file(name).title == name
        assert SetName.of_file(name).attack is None
        for s in (SetName.of_attack(name), SetName.of_file(name)):
            assert SetName.parse(s.name) == s


@pytest.mark.parametrize("name", ["typos_", "typos_x", "typos_1_2", "a@b", "@0.5", "ocr@", "notes", "ocr@0.5@1", ""])
def test_an_unknown_name_is_a_kind_of_its_own(name):
    s = SetName.parse(name)
    assert s.name == name
    assert s.kind not in (*KINDS, "file", "attack")
    assert (s.noise, s.strength, s.attack, s.on_curve) == (None, None, None, False)
    assert isinstance(s.title, str)


def test_originals_of_an_advglue_set():
    pairs = {name: SetName.parse(name).originals for name in ("advglue", "advglue_mismatched")}
    assert pairs == {"advglue": "advglue_originals", "advglue_mismatched": "advglue_originals_mismatched"}
    assert all(SetName.parse(name).is_original for name in pairs.values())


def test_every_cell_of_the_noise_curve_is_read_back():
    from datasets import Dataset

    cells = list(noise_curve(Dataset.from_dict({"text": ["a film"]}), ["text"], names=list(NOISES)))
    assert {noise for noise, _, _ in cells} == {*NOISES}
    for noise, strength, _ in cells:
        s = SetName.parse(f"{noise}@{strength:g}")
        assert (s.kind, s.noise, s.strength) == ("noise_curve", noise, strength)


def test_a_small_strength_is_read_back():
    assert SetName.parse(f"ocr@{1e-5:g}").strength == 1e-5


def test_the_order_of_a_table():
    """Kinds as they are evaluated, noises as they are listed, strengths as numbers; unknown ones come last."""
    noises = list(NOISES)
    names = [
        *("clean", "clean_mismatched", "typos_1", "typos_2", "typos_10"),
        *(f"{noises[0]}@0.1", f"{noises[0]}@0.5", f"{noises[0]}@1", f"{noises[1]}@0.1", "unheard_of@0.1"),
        *("advglue", "advglue_originals", "advglue_mismatched", "advglue_originals_mismatched"),
        *("file_a", "file_b", "attack:a", "attack:b", "notes"),
    ]
    turned = [*reversed(names)]
    assert sorted(turned, key=lambda name: SetName.parse(name).sort_key) == names
