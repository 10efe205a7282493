"""The command line: quick help, readable errors, options from four places, clean standard output."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rosetune.experiments.config import RunConfig, RunError

import tiny_run
from rosetune import cli
from rosetune._files import write_text
from rosetune.experiments.options import make_config
from rosetune.experiments.predict import predict_texts
from rosetune.methods import OBJECTIVES, UPDATE_MASKS
from rosetune.recipes import load_recipe

VERBS = ("train", "evaluate", "attack", "controls", "compare", "predict", "list", "demo")
HEAVY = ("torch", "transformers", "datasets", "numpy", "rich", "yaml")


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with tiny_run.quick():
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    tiny_run.write_csv(folder / "my.csv")
    tiny_run.write_csv(folder / "pairs.csv", pairs=True)
    tiny_run.write_model(folder / "model")
    return folder


@pytest.fixture
def rosetune(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call a verb; exit code, standard output and standard error."""

    def call(*words: Any) -> tuple[int, str, str]:
        try:
            cli.main([str(word) for word in words])
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return call


def train_words(home: Path, folder: str, *more: Any) -> list[Any]:
    words = ["train", "--task", home / "my.csv", "--model_name_or_path", home / "model", "--output-dir", home / folder]
    return [*words, "--max_steps", 2, "--per_device_train_batch_size", 8, "--sets", "clean", *more]


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    """A run that can tell good from bad, on single texts."""
    if not (home / "trained").exists():
        options = ["--max_steps", 30, "--learning_rate", "5e-3", "--disable_tqdm", "true"]
        cli.main([str(word) for word in train_words(home, "trained", *options)])
    return home / "trained"


@pytest.fixture(scope="module")
def trained_on_pairs(home: Path) -> Path:
    if not (home / "trained-on-pairs").exists():
        words = train_words(home, "trained-on-pairs", "--task", home / "pairs.csv")
        cli.main([str(word) for word in words])
    return home / "trained-on-pairs"


# --- help and lists ----------------------------------------------------------------------------------------------


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_of_every_verb_answers_at_once() -> None:
    """All in one process and without any heavy import; a generous bound on the time for a busy machine."""
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
    started = time.perf_counter()
    printed = run_python(code)
    assert time.perf_counter() - started < 5
    assert printed.splitlines()[-1] == "[]"
    assert all(f"usage: rosetune {verb}" in printed for verb in VERBS)
    assert max(map(len, printed.splitlines())) <= 100


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
    import dataclasses

    from transformers import TrainingArguments

    own = {*RunConfig.__dataclass_fields__, "config", "recipe", "help_all", "traceback", "verb", "run"}
    assert own & {field.name for field in dataclasses.fields(TrainingArguments)} == {"output_dir"}


# --- options from recipe, file and command line ------------------------------------------------------------------


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_command_line_wins_over_the_file_over_the_recipe(tmp_path: Path) -> None:
    recipe = "rose-ensemble/roberta-base/rte"
    file = write(tmp_path / "c.yaml", "learning_rate: 1e-5\nmax_length: 64\nseed: 7\ntask: sst2\nadam_beta2: null\n")
    options, arguments = {"max_length": "32", "data_dir": "glue"}, ["--seed", "9", "--bf16"]
    config = make_config(recipe=recipe, config_file=file, options=options, arguments=arguments)
    published = load_recipe(recipe)
    assert (config.task, config.max_length, config.data_dir) == ("sst2", 32, "glue")
    assert config.model_name_or_path == published["model_name_or_path"]
    assert config.training["learning_rate"] == 1e-5  # a string for YAML
    assert config.training["seed"] == 9
    assert config.training["bf16"] is True
    assert config.training["num_train_epochs"] == published["num_train_epochs"]
    assert "adam_beta2" not in config.training  # null takes the recipe's value back
    assert config.training["update_mask_kwargs"] == published["update_mask_kwargs"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"update_mask_kwargs": '{"trace": true, "upper": 0.5}'}, ("rose", {"upper": 0.5, "trace": True})),
        ({"update_mask": "rose", "update_mask_kwargs": '{"gamma": 1}'}, ("rose", {"gamma": 1})),
        ({"update_mask": "random"}, ("random", None)),
        ({"update_mask": "random", "update_mask_kwargs": '{"upper": 0.1}'}, ("random", {"upper": 0.1})),
        ({"update_mask": "none"}, (None, None)),
    ],
)
def test_options_of_a_method_stay_with_their_method(options: dict[str, str], expected: tuple[Any, Any]) -> None:
    config = make_config(recipe="rose-ensemble/roberta-base/rte", options=options)
    mask, kwargs = expected
    kept = {"order": "ensemble", "upper": 0.8, "gamma": 0.5} if mask == "rose" else {}
    assert config.training.get("update_mask") == mask
    assert config.training.get("update_mask_kwargs") == (None if kwargs is None else {**kept, **kwargs})


def test_a_mapping_in_yaml_and_json_on_the_command_line_are_the_same(tmp_path: Path) -> None:
    base = "task: demo\nmodel_name_or_path: demo\nupdate_mask: rose\nsave_strategy: no\nreport_to: none\n"
    file = write(tmp_path / "c.yaml", base + "update_mask_kwargs:\n  order: first\n  upper: 1.0\n")
    words = ["--update_mask_kwargs={'order': 'first', 'upper': 1}".replace("'", '"')]
    from_file = make_config(config_file=file)
    from_words = make_config(config_file=write(tmp_path / "d.yaml", base), arguments=words)
    assert from_file == from_words
    assert from_file.training["update_mask_kwargs"] == {"order": "first", "upper": 1}
    assert from_file.training["save_strategy"] == "no"  # which YAML reads as false


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: 1.0", "c.yaml: unknown option lerning_rate: did you mean learning_rate?"),
        ("learning_rate: fast", "c.yaml: argument --learning_rate/--learning-rate: invalid float value: 'fast'"),
        ("learning_rate: {a: 1}", "c.yaml: argument --learning_rate"),
        ("lr_scheduler_type: liner", "c.yaml: argument --lr_scheduler_type"),
        ("max_length: long", "max_length must be a whole number of at least 1, not 'long'"),
        ("text_columns: 3", "text_columns must be names such as a,b, not 3"),
        ("update_mask_kwargs: rose", "update_mask_kwargs must be a JSON object"),
        ("update_mask_kwargs: [1, 2]", "c.yaml: update_mask_kwargs must be a JSON object"),
        ("learning_rate: [1, 2]", "c.yaml: learning_rate takes one value, not [1, 2]"),
        ("sst2", "must hold a mapping of options"),
        ("a: [1", "c.yaml, line 1 is not valid YAML"),
        ("a: 1\n\tb: 2", "c.yaml, line 2 is not valid YAML"),
        ("5: 6", "c.yaml: unknown option 5"),
    ],
)
def test_errors_in_a_config_file_name_the_key(text: str, message: str, tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", text)
    with pytest.raises(RunError) as caught:
        make_config(config_file=file, options={"task": "demo", "model_name_or_path": "demo"})
    assert message in str(caught.value)


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: VERB"),
        (["trian"], "invalid choice: 'trian'"),
        (["train", "--model_name_or_path", "demo"], "--task is missing"),
        (["train", "--task", "demo"], "--model_name_or_path is missing"),
        (["train", "--recipe", "rose/rte"], "no recipe is called 'rose/rte'"),
        (["train", "--config", "nowhere.yaml"], "cannot read the config file nowhere.yaml: No such file"),
        (
            ["train", "--task", "demo", "--lerning_rate", "1"],
            "unknown option --lerning_rate: did you mean --learning_rate?",
        ),
        (["train", "--task", "demo", "stray"], "unknown option stray"),
        (["train", "--seed", "one"], "argument --seed: invalid int value: 'one'"),
        (["train", "--update_mask_kwargs", "{upper: 1}"], "update_mask_kwargs must be a JSON object such as"),
        (["evaluate", "nowhere"], "there is no folder nowhere"),
        (["evaluate", "nowhere", "--lr", "1"], "unknown: --lr 1"),
        (["predict", "nowhere", "--text", "a"], "nowhere holds no trained model"),
        (["predict", "nowhere"], "give either --text (one or more) or --input_file"),
        (["predict", "nowhere", "--text", "a", "--batch_size", "0"], "--batch_size must be at least 1"),
        (["demo", "--max_train_samples", "0"], "max_train_samples must be a whole number"),
    ],
)
def test_wrong_words_give_one_line(words: list[str], message: str, rosetune: Any, in_tmp: None) -> None:
    one_line(rosetune(*words), message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "sst3"], "unknown task 'sst3'. Did you mean 'sst2'?"),
        (["--task", "sst2", "--data_dir", "nowhere"], "nowhere"),
        (["--task", "missing.csv"], "there is no file or folder missing.csv"),
        (["--label_column", "gold"], "has no column 'gold'"),
        (["--update_mask", "rosee"], "unknown update_mask 'rosee': did you mean 'rose'?"),
        (["--objective", "rdrop"], "unknown objective 'rdrop': did you mean 'r_drop'?"),
        (["--update_mask", "rose", "--update_mask_kwargs", '{"uper": 1}'], "has no option 'uper'"),
        (["--update_mask", "rose", "--update_mask_kwargs", '{"upper": 2}'], "upper must be a finite number in (0, 1]"),
        (["--update_mask", "static", "--update_mask_kwargs", '{"trace": "x.npz"}'], "x.npz is not a mask trace"),
        (["--model_name_or_path", "nobody/nothing"], "cannot load 'nobody/nothing'"),
        (["--model_name_or_path", "./nowhere"], "there is no folder ./nowhere"),
        (["--output_dir", "a-file"], "cannot write a run to a-file"),
        (["--sets", "clean,advglue"], "AdvGLUE has no data for the task 'my'"),
        (["--validation_from_train", "2"], "validation_from_train must lie in (0, 1)"),
        (["--eval_strategy", "steps"], "choosing a checkpoint needs validation_from_train"),
        (["--fp16", "--use_cpu", "--bf16"], "At most one of fp16 and bf16"),
    ],
)
def test_what_cannot_be_trained_gives_one_line(
    words: list[str], message: str, home: Path, rosetune: Any, in_tmp: Path
) -> None:
    (in_tmp / "a-file").write_text("")
    started = time.perf_counter()
    one_line(rosetune(*train_words(home, str(in_tmp / "run"), *words)), message)
    assert time.perf_counter() - started < 10
    assert not (in_tmp / "run").exists()


