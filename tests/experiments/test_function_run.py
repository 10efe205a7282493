"""A Python function becomes a run: what it says is what is kept, and what is wrong with it is one line."""

import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rosetune as package
import tiny_run
from command_line import one_line
from rosetune.robustness.functions import import_function, is_function_name, read_function, source_of
from rosetune.robustness.normalization import normalize
from rosetune.runs.config import RunConfig
from rosetune.runs.identity import model_identity
from rosetune.runs.run import Run

# Columns good, bad: the other order than that of the data.
GUARD = f"""
GOOD, BAD = {set(tiny_run.GOOD)!r}, {set(tiny_run.BAD)!r}

def predict(texts):
    assert isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    odds = [sum((word in GOOD) - (word in BAD) for word in text.lower().split()) for text in texts]
    good = [1 / (1 + 2.0 ** -(n + 0.5)) for n in odds]
    return [[p, 1 - p] for p in good]

class Guard:
    def ask(self, texts):
        return predict(texts)

guard = Guard()
number = 3
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a task; modules that a test imports from it are forgotten after it."""
    tiny_run.write_csv(tmp_path / "my.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    forget(tmp_path)


def forget(folder: Path) -> None:
    """As if no module had been imported from a folder."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


def words(name: str, *more: Any, sets: str = "clean") -> list[Any]:
    return ["evaluate", "--model_name_or_path", name, "--task", "my.csv", "--output_dir", "run", "--sets", sets, *more]


def test_it_is_a_run_like_any_other(home: Path, rosetune: Any, library: tiny_run.Library) -> None:
    (home / "guard.py").write_text(GUARD)
    code, out, err = rosetune(*words("guard:predict", "--labels", "good,bad"))
    assert code == 0, err
    assert "training labels: bad " in err
    assert "are taken as" not in err
    run = Run.open("run")
    assert (run.method, run.labels, run.seed) == ("given", ("bad", "good"), None)
    scope: dict[str, Any] = {}
    exec(GUARD, scope)
    from rosetune.data.sources import load_task

    clean = load_task(str(home / "my.csv")).clean[1]
    for row, text, gold in zip(run.rows("clean"), clean["text"][:], clean["label"][:], strict=True):
        [[good, bad]] = scope["predict"]([text])
        assert (row["gold"], row["prediction"]) == (("bad", "good")[gold], "good" if good > bad else "bad")
        assert np.exp(row["logits"]) == pytest.approx([bad, good])
    assert run.metrics["sets"]["clean"]["accuracy"] > 0.9
    before = tiny_run.snapshot(home / "run")
    assert rosetune(*words("guard:predict", "--labels", "good,bad"))[0] == 0
    assert tiny_run.snapshot(home / "run") == before
    # Every verb that asks a model, also from another folder.
    own = library.copy(library.learned(), home / "own")
    assert rosetune("evaluate", "run", "--sets", "noise")[0] == 0
    (home / "new.csv").write_text("text,label\nGreat film,good\na dull film,bad\n")
    assert rosetune("evaluate", "run", "--test_file", "new.csv")[0] == 0
    assert [row["prediction"] for row in Run.open("run").rows("file_new")] == ["good", "bad"]
    attacked = ("--attack", "deepwordbug,benign_append", "--attack_class", "bad", "--examples", 4)
    code, out, err = rosetune("attack", "run", *attacked, "--json")
    assert code == 0, err
    assert json.loads(out)["runs"]["run"]["deepwordbug"]["succeeded"] == 4
    code, out, err = rosetune("compare", "run", own)
    assert code == 0, err
    assert "A: given" in " ".join(out.split())
    assert rosetune("gate", "run", "--max_success_rate", 0.5)[0] == 1
    assert rosetune("gate", "run", "--max_success_rate", 1.0)[0] == 0
    code, out, err = rosetune("predict", "run", "--text", "a great film", "--text", "dull", "--json")
    assert code == 0, err
    told = [json.loads(line) for line in out.splitlines()]
    assert [row["label"] for row in told] == ["good", "bad"]
    asked = [good for good, _ in scope["predict"](["a great film", "dull"])]
    assert [row["probabilities"]["good"] for row in told] == pytest.approx(asked, abs=1e-6)
    assert rosetune("report", "run", "-o", "page.html")[0] == 0
    card = (home / "run/model/README.md").read_text()
    assert "the Python function `guard:predict`" in card
    assert "transformers" not in card.partition("\n---\n")[0]
    found = package.evaluate("run", texts=["a great film"], labels=["good"], sets="clean")
    assert found.rows["clean"][0]["prediction"] == "good"
    one_line(rosetune("analyze", "landscape", "run"), "is the function guard:predict, which has no weights")
    assert not list((home / "run").rglob("*.partial"))


def test_all_rows_of_a_file_are_evaluated_where_it_is_the_test_file(home: Path, rosetune: Any) -> None:
    """Alone it is split as for a training, which is said; the figures are of the rows that are evaluated."""
    (home / "guard.py").write_text(GUARD)
    total = len((home / "my.csv").read_text().splitlines()) - 1
    code, _, err = rosetune(*words("guard:predict", "--labels", "good,bad"))
    assert code == 0, err
    sizes = dict(reversed(part.split()) for part in err.partition("my: ")[2].partition(" rows")[0].split(", "))
    told = f"nothing is trained here: the {sizes['training']} training rows are not evaluated; give the file as --test"
    assert told in err
    assert sum(map(int, sizes.values())) == total
    assert Run.open("run").metrics["sets"]["clean"]["n"] == int(sizes["test"]) < total
    asked = words("guard:predict", "--labels", "good,bad", "--test_file", "my.csv", "--output_dir", "whole")
    code, _, err = rosetune(*asked)
    assert code == 0, err
    assert "nothing is trained here" not in err
    assert "also occur" not in err
    alone, whole = (Run.open(name).metrics["sets"]["clean"] for name in ("run", "whole"))
    assert whole["n"] == total
    # No row is both reported and what a threshold is chosen on, unless that is said.
    assert alone["detection"]["threshold"]["chosen_on"] == "validation"
    assert whole["detection"]["threshold"]["chosen_on"] == "clean"


def test_columns_are_those_of_the_data_where_nothing_else_is_said(home: Path, rosetune: Any) -> None:
    (home / "guard.py").write_text(GUARD)
    code, _, err = rosetune(*words("guard:guard.ask"))
    assert code == 0, err
    assert "guard:guard.ask: its columns are taken as bad, good (--labels names them in another order)" in err
    assert Run.open("run").metrics["sets"]["clean"]["accuracy"] < 0.1
    one_line(rosetune(*words("guard:guard.ask", "--labels", "good,bad")), "holds a run of another configuration")


def test_a_normalisation_goes_before_it(home: Path, rosetune: Any) -> None:
    (home / "guard.py").write_text(GUARD)
    code, _, err = rosetune(*words("guard:predict", "--labels", "good,bad", "--normalize", "all"))
    assert code == 0, err
    said = "texts are normalised first: nfkc, invisible, confusables, spaced, leet\n"
    assert said in err
    run = Run.open("run")
    assert run.method == "given+normalize"
    disguised = "a gr3at and l o v e l y film"
    assert normalize(disguised) == "a great and lovely film"
    _, out, err = rosetune("predict", "run", "--text", disguised, "--json")
    assert err == said
    assert json.loads(out)["label"] == "good"


def test_it_is_told_from_others_by_its_source(home: Path, rosetune: Any) -> None:
    """The name and the module's own file are its identity; a run of a changed file is no more asked."""
    (home / "guard.py").write_text(GUARD)
    before = model_identity("guard:predict")
    assert before.startswith("guard:predict sha256:")
    assert "guard" not in sys.modules  # nothing is run for it
    assert rosetune(*words("guard:predict", "--labels", "good,bad"))[0] == 0
    (home / "guard.py").write_text(GUARD + "\n# another version\n")
    assert model_identity("guard:predict") != before
    message = "is not the file that run/model/callable.json was made of"
    one_line(rosetune("attack", "run", "--attack", "random"), message)
    one_line(rosetune("predict", "run", "--text", "a"), message)
    one_line(rosetune(*words("guard:predict", "--labels", "good,bad")), "holds a run of another configuration")
    assert rosetune("compare", "run", "run")[0] == 2  # what is kept is still read
    (home / "guard.py").write_text(GUARD)
    assert rosetune("attack", "run", "--attack", "random", "--examples", 2)[0] == 0


def test_it_is_found_from_another_folder(home: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "pack").mkdir()
    (home / "pack/__init__.py").write_text("")
    (home / "pack/guard.py").write_text(GUARD)
    assert rosetune(*words("pack.guard:predict", "--labels", "good,bad"))[0] == 0
    assert json.loads((home / "run/model/callable.json").read_text())["root"] == str(home)
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    sys.path.remove(str(home))
    forget(home)
    code, _, err = rosetune("predict", "../run", "--text", "a")
    assert code == 0, err


@pytest.mark.parametrize("order", [("v1", "v2"), ("v2", "v1", "v2")])
def test_modules_of_one_name_in_two_folders_are_told_apart(order: tuple[str, ...], home: Path) -> None:
    """With what they import beside them; what is installed stays, whatever lies in the folders."""
    share = {"v1": 0.25, "v2": 0.75}
    for version, p in share.items():
        (home / version / "parts").mkdir(parents=True)
        (home / version / "parts/__init__.py").write_text("")
        (home / version / "parts/share.py").write_text(f"P = {p}\n")
        body = "def predict(texts):\n    return [[P, 1 - P] for _ in texts]\n"
        (home / version / "clf.py").write_text(f"from parts.share import P\n\n{body}")
        (home / version / "numpy.py").write_text("raise ImportError('not this one')\n")
        (home / version / f"only_{version}.py").write_text("")
    found = []
    for version in order:
        place = str(home / version)
        assert source_of("clf:predict", place) == home / version / "clf.py"
        found.append((version, import_function("clf:predict", place)))
        __import__(f"only_{version}")
    assert [(version, function(["a"])) for version, function in found] == [
        (version, [[share[version], 1 - share[version]]]) for version in order
    ]
    assert sys.modules["numpy"] is np
    assert sys.modules["pytest"] is pytest
    assert {"only_v1", "only_v2"} <= {*sys.modules}  # no namesake takes its place


def test_a_folder_that_python_knows_already_keeps_its_place(home: Path) -> None:
    """As where installed packages lie: only folders that were added for other functions go behind it."""
    for version in ("v1", "v2"):
        (home / version).mkdir()
        (home / version / "clf.py").write_text(f"def predict(texts):\n    return {version!r}\n")
    known, before = str(home / "v2"), [*sys.path]
    sys.path.append(known)
    assert import_function("clf:predict", str(home / "v1"))([]) == "v1"
    assert import_function("clf:predict", known)([]) == "v2"
    assert sys.path == [*before, known, str(home / "v1")]


def test_pairs_come_as_tuples(home: Path, rosetune: Any) -> None:
    tiny_run.write_csv(home / "pairs.csv", pairs=True)
    body = "assert all(len(pair) == 2 for pair in pairs)\n    return [[0.5, 0.5] for _ in pairs]"
    (home / "pairs.py").write_text(f"def predict(pairs):\n    {body}\n")
    asked = words("pairs:predict", "--text_columns", "premise,hypothesis")
    code, _, err = rosetune(*("pairs.csv" if word == "my.csv" else word for word in asked))
    assert code == 0, err
    assert {math.exp(row["logits"][0]) for row in Run.open("run").rows("clean")} == {0.5}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('weights')", "bad:predict: the model failed on a batch of 2 texts that begins with "),
        ("return [[float('nan'), 1.0] for _ in texts]", "gives a probability that is not finite for "),
        ("return [[0.2, 0.3, 0.5] for _ in texts]", "gives 3 probabilities per text for 2 labels"),
        (
            "return [0.5 for _ in texts]",
            "not a probability per class: of two classes return [1 - p, p]",
        ),
        ("return [[0.5] for _ in texts]", "a single number per text, not a probability per class"),
        ("return [[1.2, -0.2] for _ in texts]", "are no probabilities that sum to 1"),
        (
            "return [[2.0, 1.0] for _ in texts]",
            "sum to 1: if they are logits, apply a softmax",
        ),
        ("return [[0.5, 0.5] for _ in texts[1:]]", "gives an answer of shape (1, 2) to 2 texts"),
        ("return [[0.5, 0.5], [1.0]]", "which is no table of numbers"),
        ("return None", "gives an answer of shape () to 2 texts"),
    ],
)
def test_a_bad_answer_is_one_line_and_leaves_nothing(body: str, message: str, home: Path, rosetune: Any) -> None:
    (home / "bad.py").write_text(f"def predict(texts):\n    {body}\n")
    one_line(rosetune(*words("bad:predict", "--labels", "good,bad")), message)
    assert sorted(path.name for path in home.iterdir()) == ["bad.py", "my.csv"]


