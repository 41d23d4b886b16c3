"""Seeded mutations of every file that a party keeps: a named error with its path, or no harm.

A job of three keyrings runs for two rounds, and what then lies in the first one's folder is what is
mutated: the tests name no file and no field.
"""

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from privfed import secagg
from privfed.errors import ContextMismatchError, PrivFedError, ReplayError
from privfed.secagg import Keyring, PublicIdentity
from psi.errors import PSIError
from psi.network import TLSIdentity
from psi.storage import is_locked
from tests.mutations import KINDS, mutations
from tests.secagg.parties import parameters, updates

SHAPES: dict[str, tuple[int, ...]] = {"w": (3, 4), "b": (2,)}
ROUND = 3  # the next one
SENT = updates(3, SHAPES)
Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Job:
    """What two rounds left, and what the others will send in the next."""

    folder: Path
    passphrase: str | None
    params: secagg.Parameters
    uploads: list[bytes]

    @property
    def files(self) -> list[Path]:
        """All that was kept; locks hold nothing."""
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*"))
        return sorted(
            path for path in found if (self.folder / path).is_file() and path.suffix != ".lock"
        )

    def reads(self) -> dict[str, Read]:
        """All that is ever read from the folder, each as something to compare."""
        words = self.passphrase

        def ring(folder: Path) -> Keyring:
            return Keyring(folder, words)

        return {
            "identity": lambda at: ring(at).identity.public,
            "signature": lambda at: ring(at).identity.sign(b"x"),
            "certificate": lambda at: PublicIdentity.from_certificate(ring(at).certificate),
            "parameters": lambda at: ring(at).params,
            "key": lambda at: ring(at).key(),
            "current": lambda at: ring(at).current,
            "retired": lambda at: ring(at).retired,
            "TLS key": lambda at: number_of(TLSIdentity.load(at, words).key),
            "kept result": self._kept,
            "next round": self._next,
        }

    def _kept(self, folder: Path) -> str:
        with secagg.Party.load(folder, self.passphrase) as party:
            return digest(party.opened())

    def _next(self, folder: Path) -> str:
        server = secagg.Aggregator(self.params, ROUND)
        with secagg.Party.load(folder, self.passphrase) as party:
            for upload in (party.encrypt(SENT[0], weight=5), *self.uploads):
                server.add(upload)
            return digest(party.open(server.total()))


def number_of(pem: bytes) -> int:
    """The key itself: text may stand beside it."""
    key = load_pem_private_key(pem, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    return key.private_numbers().private_value


def digest(result: secagg.MeanResult | secagg.IntegerResult) -> str:
    """What has to be the same; a transcript hangs on randomness."""
    assert isinstance(result, secagg.MeanResult)
    values = b"".join(np.ascontiguousarray(array).tobytes() for array in result.mean.values())
    return hashlib.sha256(values + repr((result.total_weight, result.senders)).encode()).hexdigest()


def run_job(place: Path, passphrase: str | None) -> Job:
    """Two rounds of three parties, under the second key that they share."""
    words = [passphrase, None, None]
    rings = [
        Keyring.create(place / name, each, unlocked=each is None)
        for name, each in zip("abc", words, strict=True)
    ]
    roster = tuple(ring.identity.public for ring in rings)
    params = parameters(3, SHAPES, roster=roster, adversary="lying-server+1")
    for maker in rings[:2]:
        sealed = maker.make(params) if maker is rings[0] else maker.rotate()
        for ring in rings:
            if ring is not maker:
                ring.accept(sealed[ring.identity.public.id], params)
    parties = [
        secagg.Party.load(place / name, each) for name, each in zip("abc", words, strict=True)
    ]
    epoch = [party.start_epoch() for party in parties]
    for party in parties:
        party.enter_epoch(epoch)
    for number in (1, 2, ROUND):
        uploads = [
            party.encrypt(update, weight=5) for party, update in zip(parties, SENT, strict=True)
            if number < ROUND or party is not parties[0]
        ]  # fmt: skip
        if number < ROUND:
            server = secagg.Aggregator(params, number)
            for upload in uploads:
                server.add(upload)
            total = server.total()
            for party in parties:
                party.open(total)
    for party in parties:
        party.close()
    return Job(place / "a", passphrase, params, uploads)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | None], Job]:
    return cache(lambda words: run_job(tmp_path_factory.mktemp("job"), words))


