"""The pipeline that `preview` and `sync` share, up to the guarded plan; and what its result means.

`collect` reads the sources, `psas` the PSAs; `settle` finds what became of earlier writes;
`new_lines` and `waiting` say what stands against a line; `pipeline` puts it all together.
"""
