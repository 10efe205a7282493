"""What the robustness card says of a run's training: rows, what was done to them, and attacks that it has seen."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune.report.card_training import default_options
from rosetune.report.markdown import escaped
from rosetune.report.normalized import normalization_steps
from rosetune.robustness.noise_families import NOISES
from rosetune.runs.identity import file_hash
from rosetune.runs.run import Run

__all__ = ["adversarial_attacks", "trained_on_lines"]

_BESIDE = "It was to answer the same for a noisy copy of each row,"


def adversarial_attacks(run: Run) -> Mapping[str, int] | None:
    """Of the adversarial rows that a run was trained on, how many each attack made; "" counts those of no known one.

    Returns:
        Nothing in it of a run without such rows; None where their file is not there any more, or not what it was.
    """
    if run.config.adversarial_file is None:
        return {}
    path = Path(run.config.adversarial_file).expanduser()
    try:
        if f"sha256:{file_hash(path)}" != run.identity.get("adversarial_file"):
            return None
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return None
    return Counter(str(row.get("attack", "")) for row in rows)


def trained_on_lines(run: Run, labels: Sequence[str]) -> Iterator[str]:
    """What the model reads and tells apart, and what decided its weights, as Markdown."""
    columns = " and ".join(map(escaped, run.identity["text_columns"]))
    what = f"tells apart {', '.join(map(escaped, labels))}" if labels else "gives a number"
    yield f"The model reads {columns} and {what}. {' '.join(_made(run))}\n"
    if run.config.held_out is not None:
        yield "All figures are on rows that were held out of the training data: they are no results of the task.\n"


def _made(run: Run) -> Iterator[str]:
    if run.config.given:
        yield "It was not trained here: what it was trained on is not known."
        return
    training, part = run.identity["training"], run.identity.get("max_train_samples")
    rows = f"at most {part} training rows" if part else "the training rows"
    steps, changed = normalization_steps(run), training.get("augmentation")
    seen = [f"normalised ({', '.join(steps)})"] if steps else []
    seen += [f"changed anew in every epoch by {_with_options(training, 'augmentation')}"] if changed else []
    attacks = adversarial_attacks(run)
    copies = _noisy_copies(training)
    more = ", beside noisy copies of them" if copies.startswith(_BESIDE) else ""
    more += ", and on adversarial rows" if attacks != {} else ""
    how = f"by {escaped(run.method)} with seed {run.seed}"
    yield f"It was trained on {rows} of {escaped(run.task)}, {' and '.join(seen) or 'as they are'}{more}, {how}."
    yield from filter(None, [copies])
    if attacks is None:
        yield "Its adversarial rows cannot be named: their file is not there any more, or not what it was."
    elif attacks:
        each = [f"{escaped(name or 'an attack without a name')} ({count})" for name, count in attacks.items()]
        yield f"Its {sum(attacks.values())} adversarial rows were made of training rows by {', '.join(each)}."
    if training.get("averaging") is not None:
        yield f"Its weights are averaged by {_with_options(training, 'averaging')}."


def _noisy_copies(training: Mapping[str, Any]) -> str:
    """Of an objective that reads noisy copies of its rows: which noises, how strong, and what for."""
    if training.get("objective") != "noise_consistency":
        return ""
    options, mask = _options(training, "objective"), training.get("update_mask_kwargs") or {}
    noise = f"drawn anew in each step: {_noises(options)}, on {_share(options['strength'])} of the words."
    if options["alpha"] != 0:
        return f"{_BESIDE} {noise}"
    ranked = training.get("update_mask") == "rose" and mask.get("order") != "second" and mask.get("risk") != "task"
    if options["risk"] == "noise" and ranked:
        return f"Which of its weights were updated was decided on noisy copies of the rows, {noise}"
    return ""


def _noises(options: Mapping[str, Any]) -> str:
    names = [str(name).replace("_", " ") for name in options.get("noises") or NOISES]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _share(strength: Sequence[float]) -> str:
    return " to ".join(f"{share:g}" for share in strength)


def _options(training: Mapping[str, Any], axis: str) -> dict[str, Any]:
    """The options of a method, defaults among them."""
    return {**default_options(axis, str(training[axis])), **(training.get(f"{axis}_kwargs") or {})}


def _with_options(training: Mapping[str, Any], axis: str) -> str:
    """What was chosen on an axis, with the options that were given; of noise with all of them."""
    options = dict(training.get(f"{axis}_kwargs") or {})
    if (axis, training[axis]) == ("augmentation", "noise"):
        found = _options(training, axis)
        options = {"noises": _noises(found), "p": found["p"], "strength": _share(found["strength"])}
    given = [
        f"{name} {' and '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in options.items()
    ]
    return escaped(f"{training[axis]} ({', '.join(given)})" if given else str(training[axis]))
