"""What all parties and the server agree on before the first round; none of it is secret."""

import hashlib
import operator
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

from privfed import he
from privfed.errors import (
    CapacityError,
    ConfigError,
    DecodeError,
    PrivacyWarning,
    PrivFedError,
)
from privfed.keys import PublicIdentity
from privfed.secagg import canonical
from privfed.secagg.adversary import HONEST_SERVER
from privfed.secagg.clip_ranges import is_range, resolved
from privfed.secagg.groups import whole_sizes
from privfed.secagg.layout import Layout
from privfed.secagg.participants import Participants

SCHEMES = ("packed", "slots", "ckks", "reference")
DOWNLOADS = ("seeds", "summed", "opener")
MAX_WEIGHT = 2**40
OPENED_FROM = 32  # clients, from which a total that some open for all is less work: docs/scale.md
LEAST_CUT = 6  # of the uploads, below which totals are refused whose c0 may be changed


@dataclass(frozen=True, kw_only=True)
class Parameters(Participants):
    """Public parameters of an aggregation.

    Attributes:
        job: Name of the job; keeps two jobs with the same parties apart.
        layout: Names and shapes of the arrays.
        clip_range: Largest magnitude of one value, 1e-20 to 1e20.
        bits: Precision of one value, 6 to 32: the grid has 2^(bits-1) - 1 steps in the range.
        max_clients: Most parties in one round, 2 to 1024.
        min_clients: Fewest parties in one round, at least 2, and 2 more than those that may help
            the server; None: as few as may be, or the smallest group.
        max_weight: Largest weight W of a party, which the server does not learn; None: no weights.
        scheme: "packed", "slots", "ckks", "reference" (in the clear), or "auto": packed where
            SEAL's byte layout is the known one, else slots. Afterwards the attribute names the
            chosen one.
        adversary: Against whom the job is to hold: "honest-server", "lying-server", or
            "lying-server+N" with N parties that help it; None: a server that lies, from three
            clients up with one party. It sets masks, groups, quorum and chain; see
            docs/threat-model.md. "ckks" and "reference" need an honest server.
        roster: Who may send; at least `max_clients` parties.
        group_sizes: Parties in each group, in the roster's order. A round is over whole groups:
            who is missing takes the group along. None: as many as there can be, none for an
            honest server or `noise_shares`.
        noise_shares: Whether updates are integers that carry shares of noise (`privfed.dp`),
            which protects whatever rounds are compared. Then any parties make a round; with
            masks, which they cancel together, all name the same ones before.
        aggregators: Whose partial sums are taken, where servers make a tree.
        clip_ranges: Ranges of arrays whose values are much smaller or larger than others', by
            name or by pattern ({"*.running_var": 1000.0}); a name goes before patterns, and of
            these the first one that matches. Afterwards (name, range) of each array whose range
            is not `clip_range`. See docs/arrays.md.
        out_of_range: "refuse" values past the range, or "clip" them.
        download: "seeds" lets a decryptor rebuild c1 from what each client signed ("packed"
            only); "summed" sends the sum of c1, under a linear hash, and is less work to
            decrypt; "opener": a few parties open the total, with seeds below 32 clients and
            summed from there, and pass its sums on, which the others read. None: under "packed"
            seeds below 32 clients, then "opener".
        cover_c0: Whether the linear hash covers all of a ciphertext, so that a server which
            lies gets no answer from the key at all. "slots" always does; totals with the sum of
            c1 offer it, and are not cut then; None: there if uploads cut fewer than 6 bits.
        tolerance: Largest error of the mean that is accepted, as a share of the range.

    Raises:
        ConfigError: A setting is out of its range, or does not fit the adversary; says what to
            change.
        CapacityError: The scheme cannot hold such sums.
    """

    job: str
    layout: Layout
    clip_range: float
    bits: int
    max_weight: int | None
    scheme: str = "auto"
    clip_ranges: Mapping[str, float] | tuple[tuple[str, float], ...] = ()
    out_of_range: str = "refuse"
    download: str | None = None
    tolerance: float = 0.05
    cover_c0: bool | None = None

    def __post_init__(self) -> None:
        self._normalise()
        if not isinstance(self.job, str) or not 0 < len(self.job) <= 200:
            raise ConfigError("job must be a name of 1 to 200 characters")
        if not is_range(self.clip_range):
            raise ConfigError(f"clip_range must be 1e-20 to 1e20, not {self.clip_range}")
        ranges = resolved(self.clip_ranges, self.layout, self.clip_range)
        object.__setattr__(self, "clip_ranges", ranges)
        if self.scheme == "auto":
            object.__setattr__(self, "scheme", self._chosen())
        if self.scheme not in SCHEMES:
            raise ConfigError(f"scheme must be one of {', '.join(SCHEMES)}, not {self.scheme!r}")
        if self.out_of_range not in ("refuse", "clip"):
            raise ConfigError(f"out_of_range must be refuse or clip, not {self.out_of_range!r}")
        if self.download not in (None, *DOWNLOADS):
            raise ConfigError(
                f"download must be one of {', '.join(DOWNLOADS)}, not {self.download!r}"
            )
        if self.download == "seeds" and self.scheme in ("slots", "ckks"):
            raise ConfigError(f"download='seeds' needs scheme='packed', not {self.scheme!r}")
        if not 0 < self.tolerance <= 1:
            raise ConfigError(f"tolerance must be above 0 and at most 1, not {self.tolerance}")
        if self.max_weight is not None and not 1 <= self.max_weight <= MAX_WEIGHT:
            raise ConfigError(f"max_weight must be 1 to 2^40, not {self.max_weight}")
        self._check_roster()
        self._check_trust()
        self._check_groups()
        if self.max_weight is not None and self.step / 2 > self.tolerance * self.clip_range:
            raise CapacityError(f"{self.bits} bits cannot reach the tolerance: use more bits")
        self._check_cover()  # and refuses sums that do not fit

    def _check_trust(self) -> None:
        """Refuse what does not go with the adversary, or with noise."""
        if self.scheme in ("ckks", "reference") and self.assumed.lies:
            why = "lets a server that lies learn the secret key"
            if self.scheme == "reference":
                why = "hides nothing from the server"
            raise ConfigError(
                f"scheme={self.scheme!r} {why}: use scheme='packed' or 'slots', or set "
                f"adversary={HONEST_SERVER!r} if all parties trust the server"
            )
        if self.noise_shares and (self.max_weight is not None or self.clip_ranges):
            raise ConfigError(
                "updates with noise shares are integers: set max_weight=None, and leave "
                "clip_ranges out"
            )

    def _normalise(self) -> None:
        """Convert every setting to its one type, so that equal parameters are equal bytes."""
        try:
            for name in ("bits", "max_clients", "min_clients", "max_weight"):
                if getattr(self, name) is not None or name in ("bits", "max_clients"):
                    object.__setattr__(self, name, operator.index(getattr(self, name)))
            for name in ("clip_range", "tolerance"):
                object.__setattr__(self, name, float(getattr(self, name)))
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(
                "bits, clients and max_weight are whole numbers, clip_range and tolerance numbers"
            ) from None
        if not isinstance(self.cover_c0, bool | None):
            raise ConfigError("cover_c0 must be True, False or None")
        if self.group_sizes is not None:
            object.__setattr__(self, "group_sizes", whole_sizes(self.group_sizes))
        if not isinstance(self.noise_shares, bool):
            raise ConfigError("noise_shares must be True or False")
        if not isinstance(self.layout, Layout):
            raise ConfigError("layout is a Layout: Layout.of(model.state_dict()) makes one")
        for name in ("scheme", "out_of_range", "download", "adversary"):
            if not isinstance(getattr(self, name), str | None):
                raise ConfigError(f"{name} must be text")
        for name in ("roster", "aggregators"):
            parties = getattr(self, name)
            if isinstance(parties, str | bytes) or not isinstance(parties, Iterable):
                raise ConfigError(f"{name} is PublicIdentity objects, in one order")
            object.__setattr__(self, name, tuple(parties))
            if not all(isinstance(party, PublicIdentity) for party in getattr(self, name)):
                raise ConfigError(
                    f"{name} is PublicIdentity objects: from_bytes() reads one, and a party's own "
                    "Identity has it as .public"
                )

    def _chosen(self) -> str:
        """Return what "auto" stands for."""
        if he.seal.is_known():
            return "packed"
        warnings.warn(
            "this SEAL's byte layout is not the known one, so scheme='packed' cannot run: using "
            "'slots', with larger uploads; install tenseal==0.3.18",
            PrivacyWarning,
            stacklevel=4,  # whoever made the parameters
        )
        return "slots"

    def _check_cover(self) -> None:
        """Refuse a hash where there is none, and changes of c0 where they would tell much."""
        cut, summed = self.packing.upload_cut, self.totals == "summed"
        if self.scheme == "slots":
            if self.cover_c0 is False:
                raise ConfigError("scheme='slots' always covers c0: leave cover_c0 out")
        elif self.scheme != "packed" or not summed:
            if self.cover_c0:
                raise ConfigError(
                    "cover_c0 needs scheme='packed' and totals with the sum of c1, as "
                    f"download='summed' has them, or 'opener' from {OPENED_FROM} clients"
                )
        elif self.cover_c0 is False and cut < LEAST_CUT:
            raise ConfigError(
                f"uploads are cut by {cut} bits only, so that changes of c0 would tell much of a "
                "round's noise: set cover_c0=True"
            )

    @property
    def names_cohorts(self) -> bool:
        """Whether a round's parties are named before: their masks cancel over all of them."""
        return self.masks and self.noise_shares

    @cached_property
    def packing(self) -> he.Packing:
        """Lanes, moduli and cuts for this precision and number of clients."""
        if self.scheme == "slots":
            return he.choose_slots(self.bits, self.max_clients)
        return he.choose(self.bits, self.max_clients)

    @property
    def wraps(self) -> bool:
        """Whether integers are taken modulo a power of two, so that only their sum must fit."""
        return self.scheme in ("packed", "reference")

    @property
    def download_mode(self) -> str:
        """How sums reach the parties: "seeds", "summed" or "opener"."""
        if self.download is not None:
            return self.download
        if self.scheme == "packed" and self.max_clients >= OPENED_FROM:
            return "opener"
        return self.totals

    @property
    def totals(self) -> str:
        """What a total carries: "seeds" of all senders, or the "summed" c1."""
        if self.download in ("seeds", "summed"):
            return str(self.download)
        few = self.scheme == "packed" and self.max_clients < OPENED_FROM
        return "seeds" if few or self.scheme == "reference" else "summed"

    @property
    def openers(self) -> int:
        """How many parties must open a total and pass on the same sums: one more than may lie."""
        return self.assumed.colluders + 1

    @property
    def covers_c0(self) -> bool:
        """Whether a linear hash covers all of a ciphertext, so that no total is opened but sums."""
        if self.scheme == "packed" and self.totals == "summed":
            return self.packing.upload_cut < LEAST_CUT if self.cover_c0 is None else self.cover_c0
        return self.scheme == "slots"

    @property
    def tags(self) -> bool:
        """Whether tags go with the values, which show sums that a server changed, or that wrapped.

        Where a linear hash covers all of a ciphertext no server can; and updates with weights
        cannot wrap, since they are scaled, and not integers of the caller's.
        """
        return self.scheme != "ckks" and not (self.covers_c0 and self.max_weight is not None)

    @property
    def masks(self) -> bool:
        """Whether parties add pairwise masks under the encryption."""
        return self.assumed.colluders > 0

    @property
    def step(self) -> float:
        """Size of a grid step under `clip_range`: the range over 2^(bits-1) - 1."""
        return self.clip_range / self.packing.limit

    def step_of(self, name: str) -> float:
        """Return the size of an array's grid steps, as many as those of any other.

        Raises:
            ConfigError: No array of the layout has this name.
        """
        return self.range_of(name) / self.packing.limit

    def range_of(self, name: str) -> float:
        """Return the largest magnitude of a value of an array.

        Raises:
            ConfigError: No array of the layout has this name.
        """
        if name not in self._ranges:
            raise ConfigError(f"there is no array {name!r:.80} in the layout")
        return self._ranges[name]

    @cached_property
    def _ranges(self) -> dict[str, float]:
        everywhere = {name: self.clip_range for name, _ in self.layout.entries}
        return everywhere | dict(self.clip_ranges)

    @cached_property
    def weight_digits(self) -> int:
        """Values that carry a party's weight, as digits of base 2^(bits-1)."""
        return -(-self.max_weight.bit_length() // (self.bits - 1)) if self.max_weight else 0

    @property
    def values(self) -> int:
        """Integers in one update: weight digits, then the layout's values."""
        return self.weight_digits + self.layout.size

    def to_bytes(self) -> bytes:
        """Return the canonical JSON text of these parameters."""
        return canonical.text_of({field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Parameters":
        """Return the parameters that `to_bytes` wrote, the same object for the same last few bytes.

        Raises:
            ConfigError: This is no bytes.
            DecodeError: The bytes are not the canonical text of valid parameters.
        """
        if not isinstance(data, bytes):
            raise ConfigError(f"parameters are read from bytes, not from {type(data).__name__}")
        return cls._read(data)

    @classmethod
    @lru_cache(maxsize=4)  # a roster of 1,000 takes 70 ms: each holds a signature to be checked
    def _read(cls, data: bytes) -> "Parameters":
        try:
            parameters = cls(**canonical.settings_of(data))
            same = parameters.to_bytes() == data
        except DecodeError:
            raise
        except (PrivFedError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise DecodeError("these bytes are not valid privfed parameters") from None
        if not same:
            raise DecodeError("the parameters are not in canonical form")
        return parameters

    @cached_property
    def fingerprint(self) -> bytes:
        """32 bytes that change with any of these parameters."""
        return hashlib.sha256(b"privfed/1/parameters\x00" + self.to_bytes()).digest()
