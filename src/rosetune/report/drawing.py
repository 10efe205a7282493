"""How every figure is drawn and kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rosetune._files import replacing
from rosetune.runs.values import RunError, check_output

__all__ = ["check_figure", "drawing"]

# Without a date the same data gives the same file.
_FORMATS: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "legend.fontsize": 9,
    "svg.hashsalt": "rosetune",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def check_figure(path: str) -> None:
    """Find out before anything is computed whether the figure can be drawn.

    Raises:
        RunError: another suffix than svg, png and pdf, a place that cannot be written to, or matplotlib is not
            installed.
    """
    if Path(path).suffix.lower().removeprefix(".") not in _FORMATS:
        raise RunError(f"--figure {path}: name a file that ends in .svg, .png or .pdf")
    check_output("--figure", path)
    if find_spec("matplotlib") is None:
        raise RunError("--figure needs matplotlib: pip install 'rosetune[plots]'")


@contextmanager
def drawing(path: str | Path) -> Iterator[Any]:
    """An empty figure; what was drawn into it is in the file once the block ends well.

    Raises:
        RunError: as :func:`check_figure`.
    """
    check_figure(str(path))
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(layout="constrained")
        yield figure
        suffix = Path(path).suffix.lower().removeprefix(".")
        with replacing(Path(path).expanduser()) as partial:
            figure.savefig(partial, format=suffix, dpi=200, metadata=_FORMATS[suffix])
