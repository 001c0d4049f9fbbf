"""The daily run as a library. Nothing here prints or ends the process.

```
sync, preview              daily            open, read, plan, accept, write, record, notify
   ├── callbacks           Message, Stop    how a caller follows a run, and ends it
   ├── setup               Setup            the two files, secrets, open sources and PSAs
   ├── journal_entries                      what a run stores, and which ids it takes
   ├── notification        RunNotification  `[notify]`
   ├── logfile                              kisi.log in the state folder
   └── result, document    RunResult        what comes out, and the same as JSON
```
"""

from kisi.run.callbacks import Message, Stop
from kisi.run.daily import preview, sync
from kisi.run.result import RunResult

__all__ = ["Message", "RunResult", "Stop", "preview", "sync"]
