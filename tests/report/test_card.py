"""The model card: what the hub reads of it, and what a person does."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from made_runs import ROSE, number_rows, outcomes, write_attack, write_json, write_run
from rosetune.experiments.training import training_defaults
from rosetune.report.card import model_card
from rosetune.report.card_training import TRAINER_DEFAULTS
from rosetune.report.markdown import code
from rosetune.report.robustness_card import robustness_card
from rosetune.runs.config import RUN_DEFAULTS
from rosetune.runs.run import Run


def card_of(run: Run, tmp_path: Path) -> tuple[ModelCard, dict[tuple[str, str], Any]]:
    """The card as the hub's client loads it from a file, and its results by set and metric."""
    path = tmp_path / "README.md"
    path.write_text(model_card(run, run.metrics), encoding="utf-8")
    card = ModelCard.load(path)
    results = {(str(r.dataset_split), r.metric_type): r for r in card.data.eval_results or []}
    assert len(results) == len(card.data.eval_results or [])
    return card, results


@pytest.fixture
def run(tmp_path: Path) -> Run:
    sets = {"clean": outcomes(9, 1), "typos_1": outcomes(7, 3), "ocr@0.5": outcomes(5, 5)}
    made = write_run(tmp_path / "run", sets, {**ROSE, "seed": 7, "learning_rate": 2e-5}, metrics=True, task="sst2",
                     max_train_samples=64, config={"model_name_or_path": "someone/some-bert"})  # fmt: skip
    write_attack(made, ["failed", "success", "success", "skipped"], "pwws")
    write_attack(made, ["failed"], "begun", rows=9)
    write_json(made.folder / "timing.json", {"steps": 6, "rows": 57})
    return made


def test_the_hub_reads_clean_and_robust_results(run: Run, tmp_path: Path) -> None:
    card, results = card_of(run, tmp_path)
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.base_model == "someone/some-bert"
    assert card.data.model_name == "rose-ensemble-sst2"
    clean, robust = results["clean", "accuracy"], results["typos_1", "accuracy"]
    assert (clean.metric_value, clean.dataset_name, clean.dataset_type) == (0.9, "sst2, clean", "sst2")
    assert (robust.metric_value, robust.dataset_name) == (0.7, "sst2, typing errors 1")
    assert {result.task_type for result in results.values()} == {"text-classification"}
    under, success = results["attack:pwws", "accuracy"], results["attack:pwws", "attack_success_rate"]
    assert (under.metric_value, under.metric_name) == (0.25, "Accuracy under attack")
    assert success.metric_value == round(2 / 3, 4)
    # The metrics of each set, two of the attack; neither the noise curve nor an attack that is not finished.
    assert {split for split, _ in results} == {"clean", "typos_1", "attack:pwws"}
    assert {kind for split, kind in results if split == "clean"} == {"accuracy", "f1", "matthews_correlation"}


def test_a_person_reads_method_data_seed_limits_and_figures(run: Run, tmp_path: Path) -> None:
    card, _ = card_of(run, tmp_path)
    for words in (
        "fine-tuned by rose-ensemble, seed 7",
        "text classification into bad, good",
        "- task: sst2",
        "- max_train_samples: `64`",
        "- training rows: `57`",
        "- learning_rate: `2e-05`",
        "| clean | 10 | 90.0% |",
        "| typing errors 1 | 10 | 70.0% |",
        "| pwws | 4 | 75.0% | 25.0% |",
        "## Limits",
        "another seed gives other figures",
        "with at most 100 queries a text",
    ):
        assert words in card.content, words
    assert "begun" not in card.content


def test_a_stranger_can_tell_how_it_was_trained(run: Run, tmp_path: Path) -> None:
    """Whether it was asked for or is a default, and of a method what it takes by default too."""
    card, _ = card_of(Run.open(run.folder), tmp_path)
    training = card.content.partition("## Training")[2].partition("## Limits")[0].splitlines()
    for line in (
        '- objective: `"cross_entropy"` (default)',
        '- update_mask: `"rose"`',
        "- learning_rate: `2e-05`",
        '- lr_scheduler_type: `"linear"` (default)',
        "- per_device_train_batch_size: `32` (default)",
        "- num_train_epochs: `3.0` (default)",
        "- seed: `7`",
        "- max_length: `128` (default)",
    ):
        assert line in training, line
    (options,) = [line for line in training if line.startswith("- update_mask_kwargs")]
    asked, _, default = options.partition("; by default ")
    assert '"order": "ensemble"' in asked
    assert '"gamma"' in default
    assert "seed" not in options


def test_of_plain_fine_tuning_all_is_said_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {}, {"max_steps": 5, "num_train_epochs": 2})
    card, _ = card_of(run, tmp_path)
    assert "- update_mask: none, so that every weight is updated (default)" in card.content
    assert "- seed: `42` (default)" in card.content
    assert "- max_steps: `5`" in card.content
    assert "num_train_epochs" not in card.content  # the steps decide


def test_what_it_calls_defaults_are_those_of_the_trainer() -> None:
    defaults = {**training_defaults(), **RUN_DEFAULTS}
    assert {name: defaults[name] for name in TRAINER_DEFAULTS} == TRAINER_DEFAULTS


def test_the_embedded_model_has_the_name_that_others_know(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {}, config={"model_name_or_path": "demo"})
    card, _ = card_of(run, tmp_path)
    assert card.data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert "It was made of `sentence-transformers/all-MiniLM-L6-v2`" in card.content
    assert "`demo`" not in card.content


