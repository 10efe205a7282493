"""The robustness card: what a person reads of a run."""

import hashlib
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from made_runs import LABELS, ROSE, make_rows, number_rows, outcomes, write_attack, write_json, write_lines, write_run
from rosetune.report.card import model_card
from rosetune.report.measures import further_grids
from rosetune.report.robustness_card import robustness_card, weak_parts
from rosetune.robustness.noise_families import NOISES
from rosetune.runs.metrics import run_metrics
from rosetune.runs.run import Run


def plain(name: str) -> str:
    return name.replace("_", " ")


def html_of(run: Run, metrics: dict[str, Any] | None = None) -> str:
    return MarkdownIt("commonmark").enable("table").render(robustness_card(run, metrics or run.metrics))


def test_a_person_reads_what_holds_what_does_not_and_what_was_not_tried(tmp_path: Path) -> None:
    sets = {"clean": outcomes(36, 4), "typos_1": outcomes(28, 12), "leetspeak@0.5": outcomes(16, 24)}
    run = write_run(tmp_path / "run", sets, {**ROSE, "seed": 7}, task="spam", max_train_samples=64)
    write_attack(run, ["failed", "success", "success", "skipped"], "deepwordbug")
    # The four wrong rows are the last, which are those in French.
    languages = {str(i): "fr" if i >= 36 else "en" if i > 3 else None for i in range(40)}
    features = {"clean": {"words": dict.fromkeys(languages, 5), "groups": {"language": languages}}}
    write_json(run.folder / "predictions/features.json", features)
    write_json(run.folder / "measures.json", {"group_column": "language"})
    run = Run(run.folder)
    metrics = run_metrics(run.folder, LABELS)
    card = robustness_card(run, metrics)
    for words in (
        "at most 64 training rows of spam, as they are, by rose-ensemble with seed 7",
        "Of the clean texts it gets 36 of 40 (90.0%, 95% interval ",
        "(leetspeak 0.5) it gets 16 of 40 (40.0%, 95% interval ",
        "(deepwordbug) leaves 1 of 4 (25.0%, 95% interval ",
        "right, and 1 of 4 where it may change two words",
        "Of fewer than 100 texts such figures are rough",
        "| before | 1 word | 2 words | 3 words | 10% of words | 20% of words | any number |",
        "of a text of fewer than ten words 10% allow no change",
        "| clean | 40 | 90.0% |",
        "| typing errors 1 | 40 | 70.0% |",
        "| leetspeak | 0.5 | 40 | 40.0% |",
        "| deepwordbug | 4 | 75.0% | 25.0% (",
        "upper bounds",
        "## Finding good",
        "the clean set itself",
        "| clean | language | fr | 4 | 0.0% | 0.0% to ",
        "these noises: ocr, upper case",
    ):
        assert words in card, words
    untried = [line for line in card.splitlines() if line.startswith(("- these attacks", "- these noises"))]
    assert [("pwws" in line, "deepwordbug" in line, "leetspeak" in line) for line in untried] == [
        (False, False, False),
        (True, False, False),
    ]
    assert {(name, part) for name, _, part, _ in weak_parts(metrics["sets"]) if name == "clean"} == {("clean", "fr")}
    html = html_of(run, metrics)
    assert html.count("<table>") == 5


def test_a_model_from_elsewhere_is_called_by_its_name(tmp_path: Path) -> None:
    for model, more, title in (
        ("guard:predict", {}, "guard:predict"),
        ("models/bert/", {"normalize": ["leet"]}, "bert+normalize"),
    ):
        config = {"given": True, "model_name_or_path": model, **more}
        run = write_run(tmp_path / title, {"clean": outcomes(3, 1)}, metrics=True, config=config, task="sms")
        assert html_of(run).startswith(f"<h1>Robustness of {title} on sms</h1>")


def test_validation_rows_may_be_reported_in_a_further_file(tmp_path: Path) -> None:
    """Who evaluates on the validation file, or one that shares rows with it, reports what chose the threshold."""
    run = write_run(tmp_path / "run", {"clean": outcomes(9, 3)})
    rows = make_rows("validation", outcomes(9, 3))
    write_lines(run.folder / "predictions/validation/validation.jsonl", rows)
    card = robustness_card(run, run_metrics(run.folder, LABELS))
    assert "(validation rows, which are neither trained on nor reported)" in card
    write_lines(run.folder / "predictions/file_valid.jsonl", [{**row, "set": "file_valid"} for row in rows])
    metrics = run_metrics(run.folder, LABELS)
    told = (robustness_card(Run(run.folder), metrics), next(iter(further_grids(metrics["sets"]))).caption)
    for text in told:
        assert "neither trained on nor reported" not in text
        assert "nor reported unless they also stand in valid: on such rows the rate is met by construction" in text


