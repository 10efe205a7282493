"""What came of attacks on several runs in one call."""

import dataclasses
from typing import Any, NamedTuple

from rosetune.robustness.attacks.summary import Transferred

__all__ = ["Attacked"]


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
