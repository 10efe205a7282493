"""The plans behind the papers' tables, which come with the package."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from string import Template

from rosetune.experiments.plan import Plan
from rosetune.experiments.plan_reader import parse_plan
from rosetune.runs.values import RunError, guess

__all__ = ["LATER", "REPRODUCTIONS", "SCALES", "plan_text", "reproduction"]

SCALES = ("smoke", "small", "paper")
REPRODUCTIONS = ("table1", "table2", "table3", "table4", "figure1", "figure2", "figure4", "rift", "match_tuning")
LATER = ("figure3",)  # its runs are of sentences that are made, see rosetune.experiments.probe


def reproduction(
    name: str,
    scale: str = "small",
    *,
    model: str | None = None,
    tasks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    data_dir: str | None = None,
    synonyms: str | None = None,
) -> Plan:
    """One of the papers' results as a plan.

    Args:
        name: of :data:`REPRODUCTIONS`.
        scale: "smoke" ends within minutes and shows nothing but that the plan works; "small" takes MiniLM and what is
            at hand; "paper" is the paper's protocol, for a GPU and a hub.
        model, tasks, seeds: in the place of the plan's.
        data_dir: of GLUE's and AdvGLUE's files; None: the hub.
        synonyms: of the attacks and of RIFT, as in :class:`~rosetune.experiments.attack_options.AttackOptions`.

    Raises:
        RunError: there is no such result or scale, or it needs synonyms.
    """
    text = plan_text(name, scale)
    if "${synonyms}" in text and synonyms is None:
        raise RunError(f"{name} at the scale {scale} needs --synonyms: a JSON file of synonyms, or wordnet")
    plan = parse_plan(Template(text).safe_substitute(synonyms=synonyms), f"{name}-{scale}.yaml")
    plan = plan.narrowed(tasks, None if model is None else [model], seeds)
    return replace(plan, options={**plan.options, **({} if data_dir is None else {"data_dir": data_dir})})


def plan_text(name: str, scale: str | None = None) -> str:
    """The YAML of a plan of the package, with its comments.

    Args:
        scale: None: of the demonstration, which has one.

    Raises:
        RunError: there is none.
    """
    if scale is not None:
        if name in LATER:
            raise RunError(f"{name} is made from Python: see Probes in docs/analysis.md; there are {_list()}")
        if name not in REPRODUCTIONS:
            raise RunError(f"there is no plan of {name!r}: {guess(name, REPRODUCTIONS + LATER)}")
        if scale not in SCALES:
            raise RunError(f"there is no scale {scale!r}: {guess(scale, SCALES)}")
    file = f"plans/{name}.yaml" if scale is None else f"plans/{name}-{scale}.yaml"
    return files("rosetune.recipes").joinpath(file).read_text(encoding="utf-8")


def _list() -> str:
    return ", ".join(REPRODUCTIONS)
