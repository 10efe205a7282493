"""The card of a hardening, as Markdown beside its picture."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rosetune._files import write_text
from rosetune.report.console import percent, points
from rosetune.report.harden import Hardened, levels, limits, step_name
from rosetune.report.harden_figure import Level, draw_hardened
from rosetune.report.markdown import code, escaped

__all__ = ["CARD", "PICTURE", "write_hardened"]

CARD, PICTURE = "card.md", "hardened.svg"


def write_hardened(result: Hardened) -> list[Path]:
    """Write card and picture into the folder; the picture needs matplotlib, and is left out without it.

    Returns:
        The files.
    """
    written, picture = [], result.folder / PICTURE
    if find_spec("matplotlib") is not None:
        names = {name: result.title(name) for name in result.shown}
        draw_hardened({side: levels(run, result.shown) for side, run in result.sides.items()}, names, picture)
        written.append(picture)
    card = result.folder / CARD
    text = _markdown(result, picture.name if written else None)
    if not (card.is_file() and card.read_text(encoding="utf-8") == text):
        write_text(card, text)
    return [card, *written]


def _markdown(result: Hardened, picture: str | None) -> str:
    found, model = result.found, result.hardened
    kept = f"The model that is kept is in {code(found['hardened'] + '/model')}, made by {escaped(model.method)}."
    head = ("step", "clean %", "typing errors %", "under attack %", "score", "rows added", "steps", "taken")
    trials = [
        (
            *(step_name(trial["name"]), *(percent(trial[name]) for name in ("clean", "noise", "attack", "score"))),
            *(str(trial["rows"]), str(trial["steps"]), "yes" if trial["taken"] else ""),
        )
        for trial in found["trials"]
    ]
    sides = {side: levels(run, result.shown) for side, run in result.sides.items()}
    rows = []
    for name in result.shown:
        cells = (_with_interval(found[name]) if name in found else "-" for found in sides.values())
        row = [result.title(name), str(sides["plain"][name].n), *cells]
        if result.gained:
            d = result.compared[name]
            row.append(f"{points(d.value)} [{points(d.low)}, {points(d.high)}]")
        rows.append(tuple(row))
    columns = ("set", "n", *(f"{side} %" for side in sides), *(("gain",) if result.gained else ()))
    lines = [
        f"# Hardening on {escaped(result.plain.task)}\n",
        f"{kept} {limits(result)}\n",
        *([f"![clean against robust accuracy, before and after]({picture})\n"] if picture else []),
        f"See also its [model card]({found['hardened']}/model/README.md) and [robustness card]"
        f"({found['hardened']}/model/ROBUSTNESS.md).\n",
        "## On the evaluation data\n",
        *_table(columns, rows),
        "",
        *(f"{escaped(line)}\n" for line in (*result.verdicts(), *result.unshown(), result.cost())),
        f"## Choices on {found['held_out']} held-out training rows\n",
        *_table(head, trials),
        "",
        *(f"- {escaped(line)}" for line in result.choices()),
        "",
    ]
    return "\n".join(lines)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    shown = [f"| {' | '.join(map(escaped, row))} |" for row in rows]
    return [f"| {' | '.join(map(escaped, columns))} |", f"|{'---|' * len(columns)}", *shown]


def _with_interval(level: Level) -> str:
    return f"{percent(level.value)} [{percent(level.low)}, {percent(level.high)}]"
