"""What companies agree on before they train together: one TOML file, the same at all of them.

Its fingerprint names all of it, the certificates included, so that one number that is compared by
telephone is enough. The plan is public to the parties and the server; it holds no secret.
"""

from __future__ import annotations

import functools
import hashlib
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tomli_w

from privfed.data import Encoder
from privfed.dp import PrivacyPlan
from privfed.errors import AuthenticationError, ConfigError, DecodeError
from privfed.keys import Identity, PublicIdentity
from privfed.partner.privacy import unit_of
from privfed.secagg import Layout, Parameters
from privfed.training import Arrays, share_parameters, weights_sha256
from privfed.training.builders import CODE_NAME
from privfed.training.local import LEARNING_RATE
from privfed.training.model import Loss
from psi.network import fingerprint
from psi.network.certificates import one_certificate
from psi.storage import json_as, json_bytes, whole_file

FORMAT: Literal["privfed plan 1"] = "privfed plan 1"
BITS = 16
_DOMAIN = b"privfed/1/plan\x00"
_MOST_BYTES = 1 << 24

_Name = Annotated[str, msgspec.Meta(pattern=r"^[\w.-]{1,60}\Z")]
_Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Count = Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
_Range = Annotated[float, msgspec.Meta(gt=0, le=1e20)]  # no number that JSON cannot say
_Address = Annotated[str, msgspec.Meta(pattern=r"^[\w.\[\]:-]{1,250}:\d{1,5}\Z")]

Method = Literal["averages", "shares", "central"]
"""Encrypted updates and their mean; encrypted noise shares and their sum; or sums in the clear."""

OverlapPlan = Literal["none", "counts", "rows"]
"""What parties find out of the IDs that they share: nothing, how many, or which of their own."""


