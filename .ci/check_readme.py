"""README shows `kisi --help` as it is, and every command it names exists."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- help -->", "<!-- /help -->"


def kisi_help(*command: str) -> str:
    """The help text, at a fixed width and without colours."""
    environment = {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1", "PYTHONUTF8": "1", "PATH": ""}
    arguments = [sys.executable, "-m", "kisi", *command, "--help"]
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=environment,
        encoding="utf-8",
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def main() -> int:
    """Compares; with `--write` puts the real text in."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    wanted = f"{BEGIN}\n```\n{kisi_help()}\n```\n{END}"
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    fresh = pattern.sub(lambda _: wanted, text)
    if BEGIN not in text:
        print(f"README.md has no {BEGIN} ... {END}")
        return 1
    if "--write" in sys.argv:
        path.write_text(fresh, encoding="utf-8")
    elif fresh != text:
        print("README.md does not show `kisi --help` as it is: run .ci/check_readme.py --write")
        return 1
    commands = set(re.findall(r"^  ([a-z]+) ", kisi_help(), re.MULTILINE))
    named = set(re.findall(r"`kisi ([a-z]+)", text))
    unknown = named - commands
    if unknown:
        print(f"README.md names commands that do not exist: {', '.join(sorted(unknown))}")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
