"""The benchmarks run; what they measure is not looked at here."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(name, *flags):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / name, *map(str, flags)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_landscape_is_set_beside_the_plain_loop(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    ratios = importlib.import_module("landscape_speed").ratios
    measured = {"seconds_a_point": {"ours": 2.0, "plain": 5.0}, "processor_seconds_a_point": {"ours": 4.0}}
    assert ratios(measured) == {"seconds_a_point": 2.5}


@pytest.mark.slow
@pytest.mark.usefixtures("demo_packages")
def test_what_a_step_costs():
    flags = ("--rounds", 1, "--rows", 4, "--tokens", 8, "--methods", "rose_first,rose_first_sketched")
    found = json.loads(run("step_cost.py", *flags, "--json"))
    assert [*found] == ["vanilla", "rose_first", "rose_first_sketched", "rose_first (published)"]
    table = run("step_cost.py", *flags).splitlines()[1:]
    assert [line.split()[0] for line in table] == ["method", "vanilla", "rose_first", "rose_first_sketched"]
    assert [line.split()[2] for line in table[:2]] == ["vanilla", "as"]


@pytest.mark.slow
@pytest.mark.usefixtures("demo_packages")
def test_how_it_grows(tmp_path):
    (tmp_path / "lengths").write_text("5\n60\n" * 40)
    said = run("scaling.py", "--quick", "--out", tmp_path, "--lengths", tmp_path / "lengths")
    assert "| grouped by length |" in said
    assert {file.name for file in tmp_path.glob("scaling.*")} == {"scaling.json", "scaling.md", "scaling.svg"}


@pytest.mark.slow
@pytest.mark.usefixtures("demo_packages")
def test_how_near_the_masks_come(tmp_path):
    assert "| sketched (second draw) |" in run("mask_fidelity.py", "--quick", "--out", tmp_path)
    found = json.loads((tmp_path / "mask_fidelity.json").read_text())
    assert {len(each) for each in found["training"]["jaccard"].values()} == {found["training"]["steps"]}
    assert all(0 <= point["sketched"] <= 1 for point in found["points"])


@pytest.mark.slow
def test_an_unknown_method_is_named():
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "step_cost.py", "--methods", "rose_frist"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no rose_frist; there are vanilla, " in done.stderr
