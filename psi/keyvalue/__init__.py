"""Oblivious key-value stores: values by key in a table that does not show for which keys it is.

An encoder makes a table in which the entries of each of its keys add up to the key's value. If
the values look random, so does the table, whatever the keys (Garimella, Pinkas, Rosulek, Trieu and
Yanai 2021, ePrint 2021/883). The rows are those of Raghuraman and Rindal 2022 (ePrint 2022/320) and
of PaXoS (ePrint 2020/193): three slots each, and some dense bits.
"""

from psi.keyvalue.bounds import most_held
from psi.keyvalue.sizes import StoreSizes, bin_room, slots
from psi.keyvalue.store import StoreKeys

__all__ = ["StoreKeys", "StoreSizes", "bin_room", "most_held", "slots"]
