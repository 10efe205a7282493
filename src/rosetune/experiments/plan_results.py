"""What a plan does with trained runs: attacks, adversarial rows, a table, analyses; and what it leaves out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rosetune.analysis.probing.scoring import PARTS
from rosetune.experiments.adversarial_options import AdversarialOptions
from rosetune.experiments.analysis_options import ANALYSES, AnalysisOptions
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.marked import Marked, Place
from rosetune.experiments.plan import LeftOut, Options, Part
from rosetune.runs.aggregate import LAYOUTS
from rosetune.runs.figures import METRICS
from rosetune.runs.sets import KINDS, SetName
from rosetune.runs.tested import TESTS
from rosetune.runs.values import RunError

__all__ = ["adversarial", "analyses", "attacks", "left_out", "table_options"]

_PARTS = ("models", "tasks", "seeds")  # which may be asked for otherwise than the plan has them


def left_out(marked: Marked) -> tuple[LeftOut, ...]:
    """What a plan leaves out: sentences, or mappings of one that is true of the plan's own models, tasks or seeds.

    Raises:
        RunError: an unknown name or a wrong value, with its line.
    """
    given = marked.value.get("left_out") or []
    if not isinstance(given, list):
        raise marked.error("left_out must be a list of sentences", "left_out")
    return tuple(_entry(marked, number, line) for number, line in enumerate(given))


def _entry(marked: Marked, number: int, line: Any) -> LeftOut:
    part, sentence = next(iter(line.items()), (None, None)) if isinstance(line, dict) else (None, line)
    if not isinstance(sentence, str) or (isinstance(line, dict) and len(line) != 1):
        told = "left_out must hold sentences, or such as models: a sentence"
        raise marked.error(f"{told}, not {line!r}", "left_out", number)
    if part is not None and part not in _PARTS:
        raise marked.unknown("part of a plan that is left out", part, _PARTS, "left_out", number, part)
    return LeftOut(sentence, part)


def table_options(marked: Marked) -> Options:
    """The options of a plan's table.

    Raises:
        RunError: an unknown name or a wrong value, with its line.
    """
    given, known = marked.value.get("table") or {}, ("layout", "sets", "metric", "baseline", "option", "test")
    if not isinstance(given, dict):
        raise marked.error("table must be a mapping such as {layout: table1, sets: [clean]}", "table")
    for name in given:
        if name not in known:
            raise marked.unknown("option of the table", name, known, "table", name)
    values = {"layout": LAYOUTS, "metric": METRICS, "test": TESTS}
    for name, value in given.items():
        listed = name in ("sets", "metric")
        texts: list[Any] = value if listed and isinstance(value, list) and value else [None if listed else value]
        if not all(isinstance(text, str) for text in texts):
            wanted = "a list of names" if listed else "a name"
            raise marked.error(f"{name} of the table must be {wanted}, not {value!r}", "table", name)
        for text in texts:
            if name in values and text not in values[name]:
                raise marked.unknown(f"{name} of a table", text, values[name], "table", name)
            if name == "sets" and SetName.parse(text).kind not in (*KINDS, "file", "attack"):
                raise marked.unknown("kind of sets", text, (*KINDS, "file", "attack"), "table", name)
    return dict(given)


def analyses(marked: Marked, tasks: Mapping[str, Part]) -> tuple[Options, ...]:
    """What a plan analyses, and how; one, or a list of them, which are done in that order.

    Args:
        tasks: of the plan, which those of a probe must be.

    Raises:
        RunError: an unknown name or a wrong value, with its line.
    """
    given = marked.value.get("analyze") or []
    listed = isinstance(given, list)
    found = given if listed else [given]
    for i, one in enumerate(found):
        _check_analysis(marked, one, tasks, ("analyze", i) if listed else ("analyze",), len(found))
    return tuple(found)


def _check_analysis(marked: Marked, given: Any, tasks: Mapping[str, Part], at: Place, number: int) -> None:
    kinds = (*ANALYSES, "probe")
    if not isinstance(given, dict) or given.get("what") not in kinds:
        known = ", ".join(kinds)
        raise marked.error(
            f"analyze must be a mapping such as {{what: landscape}}, of {known}; or a list of such", *at
        )
    if given["what"] == "probe":
        if number > 1:
            raise marked.error("a probe stands alone: no other analysis can be beside it", *at)
        _check_probe(marked, given, tasks)
        return
    names = ("what", *(field.name for field in dataclasses.fields(AnalysisOptions)))
    for name in given:
        if name not in names:
            raise marked.unknown("option of an analysis", name, names, *at, name)
    try:
        options = AnalysisOptions(**{name: value for name, value in given.items() if name != "what"})
        options.check_for(given["what"])
    except RunError as error:
        raise marked.error(str(error), *at) from error


def _check_probe(marked: Marked, given: Options, tasks: Mapping[str, Part]) -> None:
    """A probe is made of the runs of three tasks, of which it may share some with others, and has no options."""
    for name in given:
        if name != "what":
            raise marked.error(f"a probe has no option {name!r}", "analyze")
    for name in tasks:
        probe, _, part = name.rpartition("-")
        if part not in PARTS:
            wanted = ", ".join(f"NAME-{one}" for one in PARTS)
            raise marked.error(f"{name} is no part of a probe: name the tasks {wanted}", "tasks", name)
        for other in PARTS if probe else ():
            if f"{probe}-{other}" not in tasks and other not in tasks:
                raise marked.error(f"the probe {probe} has no task {probe}-{other}", "tasks", name)


def attacks(marked: Marked, given: Any, at: Place) -> tuple[AttackOptions, ...]:
    """The attacks on every run of a plan, or of one of its tasks.

    Args:
        given: one, or a list of them.
        at: where they stand.

    Raises:
        RunError: an unknown name or a wrong value, with its line.
    """
    given = given or []
    listed = given if isinstance(given, list) else [given]
    fields = [f.name for f in dataclasses.fields(AttackOptions)]
    found = []
    for number, body in enumerate(listed):
        place: Place = (*at, number) if isinstance(given, list) else at
        options = {"attack": body} if isinstance(body, str) else body
        if not isinstance(options, dict) or not options.get("attack"):
            raise marked.error("attack must name attacks, such as attack: [deepwordbug, pwws]", *place)
        for name in options:
            if name not in fields:
                raise marked.unknown("option of an attack", name, fields, *place, name)
        try:
            found.append(AttackOptions(**_attack_values(options)))
        except (ValueError, TypeError) as error:
            raise marked.error(str(error).replace("--", ""), *place) from error
    return tuple(found)


def adversarial(marked: Marked) -> AdversarialOptions | None:
    """How a plan attacks training rows; None where it does not say so.

    Raises:
        RunError: an unknown name or a wrong value, with its line.
    """
    given, known = marked.value.get("adversarial"), [f.name for f in dataclasses.fields(AdversarialOptions)]
    if given is None:
        return None
    if not isinstance(given, dict) or not given:
        example = "adversarial: {attack: deepwordbug, max_attacked: 1000}"
        raise marked.error(f"adversarial must be a mapping of options, such as {example}", "adversarial")
    for name in given:
        if name not in known:
            raise marked.unknown("option of adversarial rows", name, known, "adversarial", name)
    try:
        return AdversarialOptions(**given)
    except (ValueError, TypeError) as error:
        raise marked.error(str(error).replace("--", ""), "adversarial") from error


def _attack_values(options: Mapping[str, Any]) -> Options:
    """As the command line reads them: names with commas, ``all`` rows, no (``none``) budget."""
    values = dict(options)
    for name in ("attack", "noises", "protected"):
        if isinstance(values.get(name), str):
            values[name] = (
                [values[name]] if name == "protected" else [part.strip() for part in values[name].split(",")]
            )
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    for name, word in (("examples", "all"), ("budget", "none")):
        values |= {name: None} if values.get(name) == word else {}
    for name in ("column", "attack_class", "target_class"):  # YAML reads 1 as a number
        if values.get(name) is not None:
            values[name] = str(values[name])
    return values
