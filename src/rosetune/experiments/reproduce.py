"""The plans behind the papers' tables, and two of our own, which come with the package."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from string import Template

from rosetune.experiments.plan import Plan, not_asked
from rosetune.experiments.plan_reader import parse_plan
from rosetune.experiments.probe import MSGS_NAMES, probe_tasks
from rosetune.runs.values import RunError, guess

__all__ = ["REPRODUCTIONS", "SCALES", "filled_names", "filled_plan", "plan_text", "reproduction"]

SCALES = ("smoke", "small", "paper")
REPRODUCTIONS = (
    *("table1", "table2", "table3", "table4", "figure1", "figure2", "figure3", "figure4"),
    *("rift", "match_tuning", "hardening", "price"),
)
# Draws of the sentences of Figure 3, by scale; MSGS has 5000.
PARADIGMS = {"smoke": 4, "small": 500, "paper": 5000}


def reproduction(
    name: str,
    scale: str = "small",
    *,
    model: str | None = None,
    tasks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    data_dir: str | None = None,
    synonyms: str | None = None,
    output_dir: str | None = None,
) -> Plan:
    """One of the papers' results as a plan.

    Args:
        name: of :data:`REPRODUCTIONS`.
        scale: "smoke" ends within minutes and shows nothing but that the plan works; "small" takes MiniLM and what is
            at hand; "paper" is the paper's protocol, for a GPU and a hub.
        model, tasks, seeds, output_dir: in the place of the plan's. The tasks of figure3 are "the" and "length".
        data_dir: of GLUE's and AdvGLUE's files; None: the hub. Of figure3: of MSGS's files; None: the generator.
            hardening needs it, since ``sms_spam`` lies there too.
        synonyms: of the attacks and of RIFT, as in :class:`~rosetune.experiments.attack_options.AttackOptions`.

    Raises:
        RunError: there is no such result or scale, or it needs synonyms or a folder of data.
    """
    asked, template = f"{name} at the scale {scale} needs", plan_text(name, scale)
    if "${synonyms}" in template and synonyms is None:
        raise RunError(f"{asked} --synonyms: a JSON file of synonyms, or wordnet")
    if "${data_dir}" in template and data_dir is None:
        raise RunError(f"{asked} --data_dir: a folder with GLUE's and AdvGLUE's files and sms_spam/sms_spam.tsv")
    text = filled_plan(name, scale, tasks=tasks, data_dir=data_dir, synonyms=synonyms, output_dir=output_dir)
    plan = parse_plan(text, f"{name}-{scale}.yaml")
    probing = name == "figure3"  # whose tasks are made of what was asked for, and are files
    plan = plan.narrowed(None if probing else tasks, None if model is None else [model], seeds)
    if probing and (rest := [part for part in MSGS_NAMES if part not in (tasks or MSGS_NAMES)]):
        plan = replace(plan, left_out=(*plan.left_out, not_asked("tasks", rest)))
    options = {} if data_dir is None or probing else {"data_dir": data_dir}
    place = plan.output_dir if output_dir is None else output_dir
    return replace(plan, output_dir=place, options={**plan.options, **options})


def filled_plan(
    name: str,
    scale: str,
    *,
    tasks: Sequence[str] | None = None,
    data_dir: str | None = None,
    synonyms: str | None = None,
    output_dir: str | None = None,
) -> str:
    """The YAML of a plan with what was asked for in the place of its names; the sentences of figure3 are written.

    Raises:
        RunError: as :func:`reproduction`.
    """
    text, given = plan_text(name, scale), {"synonyms": synonyms, "data_dir": data_dir}
    known = {name: value for name, value in given.items() if value is not None}
    if "${probes}" in text:
        known["probes"] = probe_tasks(output_dir or "runs", tasks or [*MSGS_NAMES], PARADIGMS[scale], data_dir)
    return Template(text).safe_substitute(known)


def filled_names(name: str, scale: str) -> set[str]:
    """What of the arguments of :func:`filled_plan` the text of a plan has a place for.

    Raises:
        RunError: there is no such plan.
    """
    text = plan_text(name, scale)
    found = {option for option in ("synonyms", "data_dir") if f"${{{option}}}" in text}
    return found | ({"tasks", "data_dir", "output_dir"} if "${probes}" in text else set())


def plan_text(name: str, scale: str | None = None) -> str:
    """The YAML of a plan of the package, with its comments.

    Args:
        scale: None: of the demonstration, which has one.

    Raises:
        RunError: there is none.
    """
    if scale is not None:
        if name not in REPRODUCTIONS:
            raise RunError(f"there is no plan of {name!r}: {guess(name, REPRODUCTIONS)}")
        if scale not in SCALES:
            raise RunError(f"there is no scale {scale!r}: {guess(scale, SCALES)}")
    file = f"plans/{name}.yaml" if scale is None else f"plans/{name}-{scale}.yaml"
    return files("rosetune.recipes").joinpath(file).read_text(encoding="utf-8")
