"""README and docs do what they say: Python is run, command lines are parsed by the real parser, cheap ones are run.

An HTML comment above a block says what the reader does not see:

    <!-- setup: docs/_setup/model.py -->   at the top of a page: run before its blocks, in the same names and folder
    <!-- run -->                            run these command lines too, one after the other
    <!-- refused -->                        likewise, and each must end with an error that a user can act on
    <!-- said -->                           each line of this text is one that the command lines before it said
    <!-- file: plan.yaml -->               this YAML is a plan, which the command lines find under that name
    <!-- limits -->                         this YAML holds limits of a gate
    <!-- workflow -->                       this YAML is a workflow, whose steps are command lines
    <!-- not run: why -->                   parsed, but not run here
"""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
_BLOCK = re.compile(r"((?:^<!-- [^\n]* -->\n\n?)*)^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# All that may stand in a block of commands beside rosetune; makers of the pages keep it short.
_OTHERS = ("make", "pip", "python")
# What a reader has and a test has not: the embedded model, in whose place the set-up's stands.
SMALL = {"demo": "FacebookAI/roberta-base"}
# Marked as not to be run, by page: a new one is a decision, not an accident.
NOT_RUN = {
    "docs/how-to/elsewhere.md": 1,
    "docs/how-to/several-gpus.md": 2,
    "docs/how-to/sweeps.md": 1,
    "docs/how-to/tables.md": 1,
    "docs/robustness.md": 3,
}


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and the comments above it."""

    language: str
    text: str
    marks: tuple[str, ...]

    @property
    def commands(self) -> list[list[str]]:
        """The command lines of a block of shell, in words."""
        return [words for line in self.text.replace("\\\n", " ").splitlines() if (words := shlex.split(line, True))]


def blocks_of(name: str) -> list[Block]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [
        Block(language, code, tuple(re.findall(r"<!-- (.*?) -->", marks)))
        for marks, language, code in _BLOCK.findall(text)
    ]


def setup_of(name: str) -> Path | None:
    found = re.findall(r"<!-- setup: (\S+) -->", (ROOT / name).read_text(encoding="utf-8"))
    assert len(found) < 2
    return ROOT / found[0] if found else None


def not_run(block: Block) -> bool:
    return any(mark.startswith("not run: ") for mark in block.marks)


def is_run(block: Block) -> bool:
    return bool({"run", "refused"} & {*block.marks}) or (block.language == "python" and not not_run(block))


def ending(words: list[str]) -> Any:
    """The exit code of a command line of rosetune."""
    from rosetune.cli import main

    assert words[0] == "rosetune"
    try:
        main([SMALL.get(word, word) if before.startswith("--model") else word for before, word in pairwise(words)])
    except SystemExit as ended:
        return ended.code
    return 0


def write_plan(file: Path, text: str) -> None:
    """A plan that a page shows; nothing is wrong with it."""
    from rosetune.experiments.expansion import planned_runs
    from rosetune.experiments.plan_reader import read_plan

    file.write_text(text, encoding="utf-8")
    assert planned_runs(read_plan(file))


def lines_of(text: str) -> list[str]:
    """The lines of a text; what is indented goes on with the line before."""
    return [" ".join(line.split()) for line in re.sub(r"\n +", " ", text).splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_fences_are_of_known_languages_and_marks(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    found = blocks_of(name)
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(found), "a fence without a language, or not closed"
    assert {block.language for block in found} <= {"python", "bash", "yaml", "text", "json"}
    comments = re.findall(r"<!-- (.*?) -->", text, re.DOTALL)
    assert all(
        re.fullmatch(
            r"setup: docs/_setup/\w+\.py|run|refused|said|file: \w+\.yaml|limits|workflow|not run: .+|prints", c
        )
        for c in comments
    )
    # The site puts there what a command prints; where the page is read as it is, the line must name the command.
    assert len(re.findall(r"^`rosetune [^`]+` .* <!-- prints -->$", text, re.MULTILINE)) == comments.count("prints")
    assert sum(map(not_run, found)) == NOT_RUN.get(name, 0)


# --- Python, and the command lines that are run with it ------------------------------------------------------------


RUN = [name for name in NAMES if any(map(is_run, blocks_of(name)))]


@pytest.mark.parametrize("name", RUN)
def test_blocks_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the page, in one folder and with one set of names."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page", "SETUP": str(ROOT / "docs" / "_setup")}
    setup = setup_of(name)
    if setup is not None:
        exec(compile(setup.read_text(encoding="utf-8"), str(setup), "exec"), names)
    said: list[str] = []
    for block in blocks_of(name):
        for mark in block.marks:
            if mark.startswith("file: "):
                write_plan(Path(mark.removeprefix("file: ")), block.text)
        if "said" in block.marks:
            assert not {*lines_of(block.text)} - {*said}
        elif is_run(block) and block.language == "python":
            exec(compile(block.text, name, "exec"), names)
        elif is_run(block):
            expected = 2 if "refused" in block.marks else 0
            capsys.readouterr()
            assert [ending(words) for words in block.commands] == [expected] * len(block.commands)
            said = lines_of(capsys.readouterr().err)


# --- command lines --------------------------------------------------------------------------------------------------


COMMANDS = [
    pytest.param(name, words, id=f"{name}: {' '.join(words)[:60]}")
    for name in NAMES
    for block in blocks_of(name)
    if block.language == "bash"
    for words in block.commands
]


@pytest.mark.parametrize(("name", "words"), COMMANDS)
def test_command_lines_are_real(name: str, words: list[str]) -> None:
    if "rosetune" in words and words[0] in ("rosetune", "accelerate"):
        check_rosetune(words[words.index("rosetune") + 1 :])
    elif words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[1] in targets
    elif words[0] == "pip":
        assert words[1] == "install"
        for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
            assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    else:
        assert words[0] in _OTHERS
        assert (ROOT / words[1]).is_file()


def check_rosetune(words: list[str]) -> None:
    """Each flag is the verb's own, or of `train` and `search` the Trainer's; JSON is JSON; a recipe is there."""
    from rosetune.cli import _parser, _underscored
    from rosetune.recipes import load_recipe

    known, rest = _parser().parse_known_args([_underscored(word) for word in words])
    if rest:
        from rosetune.arguments import RobustTrainingArguments

        assert known.verb in ("train", "search", "harden"), rest
        flags = {word.partition("=")[0].removeprefix("--") for word in rest if word.startswith("--")}
        assert flags <= {field.name for field in fields(RobustTrainingArguments)}
    for option, value in vars(known).items():
        if option.endswith("_kwargs"):
            assert isinstance(json.loads(value), dict)
    if known.verb in ("train", "search", "harden") and known.recipe:
        load_recipe(known.recipe)
    if known.verb == "search":
        from rosetune.experiments.search_space import read_space

        assert read_space(known.space)
    if known.verb == "attack":
        from rosetune.robustness.attacks.recipes import RECIPES

        assert {*known.attack.split(",")} <= {*RECIPES, "all"}


def fetched_before_the_gate(steps: list[str], blocks: list[Block]) -> None:
    """The baseline that the page's limits name comes from a step before the gate, in the archive that is shown."""
    (limits,) = (yaml.safe_load(block.text) for block in blocks if "limits" in block.marks)
    place, released = limits["baseline"].split("/")
    (gate,) = (at for at, step in enumerate(steps) if step.startswith("rosetune gate"))
    fetch = next(step for step in steps[:gate] if f"{released}.tar.gz" in step)
    assert fetch.endswith(f"tar -xz -C {place}")
    assert any(f"-C {place} -f {released}.tar.gz {released}" in block.text for block in blocks)


@pytest.mark.parametrize("name", NAMES)
def test_configurations_are_options_of_train(name: str, tmp_path: Path) -> None:
    from rosetune.experiments.options import make_config
    from rosetune.runs.gate_limits import Limits

    for number, block in enumerate(block for block in blocks_of(name) if block.language == "yaml"):
        if any(mark.startswith("file: ") for mark in block.marks):
            continue  # a plan, which is checked where it is used
        if "limits" in block.marks:
            given = yaml.safe_load(block.text)
            assert Limits.of({key: value for key, value in given.items() if key != "baseline"}, name).given()
            continue
        if "workflow" in block.marks:
            (job,) = yaml.safe_load(block.text)["jobs"].values()
            steps = [shlex.split(step.get("run", "")) for step in job["steps"]]
            for words in [words for words in steps if words[:1] == ["rosetune"]]:
                check_rosetune(words[1:])
            fetched_before_the_gate([step.get("run", "") for step in job["steps"]], blocks_of(name))
            continue
        file = tmp_path / f"{number}.yaml"
        file.write_text(block.text, encoding="utf-8")
        make_config(config_file=str(file))


# --- links and names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_of_the_repository(name: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "#")):
            assert ((ROOT / name).parent / target.partition("#")[0]).is_file(), target


def test_every_page_is_in_the_navigation_and_there() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r": ([\w/-]+\.md)$", text.partition("\nnav:\n")[2], re.MULTILINE)
    assert sorted(listed) == sorted(name.removeprefix("docs/") for name in NAMES if name != "README.md")


