"""The page of `rosetune report`: what it says of runs, that it stands alone, and that no text becomes markup."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_runs import ROSE, make_rows, outcomes, write_attack, write_json, write_lines, write_run
from rosetune.mask_trace import MaskTrace
from rosetune.report.html.page import ROOM, write_report
from rosetune.runs.run import Run
from rosetune.runs.values import RunError

EVIL = '</script><img src=x onerror="alert(1)"><!--'


class Page(HTMLParser):
    """Elements with their attributes, and all text, as a browser has them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.data, self._in_data = "", "", False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_data = tag == "script" and dict(attrs).get("id") == "data"

    def handle_data(self, data: str) -> None:
        self.data += data if self._in_data else ""
        self.text += "" if self._in_data else data + " "

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def sets(clean: int, typos: int) -> dict[str, Any]:
    return {"clean": outcomes(clean, 100 - clean), "typos_1": outcomes(typos, 100 - typos)}


def fill(run: Run, **logged: list[float]) -> None:
    """Log, timing and environment."""
    lines = [{"step": 10 * i, **{k: v[i] for k, v in logged.items()}} for i in range(len(next(iter(logged.values()))))]
    write_lines(run.folder / "log.jsonl", lines)
    write_json(run.folder / "timing.json", {"training_seconds": 20.0, "steps": 10, "median_step_seconds": 2.0})
    about = {"python": "3.12.1", "packages": {"torch": "9.9.9"}, "device": "a machine", "threads": 3}
    write_json(run.folder / "environment.json", about)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two seeds of plain AdamW, one with checkpoints, and two of ROSE with a trace; both attacked."""
    home = tmp_path / "runs"
    steps = {step: sets(70 + step, 50 + step) for step in (10, 20)}
    for seed in (1, 2):
        plain = write_run(home / f"plain-{seed}", sets(90, 70 + seed), {"seed": seed}, metrics=True,
                          steps=steps if seed == 1 else None, end=20 if seed == 1 else None)  # fmt: skip
        rose = write_run(home / f"rose-{seed}", sets(88, 80 + seed), {**ROSE, "seed": seed}, metrics=True)
        for run in (plain, rose):
            fill(run, loss=[0.7, 0.5], consistency=[0.3, 0.25])
            write_attack(run, ["success", "failed", "skipped", "success"])
        names = tuple(f"encoder.layer.{i}.query.weight" for i in range(2))
        MaskTrace(names, np.array([4, 12]), np.array([[1.0, 0.0], [1.0, 0.5]])).save(rose.folder / "mask_trace.npz")
    return home


def report(runs: Path, tmp_path: Path, **options: Any) -> tuple[Page, list[str]]:
    said: list[str] = []
    return Page(write_report([str(runs)], tmp_path / "page.html", report=said.append, **options)), said


def test_it_stands_alone(runs: Path, tmp_path: Path) -> None:
    """Nothing is fetched: no address but data: and places in the page itself, and a policy that forbids the rest."""
    page, said = report(runs, tmp_path)
    assert said == []
    used = [value for _, found in page.elements for name, value in found.items() if name in ("src", "href")]
    assert all(value.startswith(("#", "data:")) for value in used if value)
    assert not page.of("img")
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "url(" not in (tmp_path / "page.html").read_text()
    assert "@import" not in (tmp_path / "page.html").read_text()


def test_every_place_that_is_linked_to_is_there_once(runs: Path, tmp_path: Path) -> None:
    page, _ = report(runs, tmp_path)
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len({*ids})
    links = [str(found["href"])[1:] for found in page.of("a")]
    labels = [str(found["for"]) for found in page.of("label")]
    labelled = [str(found["aria-labelledby"]) for _, found in page.elements if "aria-labelledby" in found]
    assert {*links, *labels, *labelled} <= {*ids}


def test_it_says_what_the_runs_score(runs: Path, tmp_path: Path) -> None:
    """Means over the seeds 1 and 2, differences paired by them, the attack, and the baseline stopped early."""
    page, _ = report(runs, tmp_path)
    text = re.sub(r"\s+", " ", page.text)
    assert "my: accuracy in % [95%]" in text
    assert "vanilla 2 90.0" in text  # n seeds, clean
    assert "rose-ensemble 2 88.0" in text
    assert "71.5" in text  # (71 + 72) / 2
    assert "81.5" in text
    assert "+10.0" in text  # 81.5 - 71.5
    assert "constant" in text
    # At 88% the checkpoints at 80 and 90 have been passed at four fifths: 60 + 0.8 (71 - 60), the end being the run's.
    assert "68.8" in text
    assert "(1 of 2 seeds)" in text
    assert "+12.2" in text  # 81 - 68.8: of seed 1, which has a curve
    assert "pwws" in text
    assert "66.7" in text  # two of the three right ones were broken


def test_it_says_what_was_run(runs: Path, tmp_path: Path) -> None:
    page, _ = report(runs, tmp_path)
    for words in ("3.12.1", "9.9.9", "a machine, 3 threads", "update_mask", "seeds 1, 2", str(runs / "rose-2")):
        assert words in page.text
    assert "consistency over training" in page.text
    assert "share of weights updated" in page.text
    # Layer 0 is open in both steps; layer 1 closed, then half open: mean 25%.
    assert re.search(r"layer 0\s+100.0\s+100.0\s+100.0\s+layer 1\s+25.0\s+0.0\s+50.0", page.text)


def test_a_reader_of_the_screen_finds_its_way(runs: Path, tmp_path: Path) -> None:
    """One heading of the page, landmarks, names for tables, charts and controls."""
    page, _ = report(runs, tmp_path)
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("h1")) == 1
    assert len(page.of("main")) == len(page.of("nav")) == 1
    tables = len(page.of("table"))
    assert tables == len(page.of("caption")) > 5
    assert all(found.get("scope") in ("row", "col") for found in page.of("th"))
    drawn = [found for found in page.of("svg") if found.get("role") == "img"]
    assert len(drawn) <= len(page.of("desc")) > 3
    hidden = [found for found in page.of("svg") if found.get("aria-hidden") == "true"]
    inner = [found for found in page.of("svg") if "x" in found]  # the frame within a chart
    assert len(page.of("svg")) == len(drawn) + len(hidden) + len(inner)
    controls = [found.get("id") for tag in ("select", "input") for found in page.of(tag)]
    assert {*controls} <= {found["for"] for found in page.of("label")}


def test_examples_hold_the_words_that_changed(runs: Path, tmp_path: Path) -> None:
    page, _ = report(runs, tmp_path)
    data = json.loads(page.data)
    assert [part["run"] for part in data["runs"]] == [str(runs / f"plain-{i}") for i in (1, 2)] + [
        str(runs / f"rose-{i}") for i in (1, 2)
    ]
    assert data["attacks"] == ["pwws"]
    broken = [row for row in data["rows"] if row[2] == 1]
    assert len(broken) == 8  # two in each of four runs
    assert sum(row[2] == 0 for row in data["rows"]) == 4
    for row in broken:
        ((start, stop, after),) = row[8]
        assert data["texts"][row[6][row[7]]][start:stop] == "the"
        assert after == "teh"
        assert row[5] == [90, 10]
    assert "8 of 8 broken texts" in page.text
    assert "4 texts were classified wrongly before" in re.sub(r"\s+", " ", page.text)


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    """Sentences, labels, names of runs, options, environments and logs come from files."""
    home, labels = tmp_path / 'a<b>&"c', ("bad</script>", EVIL.replace("/", ""))
    run = write_run(
        home / "<i>run", {"clean": make_rows("clean", outcomes(6, 4), labels=labels)},
        {"note": EVIL, "objective": f"<b>{EVIL}"}, labels=labels, config={"model_name_or_path": EVIL},
        task=EVIL, metrics=True,
    )  # fmt: skip
    write_attack(run, ["success", "failed"])
    path = run.folder / "attacks" / "pwws.jsonl"
    header, *results = [json.loads(line) for line in path.read_text().splitlines()]
    for result in results:
        result["texts"] = [f"{EVIL} \u2028 \ud800 the"]
        result["changes"] = [[1, "img", EVIL]]
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *results)))
    fill(run, **{f"loss{EVIL}": [1.0, float("nan")], "loss": [1.0, 2.0]})
    write_json(run.folder / "environment.json", {EVIL: EVIL, "device": "<u>"})
    page, said = report(tmp_path, tmp_path)
    assert not {tag for tag, _ in page.elements} & {"img", "i", "u"}
    assert not any(name.startswith("on") for _, found in page.elements for name in found)
    assert len(page.of("script")) == 2
    assert EVIL in json.loads(page.data)["texts"][0]
    assert EVIL in page.text
    assert len(said) == 1
    assert "1 values of loss" in said[0]
    (tmp_path / "page.html").read_bytes().decode("utf-8")


def test_what_is_missing_is_named(runs: Path, tmp_path: Path) -> None:
    """A run that is not done, one with a broken attack, one with a broken log, one without any sense."""
    (runs / "plain-2" / "metrics.json").unlink()
    (runs / "rose-1" / "attacks" / "pwws.jsonl").write_text("{broken\n")
    (runs / "rose-2" / "log.jsonl").write_text("{broken\n")
    (runs / "foreign").mkdir()
    (runs / "foreign" / "metrics.json").write_text("[1, 2]")
    page, said = report(runs, tmp_path)
    for words in (
        f"{runs / 'plain-2'} is not finished: it has logged up to step 10",
        f"{runs / 'rose-1'} is left out: ",
        f"of {runs / 'rose-2'} a part is left out: ",
        f"{runs / 'foreign'} is left out: ",
    ):
        assert any(line.startswith(words) for line in said), words
        assert words in page.text
    assert len(said) == 4
    assert "2 runs of 1 task" in page.text  # plain-1 and rose-2


def test_a_run_of_a_sweep_that_has_left_only_its_log_is_named(tmp_path: Path) -> None:
    """By the key at the end of the log's name, which is that of the folder; the log of a finished run says nothing."""
    write_run(tmp_path / "runs" / "my" / "vanilla" / "seed-1-0123456789ab", sets(80, 60), metrics=True)
    (tmp_path / "runs" / "logs").mkdir()
    (tmp_path / "runs" / "logs" / "my-vanilla-seed-1-0123456789ab.log").write_text("all went well\n")
    (tmp_path / "runs" / "logs" / "my-rose-seed-1-ba9876543210.log").write_text("step 1\nno memory <b>\n")
    page, said = report(tmp_path / "runs", tmp_path)
    assert len(said) == 1
    assert said[0].startswith("my-rose-seed-1-ba9876543210 left nothing but its log; its last line: no memory <b> (")
    assert said[0] in page.text


