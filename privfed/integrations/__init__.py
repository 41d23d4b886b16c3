"""Encrypted aggregation inside somebody else's engine: three lines of the user's code.

`flower` and `nvflare` are adapters; both are thin, over `EmbeddedParty` and `EmbeddedServer`, which
know no engine: questions, answers, totals and uploads are bytes. A party proves by a signed hello
who it is, checks those of all it masks with, opens totals, keeps the model on its own disk, and
sends nothing else than uploads. The server holds no key and is believed nothing.
"""

from privfed.integrations.party import EmbeddedParty, trained_model
from privfed.integrations.server import EmbeddedServer
from privfed.integrations.simulated import simulated_keys

__all__ = ["EmbeddedParty", "EmbeddedServer", "simulated_keys", "trained_model"]
