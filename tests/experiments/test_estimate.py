"""What a dry run says, and how it measures; no step is trained here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rosetune._files import write_json
from rosetune.experiments import estimate
from rosetune.experiments.estimate import Probe

pytestmark = pytest.mark.usefixtures("at_home")

PLAN = """\
output_dir: dry
tasks: [my.csv]
models: [./model]
seeds: [1, 2]
options: {max_steps: 6}
methods:
  vanilla:
  rose-ensemble:
"""


class Measuring:
    """In the place of processes: every kind is measured at once."""

    def __init__(self, *_: Any) -> None:
        self.done: dict[str, None] = {}

    def has_room(self) -> bool:
        return not self.done

    def start_work(self, key: str, work: Probe, log: Path) -> None:
        seconds = {"step": 0.5, "prepare_row": 0.0, "query": 0.1, "fixed": 0.4, "evaluation": 0.6}
        write_json(Path(work.folder, "probe.json"), seconds)
        self.done[key] = None

    def finished(self, seconds: float) -> dict[str, None]:
        found, self.done = self.done, {}
        return found

    def stop(self) -> None:
        pass


def test_a_dry_run_says_what_it_measures_and_shows_no_trials_where_there_are_none(
    rosetune: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "LocalExecutor", Measuring)
    Path("dry.yaml").write_text(PLAN, encoding="utf-8")
    code, out, err = rosetune("sweep", "dry.yaml", "--dry_run")
    assert code == 0, err
    assert err.splitlines() == ["measuring 1 of 2: my.csv vanilla", "measuring 2 of 2: my.csv rose-ensemble"]
    assert "4 runs take about" in out
    assert "measuring" not in out
    assert "trials" not in out
