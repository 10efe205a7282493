"""Floors: what is read waits for no model, nothing imports upward, and no two modules import each other."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import made_runs
import rosetune

SOURCE = Path(rosetune.__file__).parent
MODULES = {
    ".".join(("rosetune", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
}
HEAVY = ("torch", "transformers", "sklearn", "datasets", "accelerate", "textattack", "flair")
# What of `robustness` reads scores and texts.
LIGHT = (
    *("statistics", "rows", "metrics", "calibration", "advglue", "flip_control", "edits", "noise"),
    "attacks.textattack_adapter",
)

# Which rooms each room may import; the ground has files, signals, progress bars, means, and of a mask its trace
# and how many tensors it keeps by itself.
GROUND = {
    *("_files", "_numbers", "_signals", "_progress", "_torch", "_axes", "_means", "_epoch", "_auto_threshold"),
    "mask_trace",
}
MAY = {
    "data": {*GROUND},
    "methods": {*GROUND, "data", "augmentation", "robustness"},
    "optim": {*GROUND, "methods"},
    "augmentation": {*GROUND, "data", "robustness"},
    "averaging": {*GROUND, "methods"},
    "arguments": {*GROUND, "methods", "augmentation", "averaging"},
    "_fsdp": {*GROUND, "optim"},
    "_refusals": {*GROUND, "augmentation"},
    "trainer": {
        *(*GROUND, "data", "methods", "optim", "arguments", "augmentation", "averaging", "_fsdp", "_refusals")
    },
    "recipes": {*GROUND},
    "robustness": {*GROUND, "data"},
    "analysis": {*GROUND, "data", "methods", "optim", "robustness"},
    "runs": {*GROUND, "data", "robustness"},
    "report": {*GROUND, "data", "robustness", "analysis", "runs"},
    "experiments": {
        *(*GROUND, "augmentation", "averaging", "data", "methods", "trainer", "arguments", "recipes", "robustness"),
        *("analysis", "runs"),
    },
    "verbs": {*GROUND, "data", "methods", "arguments", "recipes", "robustness", "runs", "report", "experiments"},
    "cli": {"_signals", "verbs"},
    "__main__": {"cli"},
}
# Public names are imported when they are asked for, and a package's own version is no import of it.
MAY |= {room: MAY[room] | {"rosetune"} for room in ("cli", "experiments", "report")}
MAY["rosetune"] = {*MAY} - {"experiments", "verbs", "cli", "__main__", "report"}
# `rosetune list methods` and the model card say the options of the classes, imported only then. A finished run holds
# its card.
EXCEPTIONS = {
    ("rosetune.report.listing", "rosetune.methods"),
    ("rosetune.report.listing", "rosetune.augmentation"),
    ("rosetune.report.listing", "rosetune.averaging"),
    ("rosetune.report.card_training", "rosetune.methods"),
    ("rosetune.report.card_training", "rosetune.augmentation"),
    ("rosetune.report.card_training", "rosetune.averaging"),
    ("rosetune.experiments.evaluate", "rosetune.report.card"),
    ("rosetune.experiments.evaluate", "rosetune.report.robustness_card"),
}
# The package's own names are found when they are asked for.
LAZY = {"rosetune": {name for name in MODULES if name != "rosetune"}}


def imported(module: str, path: Path) -> set[str]:
    """The modules of rosetune that one imports anywhere, also within functions and for type checking."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: a relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    found = set()
    for name in names:
        while name and name not in MODULES:  # a name in a module
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {"", module}


IMPORTS = {module: imported(module, path) for module, path in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def program(lines: str, *arguments: str) -> list[str]:
    """What is in sys.modules of a fresh interpreter in the end."""
    code = f"import sys\n{lines}\nimport json\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_folder_is_looked_at_without_statistics():
    """What is no run, or a finished one, is said before scipy is loaded, which takes a second."""
    loaded = program("import rosetune.runs.run, rosetune.experiments.quick")
    assert not {"scipy", "pandas"} & {*loaded}


def test_what_is_read_waits_for_no_model():
    """Of runs, scores, texts and a trace nothing heavy; of data no torch."""
    light = sorted(name for name in MODULES if name.startswith(("rosetune.runs", "rosetune.report")))
    assert {"rosetune.runs.run", "rosetune.runs.table", "rosetune.report.compare"} <= {*light}
    light += ["rosetune.mask_trace", *(f"rosetune.robustness.{name}" for name in LIGHT)]
    loaded = program(
        "import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
        f"heavy = {{*{HEAVY}}} & {{*sys.modules}}\nassert not heavy, heavy\n"
        "import rosetune.data.summary, rosetune.data.sources",
        *light,
    )
    assert {*light} <= {*loaded}
    assert not {"torch", "transformers"} & {*loaded}


def test_a_comparison_and_a_bare_function_need_no_torch(tmp_path):
    sets = {"clean": made_runs.outcomes(30, 10), "typos_1": made_runs.outcomes(20, 20)}
    runs = [
        made_runs.write_run(tmp_path / name, sets, training) for name, training in (("a", {}), ("b", made_runs.ROSE))
    ]
    loaded = program(
        "import rosetune, rosetune.cli as cli\n"
        "cli.main(['compare', *sys.argv[1:]])\n"
        "cli.main(['gate', sys.argv[2], '--baseline', sys.argv[1], '--max_drop', '90'])\n"
        "assert len(rosetune.scores(rosetune.find_runs(sys.argv[1:]))) == 4\n"
        "assert len(rosetune.examples(rosetune.find_runs(sys.argv[1:]))) == 160\n"
        "given = dict(texts=['fine film', 'dull'], labels=[1, 0])\n"
        "found = rosetune.evaluate(lambda texts: [[0.3, 0.7]] * len(texts), **given)\n"
        "assert found.scores().accuracy.tolist() == [0.5, 0.5, 0.5]\n"
        "rosetune.attack(lambda texts: [[0.3, 0.7]] * len(texts), **given)",
        *map(str, runs),
    )
    assert not {"torch", "transformers"} & {*loaded}


def test_no_import_goes_up():
    rooms = {room(module) for module in MODULES}
    assert rooms - {*MAY} <= GROUND, "a new room needs its floor here"
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if room(module) != room(other)
        and (module, other) not in EXCEPTIONS
        and room(other) not in MAY.get(room(module), GROUND - {room(module)})
    ]
    assert wrong == []


def test_the_floors_have_no_way_up():
    """The table itself: from no room one comes back to it."""
    for start in MAY:
        above, todo = set(), [start]
        while todo:
            for below in MAY.get(todo.pop(), set()) - above:
                above.add(below)
                todo.append(below)
        assert start not in above, start


def test_no_modules_import_each_other():
    """Neither two each other nor several in a ring."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in sorted(IMPORTS[module] - LAZY.get(module, set())):
                visit(other, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())
