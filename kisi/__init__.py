"""Bills Kaspersky security by what an MSP's clients really use.

`sync` is the daily run and `preview` shows what it would do; both return a `RunResult`.
"""

from typing import TYPE_CHECKING

from kisi.lazy import lazy_names

if TYPE_CHECKING:
    from kisi.run.daily import preview, sync
    from kisi.run.result import Message, RunResult, Stop

__version__ = "0.1.0"
__all__ = ["Message", "RunResult", "Stop", "__version__", "preview", "sync"]

__getattr__ = lazy_names(
    __name__, {"run.daily": "preview sync", "run.result": "Message RunResult Stop"}
)
