"""Figures over many runs as tables that are ready for any format: what stands in which line and column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rosetune._numbers import fixed, in_percent
from rosetune.runs.aggregate import AVERAGE, DROP, Aggregate
from rosetune.runs.figures import Cell, Column
from rosetune.runs.groups import value_text
from rosetune.runs.tested import Row, Tested

__all__ = ["Entry", "Printed", "Sheet", "by_method", "by_value", "is_option"]

ALPHA = 0.05  # the paper's
_RAW = ("mse", "brier")  # not shown in percent
_UNSET = "unset"
# The paper's own figures, in percent, by model and name of a row.
Printed = Mapping[tuple[str, str], Mapping[Column, float]]


@dataclass(frozen=True)
class Entry:
    """One cell: a figure, its spread or tests, and a mark of significance; bold as the paper's."""

    text: str
    spread: str = ""
    mark: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Sheet:
    """One table of a layout, ready for any format.

    Attributes:
        heads: of the columns but the first, which holds names: the task, or nothing, and what stands below it.
        blocks: of lines, between which a rule is drawn: a name, and a cell for each head.
    """

    title: str
    heads: tuple[tuple[str, str], ...]
    blocks: list[list[tuple[str, list[Entry | None]]]] = field(default_factory=list)


def is_option(option: str, name: str) -> bool:
    """Whether an option, with or without the mapping that it stands in, is the one of this name."""
    return option in (name, name.rpartition(".")[2])


def _unit(found: Aggregate, column: Column, value: float, sign: str = "") -> str:
    metrics = {found.metrics[column.task]} if column.task else {*found.metrics.values()}
    return fixed(value, sign=sign) if metrics & {*_RAW} else in_percent(value, sign)


def _entry(found: Aggregate, column: Column, cell: Cell | None, tested: Tested | None, alone: bool) -> Entry | None:
    if cell is None:
        return None
    spread = "" if cell.sd is None else f"±{_unit(found, column, cell.sd)}"
    counted = "" if alone else f"(n={cell.n})"
    better = tested is not None and tested.p is not None and tested.p < ALPHA
    still = better and tested is not None and tested.p_holm is not None and tested.p_holm < ALPHA
    mark = "**" if still else "*" if better else ""
    return Entry(_unit(found, column, cell.mean), " ".join(filter(None, (spread, counted))), mark, better)


def _tested(found: Aggregate, column: Column, tested: Tested | None) -> Entry | None:
    if tested is None:
        return None
    tests = "/".join("-" if p is None else _p(p) for p in (tested.p, tested.p_holm, tested.p_sign_flip))
    better = tested.p is not None and tested.p < ALPHA
    return Entry(_unit(found, column, tested.difference, "+"), tests, bold=better)


def _p(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 0.9995 else "1"


def _seeds(row: Row) -> tuple[str, bool]:
    """How many seeds a row has, and whether that holds of all its cells."""
    counts = sorted({cell.n for cell in row.cells.values()})
    if not counts:
        return "0", True
    return (str(counts[0]), True) if len(counts) == 1 else (f"{counts[0]}-{counts[-1]}", False)


def _name(row: Row, base: str | None) -> str:
    start = "" if base is None else f"{base.partition(' (')[0]}+"
    return f"+ {row.group.name.removeprefix(start)}" if start and row.group.name.startswith(start) else row.group.name


def by_method(
    found: Aggregate,
    model: str,
    rows: Sequence[Row],
    printed: Printed,
    added: bool,
) -> list[Sheet]:
    """A line per method, and a second sheet with the tests.

    Args:
        added: whether what is added to the baseline stands alone, as in Table 2.
    """
    what = ", ".join(dict.fromkeys(found.metrics.values()))
    heads = tuple((column.task or "", found.titles.get(column.set, column.set)) for column in found.columns)
    base = found.baselines.get(model)
    sheet = Sheet(f"{model}: {what}", (("", "seeds"), *heads))
    for control in (False, True):
        titles: list[tuple[str, list[Entry | None]]] = [("controls:", [Entry("")] * len(sheet.heads))]
        block = titles if control else []
        for row in (row for row in rows if row.group.control is control):
            seeds, alone = _seeds(row)
            entries = [_entry(found, c, row.cells.get(c), row.tests.get(c), alone) for c in found.columns]
            block.append((_name(row, base if added else None), [Entry(seeds), *entries]))
            theirs = printed.get((model, row.group.name), {})
            if theirs:
                values = [Entry(fixed(theirs[c], 2)) if c in theirs else None for c in found.columns]
                block.append(("  the paper", [Entry("5"), *values]))
        sheet.blocks.extend([block] if len(block) > control else [])
    if found.constant:
        values = [Entry(_unit(found, c, found.constant[c])) if c in found.constant else None for c in found.columns]
        sheet.blocks.append([("constant prediction", [None, *values])])
    tests = Sheet(f"{model}: difference from {base}, and one-tailed p of t-test / Holm / sign-flip", heads)
    tests.blocks.append(
        [
            (
                _name(row, base if added else None),
                [_tested(found, column, row.tests.get(column)) for column in found.columns],
            )
            for row in rows
            if row.tests
        ]
    )
    return [sheet, tests] if tests.blocks[0] else [sheet]


def by_value(
    found: Aggregate,
    model: str,
    rows: Sequence[Row],
    printed: Printed,
    option: str,
) -> list[Sheet]:
    """A line per method and measure, a column per value of the option; and below it the tests."""
    lines: dict[str, dict[str, Row]] = {}
    for row in rows:
        others = {name: value for name, value in row.group.options.items() if not is_option(option, name)}
        values = [value for name, value in row.group.options.items() if is_option(option, name)]
        value = _UNSET if not values or values[0] is None else value_text(values[0])
        shown = ", ".join(f"{n.rpartition('.')[2]}={value_text(v)}" for n, v in others.items() if v is not None)
        lines.setdefault(f"{row.group.method} ({shown})" if shown else row.group.method, {})[value] = row
    values = list(dict.fromkeys(value for part in lines.values() for value in part))
    values.sort(key=_number)
    what, base = ", ".join(dict.fromkeys(found.metrics.values())), found.baselines.get(model)
    heads = tuple((option, value) for value in values)
    sheet = Sheet(f"{model}: {what} by {option}", heads)
    tests = Sheet(f"{model}: difference from {base}, and one-tailed p of t-test / Holm / sign-flip", heads)
    for measure in (column for column in (AVERAGE, DROP) if column in found.columns):
        block: list[tuple[str, list[Entry | None]]] = []
        tested: list[tuple[str, list[Entry | None]]] = []
        for name, part in lines.items():
            told = f"{measure.set}: {name}"
            there = [part.get(value) for value in values]
            entries = [
                None if row is None else _entry(found, measure, row.cells.get(measure), row.tests.get(measure), False)
                for row in there
            ]
            block.append((told, entries))
            theirs = [None if row is None else printed.get((model, row.group.name), {}).get(measure) for row in there]
            if any(value is not None for value in theirs):
                block.append(("  the paper", [None if v is None else Entry(fixed(v, 2)) for v in theirs]))
            if any(row is not None and measure in row.tests for row in there):
                against = [None if row is None else row.tests.get(measure) for row in there]
                tested.append((told, [_tested(found, measure, one) for one in against]))
        sheet.blocks.append(block)
        tests.blocks.extend([tested] if tested else [])
    return [sheet, tests] if tests.blocks else [sheet]


def _number(value: str) -> tuple[bool, float, str]:
    try:
        return value != _UNSET, float(value), value
    except ValueError:
        return value != _UNSET, float("inf"), value
