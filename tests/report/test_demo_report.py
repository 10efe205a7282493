"""What the main job shows: one table, and what it does and does not show."""

import io

import pytest
from rich.console import Console

from made_runs import ROSE, outcomes, write_json, write_run
from rosetune.report.demo import print_demo
from rosetune.runs.run import Run

TITLES = {
    "vanilla AdamW": {},
    "normalised texts": {},
    "noise training": {"augmentation": "noise"},
    "ROSE-Ensemble": ROSE,
    "static mask": {"update_mask": "static"},
}


@pytest.fixture
def runs(tmp_path):
    """Five runs by how many of 400 examples of each set they get right, and the seconds that their steps take."""

    def make(*right, sets=("clean",), seconds=(0.5, None, 0.6, 1.25, 0.5)):
        found = {}
        for (title, training), n, time in zip(TITLES.items(), right, seconds, strict=True):
            parts = dict.fromkeys(sets, outcomes(n, 400 - n))
            config = {"given": True} if title.startswith("normalised") else {}
            run = write_run(tmp_path / title.replace(" ", "-"), parts, training, metrics=True, config=config)
            write_json(run.folder / "timing.json", {"median_step_seconds": time})
            found[title] = run
        return found

    return make


def printed(runs, width=100):
    file = io.StringIO()
    print_demo(Console(file=file, width=width, highlight=False), runs, "my.csv")
    return file.getvalue()


def test_chance_is_called_chance_and_a_difference_a_difference(runs):
    text = printed(runs(300, 350, 360, 301, 200))
    normal, noise, rose, control = (part.split("\n")[1] for part in text.split(" against ")[1:])
    assert "p < 0.001: better" in normal
    assert "p < 0.001: better" in noise
    assert "p = 1.000: no difference shown" in rose
    assert "p < 0.001: better" in control


def test_a_step_costs_computing_time_where_all_have_it(runs):
    """Another process that took its share of the cores does not make ROSE dearer; a GPU's runs lack that figure."""
    made = runs(300, 300, 310, 320, 280, seconds=(0.5, None, 0.6, 9.0, 0.5))
    for run, seconds in zip(made.values(), (1.0, None, 1.1, 2.5, None), strict=True):
        write_json(run.folder / "timing.json", {**run.timing, "median_step_cpu_seconds": seconds})
    made = {title: Run.open(run.folder) for title, run in made.items()}
    rows = {line.strip().split("  ")[0]: line.split("  ")[-1].strip() for line in printed(made).splitlines()}
    assert [rows[title] for title in TITLES] == ["1.00 x", "none", "1.10 x", "2.50 x", "1.00 x"]


def test_worse_is_said(runs):
    _, noise, rose, _ = (part.split("\n")[1] for part in printed(runs(300, 300, 250, 200, 200)).split(" against ")[1:])
    assert noise.endswith(": worse")
    assert rose.endswith(": worse")


@pytest.mark.parametrize(("right", "named"), [((300, 299, 205, 301, 190), True), ((300, 299, 310, 301, 290), False)])
def test_what_learnt_nothing_is_named(runs, right, named):
    line = "Not shown to beat the constant on clean: noise training, static mask.\n"
    text = printed(runs(*right))
    assert (line in text, "Not shown" in text) == (named, named)


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_and_says_everything(runs, width):
    made = runs(300, 304, 340, 320, 280)
    text = printed(made, width)
    paths = [line for line in text.splitlines() if line.startswith("Next: ")]
    assert max(len(line) for line in text.splitlines() if line not in paths) <= width
    assert "…" not in text
    rows = {line.strip().split("  ")[0]: line.rstrip() for line in text.splitlines()}
    assert {
        *TITLES,
        "constant",
        "normalised - vanilla",
        "noise - vanilla",
        "ROSE - vanilla",
        "ROSE - static",
    } <= rows.keys()
    shares, costs = ("75.0", "76.0", "85.0", "80.0", "70.0"), ("1.00 x", "none", "1.20 x", "2.50 x", "1.00 x")
    for title, share, cost in zip(TITLES, shares, costs, strict=True):
        assert share in rows[title]
        assert rows[title].endswith(cost)
    assert "+10.0" in rows["noise - vanilla"]
    assert "+5.0" in rows["ROSE - vanilla"]
    assert "+10.0" in rows["ROSE - static"]
    assert "50.0" in rows["constant"]
    assert "(n = 400)" in text
    assert "One seed" in text
    assert f"`rosetune compare {made['vanilla AdamW']} {made['ROSE-Ensemble']}`" in paths[0]


def test_a_step_of_unknown_length(runs):
    assert "?" in printed(runs(300, 300, 310, 301, 200, seconds=(0.5, None, 0.5, None, 0.5)))


def test_six_sets_fit_80_columns_without_losing_a_number(runs):
    sets = ("clean", "clean_mismatched", "typos_1", "typos_2", "advglue", "advglue_originals", "advglue_mismatched")
    text = printed(runs(300, 300, 300, 300, 300, sets=sets), 80)
    assert max(len(line) for line in text.splitlines() if not line.startswith("Next: ")) <= 80
    assert "…" not in text
    assert text.count("75.0 ") + text.count("75.0\n") == len(TITLES) * (len(sets) - 1)  # originals are no test