def test_a_folder_is_no_model_of_the_hub(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {}, config={"model_name_or_path": "/home/me/models/mine"})
    card, _ = card_of(run, tmp_path)
    assert card.data.base_model is None
    assert "It was made of `mine`" in card.content


def test_a_given_model_was_not_trained(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {}, config={"given": True})
    card, _ = card_of(run, tmp_path)
    assert "It was taken as it was, without training." in card.content
    assert "learning_rate" not in card.content


@pytest.mark.parametrize("inherited", [False, True])
def test_a_normalisation_that_the_figures_need_is_named_on_both_cards(inherited: bool, tmp_path: Path) -> None:
    """Whether it was asked for or came with the model's folder; transformers knows of neither."""
    steps = ["invisible", "leet"]
    run = write_run(
        tmp_path / "run", {"clean": outcomes(3, 1)}, metrics=True, config={} if inherited else {"normalize": steps}
    )
    for card in (model_card(run, run.metrics), robustness_card(run, run.metrics)):
        assert ("normalised first" in card) is not inherited
    if inherited:
        write_json(run.folder / "model" / "normalization.json", {"steps": steps})
    for card in (model_card(run, run.metrics), robustness_card(run, run.metrics)):
        (line,) = [line for line in card.splitlines() if "normalised first" in line]
        assert "(invisible, leet)" in line
        assert "plain transformers (`pipeline`, `AutoTokenizer`) does not" in line


def test_texts_are_cut_where_the_model_ends(run: Run, tmp_path: Path) -> None:
    assert "cuts texts at 128 tokens" in card_of(run, tmp_path)[0].text
    for limit, said in ((64, 64), (512, 128), (10**30, 128)):
        (run.folder / "model").mkdir(exist_ok=True)
        write_json(run.folder / "model" / "tokenizer_config.json", {"model_max_length": limit})
        assert f"cuts texts at {said} tokens" in card_of(run, tmp_path)[0].text


def test_a_regression_has_its_own_metrics(tmp_path: Path) -> None:
    rows = {"clean": number_rows("clean", [1.0, 2.0, 4.0], [1.5, 2.5, 3.0])}
    run = write_run(tmp_path / "run", rows, labels=(), metrics=True)
    card, results = card_of(run, tmp_path)
    assert results["clean", "mse"].metric_value == 0.5
    assert ("clean", "accuracy") not in results
    assert {"pearsonr", "spearmanr"} < {kind for _, kind in results}
    assert "nothing is known of its robustness" in card.content


@pytest.mark.parametrize(("name", "unknown"), [("file_mine", True), ("ocr@0.25", False)])
def test_a_file_says_nothing_of_robustness_and_a_noise_curve_does(tmp_path: Path, name: str, unknown: bool) -> None:
    rows = dict.fromkeys(("clean", name), outcomes(3, 1))
    card, _ = card_of(write_run(tmp_path / "run", rows, metrics=True), tmp_path)
    assert ("nothing is known of its robustness" in card.content) is unknown


def test_a_run_without_any_set_has_a_card(tmp_path: Path) -> None:
    card, results = card_of(write_run(tmp_path / "run", {}), tmp_path)
    assert results == {}
    assert "# vanilla on my" in card.content


def test_names_do_not_break_the_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"file_a|b": outcomes(3, 1)}, {"note": "a`b"}, metrics=True)
    card, _ = card_of(run, tmp_path)
    assert "| a\\|b | 4 | 75.0% |" in card.content
    assert '- note: `` "a`b" ``' in card.content


EVIL = "good\n\n# Evil <img src=x onerror=alert(1)> | ![a](b) &lt; **bold**"


def test_text_of_files_stays_text(tmp_path: Path) -> None:
    """As CommonMark renders it, nothing of it is a heading, an image, a link or a tag."""
    run = write_run(
        tmp_path / "run",
        {"clean": outcomes(3, 1)},
        {EVIL: "a\n# b"},
        labels=("bad", EVIL),
        metrics=True,
        task=EVIL,
        text_columns=[EVIL],
        data_fingerprint=EVIL,
        config={"model_name_or_path": EVIL},
    )
    write_json(run.folder / "environment.json", {"packages": {EVIL: EVIL}})
    write_attack(run, ["failed", "success"], "pwws")
    body = model_card(run, run.metrics).split("\n---\n", 1)[1]
    html = MarkdownIt("commonmark").enable("table").render(body)
    assert [line for line in body.splitlines() if line.startswith("#")][1:] == [
        *("## Evaluation", "## Data", "## Training", "## Limits", "## Intended use and licence")
    ]
    assert html.count("<h1") == 1
    assert html.count("<a ") == 1  # to the robustness card
    for tag in ("<img", "<strong"):
        assert tag not in html
    assert html.count("Evil &lt;img") >= 8


@pytest.mark.parametrize(
    ("text", "span"),
    [("plain", "`plain`"), ("a`b", "`` a`b ``"), ("a``b`", "``` a``b` ```"), ("`", "`` ` ``"), ("a\nb", "`a b`")],
)
def test_no_backtick_ends_a_code_span(text: str, span: str) -> None:
    assert code(text) == span


def test_figures_on_held_out_rows_are_no_results_of_the_task(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"clean": outcomes(3, 1)}, metrics=True, config={"held_out": 0.1}, held_out=0.1)
    write_attack(run, ["failed", "success"], "pwws")
    card, results = card_of(run, tmp_path)
    assert results == {}
    assert "model-index" not in card.content
    assert "| clean | 4 | 75.0% |" in card.content
    assert "held out of the training data" in card.content