def test_the_tables_of_methods_are_complete() -> None:
    from rosetune.augmentation import AUGMENTATIONS
    from rosetune.averaging import AVERAGINGS
    from rosetune.methods import OBJECTIVES, UPDATE_MASKS

    text = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(listed) == sorted([*OBJECTIVES, *UPDATE_MASKS, *AUGMENTATIONS, *AVERAGINGS])


def test_every_cell_of_the_support_table_names_a_test_or_says_what_is_not_proven() -> None:
    section = (ROOT / "docs/support.md").read_text(encoding="utf-8").partition("## Methods and features\n")[2]
    table, _, rest = section.partition("\n\n- ")
    tests = re.findall(r"^(?:- )?(\w+): `([\w/]+\.py)::(\w+)`", rest, re.MULTILINE)
    for _, file, function in tests:
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8")
    allowed = {word for word, _, _ in tests} | {"**unproven**", "refused", "differs", "exact", "dropped"}
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    assert {len(row) for row in rows} == {9}
    assert {word.strip() for row in rows[1:] for cell in row[1:] for word in cell.split(",")} == allowed


def test_the_table_of_attacks_is_complete() -> None:
    from rosetune.robustness.attacks.recipes import RECIPES

    text = (ROOT / "docs/robustness.md").read_text(encoding="utf-8").partition("## Attacks")[2]
    assert sorted(re.findall(r"^\| `(\w+)` ", text, re.MULTILINE)) == sorted(RECIPES)


def test_the_api_pages_name_what_there_is() -> None:
    import rosetune

    pages = "".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "api").glob("*.md")))
    named = {path.rsplit(".", 1)[-1] for path in re.findall(r"^::: (\S+)", pages, re.MULTILINE)}
    assert {*rosetune.__all__} - {"AUGMENTATIONS", "AVERAGINGS", "OBJECTIVES", "UPDATE_MASKS", "__version__"} <= named


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) < 6500


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) == len(NAMES)  # README is none of them, the page for a wrong address one
    for page in pages:
        loaded = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page.read_text(encoding="utf-8"))
        assert not [tag for tag in loaded if re.search(r"""(?:src|href)=["'](?:https?:)?//""", tag)], page
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet
