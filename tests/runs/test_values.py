"""Values of options: what two configurations differ in, and how a file of options is read."""

from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetune.runs.values import RunError, as_mapping, differences, flag, names, number, plain, read_yaml

A = {"seed": 1, "max_length": 128, "training": {"learning_rate": 1e-5, "update_mask_kwargs": {"upper": 0.6}}}


class TestDifferences:
    def test_nothing_differs_from_itself(self):
        assert differences(A, A) == {}
        assert differences({}, {}) == {}

    def test_each_by_its_name_with_both_values(self):
        b = {"max_length": 64, "seed": 1, "training": {"update_mask_kwargs": {"upper": 0.7, "trace": True}}}
        assert differences(A, b) == {
            "learning_rate": (1e-5, None),
            "max_length": (128, 64),
            "update_mask_kwargs.trace": (None, True),
            "update_mask_kwargs.upper": (0.6, 0.7),
        }
        assert list(differences(A, b)) == sorted(differences(A, b))

    def test_training_arguments_by_themselves_or_in_their_mapping(self):
        flat = {**{n: v for n, v in A.items() if n != "training"}, **A["training"]}
        assert differences(A, flat) == {}

    def test_ignored(self):
        b = {**A, "seed": 2, "training": {"update_mask_kwargs": {"upper": 0.7, "seed": 3}}}
        assert [*differences(A, b, ignore=("seed",))] == [
            "learning_rate",
            "update_mask_kwargs.seed",
            "update_mask_kwargs.upper",
        ]
        assert [*differences(A, b, ignore=(".seed",))] == ["learning_rate", "seed", "update_mask_kwargs.upper"]
        assert [*differences(A, b, ignore=("update_mask_kwargs",))] == ["learning_rate", "seed"]
        assert "update_mask_kwargs.upper" not in differences(A, b, ignore=("update_mask_kwargs.upper",))

    OPTIONS = st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.one_of(st.none(), st.integers(0, 2), st.dictionaries(st.just("x"), st.integers(0, 2))),
    )

    @given(OPTIONS, OPTIONS)
    def test_the_other_way_round_it_is_the_same(self, a, b):
        there, back = differences(a, b), differences(b, a)
        assert there == {name: (old, new) for name, (new, old) in back.items()}
        assert all(old != new for old, new in there.values())

    def test_unset_is_none(self):
        assert differences({"a": None, "b": {}}, {}) == {}


class TestReadYaml:
    def read(self, path: Path, text: str | bytes):
        file = path / "options.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(file)

    def test_a_mapping(self, tmp_path):
        assert self.read(tmp_path, "task: sst2\n1: x\n") == {"task": "sst2", "1": "x"}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "must hold a mapping of options"),
            ("- a\n- b\n", "must hold a mapping of options"),
            ("just words", "must hold a mapping of options"),
            ("a: [1\nb: 2\n", r"options.yaml, line 2 is not valid YAML"),
            ("a: b: c", r"options.yaml, line 1 is not valid YAML"),
            ("day: 2020-13-45\n", "options.yaml is not valid YAML: month must be in"),
            (b"a: \xff\n", "options.yaml is not UTF-8: .* at byte 3"),
        ],
    )
    def test_what_is_no_mapping(self, tmp_path, text, message):
        with pytest.raises(RunError, match=message):
            self.read(tmp_path, text)

    def test_what_cannot_be_read(self, tmp_path):
        for path in (tmp_path / "none.yaml", tmp_path):
            with pytest.raises(RunError, match=f"cannot read the config file {path}"):
                read_yaml(path)


class TestSingleValues:
    def test_names(self):
        assert names("sets", "a, b,,c ") == names("sets", ["a", "b", "c"]) == ("a", "b", "c")
        assert names("sets", None) is None
        assert names("sets", "") == ()
        for wrong in (5, [1], {"a": 1}):
            with pytest.raises(RunError, match="sets must be names such as a,b, not"):
                names("sets", wrong)

    def test_numbers(self):
        assert (number("n", "3", whole=True), number("n", 0.5, whole=False)) == (3.0, 0.5)
        for wrong in (0, -1, 1.5, "x", None, True, float("nan"), float("inf"), [1]):
            with pytest.raises(RunError, match="n must be a whole number of at least 1, not"):
                number("n", wrong, whole=True)
        for wrong in (0, 1, "x", None, True, float("nan")):
            with pytest.raises(RunError, match=r"n must lie in \(0, 1\), not"):
                number("n", wrong, whole=False)

    def test_flags(self):
        assert [flag("f", value) for value in (True, False, "True", "false")] == [True, False, True, False]
        for wrong in (1, 0, "yes", None, []):
            with pytest.raises(RunError, match="f must be true or false, not"):
                flag("f", wrong)

    def test_plain(self):
        class Kind(Enum):
            A = "a"

        given = {"a": (1.0, 2.5), "b": Path("x/y"), "c": Kind.A, "d": [{"e": 3.0}], "f": True, "g": "1.0"}
        found = plain(given)
        assert found == {"a": [1, 2.5], "b": "x/y", "c": "a", "d": [{"e": 3}], "f": True, "g": "1.0"}
        assert [type(value) for value in found["a"]] == [int, float]

    def test_mappings(self):
        assert as_mapping("x_kwargs", '{"upper": 0.6}') == as_mapping("x_kwargs", {"upper": 0.6}) == {"upper": 0.6}
        assert as_mapping("x_kwargs", None) is None
        assert as_mapping("other", "{") == "{"
        for wrong in ("{", "[1]", 5, "5"):
            with pytest.raises(RunError, match="x_kwargs must be a JSON object such as"):
                as_mapping("x_kwargs", wrong)