def test_a_log_is_of_the_run_whose_folder_it_names(tmp_path: Path) -> None:
    """The key of a run that needs another's trace is not that of its folder; and a name proves nothing."""
    write_run(tmp_path / "runs" / "my" / "static" / "seed-1-0123456789ab", sets(80, 60), metrics=True)
    logs = tmp_path / "runs" / "logs"
    logs.mkdir()
    (logs / "my-static-seed-1-ba9876543210.log").write_text(
        "--- folder runs/my/static/seed-1-aaaaaaaaaaaa\nno memory\n"
        "--- folder runs/my/static/seed-1-0123456789ab\nall went well\n"
    )
    (logs / "replays-vanilla-seed-1-cccccccccccc.log").write_text(
        "--- folder runs/replays/vanilla/seed-1-cccccccccccc\nno memory\n"
    )
    _, said = report(tmp_path / "runs", tmp_path)
    (failed,) = [line for line in said if "left nothing" in line]
    said = "replays-vanilla-seed-1-cccccccccccc left nothing but its log; its last line: no memory ("
    assert failed.startswith(said)


def test_a_given_model_stands_beside_trained_runs(tmp_path: Path) -> None:
    for seed in (2, 1):
        write_run(tmp_path / "runs" / f"{seed}", sets(80, 60), {"seed": seed}, metrics=True)
    write_run(tmp_path / "runs" / "given", sets(70, 60), metrics=True, config={"given": True}, given=True)
    page, _ = report(tmp_path / "runs", tmp_path)
    assert "Seeds 1, 2." in page.text
    assert "3 runs of 1 task" in page.text
    assert "None" not in page.text
    for seed in (1, 2):
        shutil.rmtree(tmp_path / "runs" / f"{seed}")
    page, _ = report(tmp_path / "runs", tmp_path)
    assert "Seeds" not in page.text.partition("Made by")[0]


