"""Bills Kaspersky security by what an MSP's clients really use.

`sync` is the daily run and `preview` shows what it would do; both return a `RunResult`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kisi.run import Message, RunResult, Stop, preview, sync

__version__ = "0.1.0"
__all__ = ["Message", "RunResult", "Stop", "__version__", "preview", "sync"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - one of `__all__`
    """Loads the run once it is asked for, so that `kisi --help` does not wait for it."""
    if name not in __all__:
        raise AttributeError(f"module 'kisi' has no attribute {name!r}")
    from kisi import run  # noqa: PLC0415 - see above

    return getattr(run, name)
