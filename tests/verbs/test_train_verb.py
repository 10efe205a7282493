"""`rosetune train`: what it prints, several seeds, and a run that is there already."""

from pathlib import Path
from typing import Any

import pytest

import tiny_run
from command_line import one_line
from rosetune.data.sources import load_task
from rosetune.experiments import data, training
from rosetune.runs.run import Run, find_runs
from tiny_run import Library


def words(library: Library, folder: Path | None, *more: Any) -> list[Any]:
    options = ["train", "--task", library.home / "my.csv", "--model_name_or_path", library.home / "model"]
    options += ["--max_steps", 2, "--per_device_train_batch_size", 8, "--sets", "clean"]
    return [*options, *([] if folder is None else ["--output-dir", folder]), *more]


def test_standard_output_holds_the_report_alone(library: Library, tmp_path: Path, rosetune: Any) -> None:
    code, out, err = rosetune(*words(library, tmp_path / "run"))
    assert code == 0
    assert "run" in out.splitlines()[0]
    assert "clean" in out
    assert "\nmy: " in f"\n{err}"  # what was read
    for noise in ("{", "it/s", "%|", "\r", "mtime", "Writing model"):  # log lines, bars, chatter of libraries
        assert noise not in err
    code, again, err = rosetune(*words(library, tmp_path / "run"))
    assert (code, again, err) == (0, out, f"{tmp_path / 'run'} is finished; nothing to do\n")
    one_line(rosetune(*words(library, tmp_path / "run", "--seed", 5)), "seed: the default there, 5 here")


def test_no_library_chatters_in_a_log(library: Library, tmp_path: Path, rosetune: Any) -> None:
    """Checkpoints within a second, and sets that are mapped from others."""
    steps = ("--save_steps", 1, "--save_total_limit", 1, "--sets", "clean,noise,noise_curve")
    code, _, err = rosetune(*words(library, tmp_path / "run", *steps))
    assert code == 0
    assert not [part for part in ("it/s", "%|", "\r", "mtime", "examples/s") if part in err], err
    code, _, err = rosetune("evaluate", library.copy(library.run("vanilla"), tmp_path / "b"), "--sets", "noise")
    assert (code, err) == (0, "")


def test_the_bar_is_there_for_who_asks_for_it(library: Library, tmp_path: Path, rosetune: Any) -> None:
    code, out, err = rosetune(*words(library, tmp_path / "run", "--disable_tqdm", "false"))
    assert code == 0
    assert "2/2" in err
    assert "loss=" in err
    assert "2/2" not in out


def test_a_bar_on_a_terminal(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_run.config(library.home, str(tmp_path / "run"))
    del config.training["disable_tqdm"]
    shown = []
    for terminal in (True, False):
        monkeypatch.setattr(training.sys.stderr, "isatty", lambda terminal=terminal: terminal)
        shown.append(not training.training_arguments(config).disable_tqdm)
    assert shown == [True, False]


def test_several_seeds_are_a_run_each(
    library: Library, tmp_path: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = rosetune(*words(library, None, "--seed", "1,2,3", "--update_mask", "random"))
    assert code == 0, err
    runs = find_runs("runs/**")
    assert [run.seed for run in runs] == [1, 2, 3]
    assert {run.folder.parent for run in runs} == {Path("runs/my/random")}
    assert [run.folder.name.rpartition("-")[0] for run in runs] == ["seed-1", "seed-2", "seed-3"]
    assert len({(run.folder / "model/model.safetensors").read_bytes() for run in runs}) == 3
    assert all(str(run) in out for run in runs)
    assert [line for line in err.splitlines() if line.startswith("seed ")] == ["seed 1:", "seed 2:", "seed 3:"]
    code, again, err = rosetune(*words(library, None, "--seed", "1,2,3", "--update_mask", "random"))
    assert (code, again, err.count("is finished; nothing to do")) == (0, out, 3)


def test_several_seeds_in_a_folder_of_ones_own(library: Library, tmp_path: Path, rosetune: Any) -> None:
    assert rosetune(*words(library, tmp_path / "mine", "--seed", "2"))[0] == 0
    assert Run.open(tmp_path / "mine").seed == 2
    assert rosetune(*words(library, tmp_path / "ours", "--seed", "2, 4"))[0] == 0
    assert {path.name: Run.open(path).seed for path in (tmp_path / "ours").iterdir()} == {"seed-2": 2, "seed-4": 4}
    one = tiny_run.contents(tmp_path / "mine")
    assert tiny_run.contents(tmp_path / "ours/seed-2") == one


def test_longer_and_overwrite(library: Library, tmp_path: Path, rosetune: Any) -> None:
    assert rosetune(*words(library, tmp_path / "run"))[0] == 0
    before = tiny_run.snapshot(tmp_path / "run")
    longer = words(library, tmp_path / "run", "--max_steps", 3)
    called = rosetune(*longer)
    one_line(called, "max_steps: 2 there, 3 here")
    one_line(called, "give --overwrite to delete that run and train anew (a finished run does not train on)")
    assert tiny_run.snapshot(tmp_path / "run") == before
    assert rosetune(*longer, "--overwrite")[0] == 0
    assert Run.open(tmp_path / "run").timing["steps"] == 3
    assert rosetune(*longer, "--overwrite")[0] == 0  # also where it is finished
    assert tiny_run.snapshot(tmp_path / "run") != before


def test_the_data_is_read_once(
    library: Library, tmp_path: Path, rosetune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several seeds, with a folder and without."""
    read = []

    def load(*args: Any, **kwargs: Any) -> Any:
        read.append(args)
        return load_task(*args, **kwargs)

    monkeypatch.setattr(data, "load_task", load)
    monkeypatch.chdir(tmp_path)
    for folder in (None, tmp_path / "runs-of-mine"):
        read.clear()
        code, _, err = rosetune(*words(library, folder, "--seed", "1,2", "--max_steps", 1))
        assert code == 0, err
        assert len(read) == 1