def test_a_function_that_fails_in_the_middle_leaves_nothing(home: Path, rosetune: Any) -> None:
    """Of 24 texts, after the clean set was kept; the lines before the error describe the data."""
    body = (
        "COUNT = [0]\n\ndef predict(texts):\n    COUNT[0] += len(texts)\n    if COUNT[0] > 20: raise OSError('gone')\n"
    )
    (home / "bad.py").write_text(f"{body}    return [[0.5, 0.5] for _ in texts]\n")
    code, out, err = rosetune(*words("bad:predict", sets="clean,noise"))
    assert (code, out, err.count("error:")) == (2, "", 1)
    assert "OSError: gone" in err
    assert sorted(path.name for path in home.iterdir()) == ["bad.py", "my.csv"]


def test_a_function_that_fails_later_leaves_what_was_there(home: Path, rosetune: Any) -> None:
    """At a further set, at the first question of an attack, and at a later one."""
    flag = home / "fail"
    (home / "late.py").write_text(
        GUARD.replace(
            "    odds", f"    import os\n    if os.path.exists({str(flag)!r}): raise ValueError('quota')\n    odds"
        )
    )
    assert rosetune(*words("late:predict", "--labels", "good,bad"))[0] == 0
    before = tiny_run.snapshot(home / "run")
    flag.touch()
    message = "late:predict: the model failed on a batch of 12 texts that begins with '"
    one_line(rosetune("evaluate", "run", "--sets", "noise"), message)
    message = "late:predict: the model failed on the text 'a': ValueError: quota"
    one_line(rosetune("predict", "run", "--text", "a"), message)
    code, out, err = rosetune("attack", "run", "--attack", "deepwordbug", "--examples", 3)
    assert (code, out, err.count("error:")) == (2, "", 1)
    assert "late:predict: the model failed on " in err
    assert "ValueError: quota" in err
    assert {k: v for k, v in tiny_run.snapshot(home / "run").items() if not k.endswith(".lock")} == before
    assert not (home / "run/attacks").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone:predict", "there is no module gone in "),
        (
            "gone.deeper:predict",
            "gone.deeper cannot be imported: ModuleNotFoundError: No module named 'gone'",
        ),
        ("guard.py:predict", "guard.py:predict: give the module without .py: guard:predict"),
        ("gone.py:predict", "gone.py:predict: give the module without .py: gone:predict"),
        ("guard:nothing", "guard.py holds no nothing: give MODULE:FUNCTION by a name that is in it"),
        ("guard:Guard", "guard:Guard is a class: give a function"),
        ("guard:number", "guard:number is an int: give a function"),
        ("broken:predict", "broken.py) cannot be imported: ZeroDivisionError: division by zero"),
        ("leaves:predict", "leaves.py) cannot be imported: SystemExit: 3"),
        ("lacks:predict", "lacks.py) cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("sys:exit", "the module sys has no file of its own"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_line(name: str, message: str, home: Path, rosetune: Any) -> None:
    (home / "guard.py").write_text(GUARD)
    (home / "broken.py").write_text("1 / 0\n")
    (home / "leaves.py").write_text("raise SystemExit(3)\n")
    (home / "lacks.py").write_text("import no_such_package\n")
    there = {path.name for path in home.iterdir()}
    called = rosetune(*words(name))
    one_line((called[0], called[1], "\n".join(called[2].splitlines()[-1:]) + "\n"), message)
    assert {path.name for path in home.iterdir()} == there


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--labels", "good,worse"),
            "tells apart good, worse, the data bad, good: name its columns with --labels, of bad, good",
        ),
        (("--labels", "good"), "those of the data bad, good: name its columns with --labels, of bad, good"),
        (("--labels", "good,good"), "guard:predict tells apart good, good"),
        (("--max_length", 12), "a function gets whole texts: leave it out"),
    ],
)
def test_options_that_do_not_fit_are_one_line(more: tuple[Any, ...], message: str, home: Path, rosetune: Any) -> None:
    (home / "guard.py").write_text(GUARD)
    one_line(rosetune(*words("guard:predict", *more)), message)
    assert not (home / "run").exists()


