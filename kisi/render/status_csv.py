"""`kisi status` as CSV: one row a billing line, or a client without lines."""

from __future__ import annotations

from collections.abc import Iterable

from kisi.model import category_text
from kisi.render.csv_text import Value, csv_text
from kisi.render.figures import instant
from kisi.render.status_view import ClientRow, StatusView

_CLIENT = (
    "company",
    "psa",
    "psa_company",
    "agreement",
    "billing",
    "status",
    "since",
    "confirmed_at",
    "guard",
    "reason",
    "remedy",
)
_LINE = ("application", "category", "product", "line_id", "quantity", "quantity_since", "before")
_NO_LINE: tuple[Value, ...] = (None,) * len(_LINE)


def status_csv(view: StatusView) -> str:
    """Every client with the quantity of each of its lines, and the quantity before that."""
    return csv_text((*_CLIENT, *_LINE), (one for client in view.clients for one in _client(client)))


def _client(client: ClientRow) -> Iterable[tuple[Value, ...]]:
    state = (
        client.name,
        client.psa,
        client.company,
        client.agreement,
        client.billing.value,
        client.status.value if client.status else None,
        instant(client.since),
        instant(client.confirmed_at),
        client.guard,
        client.reason,
        client.remedy,
    )
    if not client.lines:
        yield (*state, *_NO_LINE)
    for line in client.lines:
        now = line.points[-1] if line.points else None
        before = line.points[-2] if len(line.points) > 1 else None
        yield (
            *state,
            line.application,
            category_text(line.categories),
            line.product,
            line.line_id,
            now.quantity if now else None,
            instant(now.since) if now else None,
            before.quantity if before else None,
        )
