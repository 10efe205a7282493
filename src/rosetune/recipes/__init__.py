"""Published hyper-parameters: one YAML file per method, model and task, each value with its source."""

import difflib
from importlib.resources import files
from typing import Any

__all__ = ["load_recipe", "recipe_names", "recipe_text"]


def recipe_names() -> list[str]:
    """Every recipe as method/model/task, sorted."""
    methods = [method for method in files(__name__).iterdir() if method.is_dir()]
    return sorted(
        f"{method.name}/{model.name}/{task.name.removesuffix('.yaml')}"
        for method in methods
        for model in method.iterdir()
        if model.is_dir()
        for task in model.iterdir()
        if task.name.endswith(".yaml")
    )


def load_recipe(name: str) -> dict[str, Any]:
    """A recipe as the keys and values of a ``--config`` file of ``rosetune train``.

    Args:
        name: method/model/task, such as "rose-ensemble/roberta-base/rte".

    Raises:
        ValueError: there is no such recipe; the message has the nearest names.
    """
    import yaml

    return yaml.safe_load(recipe_text(name))


def recipe_text(name: str) -> str:
    """A recipe as it is written, with the source of each value.

    Raises:
        ValueError: there is no such recipe; the message has the nearest names.
    """
    known = recipe_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "rosetune list recipes shows them all"
        raise ValueError(f"no recipe is called {name!r}: {hint}")
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
