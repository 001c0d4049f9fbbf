"""The nouns of kisi, as values: what sources report, what PSAs hold, what a plan says.

Pure data: standard library only, frozen, no behaviour beyond reading oneself. Instants are aware
`datetime`s in UTC, dates are days in the billing time zone, quantities that were counted are `int`,
quantities that a PSA holds are `Decimal` (ConnectWise stores a double, Tigerpaw an integer).

The public names of its modules are here: `billing` (the mapping and the rules), `usage` (what was
used), `plan` (what a PSA holds, and what would change there), `checks` (what `kisi check` found).
"""

from kisi.model.billing import *
from kisi.model.checks import *
from kisi.model.plan import *
from kisi.model.usage import *
