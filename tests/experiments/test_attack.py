"""`rosetune attack` from the command line to its files: rows, names, resumption, transfer, hostile input."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import tiny_run
from command_line import one_line
from rosetune import cli
from rosetune.data.rows import make_dataset, make_task_data
from rosetune.experiments import attack as experiment
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.models import load_trained
from rosetune.experiments.targets import Target
from rosetune.report.attacks import example_lines, transfer_grid
from rosetune.report.console import print_grid
from rosetune.robustness.attacks.recipes import RECIPES
from rosetune.robustness.attacks.run import attack, read_results
from rosetune.robustness.attacks.summary import Transferred
from rosetune.robustness.statistics import Estimate
from rosetune.robustness.transformers_classifier import TransformersClassifier
from rosetune.runs.attacked import Attacked
from rosetune.runs.compare import not_compared
from rosetune.runs.run import Run, RunError
from tiny_run import Killed

HOSTILE = [
    "?!… -- ,,,",
    "🌹🔥👩‍👩‍👧 great 🌹",
    "שלום film עולם dull",
    "great\x00\x07\x1b[31m film\u202e dull\u200b",
    "great " * 500,
    " ".join(f"{tiny_run.WORDS[i % 24]}{i}" for i in range(10_000)),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on one file, one on pairs, and synonyms that make good bad."""
    folder = tmp_path_factory.mktemp("attacks")
    tiny_run.write_model(folder / "model")
    tiny_run.write_csv(folder / "my.csv", rows=300)
    tiny_run.write_csv(folder / "pairs.csv", pairs=True, rows=300)
    words = {word: [*tiny_run.BAD, *tiny_run.GOOD, *tiny_run.PLAIN[:3]] for word in tiny_run.WORDS}
    (folder / "synonyms.json").write_text(json.dumps(words))
    for name, task, seed in (("one", "my", 1), ("two", "my", 2), ("pairs", "pairs", 1)):
        options = ["--max_steps", "40", "--learning_rate", "5e-3", "--disable_tqdm", "true", "--seed", str(seed)]
        paths = ["--task", f"{folder}/{task}.csv", "--model_name_or_path", f"{folder}/model"]
        cli.main(["train", *paths, "--output_dir", f"{folder}/{name}", "--sets", "clean", *options])
    return folder


@pytest.fixture
def runs(home: Path, tmp_path: Path) -> Path:
    """Copies of the runs that no test has attacked."""
    for name in ("one", "two", "pairs"):
        shutil.copytree(home / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def attacks(home: Path, rosetune: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str, str]]:
    """Call `rosetune attack`; exit code, standard output and standard error."""

    def call(*words: Any, synonyms: bool = True) -> tuple[int, str, str]:
        return rosetune("attack", *words, *(["--synonyms", home / "synonyms.json"] if synonyms else []))

    return call


def attack_files(run: Path | str) -> dict[str, Any]:
    return Run(Path(run)).attacks


def contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "attacks").iterdir()}


def ids(path: Path) -> list[str]:
    return [result["id"] for result in read_results(path)[1]]


# --- figures and tables ------------------------------------------------------------------------------------------


