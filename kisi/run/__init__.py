"""The daily run as a library. Nothing here prints or ends the process.

```
sync, preview              daily            open, read, plan, accept, write, record, notify
   ├── result              RunResult        what comes out; Message, Stop: follow a run, end it
   ├── document                             the result as JSON
   ├── setup               Setup            the two files, secrets, open sources and PSAs, kisi.log
   ├── journal_entries                      what a run stores, and which ids it takes
   └── notification        RunNotification  `[notify]`
```
"""