def test_what_decides_the_figures_is_named(tmp_path: Path) -> None:
    """Adversarial rows and who made them, what is done to texts, and how weights are averaged."""
    made = ["deepwordbug"] * 3 + ["textattack:pso", None]
    rows = [{"id": str(i), **({"attack": name} if name else {})} for i, name in enumerate(made)]
    write_lines(file := tmp_path / "round-1.jsonl", rows)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    run = write_run(
        tmp_path / "run",
        {"clean": outcomes(3, 1)},
        {
            **{"augmentation": "noise", "augmentation_kwargs": {"noises": ["typing", "ocr"], "p": 0.5}},
            **{"averaging": "ema", "averaging_kwargs": {"decay": 0.9}},
        },
        metrics=True,
        config={"adversarial_file": str(file), "normalize": ["invisible", "leet"]},
        adversarial_file=f"sha256:{digest}",
    )
    for name in ("deepwordbug", "pwws"):
        write_attack(run, ["failed", "success"], name)
    write_attack(run, ["failed", "success"], "deepwordbug-1234", about={"recipe": "deepwordbug"})
    run = Run(run.folder)
    card = robustness_card(run, run.metrics)
    for words in (
        "of my, normalised (invisible, leet) and changed anew in every epoch by noise (noises typing and ocr, p 0.5, "
        "strength 0.1 to 1), and on adversarial rows, by noise+ema-0.9+adversarial+normalize with seed 42.",
        "Its 5 adversarial rows were made of training rows by deepwordbug (3), textattack:pso (1), "
        "an attack without a name (1).",
        "Its weights are averaged by ema (decay 0.9).",
        "| deepwordbug (defaults) (also trained against) | 2 |",
        "| deepwordbug (1234) (also trained against) | 2 |",
        "| pwws | 2 |",
    ):
        assert words in card, words
    assert "as they are" not in card
    file.write_text("{}")  # another file by now: nothing is said of what it holds
    card = robustness_card(run, run.metrics)
    assert "Its adversarial rows cannot be named" in card
    assert "also trained against" not in card


def trained_by(folder: Path, objective: dict[str, Any], **training: Any) -> str:
    """The lines of a card about a training on noise consistency with some options."""
    given = {"objective": "noise_consistency", "objective_kwargs": objective, **training}
    run = write_run(folder, {"clean": outcomes(3, 1)}, given, metrics=True)
    return robustness_card(run, run.metrics).partition("## In short")[0]


def test_noisy_copies_are_named_with_their_strength(tmp_path: Path) -> None:
    said = trained_by(tmp_path / "a", {"noises": ["typing", "leetspeak"], "strength": [0.2, 0.5]})
    assert "of my, as they are, beside noisy copies of them, by noise-consistency" in said
    assert (
        "a noisy copy of each row, drawn anew in each step: typing and leetspeak, on 0.2 to 0.5 of the words." in said
    )
    said = trained_by(tmp_path / "b", {})
    assert (
        f"step: {', '.join([*map(plain, NOISES)][:-1])} and {plain([*NOISES][-1])}, on 0.1 to 1 of the words." in said
    )


def test_noisy_copies_that_only_rank_or_do_nothing(tmp_path: Path) -> None:
    ranks = trained_by(tmp_path / "a", {"alpha": 0.0, "risk": "noise", "noises": ["ocr"]}, **ROSE)
    assert (
        "Which of its weights were updated was decided on noisy copies of the rows, drawn anew in each step: ocr, on"
        in ranks
    )
    assert "beside" not in ranks
    for name, options in (("b", {"alpha": 0, "risk": "noise"}), ("c", {"alpha": 0, **ROSE})):
        training = {key: value for key, value in options.items() if key in ROSE}
        said = trained_by(tmp_path / name, {key: options[key] for key in options if key not in ROSE}, **training)
        assert "nois" not in said.replace("noise-consistency", ""), said


