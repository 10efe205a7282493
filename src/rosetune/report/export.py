"""A table over many runs as a file: Markdown, LaTeX, CSV or JSON."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rosetune._files import as_json, write_text
from rosetune._numbers import tidy
from rosetune.report.markdown import escaped
from rosetune.report.paper import PaperTable
from rosetune.report.sheets import Entry, Sheet
from rosetune.runs.averages import as_frame
from rosetune.runs.compare import OF_THE_SEED
from rosetune.runs.values import RunError, flat

__all__ = ["FORMATS", "check_format", "ending_format", "table_text", "write_table"]

_ENDINGS = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json"}
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "`": r"\textasciigrave{}"},
}
# A minus, not the hyphen of SST-2, 1e-05 and 1-3; two hyphens, which would become a dash; code between backticks.
_MINUS, _HYPHENS, _CODE = re.compile(r"(?<![\w.-])-(?=[\d.])"), re.compile("-(?=-)"), re.compile("`([^`]*)`")


def check_format(name: str | None) -> str | None:
    """The format of this name.

    Raises:
        RunError: there is none.
    """
    if name is not None and name not in FORMATS:
        raise RunError(f"no format is called {name!r}: choose one of {', '.join(FORMATS)}")
    return name


def ending_format(path: str | os.PathLike[str]) -> str:
    """The format that a file's ending stands for.

    Raises:
        RunError: an unknown ending.
    """
    ending = Path(path).suffix.lower()
    if ending not in _ENDINGS:
        raise RunError(f"{path}: the ending says the format, and is one of {', '.join(_ENDINGS)}")
    return _ENDINGS[ending]


def table_text(shown: PaperTable, form: str) -> str:
    """The whole in one of the formats :data:`FORMATS`.

    Markdown and LaTeX (booktabs) hold what the terminal shows; CSV a line per row and column (see
    :func:`~rosetune.runs.averages.averages`); JSON these lines, with seeds as lists, the options of each row, and the
    notes.
    """
    return FORMATS[form](shown)


def write_table(path: str | os.PathLike[str], shown: PaperTable, form: str | None = None) -> None:
    """Write it to a file, whole or not at all.

    Args:
        form: of :data:`FORMATS`; None: by the ending.

    Raises:
        RunError: an unknown ending.
    """
    write_text(path, table_text(shown, form or ending_format(path)))


# --- CSV and JSON --------------------------------------------------------------------------------------------------


def _frame(shown: PaperTable, *, listed: bool = False) -> Any:
    frame = as_frame(shown.found, listed=listed)
    printed = {
        (model, name, column.task, column.set): value
        for (model, name), part in shown.printed.items()
        for column, value in part.items()
    }
    places = zip(
        *(frame[name].where(frame[name].notna(), None) for name in ("model", "row", "task", "set")), strict=True
    )
    return frame.assign(paper=[None if (value := printed.get(place)) is None else value / 100 for place in places])


def _csv(shown: PaperTable) -> str:
    frame = _frame(shown)
    numbers = {name: frame[name].map(tidy) for name in frame.select_dtypes("float")}
    return frame.assign(**numbers).to_csv(index=False, lineterminator="\n")


def _json(shown: PaperTable) -> str:
    frame = _frame(shown, listed=True).astype(object)
    found = shown.found
    return as_json(
        {
            "layout": shown.layout,
            "test": found.test,
            "baselines": found.baselines,
            "averaged": list(found.averaged),
            "rows": [
                {
                    **{name: getattr(row.group, name) for name in ("model", "method", "name", "control")},
                    "options": {task: flat(runs[0].identity, OF_THE_SEED) for task, runs in row.group.runs.items()},
                    "runs": {task: [str(run) for run in runs] for task, runs in row.group.runs.items()},
                }
                for row in found.rows
            ],
            "figures": tidy(frame.where(frame.notna(), None).to_dict("records")),
            "notes": shown.data_notes,
        }
    )


# --- Markdown ------------------------------------------------------------------------------------------------------


def _markdown(shown: PaperTable) -> str:
    parts = [f"**{escaped(sheet.title)}**\n\n{_pipes(sheet)}" for sheet in shown.sheets]
    return "\n\n".join([*parts, "\n".join(f"- {escaped(note)}" for note in shown.notes)]) + "\n"


def _pipes(sheet: Sheet) -> str:
    heads = [escaped(f"{task} {head}".strip()) for task, head in sheet.heads]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for i, block in enumerate(sheet.blocks):
        lines += [f"| |{' |' * len(heads)}"] if i else []
        lines += [f"| {escaped(name.strip())} | {' | '.join(map(_cell, entries))} |" for name, entries in block]
    return "\n".join(lines)


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return "-"
    text = escaped(entry.text)
    shown = f"**{text}**" if entry.bold else text
    return " ".join(filter(None, (f"{shown}{escaped(entry.mark)}", escaped(entry.spread))))


# --- LaTeX ---------------------------------------------------------------------------------------------------------


def _latex(shown: PaperTable) -> str:
    lines = ["% needs \\usepackage{booktabs}"]
    for sheet in shown.sheets:
        lines += ["\\begin{table}", "\\centering", "\\small", *_tabular(sheet)]
        lines += [f"\\caption{{{_tex(sheet.title)}.}}", "\\end{table}", ""]
    notes = " ".join(map(_tex, shown.notes))
    return "\n".join([*lines, f"\\noindent{{\\footnotesize {notes}}}"]) + "\n"


def _tabular(sheet: Sheet) -> list[str]:
    lines = [f"\\begin{{tabular}}{{l{'r' * len(sheet.heads)}}}", "\\toprule"]
    spans: list[tuple[str, int]] = []
    for task, _ in sheet.heads:
        if spans and spans[-1][0] == task:
            spans[-1] = task, spans[-1][1] + 1
        else:
            spans.append((task, 1))
    if any(task for task, _ in spans):
        first, rules = 2, []
        for task, width in spans:
            rules += [f"\\cmidrule(lr){{{first}-{first + width - 1}}}"] if task else []
            first += width
        heads = (f"\\multicolumn{{{width}}}{{c}}{{{_tex(task)}}}" for task, width in spans)
        lines += [f" & {' & '.join(heads)} \\\\", " ".join(rules)]
    lines += [f" & {' & '.join(_tex(head) for _, head in sheet.heads)} \\\\"]
    for block in sheet.blocks:
        lines.append("\\midrule")
        for name, entries in block:
            start = "\\quad " if name.startswith(" ") else ""
            lines.append(f"{start}{_tex(name.strip())} & {' & '.join(map(_tex_cell, entries))} \\\\")
    return [*lines, "\\bottomrule", "\\end{tabular}"]


def _tex_cell(entry: Entry | None) -> str:
    if entry is None:
        return "--"
    text = f"\\textbf{{{_tex(entry.text)}}}" if entry.bold else _tex(entry.text)
    mark = f"$^{{{entry.mark}}}$" if entry.mark else ""
    spread = f" {{\\scriptsize {_tex(entry.spread)}}}" if entry.spread else ""
    return f"{text}{mark}{spread}"


def _tex(text: str) -> str:
    plain = " ".join(text.split())
    # Every second part stood between backticks.
    return "".join(
        rf"\texttt{{{_tex_words(part)}}}" if i % 2 else _MINUS.sub("$-$", _tex_words(part))
        for i, part in enumerate(_CODE.split(plain))
    )


def _tex_words(text: str) -> str:
    return _HYPHENS.sub("-{}", "".join(_LATEX.get(character, character) for character in text))


FORMATS: dict[str, Callable[[PaperTable], str]] = {
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}
