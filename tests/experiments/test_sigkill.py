"""A run that is killed with SIGKILL at random moments of its life comes to the same bytes."""

import os
from collections import Counter
from pathlib import Path

import pytest

import forked
import killed_lives
import tiny_run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def lives(folder: Path, kills: int, seed: int) -> Counter[str]:
    """How often it was killed in each phase."""
    tiny_run.write_csv(folder / "my.csv")
    tiny_run.write_model(folder / "model")
    said = folder / "said.txt"
    process = forked.started(said, killed_lives.live, folder, kills, seed)
    process.join(1200)
    assert process.exitcode == 0, said.read_text()
    return Counter(line.split()[1] for line in said.read_text().splitlines() if line.endswith(" killed"))


def test_a_few_kills_in_every_phase(tmp_path: Path) -> None:
    killed = lives(tmp_path, 4, seed=0)
    assert {*killed} == {*killed_lives.PHASES}
    assert killed.total() >= 5


@pytest.mark.slow
def test_fifty_kills(tmp_path: Path) -> None:
    killed = lives(tmp_path, 50, seed=1)
    assert killed.total() >= 50
    assert min(killed[phase] for phase in killed_lives.PHASES) >= 5
