"""The model card of a finished run: what it is, and how it does, on clean texts and on others."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rosetune._numbers import fixed, in_percent
from rosetune.report.card_training import training_lines
from rosetune.report.markdown import code, escaped
from rosetune.report.normalized import normalized_lines
from rosetune.robustness.attacks.summary import summary
from rosetune.robustness.functions import is_function_name
from rosetune.runs.attacked import word_bound
from rosetune.runs.notes import shared_notes
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.titles import titles_of_attacks

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

__all__ = ["model_card"]

_UNSET = "More information needed"
_DEMO = "sentence-transformers/all-MiniLM-L6-v2"  # what the package of the demo extra holds
# By the hub's name of a metric: ours, and what a person calls it.
_METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "f1": ("f1", "F1"),
    "matthews_correlation": ("mcc", "Matthews correlation"),
    "mse": ("mse", "Mean squared error"),
    "pearsonr": ("pearson", "Pearson correlation"),
    "spearmanr": ("spearman", "Spearman correlation"),
}
# Of an attack likewise.
_UNDER_ATTACK = (
    ("accuracy", "accuracy_under_attack", "Accuracy under attack"),
    ("attack_success_rate", "attack_success_rate", "Attack success rate"),
)
_DATA = (
    *("max_train_samples", "validation_from_train", "held_out", "label_noise", "imbalance"),
    "adversarial_file",
)


def model_card(run: Run, metrics: Mapping[str, Any]) -> str:
    """Markdown for the ``README.md`` beside the weights, with the hub's metadata on top.

    It says what was trained on what and how, with the figures of each evaluation set and each finished attack, also
    in the hub's ``model-index``, which ``huggingface_hub.ModelCard`` reads as ``data.eval_results``; of a trial run,
    which was evaluated on held-out training rows, there is none. What only the author knows (the licence, the intended
    use) is left open.

    Args:
        metrics: as its ``metrics.json`` holds them, or is about to.
    """
    from huggingface_hub import ModelCardData

    base, name = _base(run), f"{run.method}-{run.task}"
    attacks = {attack: summary(results) for attack, (about, results) in run.attacks.items() if about["finished"]}
    titles = titles_of_attacks(run)
    results = [*_results(run, metrics["sets"]), *_attack_results(run, attacks, titles)]
    head = ModelCardData(
        model_name=name,
        base_model=base if _is_on_hub(base) else None,
        library_name=None if is_function_name(base) else "transformers",
        pipeline_tag="text-classification",
        tags=["robust-fine-tuning", "rosetune", run.method],
        eval_results=None if run.config.held_out is not None else results or None,
    )
    lines = [
        f"---\n{head.to_yaml()}\n---\n",
        f"# {escaped(run.method)} on {escaped(run.task)}\n",
        _what(run, metrics["labels"]),
        "How it holds on perturbed texts, and what was not tested: see [the robustness card](ROBUSTNESS.md).\n",
        "## Evaluation\n",
        *normalized_lines(run),
        *_table(metrics["sets"]),
        *_attack_table(attacks, titles),
        "",
        *(f"{escaped(note)}\n" for note in shared_notes(metrics["sets"])),
        "Intervals are of 95%, over the choice of examples; the luck of one training run is not in them. The constant "
        "is the best single answer.\n",
        "## Data\n",
        *_data(run),
        "\n## Training\n",
        *training_lines(run),
        "\n## Limits\n",
        *_limits(run, metrics["sets"], titles),
        f"\n## Intended use and licence\n\n{_UNSET}\n",
    ]
    return "\n".join(lines)


def _base(run: Run) -> str:
    """What was trained: the hub's name of the embedded model, whose name here nobody else knows."""
    return _DEMO if run.config.model_name_or_path == "demo" else run.config.model_name_or_path


def _is_on_hub(base: str) -> bool:
    return base.count("/") == 1 and not base.startswith((".", "/", "~"))


def _what(run: Run, labels: list[str]) -> str:
    base, columns = _base(run), run.identity["text_columns"]
    what = (
        f"text classification into {', '.join(map(escaped, labels))}"
        if labels
        else "text regression, with one number as output"
    )
    short = base if _is_on_hub(base) else base.rsplit("/", 1)[-1]  # of a folder its name alone
    made = (
        "taken as it was, without training"
        if run.config.given
        else f"fine-tuned by {escaped(run.method)}, seed {run.seed}"
    )
    if is_function_name(base):
        return (
            f"A model for {what}: the Python function {code(base)}, taken as it was. It reads the "
            f"column{'s' if len(columns) > 1 else ''} {' and '.join(map(escaped, columns))}. The folder holds no "
            "weights: what the function loads is not in it.\n"
        )
    return (
        f"A model for {what}. It was made of {code(short)}, {made}. It reads the "
        f"column{'s' if len(columns) > 1 else ''} {' and '.join(map(escaped, columns))}, and cuts texts at "
        f"{_length(run)} tokens.\n"
    )


