"""The texts behind a run's prediction rows, read anew from its data."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosetune.data.tasks import find_task
from rosetune.runs.config import RunConfig
from rosetune.runs.files import read_fingerprints, read_json
from rosetune.runs.identity import file_hash
from rosetune.runs.run import Run, RunError
from rosetune.runs.sets import KINDS, SetName

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["reading_of", "texts_of"]

Texts = dict[str, dict[str, str]]  # by id and text column


def texts_of(run: Run, names: Iterable[str]) -> dict[str, Texts]:
    """By set, id and column the texts that a run was evaluated on; of an attack the adversarial ones.

    Raises:
        RunError: the data, or a further labelled file, is not what it was.
        DataError: the data cannot be read.
    """
    columns: Sequence[str] = run.identity["text_columns"]
    parsed = [SetName.parse(name) for name in names]
    found = {part.name: _attacked(run, part.attack, columns) for part in parsed if part.attack is not None}
    found |= {part.name: _of_file(run, part.name, columns) for part in parsed if part.kind == "file"}
    kinds = [kind for kind in KINDS if kind in {part.kind for part in parsed}]
    noises = list(dict.fromkeys(part.noise for part in parsed if part.on_curve and part.noise))
    return found | _of_task(run, kinds, columns, noises)


def reading_of(config: RunConfig) -> dict[str, Any]:
    """How a run's own files are read, as fields of :class:`~rosetune.data.options.ReadOptions`."""
    return {name: getattr(config, name) for name in ("drop_empty", "drop_unlabelled", "encoding", "delimiter")}


def _attacked(run: Run, attack: str, columns: Sequence[str]) -> Texts:
    _, results = run.attacks[attack]
    kind = "perturbed" if all("perturbed" in result for result in results) else "texts"
    return {str(result["id"]): dict(zip(columns, result[kind], strict=True)) for result in results}


def _of_task(run: Run, kinds: Sequence[str], columns: Sequence[str], noises: Sequence[str]) -> dict[str, Texts]:
    if not kinds:
        return {}
    from rosetune.data.rows import set_fingerprint
    from rosetune.data.sources import load_task
    from rosetune.robustness.sets import evaluation_sets

    data = load_task(run.config.task, **run.config.data_options())
    if data.fingerprint != run.identity["data_fingerprint"]:
        raise RunError(f"the data of {run.config.task} is not what {run} was trained on: its texts cannot be joined")
    known, found = read_fingerprints(run.folder / "predictions"), {}
    for kind in kinds:
        for name, part in evaluation_sets(data, kind, data_dir=run.config.data_dir, noises=noises).items():
            now = set_fingerprint(part.dataset, columns, run.labels)
            if known.get(name, now) != now:
                raise RunError(
                    f"{SetName.parse(name).title} is not what {run} was evaluated on: no texts can be joined"
                )
            found[name] = _by_id(part.dataset, columns)
    return found


def _of_file(run: Run, name: str, columns: Sequence[str]) -> Texts:
    from rosetune.data.labelled import load_labelled_file
    from rosetune.data.options import ReadOptions

    about: dict[str, Any] = read_json(run.folder / "predictions" / f"{name}.json", "evaluate on the file again")
    file, config = Path(about["file"]), run.config
    if not file.is_file() or file_hash(file) != about["sha256"]:
        raise RunError(f"{file}, which {run} was evaluated on, has gone or changed: its texts cannot be joined")
    options = ReadOptions(**{**reading_of(config), **about.get("reading", {})})
    numbered = find_task(config.task) is not None
    read = load_labelled_file(str(file), columns, config.label_column, run.labels, options, numbered=numbered)
    return _by_id(read.rows, columns)


def _by_id(dataset: "Dataset", columns: Sequence[str]) -> Texts:
    texts = zip(*(dataset[column][:] for column in columns), strict=True)
    return {str(i): dict(zip(columns, row, strict=True)) for i, row in zip(dataset["id"][:], texts, strict=True)}