def test_models_from_elsewhere_stand_by_their_names_and_one_can_be_the_baseline(tmp_path: Path) -> None:
    """Two functions are told apart, and the remedy that is named makes the table of differences."""
    for name, right in (("guard:predict", 80), ("rules:predict", 60)):
        config = {"given": True, "model_name_or_path": name}
        folder = tmp_path / "runs" / name.partition(":")[0]
        write_run(folder, sets(right, 60), metrics=True, config=config, given=True, model_name_or_path=name)
    page, said = report(tmp_path / "runs", tmp_path)
    assert "no run of my is of the method vanilla: nothing is set against it; name one with --baseline given" in said
    for name in ("given, guard:predict", "given, rules:predict"):
        assert name in page.text
    page, said = report(tmp_path / "runs", tmp_path, baseline="given")
    assert not any("nothing is set against it" in line for line in said)


def test_changed_labels_have_a_part_of_their_own(tmp_path: Path) -> None:
    for name, changed in (("plain", {}), ("rare", {"imbalance": 0.1})):
        for method, training in (("vanilla", {}), ("rose", ROSE)):
            write_run(tmp_path / "runs" / f"{name}-{method}", sets(80, 60), training, metrics=True, **changed)
    page, said = report(tmp_path / "runs", tmp_path)
    assert "4 runs of 2 tasks" in page.text
    assert "my (imbalance=0.1)" in page.text
    assert said == []