def _length(run: Run) -> int:
    """Tokens of a text: what was asked for, or the fewer that the model takes, as its tokenizer has it."""
    path = run.folder / "model" / "tokenizer_config.json"
    saved = json.loads(path.read_text(encoding="utf-8")).get("model_max_length") if path.is_file() else None
    return min(run.config.max_length, int(saved or run.config.max_length))


def _data(run: Run) -> Iterator[str]:
    yield f"- task: {escaped(run.task)}"
    yield f"- fingerprint: {code(run.identity['data_fingerprint'])}"
    yield from (f"- {name}: {_json(run.identity[name])}" for name in _DATA if run.identity.get(name) is not None)


def _limits(run: Run, sets: Mapping[str, Any], attacks: Mapping[str, str]) -> Iterator[str]:
    if not run.config.given:
        yield f"- One training run, with seed {run.seed}: another seed gives other figures."
    if run.config.held_out is not None:
        yield (
            "- It was evaluated on rows held out of the training data, not on the task's own evaluation data: its "
            "figures are no results of the task."
        )
    if not any(SetName.parse(name).perturbed for name in sets) and not attacks:
        yield "- It was neither evaluated on perturbed texts nor attacked: nothing is known of its robustness."
    kinds = {SetName.parse(name).kind for name in sets}
    if "noise" in kinds or "noise_curve" in kinds:
        yield "- Typing errors and other noise are drawn by rules, with a seed; people make others."
    if "advglue" in kinds:
        yield "- AdvGLUE's items stem from few originals, and were made against other models."
    for name, title in attacks.items():
        header = run.attacks[name][0]
        budget = header.get("budget")
        bounds = [*([f"at most {escaped(budget)} queries a text"] if budget else []), word_bound(header)]
        told = " and ".join(filter(None, bounds))
        yield (
            f"- Accuracy under {escaped(title)} holds for this attack"
            + (f" with {told}" if told else "")
            + "; another attack, or a stronger one, finds more."
        )


def _results(run: Run, sets: Mapping[str, Mapping[str, Any]]) -> "Iterator[EvalResult]":
    for name, figures in sets.items():
        if not SetName.parse(name).on_curve:
            for kind, (own, title) in _METRICS.items():
                if figures.get(own) is not None:
                    seen = figures.get("in_training_data")
                    of = f" ({seen} of {figures['n']} texts are in the training data)" if seen else ""
                    yield _result(run, name, kind, title, figures[own], of)


def _attack_results(
    run: Run, attacks: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]
) -> "Iterator[EvalResult]":
    for attack, figures in attacks.items():
        for kind, own, title in _UNDER_ATTACK:
            if figures[own] is not None:
                name = SetName.of_attack(attack).name
                yield _result(run, name, kind, title, figures[own], called=f"under {titles[attack]}")


def _result(
    run: Run, name: str, kind: str, title: str, value: float, of: str = "", called: str | None = None
) -> "EvalResult":
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type="text-classification",
        dataset_type=run.task,
        dataset_name=f"{run.task}, {called or SetName.parse(name).title}{of}",
        dataset_split=name,
        metric_type=kind,
        metric_name=title,
        metric_value=round(value, 4),
    )


def _table(sets: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    plain = {name: m for name, m in sets.items() if not SetName.parse(name).on_curve}
    regression = any("mse" in m for m in plain.values())
    yield f"| set | n | {'mean squared error' if regression else 'accuracy'} | 95% interval | constant |"
    yield "|---|---|---|---|---|"
    for name, m in plain.items():
        value = m["mse" if regression else "accuracy"]
        cells = [value, m["low"], m["high"], m["constant"]["mse" if regression else "accuracy"]]
        shown, low, high, constant = (fixed(cell) if regression else f"{in_percent(cell)}%" for cell in cells)
        yield f"| {escaped(SetName.parse(name).title)} | {m['n']} | {shown} | {low} to {high} | {constant} |"


def _attack_table(attacks: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> Iterator[str]:
    if attacks:
        yield "\n| attack | n | accuracy before | accuracy under attack | 95% interval |\n|---|---|---|---|---|"
    for name, m in attacks.items():
        under = [m[f"accuracy_under_attack{end}"] for end in ("", "_low", "_high")]
        before, shown, low, high = (f"{in_percent(share)}%" for share in (m["clean_accuracy"], *under))
        yield f"| {escaped(titles[name])} | {m['n']} | {before} | {shown} | {low} to {high} |"


def _json(value: Any) -> str:
    return code(json.dumps(value, sort_keys=True, ensure_ascii=False))
