"""Whole screens and documents, compared with the files in `golden/`.

After a change that is meant: `make golden` writes the files anew, and the diff is what to review.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import render_samples as samples

from kisi.json_text import dumps
from kisi.model import Tenant, TenantRef, UnmappedUse
from kisi.render.explain import explain_report
from kisi.render.export import explain_csv, explain_document, plan_csv, status_csv, status_document
from kisi.render.plan_report import plan_report
from kisi.render.report import Report
from kisi.render.status import readiness, status_report
from kisi.render.terminal import lay_out
from kisi.render.web import web_page
from kisi.run.document import plan_document
from kisi.run.result import RunResult

GOLDEN = Path(__file__).parent / "golden"


def screen(report: Report, width: int = 120, encoding: str = "utf-8") -> str:
    return lay_out(report, width, encoding)


def page(report: Report) -> str:
    """The page without its style and script, which stand in files of their own, and their hashes."""
    text = re.sub(r"'sha256-[^']+'", "'sha256-...'", web_page(report))
    return re.sub(r"<(style|script)>.*?</\1>", r"<\1>...</\1>", text, flags=re.DOTALL)


def preview() -> RunResult:
    return samples.view(samples.six_clients())


def first_look() -> RunResult:
    tenant = Tenant(TenantRef("hq", "VSRV-1"), "Fourth Coffee")
    uses = (
        UnmappedUse("Fourth Coffee", samples.KES, 90, True, tenant.ref),
        UnmappedUse("Lost", samples.CLOUD, 2, estimated=False),
    )
    return samples.view(samples.Plan((), unmapped_tenants=(tenant,), unmapped_uses=uses))


MADE: dict[str, Callable[[], str]] = {
    "preview.txt": lambda: screen(plan_report(preview())),
    "preview-80.txt": lambda: screen(plan_report(preview()), 80),
    "preview-46-ascii.txt": lambda: screen(plan_report(preview()), 46, "ascii"),
    "preview-verbose.txt": lambda: screen(plan_report(preview(), verbose=True)),
    "preview.ansi": lambda: lay_out(plan_report(preview()), 100, color=True),
    "preview.json": lambda: dumps(plan_document(preview())),
    "preview.csv": lambda: plan_csv(preview()),
    "preview.html": lambda: page(plan_report(preview())),
    "first-look.txt": lambda: screen(plan_report(first_look())),
    "sync.txt": lambda: screen(plan_report(samples.sync_view())),
    "sync.json": lambda: dumps(plan_document(samples.sync_view())),
    "sync.csv": lambda: plan_csv(samples.sync_view()),
    "status.txt": lambda: screen(status_report(samples.status_view())),
    "status-80.txt": lambda: screen(status_report(samples.status_view()), 80),
    "status-clients.txt": lambda: screen(status_report(samples.status_view(), detailed=True)),
    "status.json": lambda: dumps(
        status_document(
            samples.status_view(), readiness(samples.status_view(), samples.timedelta(hours=26))
        )
    ),
    "status.csv": lambda: status_csv(samples.status_view()),
    "status.html": lambda: page(status_report(samples.status_view(), detailed=True)),
    "explain.txt": lambda: screen(explain_report(samples.explain_view())),
    "explain-devices.txt": lambda: screen(explain_report(samples.explain_view(), devices=True)),
    "explain-20.txt": lambda: screen(explain_report(samples.explain_view(), devices=True), 20),
    "explain.json": lambda: dumps(explain_document(samples.explain_view())),
    "explain.csv": lambda: explain_csv(samples.explain_view()),
}


@pytest.mark.parametrize("name", MADE)
def test_each_screen_and_document_is_as_agreed(name: str):
    file = GOLDEN / name
    made = MADE[name]()
    if os.environ.get("KISI_GOLDEN") == "write":
        file.write_text(made, encoding="utf-8", newline="")
    assert made == file.read_bytes().decode(), "If that is meant: make golden"


def test_every_golden_file_belongs_to_a_screen():
    assert {file.name for file in GOLDEN.iterdir()} == set(MADE)
