"""One party's keys on disk, from the first to the last day of a job.

A folder of mode 0700 with `identity.key` and `tls.key`, `tls.crt`, which is tied to both and
goes to the other parties, the key in use in `keys/`, and `keyring.json`, which names that key,
its parameters and the retired ones. After a full disk or a kill at any moment, either the old key
or the new one is in use: a key is on disk before `keyring.json` names it, and it is deleted after
`keyring.json` names another one.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from privfed.errors import AuthenticationError, ConfigError, ContextMismatchError, DecodeError
from privfed.keys import (
    Identity,
    PublicIdentity,
    SecretKey,
    generate_identity,
    load_secret,
    save_secret,
)
from privfed.secagg.checks import absolute_folder, check_params
from privfed.secagg.parameters import Parameters
from privfed.secagg.ring_record import FILE, RingRecord
from privfed.secagg.sealing import open_key, seal_to_roster
from privfed.secagg.state import STATE
from privfed.secagg.succession import follows, group_ids, without
from psi.defaults import CERTIFICATE_DAYS
from psi.network.certificates import FOLDER_PREFIX, new_key
from psi.storage import (
    Record,
    check_lock,
    is_locked,
    lock_secret,
    read_secret,
    read_whole,
    write_whole,
)

_ROUNDS = "rounds"
_TLS_KEY, _CERTIFICATE = f"{FOLDER_PREFIX}.key", f"{FOLDER_PREFIX}.crt"


class Keyring:
    """The folder. Secrets are files of mode 0600, under a passphrase unless made `unlocked`.

    Whatever changes the folder locks it; of two at once the second raises ConfigError, "in use".

    Args:
        folder: Made by `Keyring.create`.
        passphrase: What locks the secrets; None for a keyring that was made `unlocked`.

    Attributes:
        folder: The folder, absolute.
        identity: This party's own keys.

    Raises:
        ConfigError: There is no keyring, others may read its secrets or write to it, or the
            passphrase is missing.
        AuthenticationError: The passphrase is wrong or a file was altered.
    """

    def __init__(self, folder: Path, passphrase: str | None = None) -> None:
        folder = absolute_folder(folder)
        self.folder, self._passphrase = folder, passphrase
        if not (folder / "identity.key").is_file():
            raise ConfigError(f"{folder} is no keyring; make one with `Keyring.create`")
        if folder.stat().st_mode & 0o022:  # keyring.json says whom this party trusts
            raise ConfigError(f"others may write to {folder}; run: chmod 700 {folder}")
        self.identity = Identity.load(folder / "identity.key", passphrase)
        record = RingRecord.read(folder)
        if self._left_over(record) or self._old_states(record):
            with contextlib.suppress(ConfigError), self._writing() as (record, _):
                self._sweep(record)

    @classmethod
    def create(
        cls,
        folder: Path,
        passphrase: str | None = None,
        *,
        unlocked: bool = False,
        days: int = CERTIFICATE_DAYS,
    ) -> "Keyring":
        """Make a folder with a fresh identity and its certificate.

        Args:
            folder: Where; made if it is not there.
            passphrase: What locks the secrets.
            unlocked: Whether there is no passphrase on purpose: whoever reads the files, or a
                backup of them, is this party.
            days: How long the certificate is valid.

        Returns:
            The keyring in it.

        Raises:
            ConfigError: There is one already, it cannot be written, there is neither a passphrase
                nor `unlocked`, or the days are too few or too many.
        """
        check_lock(passphrase, unlocked, refusal=ConfigError)
        folder = absolute_folder(folder)
        if "\0" in str(folder):
            raise ConfigError("a folder's name holds no null character")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o022:
                raise ConfigError(f"others may write to {folder}; run: chmod 700 {folder}")
            (folder / "keys").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write {folder}: {error.strerror}") from None
        secret = folder / "identity.key"
        with Record(folder / FILE, refusal=ConfigError):
            if secret.exists():
                hint = "" if (folder / _CERTIFICATE).exists() else ", and `Keyring.certify` goes on"
                raise ConfigError(f"{secret} is there already; it is never written over{hint}")
            identity = generate_identity()
            tls = _tls_key(folder, passphrase)
            certificate = identity.certify(tls, days)
            # The certificate comes last: without it the two keys are no complete keyring.
            identity.save(secret, passphrase, unlocked=unlocked)
            _put_certificate(folder, certificate)
        return cls(folder, passphrase)

    @property
    def certificate(self) -> bytes:
        """PEM certificate by which the others know this party, in aggregation and in psi.

        Raises:
            ConfigError: There is no certificate, or it is another party's.
        """
        path = self.folder / _CERTIFICATE
        stored = read_whole(path, refusal=ConfigError)
        if stored is None:
            raise ConfigError(f"{self.folder} has no certificate: `Keyring.certify` makes it")
        try:
            known = PublicIdentity.from_certificate(stored) == self.identity.public
        except (DecodeError, AuthenticationError):
            known = False
        if not known:
            raise ConfigError(
                f"{path} is not tied to this party's identity: `Keyring.certify` replaces it"
            )
        return stored

    def certify(self, *, days: int = CERTIFICATE_DAYS) -> bytes:
        """Make a certificate, for a keyring without one or in place of one that expires.

        The identity and the TLS key stay, so that whoever knows the party can check the new one.

        Returns:
            The certificate, PEM.

        Raises:
            ConfigError: The days are too few or too many, the TLS key is of another kind, or the
                folder is in use or cannot be written.
        """
        with self._writing():
            certificate = self.identity.certify(_tls_key(self.folder, self._passphrase), days)
            _put_certificate(self.folder, certificate)
        return certificate

    @property
    def params(self) -> Parameters:
        """The current parameters.

        Raises:
            ConfigError: There are no parameters yet.
        """
        return self._known(RingRecord.read(self.folder))

    @property
    def retired(self) -> frozenset[str]:
        """Ids of keys that are never used again, in hex."""
        return RingRecord.read(self.folder).retired

    @property
    def current(self) -> str:
        """Id of the current key, in hex.

        Raises:
            ConfigError: There is no key yet.
        """
        name = RingRecord.read(self.folder).current
        if not name:
            raise ConfigError(f"{self.folder} holds no key in use: make or accept one")
        return name

    @property
    def state(self) -> Path:
        """Where the party under the key in use keeps its rounds.

        Raises:
            ConfigError: There is no key yet.
        """
        return self.folder / _ROUNDS / self.current

    def key(self) -> SecretKey:
        """Return the key in use.

        Raises:
            ConfigError: There is no key yet, or it cannot be read.
            DecodeError: Its file was damaged.
        """
        name = self.current
        key = SecretKey.load(self._keys / f"{name}.key", self._passphrase)
        if key.id.hex() != name:
            raise DecodeError(
                f"{self._keys / name}.key holds another key: put it back from a backup"
            )
        return key

    def make(self, params: Parameters, *, regroup: bool = False) -> dict[str, bytes]:
        """Make a key for `params`.

        A key in use before is retired, here and where the sealed key is accepted.

        Args:
            params: What all parties agreed on.
            regroup: As for `accept`.

        Returns:
            The key sealed to each other party, by the party's id.

        Raises:
            ConfigError: This party is not on the roster, or the folder is in use or cannot be
                written.
            ContextMismatchError: The parameters put this party in another group than before.
        """
        with self._writing() as (record, file):
            return self._make(record, file, params, regroup)

    def rotate(self) -> dict[str, bytes]:
        """Make a new key for the same parameters; see `make`."""
        with self._writing() as (record, file):
            return self._make(record, file, self._known(record))

    def revoke(self, party: str, *, regroup: bool = False) -> tuple[Parameters, dict[str, bytes]]:
        """Take a party off the roster, and make a key that it does not get.

        Its signatures, the old parameters and the old key are worth nothing to the others once
        they accept the new key. Where there are groups, its group leaves with it: sums of the
        others of its group without it would show its updates in sums before.

        Args:
            party: The party's id.
            regroup: Keep the others of its group, in groups that are cut anew; each party then
                says so when it accepts (see `accept`).

        Returns:
            The new parameters and the sealed keys by party.

        Raises:
            ConfigError: The party is not on the roster, is this one or one of its group, or too
                few would be left.
        """
        with self._writing() as (record, file):
            old = self._known(record)
            places = [place for place, each in enumerate(old.roster) if each.id == party]
            if not places:
                raise ConfigError(f"party {party} is not on the roster")
            if party == self.identity.public.id:
                raise ConfigError("a party does not revoke itself; another one does it")
            leaving = places if regroup else old.group_of(places[0]) or places
            if old.index_of(self.identity.public) in leaving:
                raise ConfigError(
                    "its group leaves with it, and this party is in that group: let another party "
                    "revoke it, or keep the others with regroup=True"
                )
            params = without(old, leaving, regroup=regroup)
            return params, self._make(record, file, params, regroup)

    def accept(
        self,
        sealed: bytes,
        params: Parameters,
        maker: PublicIdentity | None = None,
        *,
        changed: bool = False,
        regroup: bool = False,
    ) -> str:
        """Take a key that another party made, and retire the one it replaces.

        Args:
            sealed: What the maker's `make`, `rotate` or `revoke` returned for this party.
            params: The parameters it belongs to. The first ones must reach this party by a
                channel that it trusts; later ones must come from a party of the roster before,
                and be those in use, or those less some parties.
            maker: Who alone may have made it; None: anybody on the roster.
            changed: Take parameters that differ by more, if they reached this party by a channel
                that it trusts; or a first key in place of the one in use. If that were always
                allowed, one party could turn masks off; a server could bring back a revoked
                party with an old sealed key; and two parties that both made a first key could
                exchange them and go on with different ones. With a `maker` that one may be new.
            regroup: Take parameters that put this party in another group than before. Sums of the
                old group and of the new one, compared, may show a single party's update: say so
                only where the updates to come are of other rows than those before.

        Returns:
            The new key's id, in hex.

        Raises:
            ContextMismatchError: It belongs to other parameters or another party; it puts this
                party in another group than before; or it was retired, or replaces a retired key;
                or it is a first key where one is in use. Then it is an old one, or two parties
                made keys at once.
            AuthenticationError: It was altered, or made by another party than `maker` or, unless
                that one was named and the parameters are changed, by one that was not on the
                roster before.
            ConfigError: This party is not on the roster.
        """
        key, made_by, replaces = open_key(sealed, params, self.identity, maker)
        with self._writing() as (record, file):
            old = record.in_use(or_none=changed)
            named = changed and maker is not None  # by whoever trusts these parameters
            if old is not None and made_by not in old.roster and not named:
                raise AuthenticationError("a party outside the roster in use made the sealed key")
            if old is not None and not (changed or follows(old, params)):
                raise ContextMismatchError(
                    "the parameters differ from those in use by more than parties that left: "
                    "compare their fingerprint over a channel that you trust, then accept them as "
                    "changed"
                )
            if key.id.hex() == record.current:  # it was taken before, and a kill came after
                return record.current
            if record.retired & {key.id.hex(), replaces.hex()}:
                raise ContextMismatchError(
                    "the sealed key, or the one it replaces, was retired before: it is an old one, "
                    "or two parties made keys at once; then one rotates again and the others "
                    "accept that key"
                )
            if record.current and not replaces and not changed:
                raise ContextMismatchError(
                    "the sealed key is a first one and another is in use here: it is an old one, "
                    "or two parties made the first key at once; then agree whose all use, and "
                    "accept that one as changed"
                )
            self._take(record, file, key, params, replaces.hex(), regroup=regroup)
        return key.id.hex()

    def _make(
        self, record: RingRecord, file: Record, params: Parameters, regroup: bool = False
    ) -> dict[str, bytes]:
        key = SecretKey.generate(check_params(params).fingerprint)
        sealed = seal_to_roster(key, params, self.identity, bytes.fromhex(record.current))
        self._take(record, file, key, params, regroup=regroup)
        return sealed

    def _known(self, record: RingRecord) -> Parameters:
        if not record.text:
            raise ConfigError(f"{self.folder} holds no parameters yet: make or accept a key")
        return record.params

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[RingRecord, Record]]:
        """Lock the folder, and yield what its record says now, and the record."""
        with Record(self.folder / FILE, refusal=ConfigError) as file:
            yield RingRecord.read(self.folder), file

    def _take(
        self,
        record: RingRecord,
        file: Record,
        key: SecretKey,
        params: Parameters,
        replaces: str = "",
        *,
        regroup: bool,
    ) -> None:
        """Replace the key of `record`, in steps after each of which a kill does no harm."""
        name, group = key.id.hex(), group_ids(params, self.identity.public)
        if record.group and group and group != record.group and not regroup:
            raise ContextMismatchError(
                "the parameters put this party in another group than before: sums of both, "
                "compared, may show one party's update; keep the groups, or say regroup=True if "
                "the updates to come are of other rows"
            )
        self._sweep(record)
        key.save(self._keys / f"{name}.key", self._passphrase, unlocked=self._passphrase is None)
        retired = record.retired | {record.current, replaces} - {"", name}
        taken = RingRecord(name, params.to_bytes().decode(), retired, group or record.group)
        taken.write(file)
        self._sweep(taken)

    @property
    def _keys(self) -> Path:
        return self.folder / "keys"

    def _left_over(self, record: RingRecord) -> list[Path]:
        """Return the keys that the record does not name, and what a kill left half-written."""
        keys = list(self._keys.glob("*.key"))
        named = [path for path in keys if path.stem == record.current]
        # A key is on disk before its record: where it is missing, the others may be all there is.
        keys = [path for path in keys if path not in named] if named or not record.current else []
        return [*keys, *self._keys.glob("*.new"), *self.folder.glob("*.new")]

    def _old_states(self, record: RingRecord) -> list[Path]:
        """Return where parties under other keys kept mask keys and their last result."""
        states = (self.folder / _ROUNDS).glob("*")
        return [path for path in states if path.name in record.retired and path.is_dir()]

    def _sweep(self, record: RingRecord) -> None:
        try:
            for path in self._left_over(record):
                path.unlink()
            for folder in self._old_states(record):
                # One that is in use is left to whoever opens the keyring next.
                with contextlib.suppress(ConfigError), Record(folder / STATE, refusal=ConfigError):
                    shutil.rmtree(folder)
        except OSError as error:
            raise ConfigError(f"cannot delete old keys in {self._keys}: {error.strerror}") from None


def _tls_key(folder: Path, passphrase: str | None) -> bytes:
    """Return the folder's TLS key, made where there is none, and locked as the others are."""
    path = folder / _TLS_KEY
    if not path.exists():
        save_secret(path, new_key(), passphrase, unlocked=passphrase is None)
    key = load_secret(path, passphrase)
    if passphrase is not None and not is_locked(read_secret(path, refusal=ConfigError)):
        write_whole(path, lock_secret(key, passphrase, refusal=ConfigError), refusal=ConfigError)
    return key


def _put_certificate(folder: Path, certificate: bytes) -> None:
    write_whole(folder / _CERTIFICATE, certificate, mode=0o644, refusal=ConfigError)
