"""One company's side of a job: its keys, rounds, cohort, transcript and results in one object."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

from privfed.errors import ConfigError, ReplayError
from privfed.keys import Identity, SecretKey
from privfed.secagg.ahead import AHEAD_BYTES
from privfed.secagg.checks import absolute_folder, check_identity, check_key, file_of
from privfed.secagg.decryptor import Decryptor
from privfed.secagg.encryptor import Encryptor
from privfed.secagg.keyring import Keyring
from privfed.secagg.parameters import Parameters
from privfed.secagg.results import IntegerResult, Kept, MeanResult
from privfed.secagg.rounds import check_number, is_whole
from privfed.secagg.state import STATE, Journal


class Party:
    """One company in a job: its rounds, one after another, also over several processes.

    A round: `encrypt` an update and send the bytes; `open` the total that comes back, and train
    on its mean, not on what anybody else says it was. Rounds are numbered by themselves, and,
    unless the server is trusted, each names the transcript of the last one that was opened, so
    that parties which saw different totals notice in the next; who missed a round opens its total
    late. A total is decrypted once, ever; its result is kept, so that another process that asks
    for the same round gets it again. Where there are masks, mask keys are exchanged before the
    first round: `start_epoch`, `enter_epoch`.

    Safe under threads; a context manager. A fork or a pickled copy is refused: two copies would
    use one round twice.

    Args:
        params: What all parties agreed on.
        key: The parties' shared key.
        identity: This party's own keys; its public half is on the roster.
        state: Folder of this party's for what must survive the process: rounds sent and opened,
            the transcript, failures, mask keys (sealed), and the last result, in the clear, all of
            mode 0600. Made where it does not exist, locked while in use. "memory" keeps all of it
            in memory, for simulation in one process only.
        ahead_bytes: Most memory for what the next two rounds need and another process makes, once a
            total was opened here: encryptions of zero, of large updates, where a second core may be
            used. That process is given the key that decrypts, and ends with this object. None:
            64 MiB, with a folder; 0: there is none.

    Attributes:
        params: What all parties agreed on.
        place: This party's place on the roster.

    Raises:
        ConfigError: The identity is not on the roster, or the folder cannot be used, is in use or
            belongs to another party or key.
        ContextMismatchError: The key was made for other parameters.
    """

    def __init__(
        self,
        params: Parameters,
        key: SecretKey,
        identity: Identity,
        state: Path | Literal["memory"],
        *,
        ahead_bytes: int | None = None,
    ) -> None:
        check_key(params, key)
        self.params = params
        self._identity = check_identity(identity)
        self.place = params.index_of(identity.public)
        folder = file_of(state)
        if ahead_bytes is None:
            ahead_bytes = 0 if folder is None else AHEAD_BYTES
        elif not is_whole(ahead_bytes) or ahead_bytes < 0:
            raise ConfigError("ahead_bytes is a whole number of bytes, 0 for nothing made ahead")
        if folder is not None:
            _make(absolute_folder(folder))
        owner = params.fingerprint + key.id + identity.public.verify_key
        file = None if folder is None else folder / STATE
        self._journal = Journal(file, "party", owner, keeps=True)
        try:
            self._encryptor = Encryptor(params, key, identity, self._journal)
            self._encryptor.ahead = self._encryptor.makes_ahead(ahead_bytes)
            self._decryptor = Decryptor(params, key, self._journal)
        except BaseException:
            self._journal.close()  # a traceback that somebody keeps must not hold the lock
            raise

    @classmethod
    def load(cls, folder: Path, passphrase: str | None = None) -> "Party":
        """Return the party of a keyring folder, in which its state lies, too.

        Args:
            folder: As `Keyring` made it.
            passphrase: What locks its secrets, or None.

        Raises:
            ConfigError: There is no keyring, it holds no key in use, or its party is in use.
            AuthenticationError: The passphrase is wrong or a file was altered.
        """
        return cls.of(Keyring(folder, passphrase))

    @classmethod
    def of(cls, ring: Keyring) -> "Party":
        """Return the party of a keyring that is open; see `load`.

        Raises:
            ConfigError: It holds no key in use, or its party is in use.
        """
        key, state = ring.key(), ring.state
        _make(
            state.parent
        )  # on its own: made along with its content, it would get the default mode
        return cls(ring.params, key, ring.identity, state)

    def __repr__(self) -> str:
        return f"Party(id={self.id}, round_id={self.round_id})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ReplayError("a Party is not pickled or copied: it would use its rounds twice")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget what was made ahead, and release the state for another process."""
        self._encryptor.close()
        self._decryptor.close()

    @property
    def id(self) -> str:
        """This party's id."""
        return self.params.roster[self.place].id

    @property
    def round_id(self) -> int:
        """The last round that was sent or opened; 0 before the first one."""
        record = self._journal.record
        return max(record.sent, record.opened, 0)

    @property
    def opened_round(self) -> int:
        """The last round whose total was opened, or tried; 0 before the first one."""
        return max(self._journal.record.opened, 0)

    @property
    def transcript(self) -> bytes:
        """The 32-byte transcript of the last round that was opened; empty before that."""
        return bytes.fromhex(self._journal.record.transcript)

    def start_epoch(self, first_round: int | None = None) -> bytes:
        """Make a fresh mask key; see `Encryptor.start_epoch`.

        Args:
            first_round: The first round that it is for, the same at all; None: the next one.

        Returns:
            A signed message for those who mask together.
        """
        with self._journal.alone():
            return self._encryptor.start_epoch(self._next(first_round))

    def enter_epoch(self, messages: Iterable[bytes]) -> None:
        """Agree on mask keys with those whose messages these are; see `Encryptor.enter_epoch`."""
        self._encryptor.enter_epoch(messages)

    def prepare(self, count: int = 1) -> None:
        """Make the encryptions of zero for `count` more updates ahead of time.

        Raises:
            ReplayError: This is a fork.
            ConfigError: The party was closed.
        """
        self._encryptor.prepare(count)

    def announce(
        self, *, round_id: int | None = None, cohort: Sequence[int] | None = None
    ) -> bytes:
        """Make what a round needs ahead, best after the round before was opened.

        Masks are bound to its transcript: those that are made earlier are made anew.

        Args:
            round_id: The round; None: the next one.
            cohort: As for `encrypt`.

        Returns:
            This party's seeds, for `expect` at the others.

        Raises:
            ReplayError: The round was sent already.
            ConfigError: The round or the cohort is not valid.
        """
        with self._journal.alone():
            return self._encryptor.announce(self._next(round_id), cohort, self._previous)

    def expect(
        self,
        announcements: Iterable[bytes],
        *,
        round_id: int | None = None,
        cohort: Sequence[int] | None = None,
    ) -> None:
        """Do most of opening a round before its total is there, from the parties' announcements.

        Args:
            announcements: What `announce` returned at each party of the round, this one's too.
            round_id: The round; None: the next one, or the last one sent if it is not opened.
            cohort: As for `encrypt`.

        Raises:
            DecodeError: An announcement is truncated or extended, or the bytes are no announcement.
            ContextMismatchError: It belongs to other parameters, key, round or cohort.
            AuthenticationError: Its sender did not sign it, or is not on the roster.
            ReplayError: The round was opened already, or a party announces twice.
        """
        with self._journal.alone():
            record = self._journal.record
            waiting = round_id is None and record.sent > record.opened
            number = record.sent if waiting else check_number(self._next(round_id))
            self._decryptor.prepare(announcements, number, self._cohort(number, cohort))

    def encrypt(
        self,
        arrays: Mapping[str, Any],
        *,
        weight: int | None = None,
        round_id: int | None = None,
        cohort: Sequence[int] | None = None,
        agreed: bytes = b"",
    ) -> bytes:
        """Return one update as bytes for the server.

        Args:
            arrays: Numpy arrays or a torch state_dict that fit the layout.
            weight: How much this party counts, 0 to `max_weight`; None where there are none. With 0
                it takes part without counting, and only it knows.
            round_id: The round; None: the one after the last that was sent or opened. After a
                round that some parties missed, all name the next one.
            cohort: Where rounds name their parties, their roster places (None: all).
            agreed: As for `Encryptor.encrypt`.

        Raises:
            ConfigError: Arrays, weight, round or cohort do not fit the parameters, or a value is
                not finite.
            CapacityError: A value is past the clip range, and the parameters say refuse.
            ReplayError: The round was sent already.
        """
        with self._journal.alone():
            return self._encryptor.encrypt(
                arrays,
                weight=weight,
                round_id=self._next(round_id),
                previous=self._previous,
                cohort=cohort,
                failed=self._decryptor.failed,
                agreed=agreed,
            )

    def encrypt_integers(
        self,
        arrays: Mapping[str, Any],
        *,
        round_id: int | None = None,
        cohort: Sequence[int] | None = None,
        agreed: bytes = b"",
    ) -> bytes:
        """Return an update of integers, to be summed as they are; see `Encryptor`.

        Arguments and errors are those of `encrypt`.
        """
        with self._journal.alone():
            return self._encryptor.encrypt_integers(
                arrays,
                round_id=self._next(round_id),
                previous=self._previous,
                cohort=cohort,
                failed=self._decryptor.failed,
                agreed=agreed,
            )

    def open(
        self,
        total: bytes | Iterable[bytes],
        *,
        round_id: int | None = None,
        cohort: Sequence[int] | None = None,
    ) -> MeanResult:
        """Return the mean of a round; the same total again gives the result that was kept.

        Args:
            total: What `Aggregator.total` returned, or the parts of `total_blocks`; or, where
                some parties open for all, what `Aggregator.result` returned.
            round_id: The round; None: the last one that this party sent.
            cohort: Where rounds name their parties, their roster places; None: those that this
                party sent under, or all.

        Raises:
            DecodeError: The total is truncated, extended or no total.
            ContextMismatchError: It belongs to other parameters, key, round, cohort or history.
            QuorumError: Fewer than `min_clients` distinct parties are in it, or not whole groups;
                or too few signed a result.
            ReplayError: Another total of the round was opened already, or a party is in it twice.
            AuthenticationError: It is not the sum of what the senders signed; or that happened so
                often that the key is retired.
            CapacityError: The weights are too small for the agreed precision, or all 0.
            ConfigError: The round's updates were integers (see `open_sums`), or the state
                cannot be written.
        """
        with self._journal.alone():
            number, places = self._sent(round_id, cohort)
            kept = self._again(total, number, places)
            result = self._decryptor.decrypt(total, number, places) if kept is None else kept
            self._encryptor.look_ahead(self._previous)
        if not isinstance(result, MeanResult):
            raise ConfigError("the round was opened as integer sums: open_sums() returns them")
        return result

    def open_sums(
        self,
        total: bytes | Iterable[bytes],
        *,
        round_id: int | None = None,
        cohort: Sequence[int] | None = None,
    ) -> IntegerResult:
        """Return the integer sums of a round, for updates sent by `encrypt_integers`.

        Arguments and errors are those of `open`.

        Raises:
            ConfigError: The round was opened as a mean, by `open`.
        """
        with self._journal.alone():
            number, places = self._sent(round_id, cohort)
            kept = self._again(total, number, places)
            result = self._decryptor.decrypt_sums(total, number, places) if kept is None else kept
            self._encryptor.look_ahead(self._previous)
        if not isinstance(result, IntegerResult):
            raise ConfigError("the round was opened as a mean: open() returns it")
        return result

    def result(self) -> bytes:
        """Return the sums of the total that this party opened last, for those who do not open it.

        For the server's `Aggregator.add_result`: sealed for the parties, and signed by this one.

        Raises:
            ConfigError: The parameters do not say that some parties open for all
                (`download="opener"`), or no total was opened since this object was made.
        """
        return self._decryptor.result(self._identity)

    def opened(self, round_id: int | None = None) -> MeanResult | IntegerResult:
        """Return the result of the last round that was opened, here or by an earlier process.

        Args:
            round_id: The round; None: whichever was opened last. Earlier ones are not kept.

        Raises:
            ReplayError: This round's result is not kept.
            DecodeError: The file that keeps it is damaged.
        """
        number = None if round_id is None else check_number(round_id)
        kept = self._journal.kept(self.params.layout)
        if kept is None:
            raise ReplayError("no round's result is kept: open the total first")
        if number not in (None, kept.round_id):
            raise ReplayError(f"round {number}'s result is not kept; round {kept.round_id}'s is")
        return kept.result

    def _next(self, round_id: int | None) -> int:
        return self.round_id + 1 if round_id is None else round_id

    @property
    def _previous(self) -> bytes:
        """The transcript to name; none where the server is trusted to send all the same."""
        return self.transcript if self.params.assumed.lies else b""

    def _sent(
        self, round_id: int | None, cohort: Sequence[int] | None
    ) -> tuple[int, Sequence[int] | None]:
        """Return the round that a total is expected for, and its cohort."""
        number = self._journal.record.sent if round_id is None else check_number(round_id)
        if number < 0:
            raise ConfigError("this party has sent no round yet: say which one with round_id=")
        return number, self._cohort(number, cohort)

    def _cohort(self, number: int, cohort: Sequence[int] | None) -> Sequence[int] | None:
        record = self._journal.record
        return record.cohort if cohort is None and number == record.sent else cohort

    def _again(
        self, total: bytes | Iterable[bytes], number: int, cohort: Sequence[int] | None
    ) -> MeanResult | IntegerResult | None:
        """Return the kept result if this is the very total that gave it."""
        if number > self._journal.record.opened:
            return None
        kept: Kept | None = self._journal.kept(self.params.layout)
        if kept is None or kept.round_id != number:
            return None
        digest, transcript = self._decryptor.named(total, number, cohort)
        # A result of the total that was opened here is the same round's, told by others.
        if digest != kept.total and transcript != kept.result.transcript:
            raise ReplayError(f"another total of round {number} was opened: each is opened once")
        return kept.result


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
    except OSError as error:
        raise ConfigError(f"cannot use {folder}: {error.strerror}") from None
    except ValueError as error:  # a null character in the name
        raise ConfigError(f"cannot use this folder: {error}") from None
    if mode & 0o022:
        raise ConfigError(f"others may write to {folder}; run: chmod 700 {folder}")
