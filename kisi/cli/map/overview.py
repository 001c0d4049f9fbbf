"""`kisi map` without a terminal: what is unmapped, and the commands that map it."""

from __future__ import annotations

from pathlib import Path

from kisi.cli.output import Voice, result

_NEXT = """\
What to do next:
  kisi map suggest --format csv --output suggestions.csv
  kisi map accept suggestions.csv          (after you have looked through it)
  kisi map company --tenant SOURCE:TENANT --company ID --agreement ID
  kisi map product APPLICATION --all ID
  kisi map billing CLIENT on               (new clients are not billed yet)
On a terminal, `kisi map` asks client by client. `kisi map list` shows all ids."""


def show_overview(config: Path | None, voice: Voice) -> int:
    """Prints the overview and never waits for input.

    Returns:
        The exit code: 0, or that of what could not be read.
    """
    from kisi.cli.map.editing import inventory_of, tell_missing
    from kisi.cli.options import Format
    from kisi.cli.report import Wish, terminal_text
    from kisi.cli.setup import opened
    from kisi.render.inventory import unmapped_report

    with opened(config) as setup:
        inventory = inventory_of(setup, voice)
    report = unmapped_report(inventory.only_unmapped())
    result(terminal_text(report, voice, Wish(Format.TABLE)), None)
    tell_missing(inventory, voice)
    if report.sections:
        voice.say(_NEXT)
    elif not inventory.missing:
        voice.say("Nothing is unmapped.")
    return inventory.exit_code
