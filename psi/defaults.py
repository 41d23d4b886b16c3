"""What is taken where nothing else is asked: in Python and at the command line alike."""

from typing import Final

RELEASE = "0.1.0"  # of the distribution privfed, which brings both packages

QUESTION = "intersection"
RESULT: Final = "both"
DUPLICATES: Final = "error"

LISTEN = "0.0.0.0:7787"  # of a command that waits for another side
WAIT_SECONDS = 600  # for a side that is to come,
CONNECT_SECONDS = 60  # for one that should be there,
SESSION_SECONDS = 3600  # and for all that both say

HEALTH_SECONDS = 5  # for an answer to whether a side is well

CERTIFICATE_DAYS = 365

STORE_DAYS = 30  # how long a store's key may be used,
STORE_ITEMS_A_PEER = 10_000  # and for how many IDs of one peer

DELTA = 1e-9  # of noise, where none is given,
DELTA_IN_ALL = 1e-6  # and of all sessions together, where their ε is limited
