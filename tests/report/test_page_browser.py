"""The page in a real browser: it is clicked through, keeps silent, and fits a phone. Debian's chromium does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import chromium
from made_analyses import write_analyses
from made_runs import ROSE, outcomes, write_attack, write_json, write_lines, write_run
from rosetune.report.html.page import write_report

EVIL = '</script><img src=x onerror="window.broken=1"> \U0001f600 the'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks with two methods each, long names, attacks with several pages of examples, a run that is not done."""
    home = tmp_path_factory.mktemp("page")
    for task in ("first", "second-task-with-a-rather-long-name-that-wants-to-be-wide"):
        for training in ({}, ROSE):
            name = "rose" if training else "plain"
            noise = {f"ocr@{s}": outcomes(60, 40) for s in (0.1, 0.5)}
            found = {"clean": outcomes(90, 10), "typos_1": outcomes(70, 30), **noise}
            along = None if training else {5: found, 10: found}
            run = write_run(
                home / "runs" / task / name, found, training, task=task, metrics=True, steps=along,
                end=None if training else 10,
            )  # fmt: skip
            write_attack(run, ["success", "failed", "skipped"] * 10)
            write_attack(run, ["success"] * 10, "deepwordbug")
            write_lines(run.folder / "log.jsonl", [{"step": s, "loss": 1 / s, "term": s} for s in (1, 2, 3)])
            write_analyses(run, points=5)
            write_json(run.folder / "timing.json", {"training_seconds": 1, "steps": 3, "median_step_seconds": 0.3})
    evil = home / "runs" / "first" / "plain" / "attacks" / "pwws.jsonl"
    header, first, *rest = [json.loads(line) for line in evil.read_text().splitlines()]
    first |= {"texts": [EVIL], "changes": [[8, "the", "<b>teh</b>"]]}
    write_lines(evil, [header, first, *rest])
    (home / "runs" / "begun").mkdir()
    (home / "runs" / "begun" / "run.json").write_text("{}")
    return write_report([str(home / "runs")], home / "page.html", report=lambda line: None)


@pytest.fixture
def open_page(browser: Any, path: Path) -> Iterator[Any]:
    """Opens the page at a width, and fails at the end if it has said, asked for or thrown anything."""
    said: list[str] = []
    pages = []

    def opened(width: int, **options: Any) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 800}, **options)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert [line for line in said if not line.startswith("data:")] == []


def control(page: Any, label: str) -> Any:
    return page.get_by_label(label, exact=True)


def count(page: Any) -> str:
    return str(page.locator("#count").inner_text())


def test_examples_are_filtered_and_leafed_through(open_page: Any) -> None:
    """Four runs with 20 broken and 10 held texts each, eight a page."""
    page = open_page(1400)
    assert count(page) == "Examples 1 to 8 of 120"
    assert page.locator("#previous").is_disabled()
    page.locator("#next").click()
    assert count(page) == "Examples 9 to 16 of 120"
    page.locator("#previous").click()
    assert count(page) == "Examples 1 to 8 of 120"

    control(page, "Outcome").select_option("held")
    assert count(page) == "Examples 1 to 8 of 40"
    assert {*page.locator("#list h3").all_inner_texts()} <= {"Held: good", "Held: bad"}
    control(page, "Attack").select_option("deepwordbug")
    assert count(page) == "No example fits"
    control(page, "Outcome").select_option("broken")
    assert count(page) == "Examples 1 to 8 of 40"
    run = control(page, "Run")
    assert run.locator("optgroup").count() == 2
    run.select_option(index=1)
    assert count(page) == "Examples 1 to 8 of 10"
    page.locator("#next").click()
    assert count(page) == "Examples 9 to 10 of 10"
    assert page.locator("#next").is_disabled()
    assert page.locator("#list article").count() == 2
    control(page, "Text contains").fill("number 9")
    assert count(page) == "Examples 1 to 1 of 1"
    assert page.locator("#list mark del").inner_text() == "the"
    assert page.locator("#list mark ins").inner_text() == "teh"


def test_text_of_a_file_stays_text(open_page: Any) -> None:
    """Also behind a letter that JavaScript counts as two."""
    page = open_page(1400)
    control(page, "Text contains").fill("onerror")
    assert count(page) == "Examples 1 to 1 of 1"
    assert page.locator("#list article p").last.inner_text() == EVIL.replace("the", "the → <b>teh</b>")
    assert page.locator("#list del").inner_text() == "the"
    assert page.locator("img").count() == 0
    assert page.evaluate("window.broken") is None


def test_one_task_alone(open_page: Any) -> None:
    page = open_page(1400)
    assert page.locator("#accuracy h3").all_inner_texts()[0] == "first"
    assert page.locator("#accuracy .task:visible").count() == 2
    control(page, "Task").select_option("first")
    assert page.locator("#accuracy .task:visible").count() == 1
    assert page.locator("#accuracy h3:visible").inner_text() == "first"
    control(page, "Task").select_option("all")
    assert page.locator("#accuracy .task:visible").count() == 2


def test_every_section_is_reached_by_its_link_and_by_keys(open_page: Any) -> None:
    page = open_page(1400)
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    links = page.locator("nav a")
    assert links.count() >= 9
    for link in links.all():
        link.click()
        section = page.locator(f"section{link.get_attribute('href')}")
        assert section.locator("h2").first.is_visible()
    assert (
        page.locator("#failures li").first.inner_text().endswith("nothing is logged; the same command starts it anew")
    )
    page.locator("#runs summary").last.focus()
    page.keyboard.press("Enter")
    assert page.get_by_text("begun").first.is_visible()
    assert page.locator("#runs table").last.is_visible()
    for frame in page.locator(".wide:visible").all():
        frame.focus()
        assert frame.evaluate("element => element === document.activeElement")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_fits_the_screen(open_page: Any, width: int, scheme: str) -> None:
    """No scrolling to the side; every text of the page can be told from its ground, by the rule of the WCAG."""
    page = open_page(width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert min(contrasts(page)) >= 4.5


def test_on_paper_nothing_is_folded_and_the_ground_is_white(open_page: Any) -> None:
    page = open_page(800, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


def test_without_scripts_it_says_what_is_missing(open_page: Any, browser: Any, path: Path) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(path.as_uri())
    assert page.get_by_text("The examples need JavaScript").is_visible()
    assert not page.locator("#filter").is_visible()
    assert page.locator("#accuracy table").first.is_visible()
    page.close()


def contrasts(page: Any) -> list[float]:
    """Of the page's colours of text and signs against its two grounds."""
    names = ("--ink", "--quiet", "--link", "--lost", "--won")
    script = "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"
    grounds = [luminance(page.evaluate(script, name)) for name in ("--page", "--soft")]
    found = []
    for name in names:
        for ground in grounds:
            dark, light = sorted((luminance(page.evaluate(script, name)), ground))
            found.append((light + 0.05) / (dark + 0.05))
    return found


def luminance(colour: str) -> float:
    """Of "#rgb" or "#rrggbb", as WCAG 2 defines it."""
    digits = colour.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_no_title_of_a_table_is_cut_on_a_phone(open_page: Any) -> None:
    page = open_page(400)
    ends = page.evaluate("""[...document.querySelectorAll('caption span')].map(span => {
        for (let up = span; up; up = up.parentElement) if (up.tagName === 'DETAILS') up.open = true;
        return span.getBoundingClientRect().right; })""")
    assert len(ends) > 5
    assert max(ends) <= 400
