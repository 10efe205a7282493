"""Two methods on the same examples: sets, AdvGLUE by attack, attacks, calibration, over one seed or several."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetune.experiments.attack import attack_files
from rosetune.experiments.config import KINDS, RunError
from rosetune.experiments.evaluate import Rows, read_identity, read_metrics, read_predictions
from rosetune.experiments.options import read_run_config
from rosetune.experiments.sets import kind_of
from rosetune.robustness.paired import paired_difference
from rosetune.robustness.rows import paired_correctness
from rosetune.robustness.statistics import PairedTTest, paired_t_test, seeds_difference

__all__ = ["ATTACK", "Comparison", "Side", "by_attack", "common_success", "compare_sets", "paired_sides", "read_side"]

ATTACK = "attack:"
_OF_ONE_PAIR = ("difference", "low", "high", "p_value", "p_b_better", "p_a_better")


@dataclass(frozen=True)
class Side:
    """The runs of one method, one per seed.

    Attributes:
        title: the method, see :meth:`~rosetune.experiments.config.RunConfig.method`.
        runs, seeds, rows: folder, seed and prediction rows of each run; attacks on it are sets ``attack:NAME``.
        attacks: what each attack was, by set.
        labels: of the task, in the order of the logits.
    """

    title: str
    task: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Rows, ...]
    attacks: tuple[dict[str, Any], ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """b minus a on the same examples.

    Attributes:
        n, seeds: examples, and pairs of runs.
        a, b: accuracy, the mean over the seeds.
        difference, low, high: with its 95% interval: bootstrap over examples (originals, where items stem from some)
            and, of several pairs, over seeds.
        only_a, only_b: examples that one of the two alone gets right, summed over the seeds.
        p_value, p_b_better, p_a_better: exact McNemar (clustered where items stem from originals) for one pair of
            runs; the paired t-test over seeds for several, None where all differences are equal.
        t_test: over the seeds, where there are several.
        per_seed: McNemar's two-sided p of each pair.
    """

    n: int
    seeds: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    only_a: int
    only_b: int
    p_value: float | None
    p_b_better: float | None
    p_a_better: float | None
    t_test: PairedTTest | None = None
    per_seed: tuple[float, ...] = ()

    @property
    def within_noise(self) -> bool:
        """Whether the interval contains 0."""
        return self.low <= 0.0 <= self.high


def read_side(runs: str) -> Side:
    """The finished runs of one method, named with commas between them.

    Raises:
        RunError: a run is not finished, or the runs differ in more than their seed.
    """
    folders = [part.strip() for part in runs.split(",") if part.strip()]
    if not folders:
        raise RunError("name at least one run")
    metrics = [read_metrics(folder) for folder in folders]
    identities = [_without_seed(read_identity(folder)) for folder in folders]
    if any(identity != identities[0] for identity in identities):
        raise RunError(f"{runs}: commas stand between several seeds of one method, but these runs differ in more")
    configs = [read_run_config(folder) for folder in folders]
    seeds = tuple(int(config.training.get("seed", 42)) for config in configs)
    if len(set(seeds)) < len(seeds):
        raise RunError(f"{runs}: two runs have the same seed, {seeds}")
    attacks = [_attacked(folder) for folder in folders]
    rows = tuple({**read_predictions(folder), **rows} for folder, (rows, _) in zip(folders, attacks, strict=True))
    return Side(
        title=configs[0].method(),
        task=identities[0]["task"],
        runs=tuple(folders),
        seeds=seeds,
        rows=rows,
        attacks=tuple(headers for _, headers in attacks),
        labels=tuple(metrics[0]["labels"]),
    )


def paired_sides(a: Side, b: Side) -> tuple[Side, Side]:
    """Both sides with the same seeds in the same order; a single run pairs with a single run of any seed.

    Raises:
        RunError: not the same task and labels, or no common seeds.
    """
    if (a.task, a.labels) != (b.task, b.labels):
        raise RunError(f"{a.runs[0]} is a run on {a.task}, {b.runs[0]} on {b.task}: compare runs of one task")
    if len(a.runs) == len(b.runs) == 1:
        return a, b
    common = sorted({*a.seeds} & {*b.seeds})
    if not common:
        seeds = " and ".join(", ".join(map(str, side.seeds)) for side in (a, b))
        raise RunError(f"runs are paired by their seed, but none is on both sides: {seeds}")
    return _take(a, common), _take(b, common)


def compare_sets(a: Side, b: Side) -> dict[str, Comparison]:
    """Every evaluation set, and every attack, that all runs of both sides have.

    Raises:
        RunError: the runs were not evaluated on the same examples.
    """
    names = [name for name in a.rows[0] if all(name in rows for rows in (*a.rows, *b.rows))]
    header, *others = (*a.attacks, *b.attacks)
    names = [name for name in names if all(other.get(name) == header.get(name) for other in others)]
    names.sort(key=lambda name: len(KINDS) if name.startswith(ATTACK) else KINDS.index(kind_of(name)))
    return {name: _compare([rows[name] for rows in a.rows], [rows[name] for rows in b.rows], name) for name in names}


def by_attack(a: Side, b: Side, name: str) -> dict[str, Comparison]:
    """One AdvGLUE set by kind of attack and by "kind/method"; nothing where its rows are not annotated."""
    groups: dict[str, set[Any]] = {}
    for row in a.rows[0].get(name, ()):
        kind, method = row.get("data_construction"), row.get("method")
        if kind and method:
            groups.setdefault(kind, set()).add(row["id"])
            groups.setdefault(f"{kind}/{method}", set()).add(row["id"])

    def part(side: Side, ids: set[Any]) -> list[list[dict[str, Any]]]:
        return [[row for row in rows[name] if row["id"] in ids] for rows in side.rows]

    return {group: _compare(part(a, ids), part(b, ids), name) for group, ids in sorted(groups.items())}


def common_success(a: Side, b: Side, name: str) -> tuple[int, float | None, float | None]:
    """Attack success on the rows that both models of a pair get right before: their number and both rates.

    A rate over each model's own right rows would compare different rows. Of several pairs the rows are pooled.
    """
    pairs = []
    for rows_a, rows_b in zip(a.rows, b.rows, strict=True):
        other = {row["id"]: row["prediction"] for row in rows_b[name]}
        pairs += [(row["prediction"], other[row["id"]]) for row in rows_a[name]]
    both = [pair for pair in pairs if "wrong" not in pair]
    if not both:
        return 0, None, None
    rates = (sum(outcome == "broken" for outcome in side) / len(both) for side in zip(*both, strict=True))
    return len(both), *rates


def _compare(sides_a: Sequence[Any], sides_b: Sequence[Any], name: str) -> Comparison:
    try:
        right, clusters = paired_correctness(*sides_a, *sides_b)
    except ValueError as error:
        raise RunError(f"{name}: {error}") from error
    a, b = np.array(right[: len(sides_a)], dtype=float), np.array(right[len(sides_a) :], dtype=float)
    each = [paired_difference(x, y, clusters=clusters) for x, y in zip(a, b, strict=True)]
    shown: dict[str, Any] = {
        "n": a.shape[1],
        "seeds": len(a),
        "a": float(a.mean()),
        "b": float(b.mean()),
        "only_a": sum(d.only_a for d in each),
        "only_b": sum(d.only_b for d in each),
        "per_seed": tuple(d.p_value for d in each),
    }
    if len(each) == 1:
        d = each[0]
        return Comparison(**shown, **{name: getattr(d, name) for name in _OF_ONE_PAIR})
    t = paired_t_test(a.mean(axis=1).tolist(), b.mean(axis=1).tolist())
    shown["difference"], shown["low"], shown["high"] = seeds_difference(a, b, clusters=clusters)
    shown["p_value"], shown["p_b_better"] = t.two_sided, t.b_better
    shown["p_a_better"] = None if t.b_better is None else 1 - t.b_better
    return Comparison(**shown, t_test=t)


def _attacked(run: str) -> tuple[Rows, dict[str, Any]]:
    """Finished attacks as evaluation sets ``attack:NAME``, in which a row is "robust", "broken", or "wrong" before.

    Beside them what makes two attacks the same: all of the header but the model.
    """
    rows: Rows = {}
    headers = {}
    outcome = {"failed": "robust", "success": "broken", "skipped": "wrong"}
    for name, (header, results) in attack_files(run).items():
        if header["finished"]:
            headers[f"{ATTACK}{name}"] = {key: value for key, value in header.items() if key not in ("model", "rows")}
            rows[f"{ATTACK}{name}"] = [
                {
                    "set": f"{ATTACK}{name}",
                    "id": result["id"],
                    "gold": "robust",
                    "prediction": outcome[result["status"]],
                    **({"original_id": result["original_id"]} if "original_id" in result else {}),
                }
                for result in results
            ]
    return rows, headers


def _without_seed(identity: dict[str, Any]) -> dict[str, Any]:
    # The trace that a mask follows belongs to the seed.
    training = {
        name: {key: part for key, part in value.items() if key != "trace"} if isinstance(value, dict) else value
        for name, value in identity["training"].items()
        if name != "seed"
    }
    return {**identity, "training": training}


def _take(side: Side, seeds: Sequence[int]) -> Side:
    at = [side.seeds.index(seed) for seed in seeds]
    return dataclasses.replace(
        side,
        runs=tuple(side.runs[i] for i in at),
        seeds=tuple(seeds),
        rows=tuple(side.rows[i] for i in at),
        attacks=tuple(side.attacks[i] for i in at),
    )
