"""``rosetune search``: words in, a table and a file that ``rosetune train`` takes; mistakes in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import one_line, run_python
from rosetune.verbs._shared import seeds_of
from tiny_run import Library


def words(library: Library, folder: Path, *more: Any) -> list[Any]:
    given = ["search", "--task", library.home / "my.csv", "--model_name_or_path", library.home / "model"]
    given += ["--output_dir", folder, "--max_steps", 2, "--per_device_train_batch_size", 8, "--sampler", "grid"]
    return [*given, "--update_mask", "rose", "--held-out", 30, *more]


def test_a_search_and_the_training_of_what_it_found(rosetune: Any, library: Library, tmp_path: Path) -> None:
    asked = words(library, tmp_path / "s", "--space", "learning_rate=1e-5,5e-3", "update_mask_kwargs.upper=0.5,auto")
    code, out, err = rosetune(*asked)
    assert code == 0, err
    assert "trial 3 (4 of 4): " in err
    assert f"rosetune train --config {tmp_path / 's'}/best.yaml" in " ".join(out.split())
    shown = out
    code, out, err = rosetune(*asked, "--json")
    assert code == 0, err
    assert "trial" not in err
    found = json.loads(out)
    assert found == json.loads((tmp_path / "s" / "trials.json").read_text(encoding="utf-8"))
    assert f"Best is trial {found['best']['number']}: " in shown
    kept = (tmp_path / "s" / "trials" / f"{found['best']['number']:04}" / "seed-42" / "config.yaml").read_text("utf-8")
    assert yaml.safe_load(kept)["learning_rate"] == found["best"]["options"]["learning_rate"]
    assert len({json.dumps(trial["options"]) for trial in found["trials"]}) == 4
    assert {trial["options"]["update_mask_kwargs.upper"] for trial in found["trials"]} == {0.5, "auto"}
    code, out, err = rosetune("train", "--config", tmp_path / "s" / "best.yaml", "--output_dir", tmp_path / "run")
    assert code == 0, err
    assert "held out to choose on" not in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "--space is missing"),
        (["--space", "papr"], "did you mean paper?"),
        (["--space", "paper", "--sampler", "gird"], "--sampler must be one of tpe, grid, random"),
        (["--space", "paper", "--objective_mix", "advglue=1"], "advglue is reported"),
        (["--space", "learning_rat=1,2"], "did you mean learning_rate?"),
        (["--space", "paper", "--lerning_rate", "1"], "did you mean --learning_rate?"),
        (["--space", "paper", "--seed", "x"], "--seed takes a whole number"),
        (["--space", "paper", "--task", "nowhere.csv"], "there is no file or folder nowhere.csv"),
    ],
)
def test_a_mistake_is_one_line(rosetune: Any, library: Library, tmp_path: Path, more: list[str], message: str) -> None:
    one_line(rosetune(*words(library, tmp_path / "s"), *more), message)
    assert not (tmp_path / "s").exists()


def test_without_optuna_the_extra_is_named(library: Library, tmp_path: Path) -> None:
    asked = [str(word) for word in words(library, tmp_path / "s", "--space", "paper")]
    said = run_python(
        "import sys\nsys.modules['optuna'] = None\nfrom rosetune.cli import main\nsys.stderr = sys.stdout\n"
        f"try:\n    main({asked!r})\nexcept SystemExit as ended:\n    print(ended.code)"
    )
    assert "rosetune search needs Optuna: pip install 'rosetune[search]'" in said
    assert said.splitlines()[-1] == "2"


def test_seeds() -> None:
    assert seeds_of(None) == []
    assert seeds_of("3, 1") == [3, 1]
