"""How many? Readings and rules in, quantities and evidence out. Pure.

The public names of its modules are here: `rules` (which keys, uses and devices count, and for which
application), `count` (a tenant's numbers, and a client's) and `moves` (which devices changed their
pool). `notes` says what is odd about a count.
"""

from kisi.counting.count import *
from kisi.counting.moves import *
from kisi.counting.rules import *
