"""`rosetune report`: where the page goes, and what is said of bad input."""

from pathlib import Path
from typing import Any

import pytest

from command_line import one_line
from made_runs import outcomes, write_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_run(Path("run"), {"clean": outcomes(8, 2)}, metrics=True).folder


def test_it_says_where_the_page_is(run: Path, rosetune: Any) -> None:
    assert rosetune("report", run) == (0, "report.html\n", "")
    assert rosetune("report", "r*", "-o", "other.htm") == (0, "other.htm\n", "")
    assert Path("report.html").read_bytes() == Path("other.htm").read_bytes()
    assert rosetune("report", run, "-o", "no/such/page.html") == (
        0,
        "no/such/page.html\n",
        "made the folder no/such\n",
    )
    assert "1 run of 1 task" in Path("report.html").read_text(encoding="utf-8")


def test_what_is_left_out_is_said_beside_it(run: Path, rosetune: Any) -> None:
    Path("begun").mkdir()
    Path("begun/run.json").write_text("{}")
    code, out, err = rosetune("report", ".")
    assert (code, out) == (0, "report.html\n")
    assert err == "begun is not finished: nothing is logged; the same command starts it anew\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["run", "-o", "."], "-o . is a folder: name a file"),
        (["nowhere", "-o", "no/such/page.html"], "there is no folder nowhere"),
        (["run", "-o", "run/run.json/page.html"], "run.json: Not a directory): name another file"),
        (["run", "-o", "run/run.json/below/page.html"], "run.json: Not a directory): name another file"),
        (["run", "--basline", "vanilla"], "did you mean --baseline?"),
        ([], "the following arguments are required: RUNS"),
    ],
)
def test_what_is_wrong_is_one_line(run: Path, words: list[str], message: str, rosetune: Any) -> None:
    before = {str(path) for path in Path().rglob("*")}
    one_line(rosetune("report", *words), message)
    assert {str(path) for path in Path().rglob("*")} == before


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    run: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk without room: what is there stays as it is."""
    import errno
    import os

    Path("report.html").write_text("old")

    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    one_line(rosetune("report", run), "cannot write report.html: No space left on device")
    assert Path("report.html").read_text() == "old"
    assert not Path("report.html.partial").exists()
