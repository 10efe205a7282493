"""A space is what its words say; each mistake is answered with the nearest right name before anything is trained."""

from pathlib import Path

import pytest

from rosetune.experiments.search_space import Dimension, check_names, grid_points, read_space, with_options
from rosetune.runs.config import RunConfig
from rosetune.runs.values import RunError

ROSE = {"update_mask": "rose", "update_mask_kwargs": {"gamma": 0.3}}


def config(**training: object) -> RunConfig:
    return RunConfig(task="t.csv", model_name_or_path="demo", training=dict(training))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("learning_rate=log:1e-5:1e-4", Dimension((), 1e-5, 1e-4, log=True)),
        ("weight_decay=0:0.1", Dimension((), 0, 0.1)),
        ("warmup_steps=0:50:10", Dimension((), 0, 50, step=10)),
        ("objective_kwargs.alpha=0.5,1,2", Dimension((0.5, 1, 2))),
        ("update_mask_kwargs.upper=0.3, auto", Dimension((0.3, "auto"))),
        ("--update_mask_kwargs.trace=true,false", Dimension((True, False))),
    ],
)
def test_a_word_is_one_option(word: str, expected: Dimension) -> None:
    (found,) = read_space([word]).values()
    assert found == expected


def test_a_yaml_file_holds_the_same_words_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("learning_rate: log:1e-5:1e-4\nupdate_mask_kwargs.upper: [0.2, 0.8]\n", encoding="utf-8")
    words = ["learning_rate=log:1e-5:1e-4", "update_mask_kwargs.upper=0.2,0.8"]
    assert read_space([str(path)]) == read_space(words)
    assert read_space([str(path), "learning_rate=1,2"])["learning_rate"] == Dimension((1, 2))


def test_the_papers_grid() -> None:
    space = read_space(["paper"])
    rates = [1e-5, 2e-5, 3e-5, 4e-5, 5e-5, 6e-5, 7e-5, 8e-5, 9e-5, 1e-4]
    shares = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    pairs = [{"learning_rate": rate, "update_mask_kwargs.upper": share} for rate in rates for share in shares]
    assert grid_points(space) == pairs
    assert len(grid_points(read_space(["paper_each"]))) == 10 * 9 * 9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--space is missing"),
        (["papre"], "'papre' is no space: did you mean paper?"),
        (["nowhere.yaml"], "cannot read the config file nowhere.yaml"),
        (["a=1"], "a needs at least two different values"),
        (["a="], "a needs at least two different values"),
        (["a=1,1"], "a needs at least two different values"),
        (["a=2:1"], "the range ends before it begins"),
        (["a=log:0:1"], "a log range begins above 0"),
        (["a=log:1:2:0.5"], "a log range begins above 0 and has no step"),
        (["a=0.1:0.9:0.3"], "steps of 0.3 do not lead from 0.1 to 0.9"),
        (["a=0:1:0"], "steps of 0 do not lead"),
    ],
)
def test_what_is_no_space(words: list[str], message: str) -> None:
    with pytest.raises(RunError, match=message):
        read_space(words)


def test_a_grid_needs_steps() -> None:
    with pytest.raises(RunError, match="grid needs a step for b"):
        grid_points(read_space(["a=1,2", "b=0:0.5"]))
    assert [point["a"] for point in grid_points(read_space(["a=1:4"]))] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lerning_rate", "no such option: did you mean learning_rate?"),
        ("upper", "no such option: did you mean update_mask_kwargs.upper?"),
        ("update_mask_kwargs.uper", "rose has no option uper: did you mean update_mask_kwargs.upper?"),
        ("objective_kwargs.alpha", "cross_entropy has no option alpha"),
        ("max_steps", "every trial has the same max_steps"),
        ("seed", "every trial has the same seed"),
        ("task", "every trial has the same task"),
        ("validation_file", "every trial has the same validation_file"),
        ("sets", "every trial has the same sets"),
        ("held_out", "every trial has the same held_out"),
    ],
)
def test_what_no_trial_may_differ_in(name: str, message: str) -> None:
    with pytest.raises(RunError, match=message.replace("?", r"\?")):
        check_names([name], config(**ROSE))


def test_an_option_of_no_method() -> None:
    with pytest.raises(RunError, match="there is no update mask here"):
        check_names(["update_mask_kwargs.upper"], config())


def test_an_option_of_an_augmentation() -> None:
    check_names(["augmentation_kwargs.p"], config(augmentation="noise"))
    with pytest.raises(RunError, match="noise has no option share"):
        check_names(["augmentation_kwargs.share"], config(augmentation="noise"))


def test_options_go_where_a_run_has_them() -> None:
    base = config(**ROSE)
    names = ("learning_rate", "update_mask_kwargs.upper", "max_length", "model_kwargs.classifier_dropout")
    check_names(names, base)
    changed = with_options(base, dict(zip(names, (3e-5, 0.4, 64, 0.2), strict=True)))
    assert changed.training["learning_rate"] == 3e-5
    assert changed.training["update_mask_kwargs"] == {"gamma": 0.3, "upper": 0.4}
    assert changed.max_length == 64
    assert changed.model_kwargs == {"classifier_dropout": 0.2}
    assert base.training["update_mask_kwargs"] == {"gamma": 0.3}


def test_a_threshold_for_each_mask() -> None:
    names = ("update_mask_kwargs.upper.first", "update_mask_kwargs.upper.second")
    check_names(names, config(**ROSE))
    both = with_options(config(**ROSE), dict(zip(names, (0.2, 0.8), strict=True)))
    assert both.training["update_mask_kwargs"]["upper"] == [0.2, 0.8]
    one = with_options(config(update_mask="rose", update_mask_kwargs={"upper": 0.5}), {names[1]: 0.8})
    assert one.training["update_mask_kwargs"]["upper"] == [0.5, 0.8]
    with pytest.raises(RunError, match=r"random has no option upper\.first"):
        check_names(names, config(update_mask="random"))
