"""What came of attacks on several runs in one call."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rosetune.robustness.attacks.recipes import ADDS_WORDS
from rosetune.robustness.attacks.summary import Transferred, summary, vain
from rosetune.robustness.metrics import constant_predictor
from rosetune.robustness.statistics import Estimate
from rosetune.runs.files import read_json
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = [
    "TRANSFER",
    "Attacked",
    "attack_title",
    "results_digest",
    "transferred",
    "unfinished",
    "usual_label",
    "vain_rows",
    "word_bound",
]

_BOUNDS = ("constraints", "transformation")  # of a recipe, what bounds its changes
TRANSFER = "transfer.json"  # among a run's attacks: what was found on other runs, tried on this one


class Attacked(NamedTuple):
    """Attacks on runs.

    Attributes:
        attacks, set, budget: names of the attacks, the set, and the largest number of queries for a row.
        results: of each row, by run and attack.
        figures: likewise, from :func:`~rosetune.robustness.attacks.summary.summary`, the ``file`` of the results, and
            ``not_attacked``, the number of labelled rows of other classes than those that were attacked.
        transfer: by attack, source and target; of runs that share a task.
        labels: by run.
        attack_class, target_class: the label whose rows were attacked, and the one to be reached; None: any.
    """

    attacks: tuple[str, ...]
    set: str
    budget: int | None
    results: dict[str, dict[str, list[dict[str, Any]]]]
    figures: dict[str, dict[str, dict[str, Any]]]
    transfer: dict[str, dict[str, dict[str, Transferred]]]
    labels: dict[str, tuple[str, ...]]
    attack_class: str | None = None
    target_class: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The figures and the transfer."""
        transfer = {
            attack: {
                source: {run: dataclasses.asdict(cell) for run, cell in row.items()} for source, row in matrix.items()
            }
            for attack, matrix in self.transfer.items()
        }
        aim = {"attack_class": self.attack_class, "target_class": self.target_class}
        return {"runs": self.figures, "transfer": transfer, **{name: label for name, label in aim.items() if label}}


def attack_title(header: Mapping[str, Any]) -> str:
    """An attack as a person calls it, such as "deepwordbug on spam": its recipe, and the classes that it was about.

    Args:
        header: from :attr:`~rosetune.runs.run.Run.attacks`.
    """
    parts = (" on ", header.get("attack_class")), (" to ", header.get("target_class"))
    return str(header.get("recipe", "")) + "".join(f"{word}{label}" for word, label in parts if label is not None)


def word_bound(header: Mapping[str, Any]) -> str:
    """How many words an attack may change, or add, at most: "at most 20% of the words"; nothing where none is named.

    Args:
        header: from :attr:`~rosetune.runs.run.Run.attacks`.
    """
    recipe = header.get("attack")
    parts = recipe if isinstance(recipe, Mapping) else {}
    constraints, change = ({**found} if isinstance(found := parts.get(name), Mapping) else {} for name in _BOUNDS)
    share, most = constraints.get("max_share", header.get("max_share")), change.get("most")
    said = [f"{most} added words"] if most is not None and header.get("recipe") in ADDS_WORDS else []
    said += [f"{100 * share:g}% of the words"] if isinstance(share, int | float) else []
    return f"at most {' and '.join(said)}" if said else ""


def vain_rows(run: Run, name: str) -> str:
    """How many rows withstood an attack and say nothing of the model, and why.

    See :func:`~rosetune.robustness.attacks.summary.vain`.

    Args:
        name: of the attack's set.
    """
    header, results = run.attacks[SetName.parse(name).attack or ""]
    return vain(summary(results, header.get("budget")), header.get("recipe") in ADDS_WORDS) if results else ""


def unfinished(run: Run) -> dict[str, str]:
    """By the set's name each attack on a run that is not done, and what to do about it.

    Raises:
        RunError: a file of the run is damaged.
    """
    found = {}
    for name, (header, results) in run.attacks.items():
        if not header["finished"]:
            of = f" of {header['rows']}" if "rows" in header else ""
            found[SetName.of_attack(name).name] = (
                f"{run}: the attack {name} is left out, since {len(results)}{of} rows are done: give its "
                "`rosetune attack` again, which goes on"
            )
    return found


def usual_label(run: Run, name: str) -> int:
    """The index of the most frequent label of an attack's rows; where one class alone was attacked, of the clean set.

    Args:
        name: of the attack's set.
    """
    header, results = run.attacks[SetName.parse(name).attack or ""]
    golds = [result["gold"] for result in results]
    clean = SetName.parse(name).clean(run.sets())
    if header.keys() & {"attack_class", "target_class"} and clean in run.metrics["sets"]:
        golds = [run.labels.index(row["gold"]) for row in run.rows(clean) if row["gold"] is not None]
    return int(constant_predictor(golds)[0])


def results_digest(results: Sequence[Mapping[str, Any]]) -> str:
    """A hash of adversarial examples, under which is kept what they do to another model."""
    names = ("id", "status", "gold", "texts", "perturbed", "original_id")
    # A target came later: without one the hash is as it was.
    aims = ([result["target"]] if "target" in result else [] for result in results)
    told = json.dumps([[*map(result.get, names), *aim] for result, aim in zip(results, aims, strict=True)])
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
