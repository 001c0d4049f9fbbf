"""`kisi check`: is everything right, before anything is billed?"""

from __future__ import annotations

from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.options import FindingsFormat, Format


def check(
    config: options.Config = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Also log in: certificates, clocks, rights, every mapped id."
        ),
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of kisi.toml and do nothing.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Acknowledge a damaged journal: start an empty one.")
    ] = False,
    probe_tigerpaw: Annotated[
        str | None,
        typer.Option(
            metavar="[PSA:]AGREEMENT",
            help="Prove the Tigerpaw template on a scratch agreement (on a terminal only).",
        ),
    ] = None,
    format_: options.AsFindings = FindingsFormat.TABLE,
    json: options.Json = False,
    output_file: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Check files, secrets and permissions; with --online also the systems. Writes nothing.

    Every finding says what to do about it. Exit 3 for files and secrets, 4 for a source, 5 for a
    PSA, 6 for a mapped id that is gone or not fit to bill.
    """
    from kisi.cli import checking
    from kisi.cli.report import Wish, show, terminal_text
    from kisi.json_text import dumps
    from kisi.render.findings import findings_document, findings_report

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    if schema:
        output.result(checking.schema_text(), output_file)
        raise typer.Exit
    if repair:
        raise typer.Exit(checking.repair_journal(config, voice))
    if probe_tigerpaw is not None:
        raise typer.Exit(checking.probe(config, probe_tigerpaw, voice))
    areas = checking.check_all(config, online=online, voice=voice)
    wish = Wish(output.chosen(Format(format_), json=json), output_file)
    code = checking.code_of(areas)
    detailed = voice.verbose > 0 or online
    show(
        {
            Format.TABLE: lambda: terminal_text(
                findings_report(areas, detailed=detailed), voice, wish
            ),
            Format.JSON: lambda: dumps(findings_document(areas, code)),
        },
        wish,
    )
    (voice.insist if code else voice.say)(checking.check_summary(areas, online=online))
    raise typer.Exit(code)