def test_runs_of_one_method_are_told_apart_by_their_options(tmp_path: Path) -> None:
    for i, rate in enumerate((1e-5, 2e-5)):
        write_run(tmp_path / "runs" / str(i), sets(80, 60), {**ROSE, "learning_rate": rate}, metrics=True)
    write_run(tmp_path / "runs" / "twice", sets(80, 60), {**ROSE, "learning_rate": 1e-5}, metrics=True)
    page, said = report(tmp_path / "runs", tmp_path)
    assert "rose-ensemble (learning_rate=1e-05)" in page.text
    assert "rose-ensemble (learning_rate=2e-05)" in page.text
    twice, without = said
    assert "the same options and seed" in twice
    assert without == (
        "no run of my is of the method vanilla: nothing is set against it; name one with --baseline rose-ensemble"
    )
    assert "2 runs of 1 task" in page.text


def test_trial_runs_of_a_search_do_not_stand_among_the_others(runs: Path, tmp_path: Path) -> None:
    write_run(runs / "trial", sets(99, 99), ROSE, config={"held_out": 0.2}, held_out=0.2, metrics=True)
    page, said = report(runs, tmp_path)
    assert len(said) == 1
    assert said[0].startswith("1 trial runs of a search are left out")
    assert "99.0" not in page.text
    alone, said = report(runs / "trial", tmp_path)
    assert "99.0" in alone.text
    assert said == []


def test_a_regression_is_shown_by_its_errors(tmp_path: Path) -> None:
    from made_runs import number_rows

    for name, training, error in (("a", {}, 0.5), ("b", ROSE, 0.1)):
        gold = [float(i) for i in range(20)]
        rows = {"clean": number_rows("clean", gold, [value + error for value in gold])}
        write_run(tmp_path / "runs" / name, rows, training, labels=(), metrics=True)
    page, said = report(tmp_path / "runs", tmp_path)
    assert said == []
    assert "mean squared error" in page.text
    assert "0.250" in page.text  # 0.5 squared
    assert "+0.240" in page.text
    assert "Clean against robust" not in page.text


