"""Help and lists: at once, without heavy imports, within 80 columns."""

import dataclasses
import inspect
import itertools
import re
import shlex
from typing import Any

import pytest

from command_line import one_line, run_python
from rosetune.cli import _VERBS, _parser
from rosetune.methods import OBJECTIVES, UPDATE_MASKS
from rosetune.runs.config import RunConfig

VERBS = tuple(_VERBS)
HEAVY = ("torch", "transformers", "datasets", "numpy", "rich", "yaml")


def test_help_of_every_verb_answers_at_once() -> None:
    """All in one process and without any heavy import."""
    code = f"""
import sys
from rosetune.cli import main
for words in ([], *([verb] for verb in {VERBS!r})):
    try:
        main([*words, "--help"])
    except SystemExit as stopped:
        assert stopped.code == 0, words
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    printed = run_python(code)
    assert printed.splitlines()[-1] == "[]"
    assert all(f"usage: rosetune {verb}" in printed for verb in VERBS)
    assert max(map(len, printed.splitlines())) <= 100


def test_every_example_of_a_help_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines, joined at backslashes, are the commands that were written, and each is one that the verb takes."""
    parser, found = _parser(), 0
    verbs: Any = next(action.choices for action in parser._actions if action.dest == "verb")
    for name in VERBS:
        epilog = getattr(_VERBS[name], "EPILOG", "")
        commands = [line for line in _joined(epilog) if line.startswith("  ") and f"rosetune {name} " in line]
        assert commands or name in ("analyze", "list", "demo"), name
        assert all(len(line) <= 78 for line in _example_lines(epilog)), name
        for columns in (60, 80, 120):
            monkeypatch.setenv("COLUMNS", str(columns))
            assert {*commands} <= {*_joined(verbs[name].format_help())}, (name, columns)
        for command in commands:
            words = shlex.split(command)
            words = words[words.index("rosetune") + 1 : words.index(">") if ">" in words else None]
            known, rest = parser.parse_known_args(words)
            assert known.verb == name
            assert not rest or name in ("train", "search", "harden"), rest
            found += 1
    assert found > 25


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_paragraphs_of_a_help_fill_its_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line ends where the next word has no room, and neither a path nor a flag is broken."""
    monkeypatch.setenv("COLUMNS", str(columns))
    verbs: Any = next(action.choices for action in _parser()._actions if action.dest == "verb")
    for name in VERBS:
        text = verbs[name].format_help()
        below = getattr(_VERBS[name], "EPILOG", "").splitlines()
        lines = text.splitlines()[-len(below) - 20 :] if below else []
        plain = re.compile(r"[^ ](?!.*  )")
        for line, after in itertools.pairwise(lines):
            if plain.match(line) and plain.match(after):
                assert len(f"{line} {after.split()[0]}") > columns - 2, (name, line, after)
        words = {word for line in below for word in line.split() if len(word) < columns - 12}
        assert words <= {*text.split()}, name


def _joined(text: str) -> list[str]:
    return re.sub(r" \\\n +", " ", text).splitlines()


def _example_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"  (rosetune|accelerate|cat) |      ", line)]


def test_listing_tasks_and_recipes_is_light() -> None:
    printed = run_python(
        "import sys\nfrom rosetune.cli import main\nmain(['list', 'tasks']); main(['list', 'recipes'])\n"
        "print('torch' in sys.modules)"
    )
    assert printed.splitlines()[-1] == "False"


@pytest.mark.parametrize("what", ["tasks", "methods", "recipes"])
def test_lists_fit_80_columns(what: str, rosetune: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = rosetune("list", what)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    expected = {
        "tasks": ("sst2\n", "pip install 'rosetune[demo]'", "in AdvGLUE"),
        "methods": ("cross_entropy\n", "rose\n", 'order="ensemble"', "upper=0.6"),
        "recipes": ("rose-ensemble/roberta-base/rte\n",),
    }
    assert all(text in out for text in expected[what])


@pytest.mark.parametrize("name", [*OBJECTIVES, *UPDATE_MASKS])
def test_every_option_of_a_method_is_explained(name: str, rosetune: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = rosetune("list", "methods", name)
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if "_parameters = " not in line]  # a regular expression is not broken
    assert max(map(len, lines)) <= 80
    options = inspect.signature({**OBJECTIVES, **UPDATE_MASKS}[name]).parameters
    explained = re.findall(r"^    (\w+) = .*\n        \S", out, re.MULTILINE)
    assert explained == [*options]
    assert "``" not in out


def test_an_unknown_method_names_its_neighbour(rosetune: Any) -> None:
    code, _, err = rosetune("list", "methods", "rdrop")
    assert code == 2
    assert "did you mean r_drop?" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["taks"], "there is no list of 'taks': did you mean tasks?"),
        (["tasks", "sst3"], "no task is called 'sst3': did you mean sst2?"),
        (["recipes", "rose-ensembel/roberta-base/rte"], "did you mean rose-ensemble/roberta-base/rte"),
    ],
)
def test_an_unknown_list_or_name_is_one_line(words: list[str], message: str, rosetune: Any) -> None:
    one_line(rosetune("list", *words), message)


def test_one_task(rosetune: Any) -> None:
    assert rosetune("list", "tasks", "SST-2")[1].startswith("sst2\n")


def test_recipes_are_found_by_a_part_of_their_name(rosetune: Any) -> None:
    code, out, _ = rosetune("list", "recipes", "ensemble/roberta-base")
    assert code == 0
    assert out.splitlines()
    assert all("ensemble/roberta-base" in line for line in out.splitlines())


def test_a_recipe_is_shown_with_its_sources(rosetune: Any) -> None:
    code, out, _ = rosetune("list", "recipes", "rose-first/roberta-base/rte")
    assert code == 0
    assert "learning_rate: 4.0e-5  # [table]" in out


def test_a_recipe_that_is_not_there_names_its_neighbour(rosetune: Any) -> None:
    code, out, err = rosetune("list", "recipes", "rose-first/roberta-base/rta")
    assert (code, out) == (2, "")
    assert "did you mean rose-first/roberta-base/rte" in err


def test_help_all_lists_the_arguments_of_the_trainer(rosetune: Any) -> None:
    code, out, _ = rosetune("train", "--help-all")
    assert code == 0
    assert "--max_train_samples" in out
    assert "--gradient_accumulation_steps" in out
    assert "==SUPPRESS==" not in out


def test_own_options_do_not_hide_those_of_the_trainer() -> None:
    from transformers import TrainingArguments

    own = {*RunConfig.__dataclass_fields__, "config", "recipe", "help_all", "traceback", "verb", "run"}
    assert own & {field.name for field in dataclasses.fields(TrainingArguments)} == {"output_dir"}
