"""SIGTERM, with which a batch system preempts, ends a verb like Ctrl-C: nothing runs on, and a line says what next."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_run import Library

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")

PLAN = """\
output_dir: {out}
tasks: [{home}/my.csv]
models: [{home}/model]
options: {{max_steps: 1000000, use_cpu: true}}
methods: [vanilla]
"""
SAID = "rosetune: terminated; the same command goes on where it stopped\n"
WAIT = 300.0


def begun(words: list[str], place: Path, there: Callable[[], bool]) -> subprocess.Popen[bytes]:
    """A process in a group of its own, once there is what it makes at its work."""
    with (place / "said.txt").open("wb") as said:
        command = [sys.executable, "-m", "rosetune", *words]
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    end = time.monotonic() + WAIT
    while not there():
        assert process.poll() is None, (place / "said.txt").read_text()
        assert time.monotonic() < end
        time.sleep(0.1)
    return process


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{process}/stat").read_text().split()[2] == "Z"  # ended, and waited for by nobody here


@pytest.mark.parametrize("to", [os.kill, os.killpg], ids=["one", "group"])
def test_a_sweep(library: Library, tmp_path: Path, to: Callable[[int, int], None]) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN.format(out=tmp_path / "out", home=library.home), encoding="utf-8")
    logs = tmp_path / "out" / "logs"

    def texts() -> str:
        return "".join(log.read_text(encoding="utf-8") for log in logs.glob("*.log"))

    process = begun(["sweep", str(tmp_path / "plan.yaml")], tmp_path, lambda: "my: " in texts())
    to(process.pid, signal.SIGTERM)
    assert process.wait(WAIT) == 143
    said = (tmp_path / "said.txt").read_text(encoding="utf-8")
    assert said.endswith(SAID)
    assert "semaphore" not in said
    assert "Traceback" not in said
    (trained,) = re.findall(r", process (\d+)", texts())
    end = time.monotonic() + WAIT
    while not is_gone(int(trained)):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_training(library: Library, tmp_path: Path) -> None:
    words = ["train", "--task", f"{library.home}/my.csv", "--model_name_or_path", f"{library.home}/model"]
    words += ["--output_dir", f"{tmp_path}/run", "--max_steps", "1000000", "--use_cpu", "true"]
    process = begun(words, tmp_path, (tmp_path / "run" / "run.json").is_file)
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT) == 143
    said = (tmp_path / "said.txt").read_text(encoding="utf-8")
    assert said.endswith(SAID)
    assert "semaphore" not in said
    assert "Traceback" not in said
    assert not (tmp_path / "run" / ".lock").exists()
