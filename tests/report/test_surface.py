"""The interactive surface: a page that asks for nothing from elsewhere, in a real browser too."""

from pathlib import Path

import pytest

from browser import chromium
from made_analyses import write_analyses
from made_runs import ROSE, outcomes, write_run
from rosetune.report.analysis_figures import Pictures, draw_analyses
from rosetune.runs.analysed import find_analyses

# A machine without a graphics card draws with the processor.
ARGUMENTS = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Of two models, from their arrays alone."""
    pytest.importorskip("plotly", reason="plotly is not installed: pip install 'rosetune[surface]'")
    sets, found = {"clean": outcomes(3, 1)}, []
    for name, training in (("vanilla", {}), ("rose", ROSE)):
        run = write_run(tmp_path / name, sets, training)
        write_analyses(run, points=5)
        found += find_analyses(run.folder, "landscape")
    (path,) = draw_analyses(found, Pictures(None, tmp_path / "surface.html"))
    return path


def test_a_surface_is_a_page_of_its_own(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "<script src=" not in text
    assert text.count('"type":"surface"') >= 2
    assert all(f'"name":"{name}"' in text for name in ("vanilla", "rose-ensemble"))


@pytest.mark.slow
def test_it_is_drawn_in_a_browser(page: Path) -> None:
    asked: list[str] = []
    thrown: list[str] = []
    with chromium(*ARGUMENTS) as browser:
        for width in (400, 1400):
            shown = browser.new_page(viewport={"width": width, "height": 800})
            shown.on("request", lambda request: asked.append(request.url))
            shown.on("pageerror", lambda error: thrown.append(str(error)))
            shown.goto(page.as_uri(), timeout=120_000)
            shown.wait_for_selector("canvas", timeout=60_000)
            assert shown.locator(".legendtext").all_text_contents() == ["vanilla", "rose-ensemble"]
            assert shown.evaluate("document.documentElement.scrollWidth") <= width
            shown.close()
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {page.as_uri()}
    assert thrown == []
