"""Whose a run's folder is: refusals, overwriting, and one process at a time."""

import errno
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tiny_run
from rosetune.experiments.evaluate import evaluate_again
from rosetune.experiments.lock import LOCK, locked
from rosetune.experiments.train import train_run
from rosetune.runs.config import RunConfig
from rosetune.runs.run import Run
from rosetune.runs.values import RunError
from tiny_run import Library, silent

ROSE = {"update_mask": "rose", "update_mask_kwargs": {"order": "ensemble", "trace": True}}
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def clean(library: Library, folder: Path, training: dict[str, Any] | None = None, **options: Any) -> RunConfig:
    return tiny_run.config(library.home, str(folder), training=training, **{"sets": ("clean",), **options})


def test_a_finished_run_is_left_alone(library: Library) -> None:
    folder = library.run("rose-ensemble", ROSE)
    before = tiny_run.snapshot(folder)
    lines: list[str] = []
    train_run(clean(library, folder, ROSE), lines.append)
    # How it is written down, and a default that is spelled out, are no other run.
    same = {**ROSE, "save_steps": 5, "run_name": "x", "weight_decay": 0.0, "report_to": "none"}
    train_run(clean(library, folder, same), lines.append)
    assert lines == [f"{folder} is finished; nothing to do"] * 2
    assert tiny_run.snapshot(folder) == before


def test_another_configuration_is_refused(library: Library) -> None:
    folder = library.run("vanilla")
    before = tiny_run.snapshot(folder)
    with pytest.raises(RunError, match="another configuration") as caught:
        train_run(clean(library, folder, {"seed": 2, "update_mask": "rose"}, max_length=32), silent)
    said = 'max_length: 128 there, 32 here; seed: 1 there, 2 here; update_mask: the default there, "rose" here'
    assert said in str(caught.value)
    assert "choose another --output_dir, or give --overwrite" in str(caught.value)
    assert "does not train on" not in str(caught.value)
    assert tiny_run.snapshot(folder) == before


def test_a_run_that_is_to_train_longer_is_told_how(library: Library) -> None:
    folder = library.run("vanilla")
    with pytest.raises(RunError, match=r"max_steps: 6 there, 9 here.*a finished run does not train on"):
        train_run(clean(library, folder, {"max_steps": 9}), silent)


def test_overwrite_trains_anew(library: Library, tmp_path: Path) -> None:
    run = library.copy(library.run("vanilla"), tmp_path / "run")
    (run / "attacks").mkdir()
    train_run(clean(library, run, ROSE), silent, overwrite=True)
    assert not (run / "attacks").exists()
    assert tiny_run.contents(run) == tiny_run.contents(library.run("rose-ensemble", ROSE))


def test_overwrite_deletes_nothing_where_the_new_run_cannot_be(library: Library, tmp_path: Path) -> None:
    run = library.copy(library.run("vanilla"), tmp_path / "run")
    before = tiny_run.snapshot(run)
    with pytest.raises(ValueError, match="AdvGLUE has no data"):
        train_run(clean(library, run, ROSE, sets=("clean", "advglue")), silent, overwrite=True)
    assert tiny_run.snapshot(run) == before


def test_overwrite_deletes_nothing_but_a_run(library: Library, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="is not empty and holds no run"):
        train_run(clean(library, tmp_path), silent, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_other_data_or_another_model_under_the_same_name_is_refused(tmp_path: Path) -> None:
    tiny_run.write_csv(tmp_path / "my.csv")
    tiny_run.write_model(tmp_path / "model")
    config = tiny_run.config(tmp_path, "run", training={"max_steps": 1}, sets=("clean",))
    train_run(config, silent)
    tiny_run.write_model(tmp_path / "model", seed=1)
    with pytest.raises(RunError, match=r"model_name_or_path: \"sha256:"):
        train_run(config, silent)
    tiny_run.write_model(tmp_path / "model")
    tiny_run.write_csv(tmp_path / "my.csv", seed=1)
    with pytest.raises(RunError, match="data_fingerprint"):
        train_run(config, silent)
    with pytest.raises(RunError, match=r"the data of .*my.csv is not what .* was trained on"):
        evaluate_again(tmp_path / "run", ("noise",))


@pytest.mark.parametrize("foreign", ["notes.txt", "run.json"])
def test_a_foreign_folder_is_refused(foreign: str, library: Library, tmp_path: Path) -> None:
    (tmp_path / foreign).write_text("[1]")
    with pytest.raises(RunError, match="choose another --output_dir"):
        train_run(clean(library, tmp_path), silent)
    assert [path.name for path in tmp_path.iterdir()] == [foreign]


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/rosetune"])
def test_a_folder_that_cannot_be_written(folder: str, library: Library, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write a run to .*; choose another --output_dir"):
        train_run(clean(library, tmp_path / folder), silent)


# --- one process at a time ----------------------------------------------------------------------------------------


@contextmanager
def held_by_another(folder: Path, kill: bool = False) -> Iterator[int]:
    """Another process holds a run's folder; its number. It ends, or is killed, as the block ends."""
    (ready, tell), (wait, end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        with locked(folder):
            os.write(tell, b"x")
            os.read(wait, 1)
        os._exit(0)
    os.read(ready, 1)
    try:
        yield child
    finally:
        if kill:
            os.kill(child, signal.SIGKILL)
        os.close(end)
        os.waitpid(child, 0)
        for opened in (ready, tell, wait):
            os.close(opened)


@forks
def test_a_second_process_is_told_of_the_first(library: Library, tmp_path: Path) -> None:
    run = library.copy(library.run("vanilla"), tmp_path / "run")
    other = clean(library, tmp_path / "new")
    with held_by_another(run) as number:
        told = f"another process (number {number}) works in {run}: wait for it, or choose another folder"
        for overwrite in (False, True):
            with pytest.raises(RunError) as caught:
                train_run(clean(library, run), silent, overwrite=overwrite)
            assert str(caught.value) == told
        with pytest.raises(RunError, match=f"number {number}"):
            evaluate_again(run, ("noise",))
        evaluate_again(run, ("clean",))  # which is there, and is read alone
        assert train_run(other, silent) == tmp_path / "new"  # another folder is free
    train_run(clean(library, run), silent)
    assert tiny_run.contents(run) == tiny_run.contents(library.run("vanilla"))
    assert not (run / LOCK).exists()


@forks
def test_a_killed_holder_leaves_nothing_that_blocks(library: Library, tmp_path: Path) -> None:
    with held_by_another(tmp_path / "run", kill=True):
        assert (tmp_path / "run" / LOCK).is_file()
    assert (tmp_path / "run" / LOCK).is_file()  # which says nothing by itself
    train_run(clean(library, tmp_path / "run"), silent)
    assert Run.open(tmp_path / "run").sets() == ["clean"]
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_lock_is_given_back_when_the_block_fails(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), locked(tmp_path):
            _ = 1 / 0
    with locked(tmp_path), pytest.raises(RunError, match=f"number {os.getpid()}"), locked(tmp_path):
        pass


@forks
def test_the_lock_of_another_is_left_where_the_folder_was_begun_anew(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with locked(run):
        shutil.rmtree(run)
        run.mkdir()
        (run / LOCK).write_text("another's")
    assert (run / LOCK).read_text() == "another's"


@forks
def test_a_file_system_without_locks_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match=r"cannot be locked \(No locks available\)"), locked(tmp_path):
        pass
