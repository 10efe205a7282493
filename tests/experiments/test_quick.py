"""What is said before transformers is loaded agrees with what transformers says."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from rosetune.experiments.options import make_config, parse_training
from rosetune.experiments.quick import check_length, finished, parse_words, trainer_defaults
from rosetune.experiments.training import training_defaults
from rosetune.runs.values import RunError
from rosetune.trainer import RobustTrainingArguments
from tiny_run import Library


def test_the_names_and_literal_defaults_are_the_trainer_s() -> None:
    real, quick = training_defaults(), trainer_defaults()
    assert {*quick} >= {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    assert {*quick} == {field.name for field in dataclasses.fields(RobustTrainingArguments) if field.init}
    plain = (bool, int, float, str, type(None))
    literal = {name: value for name, value in real.items() if type(value) in plain}
    assert len(literal) > 0.85 * len(real)
    # What is computed in the source stands as None; such a run, named by its default, takes the slower look.
    assert {name for name, value in literal.items() if value is not None and quick[name] is None} <= {"optim"}
    assert {name: quick[name] for name in literal if quick[name] is not None} == {
        name: value for name, value in literal.items() if quick[name] is not None
    }


WORDS = [
    ["--seed", "3", "--learning_rate", "2e-5"],
    ["--learning_rate=1e-3", "--max_steps", "-1", "--bf16", "true", "--fp16=False"],
    ["--num_train_epochs", "3", "--lr_scheduler_type", "linear", "--optim", "adamw_torch"],
    ["--update_mask", "rose", "--update_mask_kwargs", '{"upper": 0.5}', "--run_name", "7"],
    ["--objective=r_drop", '--objective_kwargs={"alpha": 1.0}', "--weight_decay", "0.1", "--save_strategy", "no"],
    ["--save_total_limit", "2", "--logging_steps", "10", "--warmup_steps", "5", "--report_to", "none"],
]


@pytest.mark.parametrize("words", WORDS)
def test_plain_words_are_read_as_the_trainer_s_parser_reads_them(words: list[str], tmp_path: Path) -> None:
    """Through a configuration, which makes 3 of 3.0 and a mapping of JSON."""
    options = {"task": "sst2", "model_name_or_path": "demo"}
    configs = [make_config(options=options, arguments=words, parse=parse) for parse in (parse_words, parse_training)]
    identities = [
        config.identity(task="sst2", text_columns=["a"], fingerprint="f", defaults=defaults)
        for config, defaults in zip(configs, (trainer_defaults(), training_defaults()), strict=True)
    ]
    assert identities[0] == identities[1]


@pytest.mark.parametrize("words", [["stray"], ["--bf16"], ["--seed", "one"], ["--bf16", "perhaps"]])
def test_other_words_are_left_to_it(words: list[str]) -> None:
    with pytest.raises((ValueError, KeyError)) as caught:
        parse_words({}, words)
    assert not isinstance(caught.value, RunError)


@pytest.mark.parametrize("words", [["--lerning_rate", "1"], ["--no_sed"]])
def test_an_unknown_option_is_refused_by_both(words: list[str]) -> None:
    messages = []
    for parse in (parse_words, parse_training):
        with pytest.raises(RunError) as caught:
            parse({}, words)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_run_is_finished_as_asked_for_or_not(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    from rosetune.experiments.data import load_data
    from rosetune.runs.config import RunConfig

    run = library.run("vanilla")

    def asked(**changes: Any) -> Path | None:
        config = RunConfig.read(run)
        own = {name: changes.pop(name) for name in ("sets",) if name in changes}
        config = dataclasses.replace(config, output_dir=str(run), training={**config.training, **changes}, **own)
        return finished(config, load_data(config))

    assert asked() == run
    assert asked(logging_steps=1, weight_decay=0.0) == run
    assert asked(seed=2) is None
    assert asked(sets=("clean", "noise")) is None  # a set is missing
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert asked() is None  # several processes share a step: another run


def test_a_set_that_is_predicted_but_not_counted_is_not_finished(library: Library, tmp_path: Path) -> None:
    """As a call leaves it that is killed between its last prediction and metrics.json."""
    from rosetune.experiments.data import load_data
    from rosetune.experiments.evaluate import evaluate_again
    from rosetune.experiments.train import train_run
    from rosetune.runs.config import RunConfig
    from rosetune.runs.run import Run

    run = library.copy(library.run("vanilla"), tmp_path / "run")
    before = (run / "metrics.json").read_bytes()
    config = dataclasses.replace(RunConfig.read(run), output_dir=str(run), sets=("clean", "noise"))
    evaluate_again(run, ("noise",))
    data = load_data(config)
    assert finished(config, data) == run
    (run / "metrics.json").write_bytes(before)
    assert finished(config, data) is None
    train_run(config, lambda line: None)
    assert [*Run.open(run).metrics["sets"]] == ["clean", "typos_1", "typos_2"]
    assert finished(config, data) == run


def test_a_curve_of_fewer_noises_is_not_finished(library: Library, tmp_path: Path) -> None:
    from rosetune.experiments.data import load_data
    from rosetune.experiments.evaluate import evaluate_again
    from rosetune.runs.config import RunConfig

    run = library.copy(library.run("vanilla"), tmp_path / "run")
    evaluate_again(run, ("noise_curve",), noises=("typing",))
    for noises, folder in ((("typing",), run), (("typing", "ocr"), None), (None, None)):
        config = dataclasses.replace(
            RunConfig.read(run), output_dir=str(run), sets=("clean", "noise_curve"), noises=noises
        )
        assert finished(config, load_data(config)) == folder


def test_an_attack_with_other_synonyms_is_another(library: Library, tmp_path: Path) -> None:
    from rosetune.experiments.attack import attack_runs, is_attacked
    from rosetune.experiments.attack_options import AttackOptions
    from rosetune.runs.run import Run

    run = library.copy(library.run("vanilla"), tmp_path / "run")
    ours, theirs, copy = (tmp_path / name for name in ("ours.json", "theirs.json", "copy.json"))
    for path, word in ((ours, "movie"), (theirs, "picture"), (copy, "movie")):
        path.write_text(json.dumps({"film": [word]}), encoding="utf-8")
    asked = AttackOptions(attack=("pwws",), examples=2, budget=10, synonyms=str(ours))
    attack_runs([Run.open(run)], asked, lambda line: None)
    attacked, columns = Run.open(run), ("text",)
    assert is_attacked(attacked, columns, asked)
    assert is_attacked(attacked, columns, dataclasses.replace(asked, synonyms=str(copy)))
    assert not is_attacked(attacked, columns, dataclasses.replace(asked, synonyms=str(theirs)))
    assert not is_attacked(attacked, columns, dataclasses.replace(asked, examples=3))
    assert not is_attacked(attacked, columns, dataclasses.replace(asked, seed=1))


@pytest.mark.parametrize(
    ("epochs", "max_steps", "refused"),
    [(3, -1, False), (0.01, -1, False), (0, 5, False), (-1, 5, False), (0, -1, True), (0, 0, True), (-2.5, -1, True)],
)
def test_a_training_without_a_step_is_refused(epochs: float, max_steps: int, refused: bool) -> None:
    """Steps that are given go before epochs, as in the Trainer."""
    if refused:
        with pytest.raises(
            RunError, match=f"num_train_epochs={epochs:g} trains nothing.*rosetune evaluate --model_name"
        ):
            check_length(epochs, max_steps)
    else:
        check_length(epochs, max_steps)
