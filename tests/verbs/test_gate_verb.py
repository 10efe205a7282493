"""`rosetune gate`: exit codes, and what a CI server reads."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from command_line import one_line
from made_runs import ROSE, outcomes, write_run
from rosetune.report.gate import gate_junit, gate_markdown
from rosetune.runs.gate import Check, Verdict
from rosetune.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    sets = {"clean": outcomes(18, 2), "typos_1": outcomes(15, 5)}
    return write_run(tmp_path / "run", sets, ROSE, metrics=True)


def test_a_gate_that_holds_ends_with_zero(run: Run, rosetune: Any) -> None:
    code, out, err = rosetune("gate", run, "--min_accuracy", 0.9, "--max-drop", 15)
    assert (code, err) == (0, "")
    assert "all 2 limits hold" in out
    assert "FAILS" not in out


def test_a_gate_that_fails_ends_with_one_and_writes_what_failed(run: Run, tmp_path: Path, rosetune: Any) -> None:
    junit, markdown = tmp_path / "ci/gate.xml", tmp_path / "ci/gate.md"
    words = ("gate", run, "--min_accuracy", 0.9, "--max_drop", 5, "--junit", junit, "--markdown", markdown)
    code, out, err = rosetune(*words)
    assert (code, err) == (1, "")
    assert "1 of 2 limits do not hold" in out
    suite = ElementTree.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    outcome = {case.get("name"): case.find("failure") for case in suite}
    assert outcome["min_accuracy: clean"] is None
    failure = outcome["max_drop: typing errors 1"]
    assert failure is not None
    assert "15.0" in str(failure.get("message"))
    html = MarkdownIt("commonmark").enable("table").render(markdown.read_text())
    assert html.count("<tr>") == 3
    assert "FAILS" in html
    assert sorted(path.name for path in junit.parent.iterdir()) == ["gate.md", "gate.xml"]
    code, out, _ = rosetune(*words, "--json")
    assert code == 1
    found = json.loads(out)
    assert (found["passed"], [c["holds"] for c in found["checks"]]) == (False, [True, False])


def test_limits_from_a_file_with_the_command_line_on_top(run: Run, tmp_path: Path, rosetune: Any) -> None:
    last = write_run(tmp_path / "last", {"clean": outcomes(18, 2), "typos_1": outcomes(15, 5)}, metrics=True)
    config = tmp_path / "gate.yaml"
    config.write_text(f"min_accuracy: 0.95\nmax_drop: 15\nsets: [noise]\nbaseline: {last}\n")
    assert rosetune("gate", run, "--config", config)[0] == 1
    code, out, _ = rosetune("gate", run, "--config", config, "--min_accuracy", "0.9", "--json")
    assert code == 0
    assert json.loads(out)["baseline"] == str(last)
    config.write_text("min_acuracy: 0.95\n")
    one_line(rosetune("gate", run, "--config", config), "no limit 'min_acuracy': did you mean min_accuracy?")


def test_wrong_use_is_one_line_and_writes_nothing(run: Run, tmp_path: Path, rosetune: Any) -> None:
    junit = ("--junit", tmp_path / "gate.xml")
    one_line(rosetune("gate", run, *junit), "a gate without a limit")
    one_line(rosetune("gate", run, "--max_decline", 2, *junit), "name that run with --baseline")
    one_line(rosetune("gate", tmp_path / "gone", "--min_accuracy", 0.5, *junit), "there is no folder")
    one_line(rosetune("gate", run, "--min_accuracy_under_attack", 0.5, *junit), f"`rosetune attack {run} --attack")
    one_line(rosetune("gate", run, "--min_accuracy", "high", *junit), "must be a share")
    one_line(rosetune("gate", run, "--min_accuracy", 0.5, "--baseline", run, *junit), "two different runs")
    assert not (tmp_path / "gate.xml").exists()


def test_any_name_is_legal_xml_and_stays_text_in_markdown() -> None:
    evil = "file_<b>&\x00\x1b[1m|**x**\n# y"
    check = Check("min_robust_accuracy", evil, 3, 0.1, 0.0, 0.5, 0.9, False, True)
    verdict = Verdict("run\x07 <a>", None, (check,), ("note <i>",))
    root = ElementTree.fromstring(gate_junit(verdict).encode())
    assert "<b>&" in str(root[0][0].get("name"))
    html = MarkdownIt("commonmark").enable("table").render(gate_markdown(verdict))
    assert not {"<b>", "<i>", "<a>", "<h1>"} & {*html.split()}
    assert html.count("<tr>") == 2
    assert "<strong>x" not in html
