"""`preview` and `sync` as a page to keep, mail or print."""

from __future__ import annotations

from kisi.render.plan_report import plan_report
from kisi.render.plan_view import PlanView
from kisi.render.web import web_page


def plan_html(view: PlanView, *, verbose: bool = False) -> str:
    """The same content as the table, with the last line on top."""
    return web_page(plan_report(view, verbose=verbose))
