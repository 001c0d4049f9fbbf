"""docs/reliability.md says what the fault tests do, and leaves out no row of the list."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_list_of_faults_is_complete_and_as_the_tests_are():
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "reliability.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