def one_line(called: tuple[int, str, str], message: str) -> None:
    code, out, err = called
    assert code == 2, err
    assert out == ""
    assert message in err
    assert err.startswith("rosetune")
    assert err.count("\n") == 1, err


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_traceback_on_demand(rosetune: Any, in_tmp: Path) -> None:
    with pytest.raises(RunError):
        cli.main(["evaluate", "nowhere", "--traceback"])


@pytest.mark.parametrize(("verb", "said"), [("train", "goes on where it stopped"), ("predict", "interrupted\n")])
def test_an_interrupt(verb: str, said: str, home: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    target = {"train": "run.train_run", "predict": "predict.predict_texts"}[verb]
    monkeypatch.setattr(f"rosetune.experiments.{target}", interrupt)
    words = train_words(home, "interrupted") if verb == "train" else ["predict", home, "--text", "a"]
    code, out, err = rosetune(*words)
    assert (code, out) == (130, "")
    assert said in err


# --- train and evaluate --------------------------------------------------------------------------------------------


def test_standard_output_of_train_holds_the_report_alone(home: Path, rosetune: Any) -> None:
    code, out, err = rosetune(*train_words(home, "reported"))
    assert code == 0
    assert out.splitlines()[0].strip() == str(home / "reported") or "reported" in out
    assert "clean" in out
    assert "{" not in out + err  # the Trainer's log lines are in log.jsonl
    assert "2/2" in err  # its bar
    assert "loss=" in err
    code, out, err = rosetune(*train_words(home, "reported"))
    assert out.startswith(f"{home / 'reported'} is finished; nothing to do\n")
    code, out, err = rosetune(*train_words(home, "reported", "--seed", 5))
    one_line((code, out, err), "seed: the default there, 5 here")


def test_evaluate_adds_sets_and_predicts_nothing_again(
    home: Path, trained: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, home / "evaluated")
    before = (home / "evaluated/predictions.jsonl").read_bytes()
    code, out, err = rosetune("evaluate", home / "evaluated", trained, "--json")
    assert (code, err) == (0, "")
    results = json.loads(out)
    assert list(results) == [str(home / "evaluated"), str(trained)]
    assert list(results[str(trained)]["sets"]) == ["clean", "typos_1", "typos_2"]
    after = (home / "evaluated/predictions.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(after) > len(before)

    from rosetune.experiments import evaluate

    monkeypatch.setattr(evaluate, "predict", None)
    monkeypatch.setattr(evaluate, "load_data", None)
    code, out, _ = rosetune("evaluate", home / "evaluated", "--sets", "clean,noise")
    assert code == 0
    assert "typing errors 2" in out
    assert (home / "evaluated/predictions.jsonl").read_bytes() == after
    (home / "evaluated/metrics.json").write_text('{"labels": ["bad", "good"], "sets": {}}')  # as a kill may leave it
    rosetune("evaluate", home / "evaluated")
    assert tiny_run.metrics(home / "evaluated") == tiny_run.metrics(trained)


def test_a_moved_run_is_evaluated_and_predicts(trained: Path, tmp_path: Path, rosetune: Any) -> None:
    shutil.copytree(trained, tmp_path / "moved/run")
    data = shutil.copy(trained.parent / "my.csv", tmp_path / "moved.csv")
    config = tmp_path / "moved/run/config.yaml"
    config.write_text(config.read_text().replace(str(trained.parent), "/gone"))
    (tmp_path / "moved/run/predictions.jsonl").unlink()
    (tmp_path / "moved/run/metrics.json").write_text('{"labels": [], "sets": {}}')
    one_line(rosetune("evaluate", tmp_path / "moved/run"), "there is no file or folder /gone/my.csv")
    code, out, _ = rosetune("evaluate", tmp_path / "moved/run", "--task", data, "--json", "--sets", "clean")
    assert code == 0
    assert json.loads(out)[str(tmp_path / "moved/run")]["sets"]["clean"] == tiny_run.metrics(trained)["sets"]["clean"]
    code, out, _ = rosetune("predict", tmp_path / "moved/run", "--text", "the film was great", "--json")
    assert json.loads(out)["label"] == "good"


def test_changed_data_is_refused(home: Path, trained: Path, tmp_path: Path, rosetune: Any) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run/predictions.jsonl").unlink()
    other = tiny_run.write_csv(tmp_path / "other.csv", seed=3)
    message = f"the data of {other} is not what {tmp_path / 'run'} was trained on"
    one_line(rosetune("evaluate", tmp_path / "run", "--task", other), message)


# --- predict ------------------------------------------------------------------------------------------------------


def forward(run: Path, *texts: list[str]) -> tuple[list[str], Any]:
    """Labels and probabilities by transformers alone, a text at a time."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(run / "model")
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    with torch.no_grad():
        rows = [
            model(**tokenizer(*row, return_tensors="pt")).logits.softmax(-1)[0] for row in zip(*texts, strict=True)
        ]
    return [model.config.id2label[int(row.argmax())] for row in rows], torch.stack(rows).numpy()


TEXTS = ["the film was great", "a dull and empty plot", "", "été 🌹 – fine", "warm " * 200, "[PAD] lovely"]


def test_predictions_are_those_of_a_plain_forward(trained: Path, rosetune: Any) -> None:
    words = [word for text in TEXTS for word in ("--text", text)]
    code, out, err = rosetune("predict", trained, "--json", *words)
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    labels, probabilities = forward(trained, [text if len(text) < 500 else "warm " * 62 for text in TEXTS])
    assert [row["label"] for row in rows] == labels
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in rows], probabilities, atol=2e-6)
    assert list(rows[0]["probabilities"]) == ["bad", "good"]
    assert rows[0]["label"] == "good"
    assert rows[1]["label"] == "bad"


def test_pairs(trained_on_pairs: Path, trained: Path, rosetune: Any) -> None:
    pair = ["the film was great", "a dull plot"]
    code, out, _ = rosetune("predict", trained_on_pairs, "--text", pair[0], "--text-pair", pair[1], "--json")
    assert code == 0
    row = json.loads(out)
    assert (row["premise"], row["hypothesis"]) == (pair[0], pair[1])
    labels, probabilities = forward(trained_on_pairs, pair[:1], pair[1:])
    assert row["label"] == labels[0]
    np.testing.assert_allclose(list(row["probabilities"].values()), probabilities[0], atol=2e-6)
    message = "the model reads premise and hypothesis, so it takes a --text and a --text_pair each, but got 1 --text"
    one_line(rosetune("predict", trained_on_pairs, "--text", "a"), message)
    one_line(rosetune("predict", trained, "--text", "a", "--text_pair", "b"), "so it takes a --text each")


def test_input_files(trained: Path, rosetune: Any, in_tmp: Path) -> None:
    write(in_tmp / "a.txt", "the film was great\n\na dull plot\n")
    write(in_tmp / "b.csv", 'id,text\n1,the film was great\n2,""\n3,a dull plot\n')
    write(in_tmp / "c.jsonl", '{"text": "the film was great"}\n{"text": ""}\n{"text": "a dull plot"}\n')
    write(in_tmp / "d.csv", "id,body\n1,the film was great\n2,\n3,a dull plot\n")
    outputs = []
    for name, more in (("a.txt", []), ("b.csv", []), ("c.jsonl", []), ("d.csv", ["--text_columns", "body"])):
        code, out, err = rosetune("predict", trained, "--input_file", name, "--output_file", "out/p.jsonl", *more)
        assert (code, out) == (0, "")
        assert err == "3 predictions written to out/p.jsonl\n"
        outputs.append((in_tmp / "out/p.jsonl").read_text(encoding="utf-8").replace('"body"', '"text"'))
    assert len(set(outputs)) == 1
    assert [json.loads(line)["label"] for line in outputs[0].splitlines()][::2] == ["good", "bad"]
    assert not list((in_tmp / "out").glob("*.partial"))


def test_a_folder_is_no_output_file(trained: Path, rosetune: Any, in_tmp: Path) -> None:
    """Nothing in it is touched."""
    write(in_tmp / "precious.txt", "")
    one_line(rosetune("predict", trained, "--text", "a", "--output_file", in_tmp), "is a folder: name a file")
    one_line(rosetune("predict", trained, "--text", "a", "--output_file", "precious.txt/p.jsonl"), "cannot write to")
    with pytest.raises(IsADirectoryError):
        write_text(in_tmp, "")
    assert [path.name for path in in_tmp.iterdir()] == ["precious.txt"]
    assert not list(in_tmp.parent.glob("*.partial"))


def test_no_rows(trained: Path, rosetune: Any, in_tmp: Path) -> None:
    assert predict_texts(str(trained), texts=[]) == []
    write(in_tmp / "empty.txt", "")
    one_line(rosetune("predict", trained, "--input_file", "empty.txt"), "empty.txt is empty")
    write(in_tmp / "header.csv", "text\n")
    one_line(rosetune("predict", trained, "--input_file", "header.csv"), "header.csv has a header but no rows")
    one_line(rosetune("predict", trained, "--input_file", "none.csv"), "none.csv")


def test_ten_thousand_rows_and_a_table_of_the_first(trained: Path, rosetune: Any, in_tmp: Path) -> None:
    write(
        in_tmp / "many.txt",
        "".join(f"the film was {word} [bold] {i}\n" for i in range(5000) for word in ("great", "dull")),
    )
    code, out, _ = rosetune("predict", trained, "--input_file", "many.txt", "--batch_size", 512)
    assert code == 0
    assert out.endswith("... and 9950 more; --output_file or --json gives all 10000\n")
    assert out.count("great [bold]") == 25  # no markup of ours


def test_any_saved_classifier_predicts(trained: Path, rosetune: Any) -> None:
    code, out, _ = rosetune("predict", trained / "model", "--text", "a great film", "--json")
    assert code == 0
    assert json.loads(out)["label"] == "good"


# --- as a program ----------------------------------------------------------------------------------------------------


def test_as_a_program_an_error_is_one_line(in_tmp: Path) -> None:
    command = [sys.executable, "-m", "rosetune", "train", "--config", "nowhere.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "rosetune: error: cannot read the config file nowhere.yaml: No such file or directory\n"
