"""What came of attacks on several runs in one call."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rosetune.robustness.attacks.summary import Transferred
from rosetune.robustness.statistics import Estimate
from rosetune.runs.files import read_json
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["TRANSFER", "Attacked", "results_digest", "transferred"]

TRANSFER = "transfer.json"  # among a run's attacks: what was found on other runs, tried on this one


class Attacked(NamedTuple):
    """Attacks on runs.

    Attributes:
        attacks, set, budget: names of the attacks, the set, and the largest number of queries for a row.
        results: of each row, by run and attack.
        figures: likewise, from :func:`~rosetune.robustness.attacks.summary.summary`, and the ``file`` of the results.
        transfer: by attack, source and target; of runs that share a task.
        labels: by run.
    """

    attacks: tuple[str, ...]
    set: str
    budget: int | None
    results: dict[str, dict[str, list[dict[str, Any]]]]
    figures: dict[str, dict[str, dict[str, Any]]]
    transfer: dict[str, dict[str, dict[str, Transferred]]]
    labels: dict[str, tuple[str, ...]]

    def as_json(self) -> dict[str, Any]:
        """The figures and the transfer."""
        transfer = {
            attack: {
                source: {run: dataclasses.asdict(cell) for run, cell in row.items()} for source, row in matrix.items()
            }
            for attack, matrix in self.transfer.items()
        }
        return {"runs": self.figures, "transfer": transfer}


def results_digest(results: Sequence[Mapping[str, Any]]) -> str:
    """A hash of adversarial examples, under which is kept what they do to another model."""
    names = ("id", "status", "gold", "texts", "perturbed", "original_id")
    told = json.dumps([[result.get(name) for name in names] for result in results])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def transferred(source: Run, target: Run, name: str) -> Transferred | None:
    """What an attack found on one run does to another; None where nobody has tried.

    Args:
        name: of the attack's set.

    Raises:
        RunError: a file is damaged.
    """
    _, results = source.attacks.get(SetName.parse(name).attack or "", ({}, []))
    path = target.folder / "attacks" / TRANSFER
    kept = read_json(path, "remove it") if results and path.is_file() else {}
    cell = kept.get(results_digest(results))
    return None if cell is None else Transferred(**{name: part and Estimate(**part) for name, part in cell.items()})
