"""One party's keys on disk, from the first to the last day of a job.

A folder of mode 0700 with ``identity.key``, ``identity.pub``, ``params.json``, ``keys/`` and
``retired``. A retired key is never loaded again.
"""

from dataclasses import replace
from pathlib import Path

from privfed.errors import AuthenticationError, ConfigError, ContextMismatchError
from privfed.he.keys import SecretKey
from privfed.secagg.identity import Identity, PublicIdentity, generate_identity
from privfed.secagg.parameters import Parameters
from privfed.secagg.sealing import open_key, seal_to_roster


class Keyring:
    """The folder. Secrets are files of mode 0600, locked where a passphrase is given.

    Args:
        folder: made by ``Keyring.create``.
        passphrase: what locks the secrets, or None.

    Raises:
        ConfigError: there is no keyring, others may read its secrets or write to it, or the
            passphrase is missing.
        AuthenticationError: the passphrase is wrong or a file was altered.
    """

    def __init__(self, folder: Path, passphrase: str | None = None) -> None:
        self._folder, self._passphrase = folder, passphrase
        if not (folder / "identity.key").is_file():
            raise ConfigError(f"{folder} is no keyring; make one with: privfed keys identity")
        if folder.stat().st_mode & 0o022:  # params.json says whom this party trusts
            raise ConfigError(f"others may write to {folder}; run: chmod 700 {folder}")
        self.identity = Identity.load(folder / "identity.key", passphrase)

    @classmethod
    def create(cls, folder: Path, passphrase: str | None = None) -> "Keyring":
        """Make a folder with a fresh identity.

        Raises:
            ConfigError: there is one already, or it cannot be written.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_mode & 0o022:
                raise ConfigError(f"others may write to {folder}; run: chmod 700 {folder}")
            (folder / "keys").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write {folder}: {error.strerror}") from None
        identity = generate_identity()
        identity.save(folder / "identity.key", passphrase)
        (folder / "identity.pub").write_text(identity.public.to_bytes().hex() + "\n")
        return cls(folder, passphrase)

    @property
    def params(self) -> Parameters:
        """The current parameters.

        Raises:
            ConfigError: there are none yet.
        """
        path = self._folder / "params.json"
        if not path.is_file():
            raise ConfigError(f"{self._folder} holds no parameters yet: make or accept a key")
        return Parameters.from_bytes(path.read_bytes())

    @property
    def retired(self) -> frozenset[str]:
        """Ids of keys that are never used again, in hex."""
        path = self._folder / "retired"
        return frozenset(path.read_text().split()) if path.is_file() else frozenset()

    @property
    def current(self) -> str:
        """Id of the current key, in hex.

        Raises:
            ConfigError: there is none.
        """
        path = self._folder / "current"
        name = path.read_text().strip() if path.is_file() else ""
        if not name or name in self.retired:
            raise ConfigError(f"{self._folder} holds no key in use: make, accept or rotate one")
        return name

    def key(self) -> SecretKey:
        """Return the key in use.

        Raises:
            ConfigError: there is none, or it was retired.
        """
        return SecretKey.load(self._folder / "keys" / f"{self.current}.key", self._passphrase)

    def make(self, params: Parameters) -> dict[str, bytes]:
        """Make a key for ``params``, and return it sealed to each other party, by id.

        A key in use before is retired, here and where the sealed key is accepted.

        Raises:
            ConfigError: this party is not on the roster.
        """
        key = SecretKey.generate(params.fingerprint)
        old = self._current_or_none()
        sealed = seal_to_roster(key, params, self.identity, bytes.fromhex(old) if old else b"")
        self._take(key, params, old)
        return sealed

    def rotate(self) -> dict[str, bytes]:
        """Make a new key for the same parameters; see ``make``."""
        return self.make(self.params)

    def revoke(self, party: str) -> tuple[Parameters, dict[str, bytes]]:
        """Take a party off the roster, and make a key that it does not get.

        Its signatures, the old parameters and the old key are worth nothing to the others once
        they accept the new key.

        Args:
            party: the party's id.

        Returns:
            The new parameters and the sealed keys by party.

        Raises:
            ConfigError: the party is not on the roster, is this one, or too few would be left.
        """
        old = self.params
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
        return params, self.make(params)

    def accept(
        self,
        sealed: bytes,
        params: Parameters,
        maker: PublicIdentity | None = None,
        *,
        changed: bool = False,
    ) -> str:
        """Take a key that another party made, retire the one it replaces, and return its id.

        Args:
            sealed: what the maker's ``make``, ``rotate`` or ``revoke`` returned for this party.
            params: the parameters it belongs to. The first ones must reach this party by a
                channel that it trusts; later ones must come from a party of the roster before,
                and be those in use, or those less some parties.
            maker: who alone may have made it; None: anybody on the roster.
            changed: take parameters that differ by more, which reached this party by a channel
                that it trusts. Otherwise one party could turn masks off, or a server bring back
                a revoked party with what was sealed before.

        Raises:
            ContextMismatchError: it belongs to other parameters or another party, was retired, or
                replaces a key that was: it is an old one, or two parties made keys at once.
            AuthenticationError: it was altered, or made by another party than ``maker`` or by
                one that was not on the roster before.
            ConfigError: this party is not on the roster.
        """
        key, made_by, replaces = open_key(sealed, params, self.identity, maker)
        if (self._folder / "params.json").is_file() and made_by not in self.params.roster:
            raise AuthenticationError("a party outside the roster in use made the sealed key")
        if not (changed or self._follows(params)):
            raise ContextMismatchError(
                "the parameters differ from those in use by more than parties that left: compare "
                "their fingerprint over a channel that you trust, then accept them as changed"
            )
        if self.retired & {key.id.hex(), replaces.hex()}:
            raise ContextMismatchError("the sealed key, or the one it replaces, was retired before")
        self._take(key, params, self._current_or_none())
        if replaces:
            self._retire(replaces.hex())
        return key.id.hex()

    def _follows(self, params: Parameters) -> bool:
        """Return whether ``params`` are the first ones, those in use, or those less some."""
        if not (self._folder / "params.json").is_file():
            return True
        old = self.params
        roster = tuple(party for party in old.roster if party in params.roster)
        if len(roster) != len(params.roster):
            return False
        return params == replace(old, roster=roster, max_clients=min(old.max_clients, len(roster)))

    def _take(self, key: SecretKey, params: Parameters, old: str | None) -> None:
        path = self._folder / "keys" / f"{key.id.hex()}.key"
        if not path.exists():
            key.save(path, self._passphrase)
        (self._folder / "params.json").write_bytes(params.to_bytes())
        if old and old != key.id.hex():
            self._retire(old)
        (self._folder / "current").write_text(key.id.hex() + "\n")

    def _retire(self, name: str) -> None:
        if name not in self.retired:
            with (self._folder / "retired").open("a") as file:
                file.write(name + "\n")
        (self._folder / "keys" / f"{name}.key").unlink(missing_ok=True)

    def _current_or_none(self) -> str | None:
        try:
            return self.current
        except ConfigError:
            return None
