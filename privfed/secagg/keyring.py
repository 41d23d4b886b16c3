"""One party's keys on disk, from the first to the last day of a job.

A folder of mode 0700 with `identity.key` and `tls.key`, `tls.crt`, which is tied to both and
goes to the other parties, the key in use in `keys/`, and `keyring.json`, which names that key,
its parameters and the retired ones. After a full disk or a kill at any moment, either the old key
or the new one is in use: a key is on disk before `keyring.json` names it, and it is deleted after
`keyring.json` names another one.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
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

_TLS_KEY, _CERTIFICATE = f"{FOLDER_PREFIX}.key", f"{FOLDER_PREFIX}.crt"


class Keyring:
    """The folder. Secrets are files of mode 0600, under a passphrase unless made `unlocked`.

    Whatever changes the folder locks it; of two at once the second raises ConfigError, "in use".

    Args:
        folder: Made by `Keyring.create`.
        passphrase: What locks the secrets; None for a keyring that was made `unlocked`.

    Raises:
        ConfigError: There is no keyring, others may read its secrets or write to it, or the
            passphrase is missing.
        AuthenticationError: The passphrase is wrong or a file was altered.
    """

    def __init__(self, folder: Path, passphrase: str | None = None) -> None:
        folder = absolute_folder(folder)
        self._folder, self._passphrase = folder, passphrase
        if not (folder / "identity.key").is_file():
            raise ConfigError(f"{folder} is no keyring; make one with `Keyring.create`")
        if folder.stat().st_mode & 0o022:  # keyring.json says whom this party trusts
            raise ConfigError(f"others may write to {folder}; run: chmod 700 {folder}")
        self.identity = Identity.load(folder / "identity.key", passphrase)
        if self._left_over(RingRecord.read(folder)):
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
        path = self._folder / _CERTIFICATE
        stored = read_whole(path, refusal=ConfigError)
        if stored is None:
            raise ConfigError(f"{self._folder} has no certificate: `Keyring.certify` makes it")
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
            certificate = self.identity.certify(_tls_key(self._folder, self._passphrase), days)
            _put_certificate(self._folder, certificate)
        return certificate

    @property
    def params(self) -> Parameters:
        """The current parameters.

        Raises:
            ConfigError: There are no parameters yet.
        """
        return self._known(RingRecord.read(self._folder))

    @property
    def retired(self) -> frozenset[str]:
        """Ids of keys that are never used again, in hex."""
        return RingRecord.read(self._folder).retired

    @property
    def current(self) -> str:
        """Id of the current key, in hex.

        Raises:
            ConfigError: There is no key yet.
        """
        name = RingRecord.read(self._folder).current
        if not name:
            raise ConfigError(f"{self._folder} holds no key in use: make or accept one")
        return name

    def key(self) -> SecretKey:
        """Return the key in use.

        Raises:
            ConfigError: There is no key yet.
        """
        return SecretKey.load(self._folder / "keys" / f"{self.current}.key", self._passphrase)

    def make(self, params: Parameters) -> dict[str, bytes]:
        """Make a key for `params`.

        A key in use before is retired, here and where the sealed key is accepted.

        Returns:
            The key sealed to each other party, by the party's id.

        Raises:
            ConfigError: This party is not on the roster, or the folder is in use or cannot be
                written.
        """
        with self._writing() as (record, file):
            return self._make(record, file, params)

    def rotate(self) -> dict[str, bytes]:
        """Make a new key for the same parameters; see `make`."""
        with self._writing() as (record, file):
            return self._make(record, file, self._known(record))

    def revoke(self, party: str) -> tuple[Parameters, dict[str, bytes]]:
        """Take a party off the roster, and make a key that it does not get.

        Its signatures, the old parameters and the old key are worth nothing to the others once
        they accept the new key.

        Args:
            party: The party's id.

        Returns:
            The new parameters and the sealed keys by party.

        Raises:
            ConfigError: The party is not on the roster, is this one, or too few would be left.
        """
        with self._writing() as (record, file):
            old = self._known(record)
            roster = tuple(each for each in old.roster if each.id != party)
            if len(roster) == len(old.roster):
                raise ConfigError(f"party {party} is not on the roster")
            if party == self.identity.public.id:
                raise ConfigError("a party does not revoke itself; another one does it")
            if len(roster) < old.min_clients:
                raise ConfigError(
                    f"only {len(roster)} parties would be left, below min_clients={old.min_clients}"
                )
            params = replace(old, roster=roster, max_clients=min(old.max_clients, len(roster)))
            return params, self._make(record, file, params)

    def accept(
        self,
        sealed: bytes,
        params: Parameters,
        maker: PublicIdentity | None = None,
        *,
        changed: bool = False,
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
                exchange them and go on with different ones.

        Returns:
            The new key's id, in hex.

        Raises:
            ContextMismatchError: It belongs to other parameters or another party; or it was
                retired, or replaces a retired key; or it is a first key where one is in use.
                Then it is an old one, or two parties made keys at once.
            AuthenticationError: It was altered, or made by another party than `maker` or by
                one that was not on the roster before.
            ConfigError: This party is not on the roster.
        """
        key, made_by, replaces = open_key(sealed, params, self.identity, maker)
        with self._writing() as (record, file):
            if record.text and made_by not in record.params.roster:
                raise AuthenticationError("a party outside the roster in use made the sealed key")
            if not (changed or _follows(record, params)):
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
            self._take(record, file, key, params, replaces.hex())
        return key.id.hex()

    def _make(self, record: RingRecord, file: Record, params: Parameters) -> dict[str, bytes]:
        key = SecretKey.generate(check_params(params).fingerprint)
        sealed = seal_to_roster(key, params, self.identity, bytes.fromhex(record.current))
        self._take(record, file, key, params)
        return sealed

    def _known(self, record: RingRecord) -> Parameters:
        if not record.text:
            raise ConfigError(f"{self._folder} holds no parameters yet: make or accept a key")
        return record.params

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[RingRecord, Record]]:
        """Lock the folder, and yield what its record says now, and the record."""
        with Record(self._folder / FILE, refusal=ConfigError) as file:
            yield RingRecord.read(self._folder), file

    def _take(
        self,
        record: RingRecord,
        file: Record,
        key: SecretKey,
        params: Parameters,
        replaces: str = "",
    ) -> None:
        """Replace the key of `record`, in steps after each of which a kill does no harm."""
        name = key.id.hex()
        self._sweep(record)
        key.save(self._keys / f"{name}.key", self._passphrase, unlocked=self._passphrase is None)
        retired = record.retired | {record.current, replaces} - {"", name}
        taken = RingRecord(name, params.to_bytes().decode(), retired)
        taken.write(file)
        self._sweep(taken)

    @property
    def _keys(self) -> Path:
        return self._folder / "keys"

    def _left_over(self, record: RingRecord) -> list[Path]:
        """Return the keys that the record does not name, and what a kill left half-written."""
        keys = [path for path in self._keys.glob("*.key") if path.stem != record.current]
        return [*keys, *self._keys.glob("*.new"), *self._folder.glob("*.new")]

    def _sweep(self, record: RingRecord) -> None:
        try:
            for path in self._left_over(record):
                path.unlink()
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


def _follows(record: RingRecord, params: Parameters) -> bool:
    """Return whether `params` are the first ones, those in use, or those less some parties."""
    if not record.text:
        return True
    old = record.params
    roster = tuple(party for party in old.roster if party in params.roster)
    if len(roster) != len(params.roster):
        return False
    return params == replace(old, roster=roster, max_clients=min(old.max_clients, len(roster)))
