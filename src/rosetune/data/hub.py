"""Fetching a dataset from the Hugging Face hub, or finding out at once that this is not possible."""

from collections.abc import Sequence

import datasets
from datasets import ClassLabel, Dataset, Value
from huggingface_hub import HfApi, is_offline_mode
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from rosetune.data.tables import DataError, Table, as_cell

__all__ = ["class_names", "fetch", "hub_table", "without_labels"]


def fetch(repository: str, config: str | None, remedy: str) -> dict[str, Dataset]:
    """All splits of a dataset on the hub, or in the hub's cache where HF_HUB_OFFLINE is set.

    Args:
        repository: "user/name".
        config: its configuration, where it has several.
        remedy: what to do instead, ends the error message.

    Raises:
        DataError: the hub is out of reach, or has no such dataset.
    """
    name = f"{repository}:{config}" if config else repository
    try:
        if not is_offline_mode():
            # Without a network load_dataset retries for half a minute or longer; this asks once.
            HfApi().dataset_info(repository, timeout=5)
        return dict(datasets.load_dataset(repository, config))
    except GatedRepoError as error:
        raise DataError(f"the hub guards {repository!r}: accept its terms there and log in; or {remedy}") from error
    except (RepositoryNotFoundError, datasets.exceptions.DatasetNotFoundError) as error:
        raise DataError(f"the hub has no dataset {repository!r} that you may read; {remedy}") from error
    # Whatever else the libraries raise (network, server, script or format errors): the user needs the way out.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        cached = "" if is_offline_mode() else "; if it is in the cache, set HF_HUB_OFFLINE=1"
        raise DataError(f"{name!r} cannot be loaded from the Hugging Face hub ({reason}): {remedy}{cached}") from error


def hub_table(source: str, ds: Dataset) -> Table:
    """The columns of single values of a hub dataset; classes become their names, -1 (unlabelled) is missing.

    Raises:
        DataError: it holds no rows.
    """
    if not len(ds):
        raise DataError(f"{source} holds no rows; save the splits that do as files, and pass their folder as --task")
    columns, nested = {}, []
    for name, feature in ds.features.items():
        if isinstance(feature, ClassLabel):
            columns[name] = [_class_name(feature.names, value) for value in ds[name][:]]
        elif isinstance(feature, Value):
            columns[name] = [as_cell(value) for value in ds[name][:]]
        else:
            nested.append(name)
    return Table(source, columns, range(1, len(ds) + 1), "row", nested)


def _class_name(names: Sequence[str], value: int | None) -> str | None:
    return None if value is None or value < 0 else names[value]


def without_labels(table: Table, column: str) -> bool:
    """Whether the hub withholds all labels of a split: all are missing, or -1 in a column of numbers."""
    cells = table.columns.get(column)
    return cells is not None and {*cells} in ({None}, {"-1"}, {"-1.0"})


def class_names(ds: Dataset, column: str) -> tuple[str, ...] | None:
    """The label names that the hub records for a column, in its order; None where it records none."""
    feature = ds.features.get(column)
    return tuple(feature.names) if isinstance(feature, ClassLabel) else None
