"""The robustness card of a finished run: how it holds on perturbed texts, in plain words, and what was not tried."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rosetune._numbers import fixed, in_percent
from rosetune.report.markdown import escaped
from rosetune.report.measures import FEW
from rosetune.report.normalized import normalized_lines
from rosetune.report.trained_on import adversarial_attacks, trained_on_lines
from rosetune.robustness.attacks.changed_words import AT_MOST, limit_title
from rosetune.robustness.attacks.recipes import RECIPES
from rosetune.robustness.attacks.summary import summary
from rosetune.robustness.attacks.transformations import DISGUISES
from rosetune.robustness.noise_families import NOISES
from rosetune.runs.attacked import word_bound
from rosetune.runs.identity import model_title
from rosetune.runs.notes import shared_notes
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.threshold import threshold_note, ties_note
from rosetune.runs.titles import titles_of_attacks

__all__ = ["robustness_card", "weak_parts"]

Sets = Mapping[str, Mapping[str, Any]]


def robustness_card(run: Run, metrics: Mapping[str, Any]) -> str:
    """Markdown for the ``ROBUSTNESS.md`` beside the weights.

    It says what the model was trained on, with adversarial rows, normalisation and averaging; clean and robust
    accuracy by set; accuracy under each finished attack and after at most so many changed words; of one class against
    the rest the recall at a false-positive rate; lengths and groups on which it is worse; and what was not tested.
    Every figure has its interval and number of rows.

    Args:
        metrics: as its ``metrics.json`` holds them, or is about to.
    """
    sets: Sets = metrics["sets"]
    attacks = {name: summary(rows) for name, (about, rows) in run.attacks.items() if about["finished"]}
    titles = titles_of_attacks(run)
    lines = [
        f"# Robustness of {escaped(_title(run))} on {escaped(run.task)}\n",
        *trained_on_lines(run, metrics["labels"]),
        *normalized_lines(run),
        *_in_short(sets, attacks, titles),
        *_accuracy(sets),
        *_curve(sets),
        *_attacks(run, attacks, titles),
        *_detection(sets),
        *_weak(sets),
        "## What was not tested\n",
        *_not_tested(run, sets, attacks),
        "",
        "Intervals are of 95%, over the choice of examples; the luck of one training run is not in them.",
    ]
    return "\n".join([*lines, ""])


def _title(run: Run) -> str:
    """What the card is of: a method, or the model from elsewhere by its name."""
    if not run.config.given:
        return run.method
    return model_title(run.config.model_name_or_path) + run.method.removeprefix("given")


def _in_short(sets: Sets, attacks: Mapping[str, Any], titles: Mapping[str, str]) -> Iterator[str]:
    """The most important figures as sentences."""
    yield "## In short\n"
    clean = sets.get("clean")
    if clean is None:
        yield "It was not evaluated on clean texts.\n"
        return
    if "accuracy" not in clean:
        yield f"On clean texts its mean squared error is {fixed(clean['mse'])} ({clean['n']} texts).\n"
        return
    counts = [clean["n"]]
    yield f"- Of the clean texts it gets {_right(clean)} right."
    robust = {name: m for name, m in sets.items() if _perturbed(name)}
    if robust:
        worst = min(robust, key=lambda name: robust[name]["accuracy"])
        counts.append(robust[worst]["n"])
        title = escaped(SetName.parse(worst).title)
        yield f"- On the hardest perturbed texts here ({title}) it gets {_right(robust[worst])} right."
    if attacks:
        worst = min(attacks, key=lambda name: attacks[name]["accuracy_under_attack"])
        f = attacks[worst]
        counts.append(f["n"])
        low, high = f["accuracy_under_attack_low"], f["accuracy_under_attack_high"]
        left = _right({"n": f["n"], "accuracy": f["accuracy_under_attack"], "low": low, "high": high})
        at_two = round(f["n"] * f["at_most_words"]["2"]["value"])
        yield (
            f"- Of the texts that it attacked, the strongest attack here ({escaped(titles[worst])}) leaves {left} "
            f"right, and {at_two} of {f['n']} where it may change two words."
        )
    if not robust and not attacks:
        yield "- Nothing is known of its robustness: it was neither evaluated on perturbed texts nor attacked."
    if min(counts) < FEW:
        yield f"- Of fewer than {FEW} texts such figures are rough: read the interval, not the share."
    yield ""


def _right(m: Mapping[str, Any]) -> str:
    """A share as a count, since of few texts a share says more than is known; and its interval."""
    return f"{round(m['n'] * m['accuracy'])} of {m['n']} ({_percent(m['accuracy'])}, 95% interval {_interval(m)})"


def _perturbed(name: str) -> bool:
    return SetName.parse(name).perturbed


def _accuracy(sets: Sets) -> Iterator[str]:
    plain = {name: m for name, m in sets.items() if not SetName.parse(name).on_curve}
    if not plain:
        return
    regression = any("mse" in m for m in plain.values())
    yield f"## {'Squared error' if regression else 'Accuracy'} by set\n"
    yield f"| set | n | {'mean squared error' if regression else 'accuracy'} | 95% interval |\n|---|---|---|---|"
    for name, m in plain.items():
        yield f"| {escaped(SetName.parse(name).title)} | {m['n']} | {_value(m)} | {_interval(m)} |"
    yield ""
    yield from (f"{escaped(note)}\n" for note in shared_notes(plain))


def _curve(sets: Sets) -> Iterator[str]:
    """Of each noise of the curve the accuracy at its strongest."""
    strongest: dict[str, tuple[float, str]] = {}
    for name in sets:
        parsed = SetName.parse(name)
        if parsed.on_curve and parsed.noise is not None and parsed.strength is not None:
            strongest[parsed.noise] = max(strongest.get(parsed.noise, (0.0, "")), (parsed.strength, name))
    if not strongest:
        return
    yield "## Noise at its strongest\n"
    yield "| noise | share touched | n | result | 95% interval |\n|---|---|---|---|---|"
    for noise, (strength, name) in strongest.items():
        m = sets[name]
        yield f"| {noise.replace('_', ' ')} | {strength:g} | {m['n']} | {_value(m)} | {_interval(m)} |"
    yield ""


def _attacks(run: Run, attacks: Mapping[str, Any], titles: Mapping[str, str]) -> Iterator[str]:
    if not attacks:
        return
    trained = adversarial_attacks(run) or {}
    yield "## Accuracy under attack, by the words that it may change\n"
    limits = " | ".join(map(limit_title, AT_MOST))
    bounds = {name: word_bound(run.attacks[name][0]) for name in attacks}
    alike = next(iter(bounds.values())) if len({*bounds.values()}) == 1 else ""
    last = f"any number{alike and f', {alike}'}"
    yield f"| attack | n | before | {limits} | {last} |\n|{'---|' * (len(AT_MOST) + 4)}"
    for name, f in attacks.items():
        cells = [
            _with_interval(*(f["at_most_words"][limit][end] for end in ("value", "low", "high"))) for limit in AT_MOST
        ]
        under = _with_interval(*(f[f"accuracy_under_attack{end}"] for end in ("", "_low", "_high")))
        cells.append(under if alike or not bounds[name] else f"{under}, {bounds[name]}")
        known = " (also trained against)" if run.attacks[name][0].get("recipe", name) in trained else ""
        yield f"| {escaped(titles[name])}{known} | {f['n']} | {_percent(f['clean_accuracy'])} | {' | '.join(cells)} |"
    yield (
        "\nThese are upper bounds: the searches are greedy, and another one may need fewer words, or find a change "
        "where this one found none. A share is of the words of each text, so that accuracy need not fall from 3 words "
        "to 10% of words: of a text of fewer than ten words 10% allow no change.\n"
    )


def _detection(sets: Sets) -> Iterator[str]:
    found = {name: m["detection"] for name, m in sets.items() if "detection" in m and not SetName.parse(name).on_curve}
    if not found:
        return
    first = next(iter(found.values()))
    yield f"## Finding {escaped(first['positive_label'])}\n"
    yield "| set | with it | without | ROC AUC | recall | false positives |\n|---|---|---|---|---|---|"
    for name, d in found.items():
        cells = [_share(d[key]) for key in ("recall", "false_positive_rate")]
        auc = d["auc"]
        area = "-" if auc is None else _with_interval(auc["value"], auc["low"], auc["high"], fixed)
        counts = f"{d['positives']} | {d['negatives']}"
        yield f"| {escaped(SetName.parse(name).title)} | {counts} | {area} | {' | '.join(cells)} |"
    yield f"\n{escaped(threshold_note(first, found) + ties_note(found))}\n"


def weak_parts(sets: Sets) -> list[tuple[str, str, str, Mapping[str, Any]]]:
    """The lengths and groups on which a model is worse than on the whole set: the interval lies below its accuracy.

    Args:
        sets: metrics by set.

    Returns:
        Of each the name of the set, what it is split by, the name of the part, and its results.
    """
    found = []
    for name, m in sets.items():
        parts = [("words", part["band"], part) for part in m.get("lengths", ())]
        groups = m.get("groups", {"column": "", "groups": ()})
        parts += [(groups["column"], part["group"], part) for part in groups["groups"]]
        found += [(name, *part) for part in parts if "accuracy" in part[2] and part[2]["high"] < m["accuracy"]]
    return found


def _weak(sets: Sets) -> Iterator[str]:
    looked_at = ["the length of the texts"] if any("lengths" in m for m in sets.values()) else []
    looked_at += sorted({str(m["groups"]["column"]) for m in sets.values() if "groups" in m})
    if not looked_at:
        return
    yield "## Where it is weaker\n"
    by, weak = " and ".join(map(escaped, looked_at)), weak_parts(sets)
    if not weak:
        yield f"By {by} no part of a set is shown to be worse than the whole; small parts show little.\n"
        return
    yield f"By {by} these parts are worse than the whole of their set. Parts are many: some may be chance.\n"
    yield "| set | by | part | n | accuracy | 95% interval | whole set |\n|---|---|---|---|---|---|---|"
    for name, column, part, m in weak:
        which = f"{escaped(SetName.parse(name).title)} | {escaped(column)} | {escaped(part)}"
        yield f"| {which} | {m['n']} | {_value(m)} | {_interval(m)} | {_percent(sets[name]['accuracy'])} |"
    yield ""


def _not_tested(run: Run, sets: Sets, attacks: Mapping[str, Any]) -> Iterator[str]:
    parsed = [SetName.parse(name) for name in sets]
    kinds = {part.kind for part in parsed}
    noises = {part.noise for part in parsed if part.on_curve}
    if "noise" not in kinds:
        yield "- typing errors (`rosetune evaluate RUN --sets noise`)"
    done = noises | ({"typing"} if "noise" in kinds else set())
    missing = [noise.replace("_", " ") for noise in NOISES if noise not in done]
    if missing:
        yield f"- these noises: {', '.join(missing)} (`--sets noise_curve --noises ...`)"
    if not {*DISGUISES} & noises:
        yield "- what people do to get past a filter: look-alike letters, invisible characters, spaced letters"
    recipes = {str(run.attacks[name][0].get("recipe", name)) for name in attacks}
    unused = [name for name in RECIPES if name not in recipes]
    if unused:
        yield f"- these attacks: {', '.join(unused)} (`rosetune attack RUN --attack ...`)"
    if sets and not any("groups" in m for m in sets.values()):
        yield "- groups of texts, such as languages (`rosetune evaluate RUN --group_column COLUMN`)"
    if not run.config.given:
        yield "- another seed: this is one training run"
    yield "- texts from elsewhere than the evaluation data, other languages among them"
    yield "- an attacker who knows this model, and any attack that is not named here"


def _value(m: Mapping[str, Any]) -> str:
    return fixed(m["mse"]) if "mse" in m else _percent(m["accuracy"])


def _interval(m: Mapping[str, Any]) -> str:
    return (
        f"{fixed(m['low'])} to {fixed(m['high'])}" if "mse" in m else f"{_percent(m['low'])} to {_percent(m['high'])}"
    )


def _percent(share: float) -> str:
    return f"{in_percent(share)}%"


def _with_interval(value: float, low: float, high: float, shown: Callable[[float], str] = _percent) -> str:
    return f"{shown(value)} ({shown(low)} to {shown(high)})"


def _share(found: Mapping[str, float] | None) -> str:
    return "-" if found is None else _with_interval(found["value"], found["low"], found["high"])
