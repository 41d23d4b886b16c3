"""A party's side: an update in, signed bytes that only the sum opens out."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from privfed.errors import ConfigError, ReplayError
from privfed.he.keys import SecretKey
from privfed.he.packing import Words
from privfed.secagg import wire
from privfed.secagg.checks import check_key, check_round
from privfed.secagg.identity import Identity
from privfed.secagg.masks import Masks, cohort_hash
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Part, Parts
from privfed.secagg.quantize import Quantizer
from privfed.secagg.schemes import Zero
from privfed.secagg.state import Journal


class Encryptor:
    """Encrypts one party's updates, each round once.

    Args:
        params: what all parties agreed on.
        key: the parties' shared key.
        identity: this party's own keys; its public half is on the roster.
        state: file that remembers the last round sent, so that a restarted process does not send
            another update under the same masks; None keeps it in memory, for simulation.

    Raises:
        ConfigError: the identity is not on the roster.
        ContextMismatchError: the key was made for other parameters.
    """

    def __init__(
        self, params: Parameters, key: SecretKey, identity: Identity, state: Path | None = None
    ) -> None:
        check_key(params, key)
        self._params, self._key, self._identity = params, key, identity
        self._sender = params.index_of(identity.public)
        self._parts = Parts(params)
        self._quantizer = Quantizer(params)
        self._masks = Masks(params, identity) if params.masks else None
        self._journal = Journal(state, b"encryptor", params.fingerprint + key.id)
        self._pool: list[tuple[Zero, ...]] = []
        self._announced: dict[int, tuple[Zero, ...]] = {}
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"Encryptor(party={self._identity.public.id}, prepared={self.prepared})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ReplayError("an Encryptor is not pickled or copied; make another where it is needed")

    @property
    def prepared(self) -> int:
        """Number of updates for which encryptions of zero lie ready."""
        return len(self._pool)

    def prepare(self, count: int = 1) -> None:
        """Make the encryptions of zero for ``count`` more updates, while there is time."""
        self._check_process()
        for _ in range(count):
            self._pool.append(tuple(self._zero(part) for part in self._parts.all))

    def _zero(self, part: Part) -> Zero:
        return self._parts.scheme.prepare(self._key, part.values)

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise ReplayError("this Encryptor belongs to the process it was forked from")

    def encrypt(
        self,
        arrays: Mapping[str, Any],
        *,
        weight: int | None = None,
        round_id: int,
        previous: bytes = b"",
        cohort: Sequence[int] | None = None,
    ) -> bytes:
        """Return one update as bytes for the server.

        Args:
            arrays: numpy arrays or a torch state_dict that fit the layout.
            weight: how much this party counts, 1 to ``max_weight``; None where there is none.
            round_id: number of the round; each round is sent once, in rising order.
            previous: transcript of the previous round, or nothing.
            cohort: with masks, the roster places of this round's parties (None: all).

        Raises:
            ConfigError: arrays or weight do not fit the parameters, or a value is not finite.
            CapacityError: a value is past the clip range, and the parameters say refuse.
            ReplayError: the round was sent already.
        """
        sent = self.encrypt_blocks(
            arrays, weight=weight, round_id=round_id, previous=previous, cohort=cohort
        )
        return b"".join(sent)

    def encrypt_blocks(
        self,
        arrays: Mapping[str, Any],
        *,
        weight: int | None = None,
        round_id: int,
        previous: bytes = b"",
        cohort: Sequence[int] | None = None,
    ) -> Iterator[bytes]:
        """Yield the update in parts of a few megabytes, each a message of its own.

        Arguments and errors are those of ``encrypt``. All values are checked before the first
        part leaves.
        """
        self._check_process()
        common = self._prefix(round_id, previous, cohort)
        update = self._quantizer.check(arrays, weight)
        masks = [self._mask(common, part, cohort) for part in self._parts.all[:1]]
        self._journal.advance(common.round_id)
        zeros = self._announced.pop(common.round_id, None) or (
            self._pool.pop(0) if self._pool else None
        )
        return self._messages(common, update, zeros, masks, cohort)

    def _messages(
        self,
        common: wire.Prefix,
        update: Any,
        zeros: tuple[Zero, ...] | None,
        masks: list[Words | None],
        cohort: Sequence[int] | None,
    ) -> Iterator[bytes]:
        for part in self._parts.all:
            prefix = replace(common, part=part.index)
            mask = masks.pop() if masks else self._mask(prefix, part, cohort)
            zero = zeros[part.index] if zeros else self._zero(part)
            values = self._quantizer.integers(update, part.start, part.stop)
            payload = self._parts.scheme.seal(self._key, zero, values, mask)
            entry = wire.Entry.sign(self._identity, self._sender, prefix, zero.seeds, payload)
            yield b"".join((prefix.to_bytes(), entry.to_bytes(), zero.seeds, payload))

    def _prefix(self, round_id: int, previous: bytes, cohort: Sequence[int] | None) -> wire.Prefix:
        if previous and len(previous) != wire.HASH_BYTES:
            raise ConfigError("previous is the 32-byte transcript of the previous round, or empty")
        return wire.Prefix(
            kind=wire.Kind.UPLOAD,
            scheme=self._params.scheme,
            fingerprint=self._params.fingerprint,
            key_id=self._key.id,
            round_id=check_round(round_id),
            part=0,
            previous=previous or bytes(wire.HASH_BYTES),
            cohort=cohort_hash(self._params, cohort),
        )

    def _mask(self, prefix: wire.Prefix, part: Part, cohort: Sequence[int] | None) -> Words | None:
        if self._masks is None:
            return None
        # The transcript stays out: parties that disagree on it are told so, not left with noise.
        agreed = replace(prefix, part=part.index, previous=bytes(wire.HASH_BYTES))
        scheme = self._parts.scheme
        count = scheme.words(part.values)
        return self._masks.words(agreed.to_bytes(), cohort, count, scheme.mask_modulus)