@pytest.fixture(params=[None, "words"], ids=["unlocked", "locked"])
def job(request: pytest.FixtureRequest, jobs: Callable[[str | None], Job]) -> Job:
    return jobs(request.param)


def copied(job: Job, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(job.folder, to)
    return to


def faults(job: Job, place: Path, honest: dict[str, Any], changed: str) -> Iterator[str]:
    """Read all there is; yield what is neither the honest value nor a named error."""
    for what, read in job.reads().items():
        try:
            value = read(place)
        except (PrivFedError, PSIError) as error:
            said = str(error)
            if "\n" in said or len(said) < 10:
                yield f"{changed}: {what}: says too little: {said!r}"
            # A record that is well-formed may be of another history: then no file is at fault.
            if str(place) not in said and not isinstance(error, ContextMismatchError | ReplayError):
                yield f"{changed}: {what}: does not say which file: {said!r}"
        except Exception as error:
            yield f"{changed}: {what}: {type(error).__name__}: {error}"
        else:
            if value != honest[what]:
                yield f"{changed}: {what}: another value"


def spoiled(job: Job, place: Path, kind: str, count: int) -> Iterator[Path]:
    """Yield each file in turn, after it was mutated in a copy of the folder."""
    rng = random.Random(kind)  # noqa: S311  (mutations are to be the same in every run)
    for file in job.files:
        good = (job.folder / file).read_bytes()
        for bad in mutations(rng, good, kind, -(-count // len(job.files))):
            copied(job, place)
            (place / file).write_bytes(bad)
            yield file


def test_honest_folders_read_as_they_were_written(job: Job, tmp_path: Path) -> None:
    place = copied(job, tmp_path / "copy")
    honest = {what: read(place) for what, read in job.reads().items()}
    assert honest["parameters"] == job.params
    assert honest["kept result"] == honest["next round"]  # the same updates, the same mean
    assert len(honest["retired"]) == 1
    kinds = [is_locked((job.folder / file).read_bytes()) for file in job.files]
    assert any(kinds) == (job.passphrase is not None)
    assert len(job.files) >= 7  # three keys, a certificate, two records, a result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.deep(normal=35, stated=9_100)  # of eleven kinds
def test_mutated_files(
    jobs: Callable[[str | None], Job], tmp_path: Path, kind: str, count: int
) -> None:
    job, place = jobs(None), tmp_path / "bad"
    whole = copied(job, tmp_path / "copy")
    honest = {what: read(whole) for what, read in job.reads().items()}
    found = [
        fault
        for file in spoiled(job, place, kind, count)
        for fault in faults(job, place, honest, file.name)
    ]
    assert not found, "\n".join(found[:30])


@pytest.mark.deep(normal=24, stated=2_000)
def test_mutated_files_under_a_passphrase(
    jobs: Callable[[str | None], Job], tmp_path: Path, count: int
) -> None:
    """Whatever is locked is refused when a bit of it changed; a guess takes long on purpose."""
    job = jobs("words")
    rng = random.Random(2)  # noqa: S311  (mutations are to be the same in every run)
    locked = [file for file in job.files if is_locked((job.folder / file).read_bytes())]
    assert len(locked) == 3
    for number in range(count):
        file, place = locked[number % len(locked)], copied(job, tmp_path / "bad")
        good = (place / file).read_bytes()
        kind = rng.choice(sorted(KINDS))
        bad = KINDS[kind](rng, good)
        if bad == good:
            continue
        (place / file).write_bytes(bad)
        reads = {"identity.key": "identity", "tls.key": "TLS key"}
        read = job.reads()[reads.get(file.name, "key")]
        with pytest.raises((PrivFedError, PSIError), match=f"{file.name}|keyring"):
            read(place)


def test_a_damaged_record_costs_no_key(jobs: Callable[[str | None], Job], tmp_path: Path) -> None:
    """It is put back from a backup, and with it the key must still be there."""
    job, place = jobs(None), tmp_path / "bad"
    name = Keyring(copied(job, place)).current.encode()
    named = [file for file in job.files if name in (job.folder / file).read_bytes()]
    assert named
    for file in named:
        good = (job.folder / file).read_bytes()
        for at in range(len(name)):
            other = name[:at] + (b"1" if name[at : at + 1] == b"0" else b"0") + name[at + 1 :]
            (copied(job, place) / file).write_bytes(good.replace(name, other))
            list(faults(job, place, dict.fromkeys(job.reads()), ""))
            (place / file).write_bytes(good)
            assert Keyring(place).key().id.hex() == name.decode()
