"""The style sheet of kisi's pages: light, dark and printed."""

STYLE = """
:root { color-scheme: light dark; --text: #1c2126; --dim: #66707a; --paper: #ffffff;
  --line: #e3e7eb; --good: #1a7f37; --change: #0b6e99; --held: #8a5a00;
  --orphaned: #8250a8; --bad: #c0262d; --shade: #f4f6f8; }
@media (prefers-color-scheme: dark) { :root { --text: #dfe4e9; --dim: #96a0aa; --paper: #14181c;
  --line: #2b3138; --good: #57c26f; --change: #58b8dd; --held: #e0ac4a; --orphaned: #c39be0;
  --bad: #ff7b80; --shade: #1d2228; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 2rem 1.25rem; background: var(--paper);
  color: var(--text); font: 0.95rem/1.5 system-ui, "Segoe UI", sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .35rem; }
h2 .facts { font-weight: normal; font-size: .9rem; margin-left: .6rem; }
p { margin: .15rem 0; overflow-wrap: anywhere; }
header { border-bottom: 2px solid var(--line); padding-bottom: .9rem; margin-bottom: 1.2rem; }
.verdict { font-size: 1.05rem; margin-top: .6rem; }
section { padding: .7rem 0; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: normal; font-size: .85rem; color: var(--dim); }
td, th { padding: .12rem .7rem .12rem 0; vertical-align: top; overflow-wrap: anywhere; }
.entries { table-layout: fixed; }
.c-mark { width: 1.5rem; } .c-before { width: 5rem; } .c-after { width: 4.5rem; }
.c-change { width: 13.5rem; } .c-state { width: 5rem; }
td.mark { font-weight: bold; text-align: center; padding-right: .4rem; }
td.figure, th.figure { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.after { text-align: left; }
ul { margin: .15rem 0; padding-left: 1.4rem; }
.listing td:first-child { text-align: right; white-space: nowrap; width: 4.5rem; }
.remarks { padding: 0 0 .35rem 0; }
.grid { width: auto; }
code { font: .9rem ui-monospace, Consolas, monospace; background: var(--shade);
  padding: .15rem .45rem; border-radius: .25rem; user-select: all; }
.dim, .facts { color: var(--dim); } .strong { font-weight: 600; } .good { color: var(--good); }
.change { color: var(--change); } .held { color: var(--held); }
.orphaned { color: var(--orphaned); } .bad { color: var(--bad); }
@media (max-width: 48rem) { .entries { table-layout: auto; } col { width: auto !important; } }
@media print { body { max-width: none; padding: 0; } section { break-inside: avoid; } }
"""
