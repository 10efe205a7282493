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

_POINTS = ("max_drop", "max_decline", BASELINE)
# What XML 1.0 cannot hold, even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COLUMNS = ("limit", "set", "n", "measured [95%]", "allowed", "outcome")


def print_gate(out: Console, verdict: Verdict) -> None:
    """Each limit on each set: what was measured, what is allowed, and whether it holds; then what failed, in words."""
    grid = Grid(_title(verdict), _COLUMNS, names=2)
    for check in verdict.checks:
        style = "dim" if check.holds else "bold"
        cells = (escape(cell) for cell in _cells(check))
        grid.rows.append(tuple(f"[{style}]{cell}[/{style}]" if cell else "" for cell in cells))
    print_grid(out, grid)
    for note in _notes(verdict):
        out.print(Text(note))
    out.print(Text(_summary(verdict), "bold"))


def gate_markdown(verdict: Verdict) -> str:
    """The same as Markdown, such as for the summary of a job."""
    lines = [f"## {escaped(_title(verdict))}\n", f"**{escaped(_summary(verdict))}**\n"]
    lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    lines += [f"| {' | '.join(map(escaped, _cells(check)))} |" for check in verdict.checks]
    lines += ["", *(f"- {escaped(note)}" for note in _notes(verdict)), f"\nRun: {code(verdict.run)}"]
    return "\n".join([*lines, ""])


def gate_junit(verdict: Verdict) -> str:
    """The same as JUnit XML: a test case for each limit on each set, a failure where it does not hold."""
    failures = str(len(verdict.failed))
    counts = {"tests": str(len(verdict.checks)), "failures": failures, "errors": "0", "skipped": "0"}
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "rosetune gate", **counts})
    for check in verdict.checks:
        about = {"classname": f"rosetune.gate.{check.limit}", "name": f"{check.limit}: {set_title(check.set)}"}
        case = ElementTree.SubElement(suite, "testcase", {**_legal(about), "time": "0"})
        said = _sentence(check)
        if check.holds:
            ElementTree.SubElement(case, "system-out").text = _NO_XML.sub("?", said)
        else:
            failure = ElementTree.SubElement(case, "failure", _legal({"message": said, "type": check.limit}))
            failure.text = _NO_XML.sub("?", f"{said}\nrun: {verdict.run}\nbaseline: {verdict.baseline or '-'}")
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
        return f"Passed: all {count} limits hold."
    return f"Failed: {failed} of {count} limits {'does' if failed == 1 else 'do'} not hold."


def _notes(verdict: Verdict) -> list[str]:
    notes = [*verdict.notes]
    if any(not check.sure for check in verdict.checks if check.limit != BASELINE):
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


def _cells(check: Check) -> tuple[str, ...]:
    sure = check.sure or check.limit == BASELINE
    outcome = ("holds" if check.holds else "FAILS") + ("" if sure else " ?")
    interval = f"{_figure(check, check.value)} [{_figure(check, check.low)},{_figure(check, check.high)}]"
    return check.limit, set_title(check.set), str(check.n), interval, _allowed(check), outcome


def _allowed(check: Check) -> str:
    if check.bound is None:
        return "not shown to be worse"
    return f"{'at least' if check.limit.startswith('min') else 'at most'} {check.bound:.10g}"  # as it was given


def _figure(check: Check, value: float) -> str:
    return fixed(value, 1 if check.limit in _POINTS else 3)


def _sentence(check: Check) -> str:
    limit, title, n, measured, allowed, outcome = _cells(check)
    unit = " points" if limit in _POINTS else ""
    where = title if SetName.parse(check.set).kind == "attack" else f"on {title}"
    return f"{limit} {where}: {measured}{unit} of {n} rows, allowed {allowed}: {outcome}"
