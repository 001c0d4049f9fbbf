"""What would change? Usage, mapping, the PSA's lines and the journal's facts in, a plan out. Pure.

The public names of its modules are here, in the order of their work: `desired` distributes usage
over products, `policies` find which number of a period is billed, `lines` finds whose the lines are
and compares them with that, `order` finds who waits for whom, `guards` hold what a person must see,
and `ids` name the result.
"""

from kisi.planning.desired import *
from kisi.planning.guards import *
from kisi.planning.ids import *
from kisi.planning.lines import *
from kisi.planning.order import *
from kisi.planning.policies import *
from kisi.planning.twice import *
