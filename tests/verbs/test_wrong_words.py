"""What is wrong is said in one line, where it can be before torch is loaded; interrupts; tracebacks on demand."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import one_line, run_python
from rosetune import cli
from rosetune.experiments.lock import locked
from rosetune.runs.values import RunError
from tiny_run import Library

HEAVY = ("torch", "transformers")


def train_words(library: Library, folder: Path, *more: Any) -> list[Any]:
    words = ["train", "--task", library.home / "my.csv", "--model_name_or_path", library.home / "model"]
    words += ["--output-dir", folder, "--max_steps", 2, "--per_device_train_batch_size", 8, "--sets", "clean"]
    return [*words, *more]


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: VERB"),
        (["trian"], "there is no verb 'trian': did you mean train?"),
        (["--traceback", "predcit", "x"], "there is no verb 'predcit': did you mean predict?"),
        (["xyz"], "there is no verb 'xyz': give one of train, evaluate, attack"),
        (["train", "--model_name_or_path", "demo"], "--task is missing"),
        (["train", "--task", "demo"], "--model_name_or_path is missing"),
        (["train", "--recipe", "rose/rte"], "no recipe is called 'rose/rte'"),
        (["train", "--config", "nowhere.yaml"], "cannot read the config file nowhere.yaml: No such file"),
        (
            ["train", "--task", "demo", "--lerning_rate", "1"],
            "unknown option --lerning_rate: did you mean --learning_rate?",
        ),
        (["train", "--task", "demo", "--modle_name_or_path", "x"], "did you mean --model_name_or_path?"),
        (["train", "--task", "demo", "stray"], "unknown option stray"),
        (["train", "--seed", "one"], "--seed takes a whole number, or different ones with commas between, not 'one'"),
        (["train", "--seed", "1,1"], "--seed takes a whole number, or different ones"),
        (["train", "--seed", ","], "--seed takes a whole number, or different ones"),
        (["train", "--update_mask_kwargs", "{upper: 1}"], "update_mask_kwargs must be a JSON object such as"),
        (["evaluate"], "name the folder of a finished run, or --model_name_or_path and --task"),
        (["evaluate", "nowhere"], "there is no folder nowhere"),
        (["evaluate", "nowhere", "--lr", "1"], "unknown: --lr 1"),
        (["evaluate", "nowhere", "--along_trainign"], "unknown: --along_trainign: did you mean --along_training?"),
        (["evaluate", "nowhere", "--figure", "x.svg"], "--figure draws the curve of --along_training: give both"),
        (
            ["evaluate", "nowhere", "--max_length", "9"],
            "--max_length belongs to the run, which knows it: leave it out",
        ),
        (["evaluate", "--model_name_or_path", "demo"], "give --task, and no run"),
        (["predict", "nowhere", "--text", "a"], "cannot load 'nowhere', which is no folder here: "),
        (["predict", "nowhere", "--text", "a", "--batch_size", "0"], "--batch_size must be at least 1"),
        (["predict", "nowhere", "new.csv"], "unknown: new.csv: a file of texts is given with --input_file"),
        (["compare", "a-1", "a-2", "a-3"], "unknown: a-3: two are compared; several seeds of one method are joined"),
        (["demo", "--max_train_samples", "0"], "max_train_samples must be a whole number"),
    ],
)
def test_wrong_words_give_one_line(words: list[str], message: str, rosetune: Any, in_tmp: Path) -> None:
    one_line(rosetune(*words), message)
    assert not [*in_tmp.iterdir()]


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
        (["--save_only_model"], "save_only_model leaves checkpoints that a killed run cannot go on from"),
        (["--fp16", "--use_cpu", "--bf16"], "At most one of fp16 and bf16"),
        (["--max_steps", "many"], "max_steps must be a whole number, not 'many'"),
        (["--learning_rate", "-1"], "learning_rate must be at least 0, not -1.0"),
        (["--optim", "adamw_bnb_8bit"], "bitsandbytes"),
    ],
)
def test_what_cannot_be_trained_gives_one_line(
    words: list[str], message: str, library: Library, rosetune: Any, in_tmp: Path
) -> None:
    (in_tmp / "a-file").write_text("")
    code, out, err = rosetune(*train_words(library, in_tmp / "run", *words))
    *before, last = err.splitlines()
    # What was read, and a head without names, is said before the Trainer finds a package missing.
    assert not before or (any(line.startswith("my: ") for line in before) and message == "bitsandbytes")
    one_line((code, out, last + "\n"), message)
    assert not (in_tmp / "run").exists()


def test_what_needs_no_model_is_said_without_torch(library: Library, tmp_path: Path) -> None:
    """A mistyped verb or option, what is not there, and a finished run."""
    trained = library.config_words(run := library.run("vanilla"))
    data = ["--task", str(library.home / "my.csv"), "--model_name_or_path", str(library.home / "model")]
    calls = [
        (["trian"], 2, "did you mean train?"),
        (["list", "methods", "smat"], 2, "no method is called 'smat': did you mean smart?"),
        (["evaluate", str(run), "--jsno"], 2, "did you mean --json?"),
        (["train", "--lerning_rate", "1"], 2, "did you mean --learning_rate?"),
        (["train", "--task", f"{tmp_path}/none.csv", "--model_name_or_path", "demo"], 2, "there is no file or folder"),
        (["train", "--task", "demo", "--model_name_or_path", "./nowhere"], 2, "there is no folder ./nowhere"),
        (["train", *trained], 0, f"{run} is finished; nothing to do"),
        (["train", *trained, "--bf16", "false", "--seed", "1"], 0, f"{run} is finished; nothing to do"),
        (["evaluate", f"{tmp_path}/nowhere"], 2, "there is no folder"),
        (["attack", f"{tmp_path}/nowhere", "--attack", "deepwordbug"], 2, "there is no folder"),
        (["attack", str(run), "--attack", "deepwordbugs"], 2, "did you mean deepwordbug?"),
        (["attack", str(run), "--recipe", "pwws"], 2, f"rosetune attack {run} --attack pwws"),
        (["compare", f"{tmp_path}/nowhere", str(run)], 2, "there is no folder"),
        (["train", *data, "--label_column", "gold"], 2, "has no column 'gold'"),
        (["train", *data, "--label_column", "gold", "--output_dir", f"{tmp_path}/new"], 2, "has no column 'gold'"),
        (["train", *data, "--label_column", "gold", "--bf16"], 2, "has no column 'gold'"),
        (["train", *data, "--num_train_epochs", "0"], 2, "num_train_epochs=0 trains nothing"),
        (["train", *data, "--max_steps", "-8"], 2, "max_steps must be at least 1, or -1 to leave the length"),
        (["train", *data, "--max_grad_norm", "-1"], 2, "max_grad_norm must be at least 0, not -1"),
        (["train", *data, "--save_steps", "0"], 2, "save_steps must be above 0, not 0"),
        (["train", *data, "--warmup_steps=-1"], 2, "warmup_steps must be at least 0, not -1"),
        (["train", *data, "--num_train_epochs=-1"], 2, "num_train_epochs=-1 trains nothing"),
        (["evaluate", *data, "--label_column", "gold"], 2, "has no column 'gold'"),
        (["evaluate", str(run), "--test_file", str(library.home / "pairs.csv")], 2, "'text'"),
        (["predict", str(run), "--input_file", data[1], "--text_columns", "body"], 2, "'body'"),
        (["predict", "./nowhere", "--text", "a film"], 2, "there is no folder ./nowhere"),
        (["controls", str(run)], 2, "is plain fine-tuning, which claims nothing"),
        (["train", *data, "--objective", "rdrop"], 2, "did you mean 'r_drop'?"),
        (["harden", *data, "--objective", "rdrop"], 2, "did you mean 'r_drop'?"),
        (["train", *data, "--update_mask", "rose", "--update_mask_kwargs", '{"uper": 1}'], 2, "has no option 'uper'"),
        (["train", *trained, "--seed", "2"], 2, f"another process (number {os.getpid()}) works in {run}"),
        (["attack", str(run), "--attack", "deepwordbug"], 2, f"another process (number {os.getpid()}) works in {run}"),
        (["evaluate", str(run), "--sets", "noise"], 2, f"another process (number {os.getpid()}) works in {run}"),
    ]
    code = f"""
