"""How many? Readings and rules in, quantities and evidence out. Pure.

The public names of its modules are here: `rules` (which keys, uses and devices count, and for which
application), `count` (a tenant's numbers, and a client's) and `period` (which number of a period is
billed). `notes` says what is odd about one.
"""

from kisi.counting.count import *
from kisi.counting.outlook import *
from kisi.counting.period import *
from kisi.counting.rules import *
