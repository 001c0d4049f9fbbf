"""The tests on Windows' Python, elsewhere than on Windows too (Wine): by folder, with figures.

`KISI_WINPY` names a python.exe, a launcher of one (a script that takes Python's arguments), or the
folder where `winpy` or `python.exe` is. It needs what `requirements/dev.txt` has for Windows, but
not kisi: the tree around this script is tested. Each folder leaves a JUnit file in
`build/windows-tests`; one whose run was cut short, or whose figures do not add up, has failed.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "windows-tests"
LONGEST = 3600
"""Seconds after which a folder's run is ended."""
MAIN = ("main_job", "installed_command", "demo", "business_hub", "status_explain", "bad_input")
"""The end-to-end tests of the daily work, of streams, paths and files."""
START = """
import os, sys
sys.path.insert(0, os.getcwd())
os.environ["PYTHONPATH"] = os.getcwd()  # for the processes that tests start
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def launcher() -> Path | None:
    """What runs Windows' Python here, if it is set up."""
    named = os.environ.get("KISI_WINPY")
    if not named:
        return None
    places = [Path(named), *(Path(named) / name for name in ("winpy", "python.exe"))]
    return next((place.absolute() for place in places if place.is_file()), None)


def folders(names: list[str], *, fast: bool) -> Iterator[str]:
    """What is run by itself: each folder of unit tests, and each file of the slow ones."""
    unit = [
        "unit",
        *sorted(f"unit/{each.parent.name}" for each in (ROOT / "tests").glob("unit/*/__init__.py")),
    ]
    if fast or not names:
        yield from unit
    if not (fast or names):
        yield from ("contract", *(f"e2e/test_{name}.py" for name in MAIN))
    for name in names:
        slow = (
            sorted((ROOT / "tests" / name).glob("test_*.py")) if name in {"e2e", "faults"} else []
        )
        yield from unit if name == "unit" else [f"{name}/{file.name}" for file in slow] or [name]


def run(python: Path, what: str, *, fast: bool) -> str:
    """Runs it; what is wrong, or nothing. Its output goes beside its JUnit file."""
    name = what.removesuffix(".py").replace("/", "-")
    report, output, began = RESULTS / f"{name}.xml", RESULTS / f"{name}.txt", time.monotonic()
    report.unlink(missing_ok=True)
    paths = sorted(
        f"tests/{file.parent.name}/{file.name}" for file in (ROOT / "tests/unit").glob("test_*.py")
    )
    arguments = ["-v", "--tb=short", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=300"]
    arguments += [f"--junitxml={report.relative_to(ROOT)}", *(["-m", "not slow"] if fast else [])]
    arguments += paths if what == "unit" else [f"tests/{what}"]
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [str(python), "-c", START, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            umask=0o077,  # Wine shows modes as access lists, and everybody could read each secret
        ) as process,
    ):
        try:
            code = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
            code = -1
    wrong = judged(report, code)
    print(f"{what}: {wrong or figures(report)}, {time.monotonic() - began:.0f} s", flush=True)
    return wrong and f"{what}: {wrong}; see {output.relative_to(ROOT)}"


def judged(report: Path, code: int) -> str:
    """What is wrong with a run, by its JUnit file and its exit code (5: no test was chosen)."""
    if not report.exists():
        return f"it was cut short (exit code {code})"
    if failed := sum(map(is_bad, ET.parse(report).getroot().iter("testcase"))):
        return f"{failed} failed, {figures(report)}"
    return "" if code in {0, 5} else f"exit code {code}, {figures(report)}"


def is_bad(case: ET.Element) -> bool:
    """Whether a test failed, or what it stands on."""
    return case.find("failure") is not None or case.find("error") is not None


def figures(report: Path) -> str:
    """How many passed, and how many were skipped, by reason."""
    cases = list(ET.parse(report).getroot().iter("testcase"))
    skips = Counter(skip.get("message", "") for case in cases for skip in case.iter("skipped"))
    passed = len(cases) - skips.total() - sum(map(is_bad, cases))
    return f"{passed} of {len(cases)} passed" + "".join(
        f", {count} skipped ({reason})" for reason, count in skips.most_common()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fast", action="store_true", help="unit tests that are not slow")
    parser.add_argument("what", nargs="*", help="unit, contract, e2e, faults, or a path in tests/")
    chosen = parser.parse_args()
    python = launcher()
    if python is None:
        print(
            "No Windows Python is set up here, so nothing was tested on Windows. KISI_WINPY names "
            "its python.exe, its launcher, or the folder of either: now "
            f"{os.environ.get('KISI_WINPY') or 'not set'}.",
            file=sys.stderr,
        )
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    wrong = [
        told
        for each in folders(chosen.what, fast=chosen.fast)
        if (told := run(python, each, fast=chosen.fast))
    ]
    print("\n".join(wrong) or "Windows: no test failed.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
