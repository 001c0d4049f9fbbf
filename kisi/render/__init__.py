"""Everything an operator sees, as functions from values to text. Nothing here prints.

```
PlanView, StatusView, ExplainView        what a command knows (filled by the CLI)
   ├── *_json, *_csv                     for programs: the whole of it, ids and all
   └── *_report ──> Report               for people: what is worth reading, in words
                     ├── terminal.lay_out ──> Page   a terminal's width, encoding and colours
                     └── web.web_page     ──> str    one self-contained HTML page
```

A `Report` holds names as they came from remote systems. Whoever turns it into characters escapes
them (`text.safe_text`), in one place for each medium.
"""