def test_where_a_function_will_not_do(home: Path, rosetune: Any, library: tiny_run.Library) -> None:
    (home / "guard.py").write_text(GUARD)
    one_line(rosetune("train", "--task", "my.csv", "--model_name_or_path", "guard:predict"), "has no weights")
    one_line(rosetune("predict", "guard:predict", "--text", "a"), "has no weights: `rosetune evaluate")
    one_line(rosetune("evaluate", library.learned(), "--labels", "a,b"), "--labels belongs to")
    asked = words(str(library.learned()), "--labels", "good,bad")
    one_line(rosetune(*asked), "--labels names the outputs of a function")
    (home / "numbers.csv").write_text("text,label\n" + "".join(f"film {i},{i / 7}\n" for i in range(60)))
    asked = [*words("guard:predict"), "--task_type", "regression"]
    message = "the data holds numbers: give a model with weights"
    one_line(rosetune(*("numbers.csv" if word == "my.csv" else word for word in asked)), message)
    methods = "def logits(self, texts): ...\n    def __call__(self, texts): ..."
    (home / "pipe.py").write_text(f"class Pipe:\n    {methods}\npipe = Pipe()\n")
    one_line(rosetune(*words("pipe:pipe")), "is of type Pipe, not a function: of a pipeline or model save the weights")
    assert not (home / "run").exists()


