"""What reads scores and texts waits for no model: neither torch nor TextAttack is imported before it is used."""

import json
import subprocess
import sys

LIGHT = ("metrics", "rows", "calibration", "statistics", "advglue", "noise", "attacks.textattack_adapter")
PROGRAM = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    importlib.import_module(f"rosetune.robustness.{name}")
    found[name] = sorted({"torch", "transformers", "textattack", "flair"} & set(sys.modules))
print(json.dumps(found))
"""


def test_no_model_is_needed():
    run = subprocess.run([sys.executable, "-c", PROGRAM, *LIGHT], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == {name: [] for name in LIGHT}