def test_json_holds_what_the_files_say(runs: Path, attacks: Any) -> None:
    code, out, err = attacks(runs / "one", "--attack", "all", "--examples", 12, "--budget", 60, "--json")
    assert code == 0, err
    printed = json.loads(out)
    assert printed["transfer"] == {}
    figures = printed["runs"][str(runs / "one")]
    assert list(figures) == list(RECIPES)
    assert len(list((runs / "one/attacks").glob("*.jsonl"))) == len(RECIPES)
    for recipe, f in figures.items():
        header, results = read_results(f["file"])
        assert (header["budget"], header["seed"], header["column"]) == (60, 0, 0)
        assert (header["attack"]["name"], len(results), f["n"]) == (recipe, 12, 12)
        assert f["succeeded"] == sum(result["status"] == "success" for result in results)
        assert max(result["queries"] for result in results) <= 60
    assert figures["textfooler"]["succeeded"] > 0


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_and_say_what_is_missing(
    width: int, runs: Path, attacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = attacks(runs / "one", runs / "two", "--attack", "textfooler,deepwordbug", "--examples", 20)
    assert code == 0, err
    assert max(map(len, out.splitlines())) <= width
    results = attack_files(runs / "one")["deepwordbug"][1]
    right = [result for result in results if result["status"] != "skipped"]
    broken = [result for result in right if result["status"] == "success"]
    lines = out.splitlines()
    line = lines[lines.index(next(line for line in lines if line.strip() == "deepwordbug")) + 1]
    clean, under = len(right) / 20, (len(right) - len(broken)) / 20
    assert line.split()[:4] == ["one", "20", f"{100 * clean:.1f}", f"{100 * under:.1f}"]
    assert f" {100 * len(broken) / len(right):.1f} " in line
    said = " ".join(out.split())
    assert "Of the paper's textfooler this lacks its checks of the part of speech and of the similarity" in said
    assert "confidence is merely flat, robust or not: then few examples are found on it" in said
    assert "Left: the run they were found on; above: the run they are tried on." in said
    assert said.count(", taken for ") == 3


def test_every_model_is_tried_on_what_fooled_the_other(runs: Path, attacks: Any, home: Path) -> None:
    one, two = str(runs / "one"), str(runs / "two")
    code, out, err = attacks(one, two, "--attack", "deepwordbug", "--examples", "30", "--json", synonyms=False)
    assert code == 0, err
    [matrix] = json.loads(out)["transfer"].values()
    assert ids(runs / "one/attacks/deepwordbug.jsonl") == ids(runs / "two/attacks/deepwordbug.jsonl")
    for source, target in ((one, two), (two, one)):
        results = [r for r in attack_files(source)["deepwordbug"][1] if r["status"] == "success"]
        before, after = (labels_by(target, [r[kind][0] for r in results]) for kind in ("texts", "perturbed"))
        golds = [("bad", "good")[r["gold"]] for r in results]
        right = [i for i, gold in enumerate(golds) if before[i] == gold]
        fooled = sum(after[i] != golds[i] for i in right)
        cell = matrix[source][target]["fooled"]
        assert (cell["n"], cell["value"]) == (len(right), fooled / len(right))
        assert cell["low"] <= cell["value"] <= cell["high"]
        assert matrix[source][source]["fooled"]["value"] == 1.0


def labels_by(run: str, texts: list[str]) -> list[str]:
    from rosetune.experiments.predict import predict_texts

    return [row["label"] for row in predict_texts(run, texts=texts).rows]


@pytest.mark.parametrize("width", [40, 80])
def test_no_figure_of_many_runs_is_cut(width: int) -> None:
    cell = Transferred(Estimate(3, 0.5, 0.25, 0.75), Estimate(9, 0.1, 0.0, 0.2))
    named = {f"runs/run-{i}": cell for i in range(5)}
    out = Console(file=io.StringIO(), width=width, highlight=False)
    print_grid(out, transfer_grid({"pwws": dict.fromkeys(named, named)}))
    text = out.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert text.count("50.0") == text.count("[25.0,75.0]") == text.count("of 3") == 20  # none of a run on itself


def test_examples_show_what_changed_and_each_row_once() -> None:
    def result(name: str, text: str, *changes: tuple[int, str, str], status: str = "success") -> dict[str, Any]:
        base = {"id": name, "status": status, "gold": 1, "perturbed_prediction": 0, "column": 0}
        return {**base, "texts": [text], "changes": changes}

    first = [
        result("a", "a film", (1, "film", "flim"), status="failed"),
        result("b", "an [odd]\x1b film", (1, "odd", "dod")),
        result("c", "so it ends", (1, "it", ""), (3, "", "now"), (3, "", "here")),
    ]
    second = [result("b", "an odd film", (0, "an", "na")), result("d", "x " * 200 + "good", (200, "good", "bad"))]
    runs = {"one": {"pwws": first, "random": second}}
    attacked = Attacked(("pwws", "random"), "clean", None, runs, {}, {}, {"one": ("no", "yes")})
    found = [(what, text.plain) for what, text in example_lines(attacked)]
    assert [what for what, _ in found] == [f"{name}: yes, taken for no" for name in ("pwws", "random", "pwws")]
    assert found[0][1] == "an [[odd -> dod]]  film"
    assert found[1][1] == " … " + "x " * 30 + "[good -> bad]"
    assert found[2][1] == "so [it -> ] ends[ -> now][ -> here]"


def test_no_transfer_between_tasks(runs: Path, attacks: Any) -> None:
    one, pairs, two = (str(runs / name) for name in ("one", "pairs", "two"))
    words = (one, pairs, two, "--attack", "random", "--examples", 4)
    code, out, err = attacks(*words, "--json", synonyms=False)
    assert code == 0, err
    assert list(json.loads(out)["runs"]) == [one, pairs, two]
    matrix = json.loads(out)["transfer"]["random"]
    assert {source: {*row} for source, row in matrix.items()} == {one: {one, two}, two: {one, two}}
    assert f"no transfer between runs of different tasks, whose labels mean different things (my: {one}, {two}" in err
    assert attacks(*words, synonyms=False)[0] == 0


def test_the_last_text_of_a_pair_or_the_one_named(runs: Path, attacks: Any) -> None:
    words = (runs / "pairs", "--attack", "textfooler", "--examples", 8)
    for more, column in (((), 1), (("--column", "premise"), 0), (("--column", 1), 0), (("--column", 2), 1)):
        assert attacks(*words, *more)[0] == 0
        files = [part for part in attack_files(runs / "pairs").values() if part[0]["column"] == column]
        [(header, results)] = files
        assert header["text_column"] == ("premise", "hypothesis")[column]
        assert all(r["perturbed"][1 - column] == r["texts"][1 - column] for r in results)
        assert any(r["perturbed"][column] != r["texts"][column] for r in results)


def test_limits_hold_for_every_recipe(runs: Path, attacks: Any) -> None:
    limits = ("--max_share", 0.25, "--protected", "film|plot", "^the")
    code, _, err = attacks(runs / "one", "--attack", "all", "--examples", 10, "--budget", 80, *limits)
    assert code == 0, err
    changed = 0
    for header, results in attack_files(runs / "one").values():
        assert header["attack"]["constraints"]["max_share"] == 0.25
        for result in results:
            changed += len(result["changes"])
            assert len(result["changes"]) <= 2  # of eight words
            assert not {"film", "plot"} & {before for _, before, _ in result["changes"]}
            assert not any(at == 0 and before == "the" for at, before, _ in result["changes"])
    assert changed > 0


def test_the_unknown_word_is_the_tokenizer_s(runs: Path, attacks: Any) -> None:
    path = runs / "one/model/tokenizer.json"
    path.write_text(path.read_text().replace("[UNK]", "<unk>"))
    config = runs / "one/model/tokenizer_config.json"
    config.write_text(config.read_text().replace("[UNK]", "<unk>"))
    assert attacks(runs / "one", "--attack", "pwws", "--examples", 3)[0] == 0
    [(header, _)] = attack_files(runs / "one").values()
    assert header["attack"]["search"]["unk"] == "<unk>"


# --- rows and files ------------------------------------------------------------------------------------------------


def test_a_second_call_asks_no_model(runs: Path, attacks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for the attacks nor for the transfer."""
    words = (runs / "one", runs / "two", "--attack", "textfooler,deepwordbug", "--examples", 10)
    first = attacks(*words, "--json")
    assert first[0] == 0, first[2]
    table = attacks(*words)
    before = {name: tiny_run.snapshot(runs / name) for name in ("one", "two")}
    kept = {name: json.loads((runs / name / "attacks/transfer.json").read_text()) for name in ("one", "two")}
    assert [len(part) for part in kept.values()] == [4, 4]  # two attacks on each of two runs
    monkeypatch.setattr(TransformersClassifier, "__call__", None)  # no text may reach the model
    assert attacks(*words, "--json")[:2] == first[:2]
    second = attacks(*words)
    assert second[:2] == table[:2]
    assert second[2].count("was done before") == 4
    assert {name: tiny_run.snapshot(runs / name) for name in ("one", "two")} == before  # nor is a file written


def test_more_rows_are_tried_on_the_other_again(runs: Path, attacks: Any) -> None:
    """What is kept of a transfer belongs to the rows that were attacked."""
    words = (runs / "one", runs / "two", "--attack", "deepwordbug", "--json", "--examples")
    small = json.loads(attacks(*words, 5, synonyms=False)[1])["transfer"]
    large = json.loads(attacks(*words, 25, synonyms=False)[1])["transfer"]
    assert small != large
    assert json.loads(attacks(*words, 5, synonyms=False)[1])["transfer"] == small
    shutil.rmtree(runs / "one/attacks")
    shutil.rmtree(runs / "two/attacks")
    assert json.loads(attacks(*words, 25, synonyms=False)[1])["transfer"] == large


def test_more_rows_join_and_fewer_are_read_from_the_same_file(runs: Path, attacks: Any) -> None:
    words = (runs / "one", "--attack", "deepwordbug", "--json", "--examples")
    path = runs / "one/attacks/deepwordbug.jsonl"
    few = json.loads(attacks(*words, 5, synonyms=False)[1])
    five = read_results(path)
    many = attacks(*words, 15, synonyms=False)
    assert "deepwordbug on 10 rows of clean, 5 done" in many[2]
    assert read_results(path)[1][:5] == five[1]
    assert json.loads(attacks(*words, 5, synonyms=False)[1]) == few
    assert len(ids(path)) == 15
    header, _ = attack_files(runs / "one")["deepwordbug"]
    assert (header["rows"], header["finished"]) == (15, True)
    assert attacks(runs / "two", *words[1:], 15, synonyms=False)[0] == 0
    assert ids(runs / "two/attacks/deepwordbug.jsonl") == ids(path)
    assert json.loads(attacks(*words, "all", synonyms=False)[1])["runs"][str(runs / "one")]["deepwordbug"]["n"] == 30
    assert ids(path) != sorted(ids(path), key=int)  # drawn


def test_what_tells_attacks_apart_is_in_the_name(runs: Path, attacks: Any, home: Path) -> None:
    other = tiny_run.write_synonyms(runs / "other.json")
    base = (runs / "one", "--attack", "textfooler", "--examples", 4)
    for more in (("--budget", 9), ("--budget", "none"), ("--seed", 1), ("--set", "typos_2"), ("--max_share", 0.5)):
        assert attacks(*base, *more)[0] == 0
    assert attacks(*base)[0] == 0
    assert attacks(*base, "--synonyms", other, synonyms=False)[0] == 0
    files = attack_files(runs / "one")
    assert len(files) == 7
    told = {json.dumps({**header, "model": 0}, sort_keys=True) for header, _ in files.values()}
    assert len(told) == 7
    assert all(header["finished"] and header["recipe"] == "textfooler" for header, _ in files.values())
    moved = shutil.copy(home / "synonyms.json", runs / "moved.json")
    code, _, err = attacks(*base, "--synonyms", moved, synonyms=False)
    assert (code, "was done before" in err) == (0, True)  # it is what a file holds that counts


def test_a_killed_attack_goes_on_to_the_same_bytes(
    runs: Path, home: Path, attacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there of it says that it is not finished; test_sigkill.py kills the process."""
    words = ("--attack", "genetic", "--examples", "30", "--budget", "400")
    assert attacks(runs / "two", *words)[0] == 0
    shutil.copytree(home / "two", runs / "killed")
    asked, ask = [], TransformersClassifier.__call__

    def die(self: Any, texts: Any) -> Any:
        asked.append(len(texts))
        if len(read_results(runs / "killed/attacks" / name)[1]) > 3:
            raise Killed
        return ask(self, texts)

    [name] = [path.name for path in (runs / "two/attacks").glob("*.jsonl")]
    with monkeypatch.context() as patch:
        patch.setattr(TransformersClassifier, "__call__", die)
        with pytest.raises(Killed):
            attacks(runs / "killed", *words)
    [(header, results)] = attack_files(runs / "killed").values()
    assert 0 < len(results) < 30
    assert header["finished"] is False
    assert Run(runs / "killed").sets() == ["clean"]  # an unfinished attack is no set
    assert attacks(runs / "killed", *words)[0] == 0
    assert contents(runs / "killed") == contents(runs / "two")
    assert attack_files(runs / "killed") == attack_files(runs / "two")


def test_files_are_read_without_a_model(runs: Path, attacks: Any) -> None:
    attacks(runs / "one", "--attack", "deepwordbug", "--examples", 4, synonyms=False)
    shutil.rmtree(runs / "one/model")
    [(name, (header, results))] = attack_files(runs / "one").items()
    assert (name, header["set"], header["rows"], header["labels"]) == ("deepwordbug", "clean", 4, ["bad", "good"])
    assert (len(results), header["finished"]) == (4, True)
    assert attack_files(runs / "two") == {}


def test_a_moved_run_and_changed_data(runs: Path, home: Path, attacks: Any) -> None:
    config = runs / "one/config.yaml"
    config.write_text(config.read_text().replace(str(home / "my.csv"), "/gone/my.csv"))
    words = (runs / "one", "--attack", "random", "--examples", 3)
    one_line(attacks(*words, synonyms=False), "there is no file or folder /gone/my.csv")
    assert attacks(*words, "--task", home / "my.csv", synonyms=False)[0] == 0
    other = tiny_run.write_csv(runs / "other.csv", seed=3)
    one_line(attacks(*words, "--task", other, synonyms=False), "is not what")


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--attack is missing: give attacks by name"),
        (("--attack", ","), "--attack names no attack"),
        (("--attack", "deepwordbugs"), "no attack is called 'deepwordbugs': did you mean deepwordbug?"),
        (("--attack", "xyz"), "give some of deepwordbug, disguises"),
        (("--attack", "random,pwws"), "pwws replaces words by synonyms: give --synonyms"),
        (("--attack", "pwws", "--synonyms", "gone.json"), "there is no file gone.json"),
        (("--attack", "random", "--examples", "0"), "--examples must be at least 1"),
        (("--attack", "random", "--examples", "half"), "'half' is neither a whole number nor 'all'"),
        (("--attack", "random", "--budget", "-1"), "--budget must be at least 1"),
        (("--attack", "random", "--budget", "x"), "'x' is neither a whole number nor 'none'"),
        (("--attack", "random", "--batch_size", "0"), "--batch_size must be at least 1"),
        (("--attack", "random", "--set", "cleen"), "there is no evaluation set 'cleen'"),
        (("--attack", "random", "--set", "clean_mismatched"), "its kind there are clean"),
        (("--attack", "random", "--set", "advglue"), "AdvGLUE has no data"),
        (("--attack", "random", "--max_share", "1.5"), "max_share must lie in (0, 1]"),
        (("--attack", "random", "--protected", "("), "is no regular expression"),
        (("--attack", "random", "--column", "hypothesis"), "no text column 'hypothesis' to attack: give text"),
        (("--attack", "random", "--column", "0"), "no text column '0' to attack"),
    ],
)
def test_wrong_words_give_one_line(words: tuple[str, ...], message: str, home: Path, attacks: Any) -> None:
    one_line(attacks(home / "one", *words, synonyms=False), message)
    assert not (home / "one/attacks").exists()


def test_wrong_runs_give_one_line(runs: Path, attacks: Any) -> None:
    words = ("--attack", "random", "--examples", 3)
    one_line(attacks(runs / "gone", *words, synonyms=False), "there is no folder")
    (runs / "two/metrics.json").unlink()
    one_line(attacks(runs / "one", runs / "two", *words, synonyms=False), "is no finished run")
    assert not (runs / "one/attacks").exists()  # nothing is done before all is known to be right


def test_another_model_in_the_folder_is_refused(runs: Path, attacks: Any) -> None:
    words = (runs / "one", "--attack", "random", "--examples", 3)
    assert attacks(*words, synonyms=False)[0] == 0
    shutil.copy(runs / "two/model/model.safetensors", runs / "one/model/model.safetensors")
    code, out, err = attacks(*words, synonyms=False)
    assert (code, out) == (2, "")
    assert "holds another attack (it differs in model)" in err


def test_an_interrupt_says_how_to_go_on(runs: Path, attacks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TransformersClassifier, "__call__", interrupt)
    code, out, err = attacks(runs / "one", "--attack", "random", synonyms=False)
    assert (code, out) == (130, "")
    assert "the same command goes on where it stopped" in err


# --- rows ------------------------------------------------------------------------------------------------------------


def target(texts: list[str], golds: list[int], examples: int | None = None, seed: int = 0, **extra: Any) -> Target:
    names = [f"r{i}" for i in range(len(texts))]
    train = make_dataset(["0", "1"], {"text": ["a", "b"]}, [0, 1])
    data = make_task_data("t", ["text"], ["bad", "good"], {"train": train, "validation": train})
    return Target(Run(Path("run")), data, make_dataset(names, {"text": texts}, golds, **extra), examples, seed, 0)


