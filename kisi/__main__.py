"""Runs kisi: `python -m kisi` and the console script."""

import gc
import sys


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    from kisi.cli import run  # noqa: PLC0415 - so that an interrupt during the imports is ours too

    gc.set_threshold(50_000)  # of the many values of a run hardly any form circles
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
