"""How a party's values get to the server and back: encrypted, or in the clear to one it trusts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from privfed.dp import NoiseShares, PrivacyPlan
from privfed.errors import DecodeError
from privfed.partner.progress import Folder, Pending
from privfed.partner.standings import ToAll
from privfed.secagg import Party
from privfed.training import Arrays


class Carrier(Protocol):
    """One party's end; its rounds survive the process."""

    @property
    def round_id(self) -> int:
        """The last round that was sent or opened; 0 before the first one."""

    @property
    def opened_round(self) -> int:
        """The last round whose total was opened, or tried."""

    def agree(self, to_all: ToAll, first_round: int) -> None:
        """Agree with all others on what hides values from that round on."""

    def prepare(self, round_id: int) -> None:
        """Do what needs no values yet."""

    def pack(self, values: Mapping[str, NDArray[Any]], round_id: int) -> bytes:
        """Return a round's values as bytes."""

    def unpack(self, total: bytes, round_id: int) -> Any:
        """Return what a round's total says."""

    def goes_to(self, server: bytes) -> bytes:
        """Return which process of the server a new update is for; empty: any."""

    def close(self) -> None:
        """Let another process go on."""


class _Encrypted:
    """What goes through `privfed.secagg.Party`; the server may be any, as it reads nothing."""

    def __init__(self, party: Party) -> None:
        self._party = party

    @property
    def round_id(self) -> int:
        return self._party.round_id

    @property
    def opened_round(self) -> int:
        return self._party.opened_round

    def agree(self, to_all: ToAll, first_round: int) -> None:
        if self._party.params.masks:
            self._party.enter_epoch(to_all("epoch", self._party.start_epoch(first_round)))

    def prepare(self, round_id: int) -> None:
        self._party.prepare()

    def goes_to(self, server: bytes) -> bytes:
        return b""

    def close(self) -> None:
        self._party.close()


class EncryptedMeans(_Encrypted):
    """Updates, and their mean.

    Args:
        party: This company's side.
        weight: How much it counts, or None.
    """

    def __init__(self, party: Party, weight: int | None) -> None:
        super().__init__(party)
        self._weight = weight

    def pack(self, values: Mapping[str, NDArray[Any]], round_id: int) -> bytes:
        """Encrypt an update."""
        return self._party.encrypt(values, weight=self._weight, round_id=round_id)

    def unpack(self, total: bytes, round_id: int) -> Arrays:
        """Open the mean."""
        return self._party.open(total, round_id=round_id).mean


class EncryptedShares(_Encrypted):
    """Sums with shares of the noise, and their noisy sum.

    Args:
        party: This company's side.
        plan: The noise.
    """

    def __init__(self, party: Party, plan: PrivacyPlan) -> None:
        super().__init__(party)
        self._shares = NoiseShares(plan)

    def pack(self, values: Mapping[str, NDArray[Any]], round_id: int) -> bytes:
        """Encrypt integers."""
        return self._party.encrypt_integers(values, round_id=round_id)

    def unpack(self, total: bytes, round_id: int) -> NDArray[np.float64]:
        """Open the sum."""
        return self._shares.decode(self._party.open_sums(total, round_id=round_id).sums["sum"])


class ClearSums:
    """Sums in the clear for a server that adds the noise, and its noisy sum.

    A process of the server adds noise to a round's sum once. Another process, which knows nothing
    of that, never gets the same sum, or two noises would be on it and hide less.

    Args:
        folder: Keeps the numbers of rounds.
        size: Values in a sum.
    """

    def __init__(self, folder: Folder, size: int) -> None:
        self._folder, self._size = folder, size
        done = folder.finished()
        self.opened_round = 0 if done is None else done.round_id

    @property
    def round_id(self) -> int:
        """The last round that was begun."""
        return self._folder.number()

    def agree(self, to_all: ToAll, first_round: int) -> None:
        """Do nothing: nothing hides them."""

    def prepare(self, round_id: int) -> None:
        """Keep the number: it is never used for other values."""
        self._folder.use(round_id)

    def pack(self, values: Mapping[str, NDArray[Any]], round_id: int) -> bytes:
        """Return float64 bytes."""
        return np.ascontiguousarray(values["sum"], "<f8").tobytes()

    def unpack(self, total: bytes, round_id: int) -> NDArray[np.float64]:
        """Return the noisy sum.

        Raises:
            DecodeError: It is none.
        """
        values = read_sum(total, self._size)
        self.opened_round = round_id
        return values

    def goes_to(self, server: bytes) -> bytes:
        """Return the process itself."""
        return server

    def close(self) -> None:
        """Do nothing."""


def read_sum(data: bytes, size: int) -> NDArray[np.float64]:
    """Return float64 bytes as finite values.

    Raises:
        DecodeError: There are others.
    """
    if len(data) != 8 * size:
        raise DecodeError(f"a sum of {size} values takes {8 * size} bytes, not {len(data)}")
    values = np.frombuffer(data, "<f8").astype(np.float64)
    if not np.isfinite(values).all():
        raise DecodeError("a sum holds a number that is not finite")
    return values


def may_go(pending: Pending, carrier: Carrier, server: bytes) -> bool:
    """Return whether an update may be sent again: made for the last round, and not opened."""
    waits = carrier.opened_round < pending.round_id == carrier.round_id
    return waits and carrier.goes_to(server) == pending.server
