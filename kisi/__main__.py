"""Runs kisi: `python -m kisi` and the console script."""

import sys


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    from kisi.cli import run  # noqa: PLC0415 - so that an interrupt during the imports is ours too

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
