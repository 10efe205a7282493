"""A run as the target of an attack: its data as it was in training, and the rows in the order they are drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

from rosetune.data.sources import TaskData
from rosetune.data.split import shuffled
from rosetune.experiments.data import checked_data, config_now
from rosetune.robustness.attacks.additions import benign_words
from rosetune.robustness.attacks.driver import Row
from rosetune.robustness.noise_families import NOISES
from rosetune.robustness.sets import evaluation_sets
from rosetune.runs.config import RunConfig
from rosetune.runs.run import Run, RunError
from rosetune.runs.sets import SetName

__all__ = ["Target", "attacked_column", "find_targets"]


def find_targets(
    runs: Sequence[Run],
    set_name: str,
    *,
    examples: int | None,
    seed: int,
    column: str | None,
    moved: Mapping[str, str | None],
    attack_class: str | None = None,
    target_class: str | None = None,
) -> list["Target"]:
    """The targets, each run once; data that several share is loaded once.

    Args:
        moved: where data lies now, by the options' names; None where it has not moved.
        attack_class, target_class: names of labels, see :class:`Target`.

    Raises:
        RunError: a run that is not finished, or whose data has changed; a set, column or label that it has not.
        DataError: data cannot be read.
    """
    loaded: dict[str, TaskData] = {}
    targets = []
    for run in {str(run): run for run in runs}.values():
        config, data = _data_of(run, moved, loaded)
        name = SetName.parse(set_name)
        noises = [name.name] if name.on_curve and name.noise in NOISES else None
        sets = evaluation_sets(data, name.kind, data_dir=config.data_dir, noises=noises)
        if set_name not in sets:
            raise RunError(f"{run} has no evaluation set {set_name!r}; of its kind there are {', '.join(sets)}")
        part = attacked_column(column, data.text_columns)
        aim = [None if label is None else _label(run, data.labels, label) for label in (attack_class, target_class)]
        targets.append(Target(run, data, sets[set_name].dataset, examples, seed, part, *aim))
    return targets


class Target:
    """A run, with the rows of an evaluation set in an order that depends on seed and ids alone.

    The first 100 rows are thus among the first 200. Rows without a label are left out, and so are those of other
    classes than the one that is attacked, and those that have the label that is to be reached.

    Args:
        run: a finished one.
        data: its task's data.
        dataset: the evaluation set.
        examples: number of rows to attack; None: all.
        seed: of the order.
        column: number of the text column that is attacked, from 0.
        attacked: index of the label whose rows are attacked; None: of any.
        aim: index of the label that is to be reached; None: any but the right one.

    Attributes:
        wanted: number of rows to attack.
        unlabelled, total: rows without a label, and all rows of the set.
        not_attacked: rows with a label that are left out for it.

    Raises:
        RunError: no row has a label.
    """

    def __init__(
        self,
        run: Run,
        data: TaskData,
        dataset: Any,
        examples: int | None,
        seed: int,
        column: int,
        attacked: int | None = None,
        aim: int | None = None,
    ) -> None:
        self.run, self.data, self.column, self._dataset = run, data, column, dataset
        self.attacked, self.aim = attacked, aim
        self._ids: list[str] = dataset["id"][:]
        golds: list[int | None] = dataset["label"][:]
        labelled = [i for i, gold in enumerate(golds) if gold not in (None, -1)]
        if not labelled:
            raise RunError(f"{run}: no row of the set has a label that a model could get right: choose another --set")
        kept = [i for i in labelled if golds[i] != aim and attacked in (None, golds[i])]
        if not kept:
            raise RunError(f"{run}: the set has no row of the class that is to be attacked: choose another --set")
        place: dict[tuple[str, ...], int] = {(self._ids[i],): i for i in kept}
        self._order = [place[key] for key in shuffled([*place], seed)]
        self.total, self.unlabelled = len(self._ids), len(self._ids) - len(labelled)
        self.not_attacked = len(labelled) - len(kept)
        self.wanted = len(place) if examples is None else min(examples, len(place))

    @property
    def task(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """What runs share whose adversarial examples mean something to each other."""
        return self.data.name, self.data.text_columns, self.data.labels

    def rows(self, known: set[Any]) -> list[Row]:
        """The wanted rows, and after them those whose ids are known already."""
        chosen = [at for i, at in enumerate(self._order) if i < self.wanted or self._ids[at] in known]
        part = self._dataset[chosen]  # of a large set, only these are decoded
        texts = zip(*(part[column] for column in self.data.text_columns), strict=True)
        return [Row(*row) for row in zip(part["id"], texts, part["label"], strict=True)]

    def words(self, seed: int) -> dict[int, tuple[str, ...]]:
        """By the label of a row the words of training texts that speak for the label to be reached, or for any other.

        Args:
            seed: see :func:`~rosetune.robustness.attacks.additions.benign_words`.

        Raises:
            RunError: no word does.
        """
        train = self.data.splits["train"]
        texts, golds = train[self.data.text_columns[self.column]][:], train["label"][:]
        known = [(text, gold) for text, gold in zip(texts, golds, strict=True) if gold not in (None, -1)]
        rows = range(len(self.data.labels)) if self.attacked is None else (self.attacked,)
        found = {}
        for label in (label for label in rows if label != self.aim):
            benign = [gold == self.aim if self.aim is not None else gold != label for _, gold in known]
            try:
                found[label] = benign_words((text for text, _ in known), benign, seed=seed)
            except ValueError as error:
                raise RunError(f"{self.run}: {error}") from error
        return found

    def originals(self) -> dict[str, str]:
        """What each row stems from, where the set knows."""
        if "original_id" not in self._dataset.column_names:
            return {}
        return dict(zip(self._ids, self._dataset["original_id"][:], strict=True))


def _data_of(run: Run, moved: Mapping[str, str | None], loaded: dict[str, TaskData]) -> tuple[RunConfig, TaskData]:
    config = config_now(run, ("clean",), moved)
    if not run.labels:
        raise RunError(f"{run} is a regression: there is no label that an attack could turn")
    key = repr((config.task, config.data_options()))
    data = loaded[key] = checked_data(run, config, loaded.get(key))
    if run.labels != data.labels:
        raise RunError(f"the model of {run} tells apart {', '.join(run.labels)}, the data {', '.join(data.labels)}")
    return config, data


def _label(run: Run, labels: Sequence[str], name: str) -> int:
    if name not in labels:
        raise RunError(f"{run} has no label {name!r}: give one of {', '.join(labels)}")
    return labels.index(name)


def attacked_column(named: str | None, columns: Sequence[str]) -> int:
    """The number of the column that is attacked, from 0; None: the last.

    Raises:
        RunError: there is no such column.
    """
    if named is None:
        return len(columns) - 1
    if named in columns:
        return columns.index(named)
    if named in map(str, range(1, len(columns) + 1)):
        return int(named) - 1
    raise RunError(f"there is no text column {named!r} to attack: give {' or '.join(columns)}, or its number from 1")
