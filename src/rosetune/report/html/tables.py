"""Tables of the terminal as HTML: the same cells, with heads that a screen reader knows."""

from markupsafe import Markup, escape

from rosetune.report.console import BREAK, Grid, marked

__all__ = ["table"]

_TAGS = {"bold": ("<b>", "</b>"), "dim": ('<span class="dim">', "</span>")}


def table(grid: Grid) -> Markup:
    """A table in a frame of its own, which scrolls where the screen is narrow.

    Args:
        grid: its cells are in rich's markup, of which bold and dim are known.
    """
    heads = "".join(f'<th scope="col">{_lines(head)}</th>' for head in grid.columns)
    bodies: list[list[str]] = [[]]
    for row in grid.rows:
        if row is None:
            bodies.append([])
            continue
        name, *cells = map(_cell, row)
        bodies[-1].append(f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    body = "".join(f"<tbody>{''.join(rows)}</tbody>" for rows in bodies if rows)
    below = f'<p class="note">{escape(grid.caption)}</p>' if grid.caption else ""
    return Markup(
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(grid.title)}"><table>'
        f"<caption><span>{escape(grid.title)}</span></caption><thead><tr>{heads}</tr></thead>{body}</table></div>{below}"
    )


def _lines(text: str) -> str:
    return "<br>".join(str(escape(line)) for line in text.split("\n"))


def _cell(cell: str) -> str:
    """A cell in rich's markup; an interval goes below its figure."""
    text = marked(cell.replace(BREAK, "\n"))
    if not text.spans:
        return _lines(text.plain)
    shown = []
    for line in text.split("\n", allow_blank=True):
        pieces, at = [], 0
        for span in sorted(line.spans, key=lambda span: span.start):
            start, stop = max(span.start, at), max(span.end, at)
            before, after = _TAGS.get(str(span.style), ("", ""))
            inner = escape(line.plain[start:stop])
            pieces += [str(escape(line.plain[at:start])), f"{before}{inner}{after}" if inner else ""]
            at = stop
        shown.append("".join(pieces) + str(escape(line.plain[at:])))
    return "<br>".join(shown)