def test_what_is_the_name_of_a_function(home: Path) -> None:
    assert all(map(is_function_name, ("guard:predict", "a.b_1:c.d")))
    assert not any(
        map(is_function_name, ("demo", "user/model", "a:", ":b", "a:b:c", "./a:b", "1a:b", "/a/b", "a b:c"))
    )
    (home / "a:b").mkdir()
    assert not is_function_name("a:b")


def test_a_damaged_or_moved_file_is_said(home: Path, rosetune: Any) -> None:
    (home / "guard.py").write_text(GUARD)
    assert rosetune(*words("guard:predict", "--labels", "good,bad"))[0] == 0
    kept = (home / "run/model/callable.json").read_text()
    (home / "run/model/callable.json").write_text(kept[:-10])
    one_line(rosetune("predict", "run", "--text", "a"), "callable.json is damaged")
    (home / "run/model/callable.json").write_text(kept)
    assert read_function(home / "run") == read_function(home / "run/model") == json.loads(kept)
    assert read_function(home) is None
    shutil.move(home / "guard.py", home / "gone.txt")
    forget(home)
    one_line(rosetune("predict", "run", "--text", "a"), "there is no module guard in ")


def test_identities_without_a_function_are_as_they_were() -> None:
    """No new entry where nothing new is asked for."""
    config = RunConfig(task="my.csv", model_name_or_path="model", given=True)
    identity = config.identity(task="my", text_columns=["text"], fingerprint="x", defaults={})
    assert "labels" not in identity
    assert "labels" not in config.as_yaml()
    assert source_of("json:loads").name == "__init__.py"
    assert import_function("json:loads") is json.loads
