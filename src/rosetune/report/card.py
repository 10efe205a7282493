"""The model card of a finished run: what it is, and how it does."""

import json
from collections.abc import Mapping
from typing import Any

from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["model_card"]

_UNSET = "More information needed"


def model_card(run: Run, metrics: Mapping[str, Any]) -> str:
    """Markdown for the ``README.md`` beside the weights, with the hub's metadata on top.

    It says what was trained on what and how, with the figures of each evaluation set. What only the author knows (the
    licence, the intended use) is left open.

    Args:
        metrics: as its ``metrics.json`` holds them, or is about to.
    """
    import yaml

    config = run.config
    base, training = config.model_name_or_path, sorted(run.identity["training"].items())
    about: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["robust-fine-tuning", "rosetune", run.method],
        "model-index": [{"name": f"{run.method}-{run.task}", "results": _results(run, metrics["sets"])}],
    }
    if "/" in base and not base.startswith((".", "/", "~")):
        about["base_model"] = base
    head = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
    labels = metrics["labels"]
    what = f"text classification into {', '.join(labels)}" if labels else "text regression, with one number as output"
    lines = [
        f"---\n{head}---\n",
        f"# {run.method} on {run.task}\n",
        f"A model for {what}. It was made of `{base.rsplit('/', 1)[-1] if '/' in base else base}` "
        + ("and taken as it was, without training." if config.given else f"by {run.method}, seed {run.seed}."),
        f"It reads the column{'s' if len(run.identity['text_columns']) > 1 else ''} "
        f"{' and '.join(run.identity['text_columns'])}, and cuts texts at {config.max_length} tokens.\n",
        "## Evaluation\n",
        *_table(metrics["sets"]),
        "",
        "Intervals are of 95%, over the choice of examples; the luck of one training run is not in them.\n",
        "## Training\n",
        *(f"- {name}: `{json.dumps(value, sort_keys=True)}`" for name, value in training),
        *(f"- {name}: `{version}`" for name, version in run.environment.get("packages", {}).items()),
        f"\n## Intended use and licence\n\n{_UNSET}\n",
    ]
    return "\n".join(lines)


def _results(run: Run, sets: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    results = []
    for name, m in sets.items():
        if SetName.parse(name).on_curve:
            continue
        metrics = {"accuracy": "accuracy", "f1": "f1", "mcc": "matthews_correlation", "mse": "mse"}
        results.append(
            {
                "task": {"type": "text-classification"},
                "dataset": {"name": f"{run.task}, {SetName.parse(name).title}", "type": run.task, "split": name},
                "metrics": [{"type": kind, "value": round(m[key], 4)} for key, kind in metrics.items() if key in m],
            }
        )
    return results


def _table(sets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    plain = {name: m for name, m in sets.items() if not SetName.parse(name).on_curve}
    if any("mse" in m for m in plain.values()):
        rows = [
            f"| {SetName.parse(name).title} | {m['n']} | {m['mse']:.3f} | {m['low']:.3f} to {m['high']:.3f} | "
            f"{m['constant']['mse']:.3f} |"
            for name, m in plain.items()
        ]
        return ["| set | n | mean squared error | 95% interval | constant |", "|---|---|---|---|---|", *rows]
    rows = [
        f"| {SetName.parse(name).title} | {m['n']} | {100 * m['accuracy']:.1f}% | {100 * m['low']:.1f} to "
        f"{100 * m['high']:.1f} | {100 * m['constant']['accuracy']:.1f}% |"
        for name, m in plain.items()
    ]
    return ["| set | n | accuracy | 95% interval | best constant |", "|---|---|---|---|---|", *rows]
