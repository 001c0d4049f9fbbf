"""The pages of `preview`, `status` and `statement`, in a real browser: Chromium, without a screen.

They need the extra `browser` (playwright) and a Chromium (`apt-get install chromium`), or the path
of one in `KISI_CHROMIUM`. With `KISI_PAGES=FOLDER` the pages are kept there, to be looked at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Operator

playwright = pytest.importorskip(
    "playwright.sync_api", reason="without playwright (the extra `browser`) no page can be opened"
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = os.environ.get("KISI_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

HOSTILE = '<img src=x onerror="document.title=1"><script>alert(1)</script>`x`'
SIZES = {"phone": 375, "desk": 1200}
PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 28)"}
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
Open = Callable[..., Any]


@pytest.fixture
def browser() -> Iterator[Any]:
    """A browser that reaches nothing."""
    with playwright.sync_playwright() as api:
        found = api.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@contextmanager
def opened(browser: Any, file: Path, **how: Any) -> Iterator[Any]:
    """A file in a page of its own, of which nothing is said on the console."""
    how = {"viewport": {"width": how.pop("width", 1200), "height": 800}, **how}
    context = browser.new_context(offline=True, **how)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(file.as_uri())
    yield page
    assert said == []
    context.close()


@pytest.fixture
def pages(operator: Operator) -> dict[str, Path]:
    """The pages of a world with a change, a hold, a failure, a long name and a hostile one."""
    operator.bill_by_category()
    contoso = operator.client("Contoso", workstations=90, servers=10)
    fabrikam = operator.client("Fabrikam", workstations=400)
    wingtip = operator.client("Wingtip", workstations=7)
    operator.client(HOSTILE, workstations=3)
    operator.client("Donaudampfschifffahrtsgesellschaftskapitaensmuetzenfabrik" * 2, linux=20)
    operator.sync()
    for line in operator.world.lines.values():
        line.unit_price = 4.5
    operator.next_night()
    contoso.add_devices(n=2)
    operator.sync()
    operator.next_night()
    fabrikam.remove_devices(300)
    wingtip.server.readable = False
    operator.sync()
    contoso.add_devices(n=1)
    found = {}
    for command in (["preview"], ["status"], ["statement", "Contoso"]):
        found[command[0]] = operator.folder / f"{command[0]}.html"
        operator.run(*command, "--format", "html", "--output", str(operator.folder / command[0]))
    (statement,) = (operator.folder / "statement").iterdir()
    (operator.folder / "preview").rename(found["preview"])
    (operator.folder / "status").rename(found["status"])
    if keep := os.environ.get("KISI_PAGES"):
        for name, file in {**found, "statement": statement}.items():
            shutil.copy(file, Path(keep) / f"{name}.html")
    return {**found, "statement": statement}


def test_the_pages(browser: Any, pages: dict[str, Path]):
    """One test, because a world and a browser take long to make."""
    for name, file in pages.items():
        with opened(browser, file) as page:
            for width in SIZES.values():
                page.set_viewport_size({"width": width, "height": 800})
                for scheme, paper in PAPER.items():
                    page.emulate_media(media="screen", color_scheme=scheme)
                    assert page.evaluate(BACKGROUND) == paper
                    _fits(page, width)
            _has_charts(page)
            assert "<script>alert(1)" not in page.title()
            assert page.locator("img").count() == 0
            page.emulate_media(media="print", color_scheme="dark")
            assert page.evaluate(BACKGROUND) == PAPER["light"]
            assert page.locator(".controls:visible").count() == 0
            if name != "statement":
                _hostile_names_are_text(page)
        with opened(browser, file, java_script_enabled=False) as page:
            assert page.locator("section").first.is_visible()
            assert page.locator(".controls:visible").count() == 0
    for name in ("preview", "status"):
        with opened(browser, pages[name], width=SIZES["phone"]) as page:
            _sorts(page)
            _finds(page)
            _filters(page)


def _fits(page: Any, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = """() => [...document.querySelectorAll('th[scope=col], thead th')].filter((head) => {
        const range = document.createRange();
        range.selectNodeContents(head.querySelector('button') || head);
        if (!range.startContainer.textContent.trim()) return false;
        range.selectNode(range.startContainer.firstChild);
        return new Set([...range.getClientRects()].map((x) => Math.round(x.top))).size > 1;
    }).map((head) => head.textContent)"""
    assert page.evaluate(broken) == []


def _has_charts(page: Any) -> None:
    charts = page.locator("svg[role=img]")
    assert charts.count() > 0
    for label in charts.evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))"):
        assert any(letter.isdigit() for letter in label)


def _hostile_names_are_text(page: Any) -> None:
    assert page.get_by_role("link", name=HOSTILE, exact=True).is_visible()


def _clients(page: Any) -> list[str]:
    found: list[str] = page.locator(".index tbody tr:visible th").all_inner_texts()
    return found


def _sorts(page: Any) -> None:
    names = sorted(_clients(page), key=str.casefold)
    heads = page.locator(".index thead")
    heads.get_by_role("button", name="client").click()
    assert _clients(page)[-1] == "Wingtip"
    heads.get_by_role("button", name="client").click()
    assert _clients(page)[0] == "Wingtip"
    heads.get_by_role("button", name="amount").click()
    heads.get_by_role("button", name="amount").click()
    assert _clients(page)[0] == "Fabrikam"  # 1800.00, which as a text is less than 459.00
    assert sorted(_clients(page), key=str.casefold) == names
    assert page.locator("[aria-sort=descending]").inner_text().strip().startswith("amount")


def _finds(page: Any) -> None:
    page.get_by_label("Find").fill("conto")
    assert _clients(page) == ["Contoso"]
    assert page.locator("#count").inner_text().startswith("1 of ")
    shown = page.locator("section:visible h2").all_inner_texts()
    assert any("Contoso" in one for one in shown)
    assert not any("Wingtip" in one for one in shown)
    page.get_by_label("Find").fill("")


def _filters(page: Any) -> None:
    page.get_by_label("State").select_option("failed")
    assert _clients(page) == ["Wingtip"]
    page.get_by_label("State").select_option("")
    assert len(_clients(page)) == 5
