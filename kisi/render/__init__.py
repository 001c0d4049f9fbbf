"""Everything an operator sees, as functions from values to text. Nothing here prints.

```
RunResult, StatusView, ExplainView   what a command knows: the plan's and the journal's own values
   ├── export                        for programs: CSV and JSON, the whole of it, ids and all
   └── plan_report, status, explain  for people: what is worth reading, as a `report.Report`
                     ├── terminal.lay_out ──> str    a terminal's width, encoding and colours
                     └── web.web_page     ──> str    one self-contained HTML page
```

A run's JSON is `kisi.run.document`: the journal and the webhook get it too. A `Report` holds names
as they came from remote systems; `terminal` and `web` escape them (`kisi.redaction.safe_text`).
"""
