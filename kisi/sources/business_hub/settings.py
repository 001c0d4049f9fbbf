"""`[sources.NAME]` of `kind = "business-hub"`: where the reports are, what their words mean."""

from __future__ import annotations

import glob
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kisi.config import Hours, Section, Table, Text

ACTIVE_STATUS = (
    *("active", "valid", "ok", "in use"),
    *("aktiv", "gültig", "actif", "active", "valide", "activo", "activa", "vigente"),
    *("attivo", "attiva", "valida", "ativo", "ativa", "actief", "geldig"),
    *("aktywna", "aktywny", "aktivní", "aktív", "etkin", "activ"),
    *("активна", "активная", "активен", "действует", "действующая", "действительна"),
)
"""Words that mean: this licence is in force. English, German, French, Spanish, Italian, Portuguese,
Dutch, Polish, Czech, Hungarian, Turkish, Romanian and Russian."""

INACTIVE_STATUS = (
    *("inactive", "not active", "expired", "cancelled", "canceled", "terminated", "revoked"),
    *("paused", "suspended", "blocked", "disabled", "reserve", "grace", "grace period", "trial"),
    *("inaktiv", "abgelaufen", "gekündigt", "storniert", "pausiert", "gesperrt", "testversion"),
    *("inactif", "inactive", "expiré", "expirée", "annulé", "annulée", "suspendu", "suspendue"),
    *("inactivo", "inactiva", "caducado", "caducada", "vencido", "vencida", "cancelado"),
    *("cancelada", "suspendido", "suspendida", "expirado", "expirada", "inativo", "inativa"),
    *("inattivo", "inattiva", "scaduto", "scaduta", "annullato", "annullata", "sospeso", "sospesa"),
    *("inactief", "verlopen", "geannuleerd", "nieaktywna", "wygasła", "neaktivní", "vypršela"),
    *("lejárt", "süresi doldu", "expirat", "expirată"),
    *("неактивна", "истек", "истекла", "истекший", "просрочена", "отменена", "аннулирована"),
    *("приостановлена", "заблокирована"),
)
"""Words that mean: this licence is not in force, or only in its grace term. It does not count."""

COUNTED_TYPES = (
    *("commercial", "subscription", "paid", "commercial subscription"),
    *("kommerziell", "abonnement", "abo", "commerciale", "comercial", "suscripción"),
    *("abbonamento", "assinatura", "commercieel", "komercyjna", "subskrypcja", "komerční"),
    *("коммерческая", "подписка"),
)
"""Licence types of which Kaspersky's rule says that they are counted."""

UNCOUNTED_TYPES = (
    *("trial", "test", "beta", "evaluation", "demo", "free", "oem", "nfr", "not for resale"),
    *("testversion", "testlizenz", "essai", "évaluation", "prueba", "evaluación", "prova"),
    *("versione di prova", "avaliação", "proef", "próbna", "testowa", "zkušební"),
    *("пробная", "тестовая", "бета"),
)
"""Licence types that are never counted."""

Words = tuple[str, ...]


def fold(text: str) -> str:
    """`text` for comparisons: without regard to case, white space and how accents are composed."""
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def matching(pattern: str, base: Path) -> tuple[Path, ...]:
    """What fits a glob, relative to `base` or absolute."""
    names = sorted(glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
    return tuple(base / name for name in names)


class Columns(Table):
    """The report's own headings, found without regard to case and outer spaces.

    An empty string says that the report has no such column, or that kisi must not use it.
    """

    company: Text = "company"
    application: Text = "application"
    category: str = "category"
    quantity: str = "quantity"
    status: str = "status"
    device: str = "device"
    operating_system: str = "operating_system"
    license_type: str = "license_type"

    def named(self, column: str) -> bool:
        """Whether the operator named this column, so that a report without it is a wrong one."""
        return column in self.model_fields_set and bool(getattr(self, column))


class HubSettings(Section):
    """Settings of a source of exported reports. It logs in nowhere and has no secrets."""

    kind: Literal["business-hub"] = "business-hub"
    files: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Globs relative to kisi.toml; the newest file of each is read."""
    max_age_hours: Hours = 72
    columns: Columns = Columns()
    active_status: Words = ACTIVE_STATUS
    inactive_status: Words = INACTIVE_STATUS
    counted_types: Words = COUNTED_TYPES
    uncounted_types: Words = UNCOUNTED_TYPES
    final_line_end: bool = True
    """Whether a report whose last line has no end is taken to be cut off."""

    def files_read(self, base: Path) -> Iterator[Path]:
        """Every report that fits a glob: each may be the newest one day."""
        for pattern in self.files:
            yield from matching(pattern, base)

    @model_validator(mode="after")
    def _no_word_means_both(self) -> Self:
        for yes, no in (
            ("active_status", "inactive_status"),
            ("counted_types", "uncounted_types"),
        ):
            both = {*map(fold, getattr(self, yes))} & {*map(fold, getattr(self, no))}
            if both:
                words = ", ".join(sorted(both))
                raise ValueError(f"{yes} and {no} must not share a word, and both hold: {words}")
        return self
