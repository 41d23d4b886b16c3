"""A party's side: an update in, signed bytes that only the sum opens out."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from privfed.errors import ConfigError, ReplayError
from privfed.he.keys import SecretKey
from privfed.secagg import wire
from privfed.secagg.checks import check_key, check_round
from privfed.secagg.identity import Identity
from privfed.secagg.masks import Masks, cohort_hash
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Parts
from privfed.secagg.quantize import Quantizer, Update
from privfed.secagg.schemes import Zero
from privfed.secagg.state import Journal
from privfed.secagg.tags import TAG_MODULUS, TAGS

Zeros = tuple[Zero, ...]  # one a part


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
        self._pool: list[Zeros] = []  # for any round
        self._bound: dict[bytes, Zeros] = {}  # masked, or announced, for one round and cohort
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"Encryptor(party={self._identity.public.id}, prepared={self.prepared})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ReplayError("an Encryptor is not pickled or copied; make another where it is needed")

    @property
    def prepared(self) -> int:
        """Number of updates for which encryptions of zero lie ready."""
        return len(self._pool) + len(self._bound)

    def prepare(
        self, count: int = 1, round_id: int | None = None, cohort: Sequence[int] | None = None
    ) -> None:
        """Make the encryptions of zero for ``count`` more updates, while there is time.

        Args:
            count: number of updates.
            round_id: where the round is known, the first of ``count`` rounds; then their masks
                are made too.
            cohort: with masks, the roster places of those rounds' parties (None: all).

        Raises:
            ReplayError: a round was sent already.
        """
        self._check_process()
        for ahead in range(count):
            if round_id is None:
                self._pool.append(tuple(self._zeros()))
            else:
                self._bind(self._prefix(round_id + ahead, b"", cohort), cohort)

    def announce(self, round_id: int, cohort: Sequence[int] | None = None) -> bytes:
        """Return this party's signed seeds of a round, for ``Decryptor.prepare``.

        Seeds are public; sent early, they let a key holder do most of its work before the sum
        arrives. Under schemes without seeds the announcement is empty but valid.
        """
        self._check_process()
        common = self._prefix(round_id, b"", cohort)
        zeros = self._bind(common, cohort)
        pieces = []
        for part in self._parts.all:
            prefix = replace(common, kind=wire.Kind.ANNOUNCEMENT, part=part.index)
            seeds = zeros[part.index].seeds
            entry = wire.Entry.sign(self._identity, self._sender, prefix, seeds, b"")
            pieces += [prefix.to_bytes(), entry.to_bytes(), seeds]
        return b"".join(pieces)

    def _bind(self, common: wire.Prefix, cohort: Sequence[int] | None) -> Zeros:
        """Return the zeros set aside for a round, masked; sets some aside where there are none."""
        self._journal.check(common.round_id)
        name = _name(common)
        if name not in self._bound:
            self._bound[name] = tuple(self._masked(self._fresh(), common, cohort))
        return self._bound[name]

    def _fresh(self) -> Iterable[Zero]:
        """Return zeros from the pool, or else ones that are made as they are taken."""
        return self._pool.pop(0) if self._pool else self._zeros()

    def _zeros(self) -> Iterator[Zero]:
        for part in self._parts.all:
            yield self._parts.scheme.prepare(self._key, part.sealed)

    def _masked(
        self, zeros: Iterable[Zero], common: wire.Prefix, cohort: Sequence[int] | None
    ) -> Iterator[Zero]:
        """Yield zeros with the masks of a round added, where the parameters ask for masks."""
        scheme = self._parts.scheme
        for part, zero in zip(self._parts.all, zeros, strict=True):
            if self._masks is not None:
                count = scheme.words(part.sealed)
                name = _agreed(replace(common, part=part.index))
                zero.keep(self._masks.words(name, cohort, count, scheme.mask_modulus))
            yield zero

    def _tag_masks(self, prefix: wire.Prefix, cohort: Sequence[int] | None) -> list[int]:
        if self._masks is None:
            return [0] * TAGS
        words = self._masks.words(b"tags/" + _agreed(prefix), cohort, TAGS, TAG_MODULUS)
        return [int(word) for word in words]

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
            previous: transcript of the previous round, or nothing. Only with it do holders that
                were shown different totals of that round notice, in this one.
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
        update = self._quantizer.check(arrays, weight)
        return self._send(update, round_id, previous, cohort)

    def encrypt_integers(
        self,
        arrays: Mapping[str, Any],
        *,
        round_id: int,
        previous: bytes = b"",
        cohort: Sequence[int] | None = None,
    ) -> bytes:
        """Return an update of integers, to be summed as they are by ``Decryptor.decrypt_sums``.

        For who quantises alone, such as a mechanism that draws noisy integers: nothing is
        scaled, rounded or clipped here. Only the sum has to fit, to ``max_clients`` *
        (2^(bits-1) - 1); one past that does not decrypt. Under "packed" and "reference" one
        party's integers are taken mod 2^k, so that they may be anything and whether a round
        succeeds depends on their sum alone: with noise shares that is post-processing.

        Args:
            arrays: integer arrays of the layout's names and shapes.
            round_id: as for ``encrypt``.
            previous: as for ``encrypt``.
            cohort: as for ``encrypt``.

        Raises:
            ConfigError: the arrays do not fit the layout, or the parameters carry weights.
            CapacityError: under "slots" and "ckks", an integer is past what a whole sum can be.
            ReplayError: the round was sent already.
        """
        self._check_process()
        update = self._quantizer.check_integers(arrays)
        return b"".join(self._send(update, round_id, previous, cohort))

    def _send(
        self, update: Update, round_id: int, previous: bytes, cohort: Sequence[int] | None
    ) -> Iterator[bytes]:
        common = self._prefix(round_id, previous, cohort)
        if self._masks is not None:
            self._masks.check(cohort)
        self._journal.advance(common.round_id)
        return self._messages(common, update, self._take(common, cohort), cohort)

    def _take(self, common: wire.Prefix, cohort: Sequence[int] | None) -> Iterator[Zero]:
        """Return the zeros of a round, and forget those set aside for it under other cohorts."""
        zeros = self._bound.get(_name(common))
        self._bound = {
            name: kept for name, kept in self._bound.items() if name[:8] > _name(common)[:8]
        }
        return self._masked(self._fresh(), common, cohort) if zeros is None else iter(zeros)

    def _messages(
        self,
        common: wire.Prefix,
        update: Update,
        zeros: Iterator[Zero],
        cohort: Sequence[int] | None,
    ) -> Iterator[bytes]:
        for part, zero in zip(self._parts.all, zeros, strict=True):
            prefix = replace(common, part=part.index)
            values = self._quantizer.integers(update, part.start, part.stop)
            masks = self._tag_masks(prefix, cohort)
            tagged = self._parts.tagged(
                self._key, common.round_id, part, self._sender, values, update.wide, masks
            )
            payload = self._parts.scheme.seal(self._key, zero, tagged)
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


def _agreed(prefix: wire.Prefix) -> bytes:
    """Return the bytes of a round and part that masks are bound to.

    The transcript stays out: parties that disagree on it get an error, not noise.
    """
    return replace(prefix, previous=bytes(wire.HASH_BYTES)).to_bytes(wire.Kind.UPLOAD)


def _name(common: wire.Prefix) -> bytes:
    """Return a name for a round and its cohort that sorts by round."""
    return common.round_id.to_bytes(8, "big") + common.cohort