class PlanParty(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A party, or the server.

    Attributes:
        name: What it is called on screens.
        certificate: Its certificate, PEM; a party's is tied to its identity.
        address: HOST:PORT on which those after it reach it, where the overlap is looked for.
    """

    name: _Name
    certificate: str
    address: _Address | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hexadecimal."""
        return fingerprint(self.certificate.encode())

    @property
    def identity(self) -> PublicIdentity:
        """The identity in the certificate."""
        return _identity(self.certificate)


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is trained, by whom, and against whom it is protected.

    Attributes:
        format: Version of the file.
        job: Name of the training; keeps two trainings of the same parties apart.
        model: What the model is called: "dress", "linear", or the "module:function" that makes it,
            which each party names on its own command line.
        layout: Names and shapes of its weights.
        start: SHA-256 of the initial weights.
        encoder: How rows become features, as `Encoder.to_json` wrote it: a public code table.
        labels: What a label cell of class 0, 1, … says.
        classes: What the classes are called, in that order.
        rounds: How many rounds; one local epoch each.
        seed: The seed of initial weights, batches and dropout; it protects nobody.
        most_rows: A bound on each party's training rows.
        weighted: Whether parties count by their rows, which the server does not learn.
        clip_range: Largest magnitude of a value of an update.
        adversary: Against whom it is to hold; see `privfed.secagg.Parameters`.
        group_sizes: Parties in each group; None: as many groups as there can be.
        loss: How the model's scores are judged.
        learning_rate: Adam's.
        privacy: The settings of a `PrivacyPlan`, whose rounds may be more than `rounds`: those that
            get lost are paid, too. None: whoever sees the models may learn of rows.
        overlap: What parties find out of the IDs that they share before they train. "rows": the
            later one of two takes those out that the earlier one trains on, too.
        address: HOST:PORT on which the server is reached.
        server: Who listens there: a party, or one that holds neither key nor data.
        parties: All parties, in their order.
    """

    format: Literal["privfed plan 1"]
    job: _Name
    model: Annotated[str, msgspec.Meta(pattern=CODE_NAME)]
    layout: tuple[tuple[str, tuple[_Count, ...]], ...]
    start: _Hex32
    encoder: str
    labels: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    classes: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    rounds: _Count
    seed: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    most_rows: _Count
    weighted: bool
    clip_range: _Range
    adversary: str
    group_sizes: tuple[_Count, ...] | None = None
    loss: Loss = "sigmoid"
    learning_rate: _Range = LEARNING_RATE
    privacy: dict[str, Any] | None = None
    overlap: OverlapPlan = "none"
    address: _Address
    server: PlanParty
    parties: Annotated[tuple[PlanParty, ...], msgspec.Meta(min_length=2, max_length=1024)]

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Return the plan in a file.

        Raises:
            ConfigError: The file cannot be read.
            DecodeError: It is no plan of this version; names the place.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        if len(data) > _MOST_BYTES:
            raise DecodeError(f"{path} is larger than {_MOST_BYTES} bytes: it is no plan")
        try:
            plan = json_as(tomllib.loads(data.decode()), cls, "plan")
        except RecursionError:
            raise DecodeError(f"{path} is no plan of this privfed: it is nested too deep") from None
        except ValueError as error:
            raise DecodeError(f"{path} is no plan of this privfed: {error}") from None
        plan.check()
        return plan

    def save(self, path: Path) -> None:
        """Write the plan to a new file.

        Raises:
            ConfigError: The file is there already or cannot be written.
        """
        fields = {
            name: each for name, each in msgspec.to_builtins(self).items() if each is not None
        }
        if path.exists():
            raise ConfigError(f"{path} is there already: give another file")
        with whole_file(path, refusal=ConfigError) as file:
            file.write(tomli_w.dumps(fields, multiline_strings=True).encode())

    def __post_init__(self) -> None:
        if self.privacy is not None:  # one form, whatever the order in a file
            settings = privacy_settings(_privacy(json_bytes(self.privacy)))
            msgspec.structs.force_setattr(self, "privacy", settings)

    def check(self) -> None:
        """Check what the fields' types do not say.

        Raises:
            ConfigError: Two parties have one name or certificate, a certificate is none, the
                parties do not fit the adversary, or the privacy is that of another training.
            DecodeError: A party's certificate has no identity, or the encoder is none.
            AuthenticationError: A certificate's key and identity do not sign one another.
            CapacityError: No encoding holds the sums.
        """
        self.encoder_of_rows()
        if len(self.labels) != len(self.classes):
            raise ConfigError("a plan has a label for each class")
        for each in (*self.parties, self.server):
            one_certificate(
                each.certificate.encode(), f"the plan's {each.name}", refusal=ConfigError
            )
        names = [each.name for each in self.parties]
        prints = [each.fingerprint for each in self.parties]
        if len(set(names)) < len(names) or len(set(prints)) < len(prints):
            raise ConfigError("two parties of the plan have one name or one certificate")
        self.roster()
        if self.overlap != "none":
            lacking = [each.name for each in self.parties[:-1] if each.address is None]
            if lacking:
                raise ConfigError(
                    f"to find the overlap those after {lacking[0]} connect to it: give its address "
                    "as NAME=CERTIFICATE@HOST:PORT"
                )
            if self.address in {each.address for each in self.parties}:
                raise ConfigError(
                    f"the server and a party both have {self.address}: give the party another port"
                )
            if self.encoder_of_rows().schema.id_column is None:
                raise ConfigError("an overlap is that of IDs, and the plan has no ID column")
        self._check_privacy()
        against = self.parameters().assumed
        if self.server.fingerprint in prints:
            if self.method == "central":
                raise ConfigError("a server that is trusted with sums is no party: name another")
            if len(prints) > 2 and not against.colluders:
                raise ConfigError(
                    "a party is the server, and must not see a single update: let the adversary "
                    "be lying-server+1 at least, or name another server"
                )

    def _check_privacy(self) -> None:
        private = self.private
        if self.method != "averages" and self.group_sizes is not None:
            raise ConfigError("with noise shares and with central noise there are no groups")
        if private is None:
            return
        size = sum(math.prod(shape) for _, shape in self.layout)
        for wrong, why in (
            (self.weighted, "parties do not count by their rows: the exact sum is no private one"),
            (private.parties != len(self.parties), "it is for another number of parties"),
            (private.quorum != private.parties, "all parties take part in each round"),
            (private.rounds < self.rounds, "it pays for fewer rounds"),
            (max(private.rows) > self.most_rows, "it counts more rows than the plan's bound"),
            (private.noise != "local" and private.dimension != size, "its model has another size"),
            (private.is_shared and not private.colluders, "a party can take out its own share"),
            (private.privacy_unit != unit_of(private), "its unit is not what its placements say"),
        ):
            if wrong:
                raise ConfigError(f"this privacy is not the training's: {why}")
        against = "honest-server" if self.method == "central" else self.parameters().adversary
        if self.adversary != against:
            raise ConfigError(f"this privacy is against {against}: let the plan say so")

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of everything in the plan, 32 bytes."""
        return hashlib.sha256(_DOMAIN + json_bytes(self)).digest()

    @property
    def private(self) -> PrivacyPlan | None:
        """The plan of privacy, if there is one."""
        return None if self.privacy is None else _privacy(json_bytes(self.privacy))

    @property
    def method(self) -> Method:
        """What passes to the server, and what comes back."""
        private = self.private
        if private is None or private.noise == "local":
            return "averages"
        return private.noise

    def encoder_of_rows(self) -> Encoder:
        """Return how rows become features."""
        return Encoder.from_json(self.encoder)

    def roster(self) -> tuple[PublicIdentity, ...]:
        """Return the parties' identities, in their order."""
        return tuple(each.identity for each in self.parties)

    def place_of(self, certificate: bytes) -> int:
        """Return the place of the party with a certificate.

        Raises:
            ConfigError: It is none of the parties'.
        """
        wanted = fingerprint(certificate)
        for place, party in enumerate(self.parties):
            if party.fingerprint == wanted:
                return place
        raise ConfigError(
            "this party's certificate is none of the plan's: give the folder whose tls.crt the "
            "others got"
        )

    def check_start(self, start: Arrays) -> None:
        """Check that a model is the plan's, with the plan's initial weights.

        Raises:
            ConfigError: It is not.
        """
        if _layout(start) != self.layout:
            raise ConfigError("the model's weights have other names or shapes than the plan's")
        if weights_sha256(start) != self.start:
            raise ConfigError(
                "the model's initial weights are not those of the plan: give the same model, and "
                "install the same torch at all parties"
            )

    def parameters(self) -> Parameters:
        """Return the parameters of the aggregation; they name the plan.

        Raises:
            ConfigError: The parties do not fit the adversary.
        """
        job = f"{self.job} {self.fingerprint.hex()}"
        if self.private is not None and self.private.is_shared:
            return share_parameters(self.private, self.roster(), job=job)
        return Parameters(
            job=job,
            layout=Layout(self.layout),
            clip_range=self.clip_range,
            bits=BITS,
            max_clients=len(self.parties),
            min_clients=len(self.parties),
            max_weight=2 ** math.ceil(math.log2(self.most_rows + 1)) if self.weighted else None,
            roster=self.roster(),
            adversary=self.adversary,
            group_sizes=self.group_sizes,
        )

    def sign(self, identity: Identity, session: bytes, statement: bytes) -> bytes:
        """Return a party's signature of the plan and of what it says in one session."""
        return identity.sign(_DOMAIN + self.fingerprint + session + statement)

    def verify(self, place: int, signature: bytes, session: bytes, statement: bytes) -> None:
        """Check what `sign` returned at a party.

        Raises:
            AuthenticationError: That party did not sign this plan, session and statement.
        """
        try:
            signed = _DOMAIN + self.fingerprint + session + statement
            self.roster()[place].verify(signature, signed)
        except AuthenticationError:
            raise AuthenticationError(
                f"{self.parties[place].name} did not sign this plan: compare its fingerprint"
            ) from None


def privacy_settings(private: PrivacyPlan) -> dict[str, Any]:
    """Return what a plan keeps of its privacy; TOML has no null."""
    return {name: value for name, value in private.to_dict().items() if value is not None}


@functools.lru_cache(maxsize=64)
def _privacy(settings: bytes) -> PrivacyPlan:
    return PrivacyPlan.from_dict(msgspec.json.decode(settings))


@functools.lru_cache(maxsize=2048)
def _identity(certificate: str) -> PublicIdentity:
    return PublicIdentity.from_certificate(certificate.encode())


def _layout(weights: Arrays) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, tuple(array.shape)) for name, array in weights.items())


def make_plan(
    parties: Sequence[PlanParty], server: PlanParty, *, start: Arrays, **settings: object
) -> Plan:
    """Return a checked plan.

    Args:
        parties: All parties, in their order.
        server: Who listens.
        start: The initial weights.
        settings: The other fields of a plan.

    Raises:
        ConfigError: A field is out of range, or the fields do not go together.
    """
    fields = {"format": FORMAT, "layout": _layout(start), "start": weights_sha256(start)} | settings
    try:
        members = {"parties": list(parties), "server": server}
        plan = json_as(msgspec.to_builtins(fields | members), Plan, "plan")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    plan.check()
    return plan