def test_more_examples_than_there_is_room_for_are_left_out_and_counted(tmp_path: Path) -> None:
    """The page keeps below its size, both outcomes are there, and what is missing is said."""
    run = write_run(tmp_path / "runs" / "a", sets(80, 60), metrics=True)
    write_attack(run, ["success", "failed"] * 400)
    path = run.folder / "attacks" / "pwws.jsonl"
    header, *results = [json.loads(line) for line in path.read_text().splitlines()]
    for result in results:
        result["texts"] = [f"the {result['id']} " + "long " * 700]
    write_lines(path, [header, *results])
    page, _ = report(tmp_path / "runs", tmp_path)
    size = (tmp_path / "page.html").stat().st_size
    assert 0.9 * ROOM < size <= ROOM
    data = json.loads(page.data)
    broken, held = (sum(row[2] == outcome for row in data["rows"]) for outcome in (1, 0))
    assert 0 < held < broken < 400
    text = re.sub(r"\s+", " ", page.text)
    assert f"{broken} of 400 broken texts are in this page, and {held} of 400 that withstood" in text
    assert "The others are left out" in text


def test_the_same_runs_give_the_same_page(runs: Path, tmp_path: Path) -> None:
    pages = [write_report([str(runs)], tmp_path / name, report=print).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_another_baseline(runs: Path, tmp_path: Path) -> None:
    page, _ = report(runs, tmp_path, baseline="rose-ensemble")
    assert "against rose-ensemble" in page.text
    (tmp_path / "page.html").unlink()
    with pytest.raises(RunError, match=r"--baseline: no run is of the method 'vanila': did you mean vanilla\?"):
        report(runs, tmp_path, baseline="vanila")
    assert not (tmp_path / "page.html").exists()
    # Nobody asked for vanilla.
    for folder in runs.glob("plain-*"):
        shutil.rmtree(folder)
    write_run(runs / "drop", sets(80, 60), {"objective": "r_drop", "seed": 1}, metrics=True)
    page, said = report(runs, tmp_path)
    assert "accuracy in points" not in page.text
    (line,) = said
    assert line == (
        "no run of my is of the method vanilla: nothing is set against it; name one with --baseline r-drop or "
        "rose-ensemble"
    )


def test_cost_is_of_computing_time_where_all_runs_have_it(tmp_path: Path) -> None:
    """Nine times as long by the clock of a busy machine, and two and a half times the work."""
    runs = tmp_path / "runs"
    for name, training, wall, computing in (("a", {}, 1.0, 2.0), ("b", ROSE, 9.0, 5.0)):
        run = write_run(runs / name, sets(80, 60), training)
        times = {"training_seconds": 20.0, "steps": 10, "median_step_seconds": wall}
        write_json(run.folder / "timing.json", {**times, "median_step_cpu_seconds": computing})
    text = re.sub(r"\s+", " ", report(runs, tmp_path)[0].text)
    assert "(computing time)" in text
    assert " 2.50 " in text
    write_json(runs / "b" / "timing.json", times)  # as versions before kept it, and GPUs
    text = re.sub(r"\s+", " ", report(runs, tmp_path)[0].text)
    assert "(computing time)" not in text
    assert " 9.00 " in text


def test_nothing_to_show_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no finished run in"):
        write_report([str(tmp_path)], tmp_path / "page.html")
    run = write_run(tmp_path / "run", sets(80, 60))
    (run.folder / "predictions" / "clean.jsonl").write_text("{")
    with pytest.raises(RunError, match="none of 1 runs can be read"):
        write_report([str(run.folder)], tmp_path / "page.html", report=lambda line: None)
    assert not (tmp_path / "page.html").exists()