def test_rows_are_drawn_by_seed_and_id() -> None:
    texts = [f"text {i}" for i in range(300)]
    rows = target(texts, [0, 1] * 150, 200).rows(set())
    assert len(rows) == len({row.id for row in rows}) == 200
    assert rows[:100] == target(texts, [0, 1] * 150, 100).rows(set())
    assert target(texts, [0, 1] * 150, 100).rows({rows[150].id}) == [*rows[:100], rows[150]]
    assert rows != target(texts, [0, 1] * 150, 200, seed=1).rows(set())
    assert all(row.texts == (f"text {row.id[1:]}",) and row.gold == int(row.id[1:]) % 2 for row in rows)
    assert sorted(row.id for row in target(texts, [0, 1] * 150).rows(set())) == sorted(f"r{i}" for i in range(300))


def test_rows_without_a_label_are_left_out_and_counted() -> None:
    found = target(["a", "b", "c", "d"], [0, -1, 1, -1])
    assert (found.unlabelled, found.total, found.wanted) == (2, 4, 2)
    assert sorted(row.id for row in found.rows(set())) == ["r0", "r2"]
    with pytest.raises(RunError, match="no row of the set has a label"):
        target(["a"], [-1])


def test_originals_go_with_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Thirty items of three originals: the interval is that of three draws, not of thirty."""
    texts = [f"the film was {tiny_run.GOOD[i % 6]} {tiny_run.PLAIN[i % 12]}" for i in range(30)]
    groups = [f"o{i % 3}" for i in range(30)]
    found = target(texts, [1] * 30, extra={"original_id": groups})
    assert found.originals() == {f"r{i}": groups[i] for i in range(30)}
    shutil.copytree(home / "one", tmp_path / "run")
    found.run = Run(tmp_path / "run")
    monkeypatch.setattr(experiment, "find_targets", lambda *args, **kwargs: [found])
    attacked = experiment.attack_runs([found.run], AttackOptions(("random",), examples=None))
    [(_, results)] = attack_files(tmp_path / "run").values()
    assert {result["id"]: result["original_id"] for result in results} == found.originals()
    assert attacked.results[str(found.run)]["random"] == results


def test_hostile_rows_get_a_result_each(home: Path, tmp_path: Path) -> None:
    found = target(["", "   ", *HOSTILE], [1] * (len(HOSTILE) + 2))
    model, tokenizer, _ = load_trained(home / "one")
    for name in ("deepwordbug", "random"):
        path = tmp_path / f"{name}.jsonl"
        attack(TransformersClassifier(model, tokenizer), found.rows(set()), RECIPES[name](), budget=40, path=path)
        assert sorted(ids(path)) == sorted(f"r{i}" for i in range(len(HOSTILE) + 2))


def test_a_hostile_file_from_training_to_table(home: Path, tmp_path: Path, attacks: Any) -> None:
    rows = [{"text": text, "label": ("bad", "good")[i % 2]} for i, text in enumerate(HOSTILE)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths = ["--task", f"{home}/my.csv", "--test_file", f"{tmp_path}/test.jsonl", "--output_dir", f"{tmp_path}/run"]
    model = ["--model_name_or_path", f"{home}/model", "--sets", "clean", "--max_steps", "2", "--disable_tqdm", "true"]
    cli.main(["train", *paths, *model])
    code, out, err = attacks(tmp_path / "run", "--attack", "all", "--budget", 20)
    assert code == 0, err
    for header, results in attack_files(tmp_path / "run").values():
        assert sorted(result["id"] for result in results) == sorted(map(str, range(len(HOSTILE))))
        assert header["finished"]
    assert "\x1b" not in out


def test_compare_refuses_other_limits_but_not_another_unknown_word(runs: Path, attacks: Any) -> None:
    """The constraints are in the file, whatever it is called; the unknown word belongs to the model's tokenizer."""
    one, two = runs / "one", runs / "two"
    for run, share in ((one, 0.5), (two, 0.3)):
        assert attacks(run, "--attack", "pwws", "--examples", 6, "--max_share", share)[0] == 0
    [path] = (one / "attacks").glob("pwws-*.jsonl")
    header = read_results(path)[0]
    assert header["attack"]["constraints"]["max_share"] == 0.5
    for kind in (".jsonl", ".json"):
        next((two / "attacks").glob(f"pwws-*{kind}")).rename(two / "attacks" / f"{path.stem}{kind}")
    name = f"attack:{path.stem}"
    assert "attack.constraints.max_share" in not_compared([Run(one)], [Run(two)])[name]
    other = two / "attacks" / path.name
    other.write_text(path.read_text().replace('"unk": "[UNK]"', '"unk": "<unk>"'))
    (two / "attacks" / f"{path.stem}.json").write_bytes((one / "attacks" / f"{path.stem}.json").read_bytes())
    assert "<unk>" in other.read_text()
    assert name not in not_compared([Run(one)], [Run(two)])
    other.write_text(path.read_text().replace('"texts": ["', '"texts": ["Another '))
    assert "not the same texts" in not_compared([Run(one)], [Run(two)])[name]