def test_the_noises_of_an_augmentation_are_named_by_default_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"clean": outcomes(3, 1)}, {"augmentation": "noise"}, metrics=True)
    said = robustness_card(run, run.metrics)
    assert f"by noise (noises {plain(next(iter(NOISES)))}, " in said
    assert f" and {plain([*NOISES][-1])}, p 0.5, strength 0.1 to 1)" in said


def attacked(folder: Path, name: str, **about: Any) -> Run:
    """A run under an attack on the rows of one class; what its recipe bounds stands where an attack writes it."""
    run = write_run(folder, {"clean": outcomes(3, 1)}, metrics=True)
    write_attack(run, ["failed", "success"], name, about={"attack_class": "good", **about})
    return Run(run.folder)


def test_an_attack_has_one_title_and_its_bound_is_said(tmp_path: Path) -> None:
    bounded = attacked(tmp_path / "a", "deepwordbug-good-1234abcd", recipe="deepwordbug", max_share=0.2)
    card = robustness_card(bounded, bounded.metrics)
    assert "| 20% of words | any number, at most 20% of the words |" in card
    assert "| deepwordbug on good | 2 |" in card
    assert "the strongest attack here (deepwordbug on good) leaves" in card
    for text in (card, model_card(bounded, bounded.metrics)):
        body = text.split("\n---\n", 1)[-1]
        assert "deepwordbug on good" in body
        assert "1234abcd" not in body
    assert "with at most 100 queries a text and at most 20% of the words; another attack" in body
    # Two that are not bounded alike: the bound stands beside the figure.
    write_attack(bounded, ["failed", "success"], "pwws")
    both = Run(bounded.folder)
    lines = robustness_card(both, both.metrics).splitlines()
    assert next(line for line in lines if line.startswith("| attack")).endswith("| any number |")
    ends = {line.split(" | ")[0]: line.endswith("%), at most 20% of the words |") for line in lines}
    assert (ends["| deepwordbug on good"], ends["| pwws"]) == (True, False)


def test_of_added_words_the_number_bounds_too(tmp_path: Path) -> None:
    run = attacked(tmp_path / "a", "benign_append-good-1234abcd", recipe="benign_append")
    run.attacks["benign_append-good-1234abcd"][0]["attack"] = {"transformation": {"most": 5}}
    assert "| any number, at most 5 added words |" in robustness_card(run, run.metrics)


def test_of_many_texts_no_figure_is_called_rough(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"clean": outcomes(90, 10)}, metrics=True)
    card = robustness_card(run, run.metrics)
    assert "it gets 90 of 100 (90.0%" in card
    assert "rough" not in card


def test_a_run_that_was_evaluated_on_nothing_else_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"clean": outcomes(9, 1)}, metrics=True)
    card = robustness_card(run, run.metrics)
    assert "Nothing is known of its robustness" in card
    assert "typing errors" in card.split("## What was not tested")[1]


def test_figures_on_held_out_rows_are_no_results_of_the_task(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"clean": outcomes(3, 1)}, metrics=True, config={"held_out": 0.1}, held_out=0.1)
    assert "no results of the task" in robustness_card(run, run.metrics)


def test_numbers_no_labels_and_no_set_have_a_card_too(tmp_path: Path) -> None:
    rows = {"clean": number_rows("clean", [1.0, 2.0, 4.0], [1.5, 2.5, 3.0])}
    regression = write_run(tmp_path / "a", rows, labels=(), metrics=True)
    assert "squared error is 0.500 (3 texts)" in robustness_card(regression, regression.metrics)
    bare = write_run(tmp_path / "b", {})
    assert "not evaluated on clean texts" in robustness_card(bare, bare.metrics)


def test_text_of_files_stays_text(tmp_path: Path) -> None:
    evil = "good\n\n# Evil <img src=x onerror=alert(1)> | ![a](b) &lt; **bold**"
    run = write_run(
        tmp_path / "run",
        {"clean": outcomes(3, 1), f"file_{evil[6:40]}".replace("/", ""): outcomes(3, 1)},
        {"augmentation": evil},
        labels=("bad", evil),
        metrics=True,
        task=evil,
        text_columns=[evil],
    )
    html = html_of(run)
    assert html.count("<h1") == 1
    for tag in ("<img", "<a ", "<strong"):
        assert tag not in html
