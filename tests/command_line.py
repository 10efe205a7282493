"""What tests of the command line share, importable as ``command_line``."""

import subprocess
import sys

Called = tuple[int, str, str]


def one_line(called: Called, message: str) -> None:
    """What a call with bad input comes to: exit code 2, nothing on standard output, one line on standard error."""
    code, out, err = called
    assert code == 2, err
    assert out == ""
    assert message in err
    assert err.startswith("rosetune")
    assert err.count("\n") == 1, err


def run_python(code: str) -> str:
    """Standard output of a fresh interpreter, which must end well."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout
