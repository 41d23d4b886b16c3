"""Against whom a job is to hold: one choice, from which masks, groups and the chain follow.

`honest-server`: the server follows the protocol. Any parties make a round, and nothing is masked.
`lying-server`: it does not, and nobody helps it. Rounds are chained, and a total is over whole
groups. `lying-server+N`: up to N parties help it. Groups have at least N + 2 parties, and pairwise
masks lie under the encryption, since those parties can decrypt.
"""

import re
from dataclasses import dataclass

from privfed.errors import ConfigError

HONEST_SERVER, LYING_SERVER = "honest-server", "lying-server"
_WITH_PARTIES = re.compile(r"lying-server\+([1-9][0-9]{0,3})")
_HELPED_FROM_CLIENTS = 3  # of two parties each has the other's update, whatever is masked


@dataclass(frozen=True)
class Adversary:
    """What is assumed of the server and of those who work with it.

    Attributes:
        lies: Whether the server may leave the protocol.
        colluders: Parties that may work together with it.
    """

    lies: bool
    colluders: int = 0

    @classmethod
    def of(cls, name: str) -> "Adversary":
        """Return what a name stands for.

        Raises:
            ConfigError: It is none of the three kinds.
        """
        if name in (HONEST_SERVER, LYING_SERVER):
            return cls(name == LYING_SERVER)
        found = _WITH_PARTIES.fullmatch(name)
        if found is None:
            raise ConfigError(
                f"adversary must be {HONEST_SERVER}, {LYING_SERVER} or {LYING_SERVER}+N with N "
                f"parties that help it, such as {LYING_SERVER}+1, not {name!r:.60}"
            )
        return cls(True, int(found[1]))

    @property
    def least_together(self) -> int:
        """Fewest parties whose sum may be seen: two of them help nobody."""
        return self.colluders + 2


def default_adversary(clients: int) -> str:
    """Return what is assumed where nothing is said, for at most so many clients."""
    return f"{LYING_SERVER}+1" if clients >= _HELPED_FROM_CLIENTS else LYING_SERVER
