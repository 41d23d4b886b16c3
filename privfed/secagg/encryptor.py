"""A party's side: an update in, signed bytes for the server out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, Self

from privfed.errors import ConfigError, PrivFedError, ReplayError
from privfed.keys import Identity, SecretKey
from privfed.secagg import wire
from privfed.secagg.ahead import Ahead
from privfed.secagg.checks import check_identity, check_key, check_marks, file_of
from privfed.secagg.epochs import MaskKeys
from privfed.secagg.masks import Masks
from privfed.secagg.parameters import Parameters
from privfed.secagg.parts import Parts
from privfed.secagg.quantize import Quantizer, Update
from privfed.secagg.rounds import UNCHAINED, RoundID, check_history, is_whole
from privfed.secagg.schemes import ZeroEncryption
from privfed.secagg.state import Journal
from privfed.secagg.tags import TAG_MODULUS, TAGS

Zeros = tuple[ZeroEncryption, ...]  # one per part
_MOST_AHEAD = 1_000_000


class _Bound(NamedTuple):
    """Zeros of one round, under masks of those who saw one history."""

    previous: bytes
    zeros: Zeros


class Encryptor:
    """Encrypts one party's updates, each round once. Safe under threads; a context manager.

    Args:
        params: What all parties agreed on.
        key: The parties' shared key.
        identity: This party's own keys; its public half is on the roster.
        state: File that remembers the last round sent and the mask keys, so that a restarted
            process does not send another update under the same masks; "memory" keeps them in
            memory, for simulation.

    Raises:
        ConfigError: The identity is not on the roster.
        ContextMismatchError: The key was made for other parameters.
    """

    def __init__(
        self,
        params: Parameters,
        key: SecretKey,
        identity: Identity,
        state: Path | Literal["memory"] | Journal,
    ) -> None:
        check_key(params, key)
        self._params, self._key, self._identity = params, key, check_identity(identity)
        self._sender = params.index_of(identity.public)
        self._parts = Parts(params)
        self._sealer = self._parts.scheme.sender(key)
        self._quantizer = Quantizer(params)
        self._pool: list[Zeros] = []  # for any round
        self._bound: dict[RoundID, _Bound] = {}  # masked, or announced, for one round
        if not isinstance(state, Journal):
            state = Journal(file_of(state), "encryptor", params.fingerprint + key.id)
        self._journal = state
        self._agreed = False  # whether rounds have settings that are known when they are sent
        self._keys = MaskKeys(params, key.id, identity, state) if params.masks else None

    def __repr__(self) -> str:
        return f"Encryptor(party={self._identity.public.id}, prepared={self.prepared})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ReplayError("an Encryptor is not pickled or copied; make another where it is needed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the encryptions of zero, and release the state file."""
        self._journal.close()  # from here on nothing takes any of them
        self._pool, self._bound = [], {}
        if self.ahead is not None:
            self.ahead.close()

    def start_epoch(self, first_round: int) -> bytes:
        """Make a fresh mask key, for rounds from `first_round` on.

        Returns:
            A signed message for those who mask together, whose `enter_epoch` takes all of them.

        Raises:
            ConfigError: These parameters have no masks, or this is no round.
            ReplayError: The round was sent already.
        """
        with self._journal.alone():
            return self._masked_only.start(first_round)

    def enter_epoch(self, messages: Iterable[bytes]) -> None:
        """Agree on mask keys with those whose messages these are; the keys before are gone.

        Args:
            messages: What `start_epoch` returned at each party of the group; without groups, at
                each party that is to be in rounds of this epoch. Others are passed over.

        Raises:
            ConfigError: These parameters have no masks, or this party has not started an epoch.
            DecodeError: A message is truncated, extended or none of an epoch.
            ContextMismatchError: It belongs to other parameters, key or first round.
            AuthenticationError: Its sender did not sign it, or is not on the roster.
            ReplayError: A party is in it with two keys.
            QuorumError: A party is missing.
        """
        with self._journal.alone():
            keys, self._bound = self._masked_only, {}  # they lie under the masks before
            keys.enter(messages)

    @property
    def _masked_only(self) -> MaskKeys:
        if self._keys is None:
            raise ConfigError(
                f"there are no masks against adversary={self._params.adversary!r}: no epoch is "
                "needed"
            )
        return self._keys

    def _epoch(self, agreed: bytes = b"") -> bytes:
        """Return what names the mask keys in this party's headers."""
        return UNCHAINED if self._keys is None else self._keys.named(agreed)

    @property
    def prepared(self) -> int:
        """Number of updates for which encryptions of zero lie ready."""
        return len(self._pool) + len(self._bound)

    def prepare(
        self,
        count: int = 1,
        round_id: int | None = None,
        cohort: Sequence[int] | None = None,
        previous: bytes = b"",
    ) -> None:
        """Make the encryptions of zero for `count` more updates ahead of time.

        Args:
            count: Number of updates.
            round_id: Where the round is known, the first of `count` rounds; then its masks are
                made too.
            cohort: Where rounds name their parties, their roster places (None: all).
            previous: As for `encrypt`. Masks that were made for another history are made anew.

        Raises:
            ConfigError: The count, the round or the cohort is not valid.
            ReplayError: A round was sent already.
        """
        if not is_whole(count) or not 0 <= count <= _MOST_AHEAD:
            raise ConfigError(f"count is a whole number of updates, 0 to {_MOST_AHEAD}")
        first = None if round_id is None else RoundID.of(self._params, round_id, cohort)
        history = check_history(previous)
        with self._journal.alone():
            self._journal.check()
            if first is not None and count:
                self._bind(first, history)
                count -= 1  # the others' histories are not known
            self._pool += [tuple(self._zeros()) for _ in range(count)]

    @property
    def ahead(self) -> Ahead | None:
        """What makes encryptions of zero in another process, if anything does."""
        return self._sealer.ahead

    @ahead.setter
    def ahead(self, ahead: Ahead | None) -> None:
        self._sealer.ahead = ahead

    def share(self, parts: Parts, ahead: Ahead | None) -> None:
        """Take from here on what other parties of this process derive and make as well."""
        self._parts, self.ahead = parts, ahead

    def makes_ahead(self, most_bytes: int, updates: int = 1) -> Ahead | None:
        """Return what makes, in another process, encryptions of zero for the next updates.

        Args:
            most_bytes: Most memory for them.
            updates: Updates of a round, where several parties of one process share it.
        """
        return self._sealer.makes_ahead(
            [part.sealed for part in self._parts.all] * updates, most_bytes
        )

    def look_ahead(self, previous: bytes) -> None:
        """Set zeros aside for the next round, with its masks, if they are there; have more made.

        Args:
            previous: As for `encrypt`.
        """
        ahead = self._sealer.ahead
        if ahead is None:
            return
        ahead.start()
        if self._agreed or self._params.names_cohorts or ahead.ready < ahead.blocks:
            return  # the masks are not known before
        if ahead.fits_two:
            with self._journal.alone(), suppress(PrivFedError):  # of which the next round will tell
                of = RoundID.of(self._params, self._journal.record.sent + 1, None)
                self._bind(of, check_history(previous))

    def announce(
        self, round_id: int, cohort: Sequence[int] | None = None, previous: bytes = b""
    ) -> bytes:
        """Return this party's signed seeds of a round, for `Decryptor.prepare`.

        Seeds are public; sent early, they let a key holder do most of its work before the sum
        arrives. Under schemes without seeds the announcement is empty but valid.
        """
        of = RoundID.of(self._params, round_id, cohort)
        common, pieces = self._prefix(of, UNCHAINED), []
        history = check_history(previous)
        with self._journal.alone():
            zeros = self._bind(of, history)
            for part in self._parts.all:
                prefix = replace(common, kind=wire.Kind.ANNOUNCEMENT, part=part.index)
                seeds = zeros[part.index].seeds
                entry = wire.Entry(self._sender, (), self._epoch()).over(seeds, b"")
                signed = entry.signed(self._identity, prefix)
                pieces += [prefix.to_bytes(), signed.to_bytes(), seeds]
        return b"".join(pieces)

    def _bind(self, of: RoundID, previous: bytes) -> Zeros:
        """Return the zeros set aside for a round, with masks; sets some aside if there are none."""
        self._journal.check_unsent(of.number)
        if of not in self._bound:
            common = self._prefix(of, previous)
            zeros = tuple(self._masked(self._fresh(), common, self._masks(of)))
            self._parts.prepare(self._key, of.number, [self._sender])
            self._bound[of] = _Bound(previous, zeros)
        return self._bound[of].zeros

    def _masks(self, of: RoundID, agreed: bytes = b"") -> Masks | None:
        return None if self._keys is None else self._keys.masks(of, agreed)

    def _fresh(self) -> Iterable[ZeroEncryption]:
        """Return zeros from the pool, or else ones that are made as they are taken."""
        return self._pool.pop(0) if self._pool else self._zeros()

    def _zeros(self) -> Iterator[ZeroEncryption]:
        for part in self._parts.all:
            yield self._sealer.prepare(part.sealed)

    def _masked(
        self, zeros: Iterable[ZeroEncryption], common: wire.Prefix, masks: Masks | None
    ) -> Iterator[ZeroEncryption]:
        """Yield zeros with the masks of a round, where there are any, in the place of others.

        They are bound to its history, too: a server and a party with the key can show each party
        another mean, one that silences all but one, and need not respect what headers say.
        """
        scheme = self._parts.scheme
        for part, zero in zip(self._parts.all, zeros, strict=True):
            if masks is not None:
                count, name = scheme.words(part.sealed), replace(common, part=part.index).to_bytes()
                zero.keep(masks.words(name, count, scheme.mask_modulus))
                if self._params.tags:
                    zero.tag_masks = masks.words(b"tags/" + name, TAGS, TAG_MODULUS).tolist()
            yield zero

    def encrypt(
        self,
        arrays: Mapping[str, Any],
        *,
        weight: int | None = None,
        round_id: int,
        previous: bytes = b"",
        cohort: Sequence[int] | None = None,
        failed: Sequence[bytes] = (),
        agreed: bytes = b"",
    ) -> bytes:
        """Return one update as bytes for the server.

        Args:
            arrays: Numpy arrays or a torch state_dict that fit the layout.
            weight: How much this party counts, 0 to `max_weight`; None where there are none. With 0
                it takes part without counting, and only it knows.
            round_id: Number of the round; each round is sent once, in rising order.
            previous: Transcript of the last round that was opened, or nothing before the first
                one, and for an honest server. Holders refuse a total that names another, and masks
                cancel only between those who name the same.
            cohort: Where rounds name their parties, their roster places (None: all).
            failed: `Decryptor.failed` of this party's other half, for the others to hear.
            agreed: What those who mask together are to have alike besides, such as the settings
                that a server sent for the round: holders refuse a total whose parties name
                different ones, and masks cancel only between those who name the same. Not used
                where there are no masks.

        Raises:
            ConfigError: Arrays or weight do not fit the parameters, or a value is not finite.
            CapacityError: A value is past the clip range, and the parameters say refuse.
            ReplayError: The round was sent already.
        """
        sent = self.encrypt_blocks(
            arrays,
            weight=weight,
            round_id=round_id,
            previous=previous,
            cohort=cohort,
            failed=failed,
            agreed=agreed,
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
        failed: Sequence[bytes] = (),
        agreed: bytes = b"",
    ) -> Iterator[bytes]:
        """Return the update in parts of a few megabytes, each a message of its own.

        Arguments and errors are those of `encrypt`. All values are checked before the first
        part leaves.
        """
        self._journal.check()
        update = self._quantizer.check(arrays, weight)
        return self._send(update, round_id, previous, cohort, failed, agreed)

    def encrypt_integers(
        self,
        arrays: Mapping[str, Any],
        *,
        round_id: int,
        previous: bytes = b"",
        cohort: Sequence[int] | None = None,
        failed: Sequence[bytes] = (),
        agreed: bytes = b"",
    ) -> bytes:
        """Return an update of integers, to be summed as they are by `Decryptor.decrypt_sums`.

        For callers that quantise themselves, such as a mechanism that draws noisy integers:
        nothing is scaled, rounded or clipped here. Only the sum has to fit, to `max_clients` *
        (2^(bits-1) - 1); a larger one does not decrypt. Under "packed" and "reference" a
        party's integers are taken mod 2^k: any are accepted, and whether a round succeeds
        depends on their sum alone. With noise shares that is post-processing.

        Args:
            arrays: Integer arrays of the layout's names and shapes.
            round_id: As for `encrypt`.
            previous: As for `encrypt`.
            cohort: As for `encrypt`.
            failed: As for `encrypt`.
            agreed: As for `encrypt`.

        Raises:
            ConfigError: The arrays do not fit the layout, or the parameters carry weights.
            CapacityError: Under "slots" and "ckks", an integer is past what a whole sum can be.
            ReplayError: The round was sent already.
        """
        self._journal.check()
        update = self._quantizer.check_integers(arrays)
        return b"".join(self._send(update, round_id, previous, cohort, failed, agreed))

    def _send(
        self,
        update: Update,
        round_id: int,
        previous: bytes,
        cohort: Sequence[int] | None,
        failed: Sequence[bytes],
        agreed: bytes,
    ) -> Iterator[bytes]:
        if not isinstance(agreed, bytes):
            raise ConfigError("agreed is bytes: what those who mask together have alike")
        marks, self._agreed = check_marks(failed), bool(agreed)
        of = RoundID.of(self._params, round_id, cohort)
        common = self._prefix(of, check_history(previous))
        with self._journal.alone():
            self._journal.check_unsent(of.number)
            # The round's mask keys are read before the file says that they are gone.
            masks, epoch = self._masks(of, agreed), self._epoch(agreed)
            after = None if self._keys is None else self._keys.after(of.number)
            self._journal.send(of.number, of.cohort, after)
            head = wire.Entry(self._sender, marks, epoch)
            zeros = self._take(of, common, masks, agreed)
            return self._messages(common, of, update, zeros, head)

    def _take(
        self, of: RoundID, common: wire.Prefix, masks: Masks | None, agreed: bytes
    ) -> Iterator[ZeroEncryption]:
        """Return the zeros of a round, and forget those set aside for it under other cohorts."""
        found = self._bound.get(of)
        self._bound = {each: kept for each, kept in self._bound.items() if each.number > of.number}
        if found is not None and found.previous == common.previous and not agreed:
            return iter(found.zeros)
        return self._masked(self._fresh() if found is None else found.zeros, common, masks)

    def _messages(
        self,
        common: wire.Prefix,
        of: RoundID,
        update: Update,
        zeros: Iterator[ZeroEncryption],
        head: wire.Entry,
    ) -> Iterator[bytes]:
        for part, zero in zip(self._parts.all, zeros, strict=True):
            prefix = replace(common, part=part.index)
            values = self._quantizer.integers(update, part.start, part.stop)
            tagged = self._parts.tagged(
                self._key, of.number, part, self._sender, values, update.wide, zero.tag_masks
            )
            payload = self._sealer.seal(zero, tagged)
            entry = head.over(zero.seeds, payload)
            hidden = self._parts.hidden_hash(
                self._sealer, self._key, of.number, part, entry, zero, payload
            )
            entry = replace(entry, linear_hash=hidden).signed(self._identity, prefix)
            yield b"".join((prefix.to_bytes(), entry.to_bytes(), zero.seeds, payload))

    def _prefix(self, of: RoundID, previous: bytes) -> wire.Prefix:
        return wire.Prefix(
            kind=wire.Kind.UPLOAD,
            scheme=self._params.scheme,
            fingerprint=self._params.fingerprint,
            key_id=self._key.id,
            round_id=of.number,
            part=0,
            previous=previous,
            cohort=of.cohort_hash,
        )