import contextlib, io, json, sys
from rosetune.cli import main
answers = []
for words in {[words for words, _, _ in calls]!r}:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as stopped:
            code = stopped.code
    answers.append((code, out.getvalue(), err.getvalue(), sorted({{*{HEAVY!r}}} & {{*sys.modules}})))
print(json.dumps(answers))
"""
    with locked(run):  # a finished run is told as such all the same
        answers = json.loads(run_python(code))
    for (words, expected, message), (ended, out, err, loaded) in zip(calls, answers, strict=True):
        assert (ended, loaded) == (expected, []), (words, err)
        assert message in err, (words, err)
        assert err.count("\n") == 1, (words, err)
        assert ("clean" in out) is (expected == 0), words


def test_a_traceback_on_demand(in_tmp: Path) -> None:
    with pytest.raises(RunError):
        cli.main(["evaluate", "nowhere", "--traceback"])


@pytest.mark.parametrize(("verb", "said"), [("train", "goes on where it stopped"), ("predict", "interrupted\n")])
def test_an_interrupt(
    verb: str, said: str, library: Library, tmp_path: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    target = {"train": "train.train_run", "predict": "predict.predict_texts"}[verb]
    monkeypatch.setattr(f"rosetune.experiments.{target}", interrupt)
    words = train_words(library, tmp_path / "run") if verb == "train" else ["predict", tmp_path, "--text", "a"]
    code, out, err = rosetune(*words)
    assert (code, out) == (130, "")
    assert said in err


def test_a_fault_of_ours_is_no_limit_of_a_gate(rosetune: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr("rosetune.runs.gate.gate", broken)
    code, out, err = rosetune("gate", "somewhere", "--min_accuracy", "0.5")
    assert (code, out) == (70, "")
    assert "Traceback" in err


def test_as_a_program_an_error_is_one_line(in_tmp: Path) -> None:
    command = [sys.executable, "-m", "rosetune", "train", "--config", "nowhere.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "rosetune: error: cannot read the config file nowhere.yaml: No such file or directory\n"
