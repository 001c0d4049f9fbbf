"""The pipeline that `preview` and `sync` share, up to the guarded plan; and what its result means.

`collect` reads the sources, `psas` the PSAs; `settle` finds what became of earlier writes;
`new_lines` and `waiting` say what stands against a line; `pipeline` puts it all together.
"""

from typing import TYPE_CHECKING

from kisi.lazy import lazy_names

if TYPE_CHECKING:
    from kisi.reconcile.collect import Progress
    from kisi.reconcile.pipeline import JournalState, Reconciled, Rules, reconcile, resolve, select
    from kisi.reconcile.settle import SettledOperation

__all__ = [
    "JournalState",
    "Progress",
    "Reconciled",
    "Rules",
    "SettledOperation",
    "reconcile",
    "resolve",
    "select",
]
__getattr__ = lazy_names(
    __name__,
    collect="Progress",
    pipeline="JournalState Reconciled Rules reconcile resolve select",
    settle="SettledOperation",
)
