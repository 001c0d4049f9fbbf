"""Where billing lines live: one package for each PSA, behind the protocol `Psa`."""

from kisi.psa.interface import (
    ProbeStep,
    Psa,
    PsaAgreement,
    PsaCompany,
    PsaProduct,
    SupportsProbe,
    foreign_change,
    when,
    whole_lines,
)

__all__ = [
    "ProbeStep",
    "Psa",
    "PsaAgreement",
    "PsaCompany",
    "PsaProduct",
    "SupportsProbe",
    "foreign_change",
    "when",
    "whole_lines",
]
