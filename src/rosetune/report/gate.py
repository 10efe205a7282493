"""What a gate says: a table on the terminal, Markdown for a summary, JUnit XML for a CI server."""

import re
from xml.etree import ElementTree

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from rosetune._numbers import fixed
from rosetune.report.console import Grid, print_grid, set_title
from rosetune.report.markdown import code, escaped
from rosetune.robustness.attacks.changed_words import limit_title
from rosetune.runs.gate import Check, Verdict
from rosetune.runs.gate_limits import BASELINE
from rosetune.runs.sets import SetName

__all__ = ["gate_junit", "gate_markdown", "print_gate"]

_OWN_TEXTS = "the clean set itself"
_POINTS = ("max_drop", "max_decline", BASELINE)
# What XML 1.0 cannot hold, even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ALARMS, _NOT_SURE = "false positives", "NOT SURE"
_COLUMNS = ("limit", "set", "n", "measured [95%]", _ALARMS, "allowed", "outcome")


def print_gate(out: Console, verdict: Verdict) -> None:
    """Each limit on each set: what was measured, what is allowed, and whether it holds; then what failed, in words."""
    columns = _columns(verdict)
    heads = tuple("false\npositives" if column == _ALARMS else column for column in columns)
    grid = Grid(_title(verdict), heads, names=2)
    for check in verdict.checks:
        style = "bold" if check.flattered or not check.holds else "dim"
        cells = (escape(_cells(check)[column]) for column in columns)
        grid.rows.append(tuple(f"[{style}]{cell}[/{style}]" if cell else "" for cell in cells))
    print_grid(out, grid)
    for note in _notes(verdict):
        out.print(Text(note, "bold" if note.startswith(_NOT_SURE) else ""))
    out.print(Text(_summary(verdict), "bold"))


def gate_markdown(verdict: Verdict) -> str:
    """The same as Markdown, such as for the summary of a job."""
    columns, notes = _columns(verdict), _notes(verdict)
    loud = [note for note in notes if note.startswith(_NOT_SURE)]
    lines = [f"## {escaped(_title(verdict))}\n", *(f"**{escaped(said)}**\n" for said in (_summary(verdict), *loud))]
    lines += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for check in verdict.checks:
        cells = _cells(check)
        lines.append(f"| {' | '.join(escaped(cells[column]) for column in columns)} |")
    baseline = "" if verdict.baseline is None else f", baseline: {code(verdict.baseline)}"
    lines += [
        "",
        *(f"- {escaped(note)}" for note in notes if note not in loud),
        f"\nRun: {code(verdict.run)}{baseline}",
    ]
    return "\n".join([*lines, ""])


def gate_junit(verdict: Verdict) -> str:
    """The same as JUnit XML: a test case for each limit on each set, failed where it does not hold; then the notes."""
    failures = str(len(verdict.failed))
    counts = {"tests": str(len(verdict.checks)), "failures": failures, "errors": "0", "skipped": "0"}
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "rosetune gate", **counts})
    for check in verdict.checks:
        about = {"classname": f"rosetune.gate.{check.limit}", "name": f"{check.limit}: {_set(check)}"}
        case = ElementTree.SubElement(suite, "testcase", {**_legal(about), "time": "0"})
        said = _sentence(check)
        if check.holds:
            ElementTree.SubElement(case, "system-out").text = _NO_XML.sub("?", said)
        else:
            failure = ElementTree.SubElement(case, "failure", _legal({"message": said, "type": check.limit}))
            failure.text = _NO_XML.sub("?", f"{said}\nrun: {verdict.run}\nbaseline: {verdict.baseline or '-'}")
    if notes := _notes(verdict):
        ElementTree.SubElement(suite, "system-out").text = _NO_XML.sub("?", "\n".join(notes))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _legal(attributes: dict[str, str]) -> dict[str, str]:
    return {name: _NO_XML.sub("?", value) for name, value in attributes.items()}


def _title(verdict: Verdict) -> str:
    return f"Gate: {verdict.run}" + (f" against {verdict.baseline}" if verdict.baseline else "")


def _summary(verdict: Verdict) -> str:
    count, failed = len(verdict.checks), len(verdict.failed)
    if count == 1:
        return "Passed: the one limit holds." if verdict.passed else "Failed: the one limit does not hold."
    if verdict.passed:
        return f"Passed: all {count} checks (a limit on a set) hold."
    return f"Failed: {failed} of {count} checks (a limit on a set) {'does' if failed == 1 else 'do'} not hold."


def _notes(verdict: Verdict) -> list[str]:
    notes = [*verdict.notes]
    if any(not (check.sure or check.flattered) for check in verdict.checks if check.limit != BASELINE):
        notes.append("?: the limit lies within the interval, so that other texts might have it the other way round.")
    if verdict.words is not None:
        limit = limit_title(verdict.words)
        notes.append(f"Attacks: a text counts as broken only where the attack changed at most {limit}.")
    if verdict.baseline is not None:
        notes.append(
            "baseline: points of accuracy lost; it fails where the run is shown to be worse, by the interval of the "
            "paired difference and the exact test."
        )
    return notes


def _columns(verdict: Verdict) -> tuple[str, ...]:
    """Those of the table; false positives stand beside a recall, and nowhere else."""
    recall = any(check.limit == "min_recall" for check in verdict.checks)
    return tuple(column for column in _COLUMNS if recall or column != _ALARMS)


def _cells(check: Check) -> dict[str, str]:
    """What stands in each column."""
    sure = check.sure or check.limit == BASELINE
    mark = f", {_NOT_SURE}" if check.flattered else "" if sure else " ?"
    alarms = "" if check.false_positive_rate is None else fixed(check.false_positive_rate, 3)
    interval = f"{_figure(check, check.value)} [{_figure(check, check.low)},{_figure(check, check.high)}]"
    outcome = ("holds" if check.holds else "FAILS") + mark
    cells = (check.limit, _set(check), str(check.n), interval, alarms, _allowed(check), outcome)
    return dict(zip(_COLUMNS, cells, strict=True))


def _set(check: Check) -> str:
    return (check.title or set_title(check.set)) + ("" if check.group is None else f", {check.group}")


def _allowed(check: Check) -> str:
    if check.bound is None:
        return "not shown to be worse"
    return f"{'at least' if check.limit.startswith('min') else 'at most'} {check.bound:.10g}"  # as it was given


def _figure(check: Check, value: float) -> str:
    return fixed(value, 1 if check.limit in _POINTS else 3)


def _sentence(check: Check) -> str:
    limit, title, n, measured, alarms, allowed, outcome = _cells(check).values()
    unit = " points" if limit in _POINTS else ""
    where = title if SetName.parse(check.set).kind == "attack" else f"on {title}"
    beside = f"; {alarms} of the other labels' rows are called positive" if alarms else ""
    why = f" (the threshold was chosen on {_OWN_TEXTS})" if check.flattered else ""
    return f"{limit} {where}: {measured}{unit} of {n} rows, allowed {allowed}: {outcome}{why}{beside}"
