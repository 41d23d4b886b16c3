"""Parties agree on parameters by commands alone, and compare one fingerprint."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from privfed import secagg
from privfed.keys import Identity
from privfed.secagg import Keyring, Parameters
from psi.network.certificates import new_key
from tests.cli.command import Command
from tests.cli.test_defaults import options, parameters
from tests.places import ROOT

NAMES = ("alice", "bob", "carol")
ARRAYS = {"weight": torch.zeros(4, 3), "bias": torch.zeros(4), "steps": torch.tensor(3)}
ASKED = ("--job", "digits", "--clip-range", 8)


@pytest.fixture(scope="session")
def companies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three keyrings, the certificates of all, and a model's file."""
    place = tmp_path_factory.mktemp("companies")
    for name in NAMES:
        ring = Keyring.create(place / name, unlocked=True)
        (place / f"{name}.crt").write_bytes(ring.certificate)
    torch.save(ARRAYS, place / "model.pt")
    return place


@pytest.fixture
def asked(companies: Path) -> list[Any]:
    certificates = [companies / f"{name}.crt" for name in NAMES]
    return [*certificates, *ASKED, "--layout", companies / "model.pt"]


@pytest.mark.slow
def test_three_companies_come_from_nothing_to_a_round_by_the_shell(tmp_path: Path) -> None:
    torch.save({name: each + 0.0 for name, each in ARRAYS.items()}, tmp_path / "model.pt")
    script = """
    for who in alice bob carol; do
        privfed keys identity $who --unlocked
        cp $who/tls.crt $who.crt
    done
    privfed keys plan *.crt --job digits --layout model.pt --clip-range 8 --out plan.params
    for who in alice bob carol; do privfed keys compare plan.params *.crt; done
    privfed keys make alice --params plan.params --out sealed
    for who in bob carol; do
        id=$(privfed keys show $who | sed -n 's/^party *//p')
        privfed keys accept $who sealed/$id.sealed --params plan.params
    done
    for who in alice bob carol; do privfed keys show $who; done
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-ec", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    fingerprints = re.findall(r"(?m)^params +(\w+)$", done.stdout)
    assert len(fingerprints) == 1 + 3 + 3
    params = Parameters.from_bytes((tmp_path / "plan.params").read_bytes())
    assert set(fingerprints) == {params.fingerprint.hex()}

    with contextlib.ExitStack() as stack:
        parties = [stack.enter_context(secagg.Party.load(tmp_path / name)) for name in NAMES]
        offers = [party.start_epoch() for party in parties]
        server = secagg.Aggregator(params, round_id=1)
        for number, party in enumerate(parties):
            party.enter_epoch(offers)
            update = {name: np.full(shape, number / 2) for name, shape in params.layout.entries}
            upload = party.encrypt(update)
            server.add(upload)
        total = server.total()
        for party in parties:
            np.testing.assert_allclose(party.open(total).mean["weight"], 0.5, atol=1e-3)
    said = f"bytes    {len(upload):,} up from each party, {len(total):,} down, in a round of 3\n"
    assert done.stdout.count(said) == 1 + 3  # what it takes is known before


def test_the_file_is_the_same_whoever_writes_it(
    privfed: Command, companies: Path, tmp_path: Path
) -> None:
    certificates = [companies / f"{name}.crt" for name in NAMES]
    ways = (
        [*certificates],
        [*reversed(certificates)],
        [companies],
        [companies / "bob", *certificates[::2]],
    )
    for number, given in enumerate(ways):
        out = tmp_path / f"{number}.params"
        layout = companies / "model.pt"
        done = privfed("keys", "plan", *given, *ASKED, "--layout", layout, "--out", out)
        assert (done.status, done.err) == (0, "")
    texts = {path.read_bytes() for path in tmp_path.glob("*.params")}
    assert len(texts) == 1
    ids = [party.id for party in Parameters.from_bytes(texts.pop()).roster]
    assert ids == sorted(ids)


def test_a_plan_is_written_where_there_is_no_tenseal_and_no_torch(
    companies: Path, tmp_path: Path
) -> None:
    program = """
import sys
for absent in ("tenseal", "torch", "zstandard"):
    sys.modules[absent] = None
from privfed.cli import main
main()
"""
    words = ["keys", "plan", companies, *ASKED, "--layout", companies / "model.pt"]
    command = [sys.executable, "-c", program, *words, "--out", tmp_path / "plan"]
    done = subprocess.run(
        [*map(str, command), "--scheme", "packed"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Parameters.from_bytes((tmp_path / "plan").read_bytes()).scheme == "packed"


def test_every_setting_has_an_option(privfed: Command, asked: list[Any], tmp_path: Path) -> None:
    honest = {"adversary": "honest-server"}
    server = secagg.PublicIdentity.from_certificate(asked[0].read_bytes())
    ways: list[tuple[str, dict[str, Any]]] = [
        ("", {}),
        ("--bits 12 --max-weight 100", {"bits": 12, "max_weight": 100}),
        ("--tolerance .5 --out-of-range clip", {"tolerance": 0.5, "out_of_range": "clip"}),
        ("--adversary lying-server+1 --groups 3", {"group_sizes": (3,)}),
        ("--adversary honest-server --max-clients 2", {**honest, "max_clients": 2}),
        ("--adversary honest-server --min-clients 2", {**honest, "min_clients": 2}),
        ("--adversary honest-server --scheme ckks", {**honest, "scheme": "ckks"}),
        ("--noise-shares --scheme slots", {"noise_shares": True, "scheme": "slots"}),
        ("--download summed --cover-c0", {"download": "summed", "cover_c0": True}),
        ("--download summed --no-cover-c0", {"download": "summed", "cover_c0": False}),
        ("--download opener", {"download": "opener"}),
        ("--clip-ranges w*=1000 --clip-ranges bias=2", {"clip_ranges": {"w*": 1000.0, "bias": 2}}),
        (f"--aggregator {asked[0]}", {"aggregators": (server,)}),
    ]
    out = tmp_path / "plan.params"
    for words, settings in ways:
        planned = privfed("keys", "plan", *asked, *words.split(), "--out", out, "--force")
        assert planned.status == 0, planned.err
        agreed = Parameters.from_bytes(out.read_bytes())
        wanted = {"bits": 16, "max_clients": 3, "max_weight": None, **settings}
        layout = secagg.Layout.of(ARRAYS)
        assert (
            agreed.fingerprint
            == Parameters(
                job="digits", clip_range=8.0, layout=layout, roster=agreed.roster, **wanted
            ).fingerprint
        )
    names = {"group_sizes": "groups", "roster": "parties", "aggregators": "aggregator"}
    taken = {names.get(name, name) for name in parameters(Parameters)}
    assert taken <= options("keys", "plan").keys()


def test_what_is_agreed_is_said_with_its_bytes(
    privfed: Command, asked: list[Any], companies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "plan.params"
    said = privfed("keys", "plan", *asked, "--max-weight", 512, "--out", out).out
    again = privfed("keys", "compare", out, *asked[:3]).out
    assert said.startswith(again)
    assert said.endswith(
        f"to the others and the server; each compares: privfed keys compare {out}\n"
    )
    agreed = Parameters.from_bytes(out.read_bytes())
    for words in (
        "job      'digits'\n",
        "parties  3, 3 to 3 in a round\n",
        *(f"{party.id}  {companies}/" for party in agreed.roster),
        "against  lying-server+1\n",
        "groups   1, of 3\n",
        "layout   2 arrays, 16 values, 1 left out\n",
        "values   16 bits within 8, weights to 512\n",
        "scheme   packed, download seeds\n",
        f"params   {agreed.fingerprint.hex()}\n",
    ):
        assert words in said
    listed = privfed("keys", "compare", out, "--arrays").out
    for words in (
        "array    'weight' [4, 3] within 8\n",
        "array    'bias' [4] within 8\n",
        "without  'steps'\n",
    ):
        assert words in listed


@pytest.mark.parametrize("download", ["seeds", "summed", "opener"])
def test_a_round_takes_the_bytes_that_a_plan_says(
    privfed: Command, asked: list[Any], companies: Path, tmp_path: Path, download: str
) -> None:
    out = tmp_path / "plan.params"
    said = privfed("keys", "plan", *asked, "--download", download, "--out", out).out
    agreed = Parameters.from_bytes(out.read_bytes())
    rings = [Keyring(companies / name).identity for name in NAMES]
    simulation = secagg.Simulation(agreed, sorted(rings, key=lambda each: each.public.id))
    update = {name: np.zeros(shape) for name, shape in agreed.layout.entries}
    _, cost = simulation.average([update] * 3, round_id=1)
    line = next(line for line in said.splitlines() if line.startswith("bytes"))
    numbers = [int(each.replace(",", "")) for each in re.findall(r"\d[\d,]*", line)]
    up, down, _, *opening = numbers
    openers, total, own = opening or (0, down, 0)
    assert (openers, cost.total_bytes) == (2 if download == "opener" else 0, total)
    assert cost.result_bytes == (down if openers else 0)
    assert cost.upload_bytes == 3 * up + openers * own
    assert cost.download_bytes == openers * total + (3 - openers) * down


def test_a_plan_that_is_not_the_other_s_is_refused(
    privfed: Command, asked: list[Any], companies: Path, tmp_path: Path
) -> None:
    for number, job in enumerate(("digits", "dresses")):
        privfed("keys", "plan", *asked, "--job", job, "--out", tmp_path / str(number))
    own = Parameters.from_bytes((tmp_path / "0").read_bytes()).fingerprint.hex(":").upper()
    same = privfed("keys", "compare", tmp_path / "0", "--fingerprint", own)
    assert (same.status, same.out.splitlines()[-1]) == (0, "the same as the other party's")
    stranger = Keyring.create(tmp_path / "dave", unlocked=True)
    (tmp_path / "dave.crt").write_bytes(stranger.certificate)
    for words, said in (
        (["--fingerprint", own], "is not what the other party has"),
        (["--fingerprint", own[:20]], "this is no whole fingerprint"),
        (asked[:2], "is on the roster, and no certificate given is its"),
        ([*asked[:3], tmp_path / "dave.crt"], "dave.crt is of .* not on the roster"),
    ):
        refused = privfed("keys", "compare", tmp_path / "1", *words)
        assert refused.status == 2
        assert re.fullmatch(f"privfed: .*{said}.*\n", refused.err), refused.err


def test_a_roster_with_a_party_s_name_and_other_keys_is_refused(
    privfed: Command, tmp_path: Path
) -> None:
    """A party is named by its verify key alone; masks for it would be another one's to read."""
    signs, other = Ed25519PrivateKey.generate(), secagg.generate_identity()
    first, second = (Identity(signs, X25519PrivateKey.generate()) for _ in range(2))
    assert first.public.id == second.public.id
    for name, party in (("first", first), ("second", second), ("other", other)):
        (tmp_path / f"{name}.crt").write_bytes(party.certify(new_key()))
    np.savez(tmp_path / "model.npz", w=np.zeros(3))
    certificates = [tmp_path / "first.crt", tmp_path / "other.crt"]
    plan = privfed("keys", "plan", *certificates, *ASKED, "--layout", tmp_path / "model.npz",
                   "--out", tmp_path / "plan")  # fmt: skip
    assert plan.status == 0, plan.err
    assert privfed("keys", "compare", tmp_path / "plan", *certificates).status == 0
    refused = privfed(
        "keys", "compare", tmp_path / "plan", tmp_path / "second.crt", *certificates[1:]
    )
    assert refused.status == 2
    assert "is on the roster with other keys than in" in refused.err


def refusals(place: Path, other: Path) -> Iterator[tuple[list[Any], str]]:
    """What is asked beside a whole command, and what is said."""
    yield [place / "alice" / "tls.crt"], "alice.crt and .*/alice/tls.crt are of one party"
    yield [other / "empty"], r"there is no certificate \(\*\.crt\) in .*/empty"
    yield [place / "none.crt"], "cannot read .*/none.crt: No such file"
    yield [place / "model.pt"], "model.pt: the certificate's text holds no certificate"
    yield [other / "old.crt"], "old.crt is out of date since"
    yield ["--layout", place / "alice.crt"], "alice.crt: this is no file of numpy.savez"
    yield ["--layout", other / "long"], "parameters of more than 16777216 bytes"
    yield ["--layout-key", "model"], "there is no key 'model' in it; there is 'weight'"
    yield ["--out", place / "model.pt", "--force"], "model.pt is read or kept here and not replaced"
    yield ["--out", place / "alice.crt", "--force"], "alice.crt is read or kept here"
    yield ["--out", place / "bob.crt"], "bob.crt .*not replaced"
    yield ["--out", other / "there"], "there exists: name another file, or replace it with --force"
    yield ["--min-clients", 2], "--min-clients must be 3 to --max-clients 3, not 2"
    yield ["--max-clients", 4], "the roster has 3 parties; give --max-clients 4 to"
    yield ["--noise-shares", "--max-weight", 9], ".*leave --max-weight out"
    yield ["--groups", "1,2"], "--groups must add up to the roster's 3 parties"
    yield ["--groups", "a"], "--groups a: give the parties of each group"
    yield ["--scheme", "ckks"], "--scheme ckks lets a server .* set --adversary honest-server"
    yield ["--scheme", "slots", "--download", "seeds"], "--download seeds needs --scheme packed"
    yield ["--clip-range", 1e30], "--clip-range must be 1e-20 to 1e20"
    yield ["--clip-range", 0], ".*0 is no number above 0"
    yield ["--bits", 33], ".*33 is not in the range"
    yield (
        ["--clip-ranges", "weigt=1"],
        "no array is called 'weigt' as in --clip-ranges; there are weight",
    )
    yield ["--clip-ranges", "weight"], "--clip-ranges weight: give PATTERN=RANGE"
    yield ["--clip-ranges", "w=-1"], "--clip-ranges w=-1: give PATTERN=RANGE"
    yield ["--clip-ranges", "w=nan"], "--clip-ranges w=nan: give PATTERN=RANGE"
    yield ["--clip-ranges", "w=1", "--clip-ranges", "w=2"], "--clip-ranges gives w two ranges"


def test_what_cannot_be_planned_is_refused_in_the_command_s_words(
    privfed: Command, asked: list[Any], companies: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "there").write_text("kept")
    torch.save({"é" * 3_000_000: torch.zeros(1)}, tmp_path / "long")  # six letters each in JSON
    with pytest.MonkeyPatch.context() as patch:
        then = SimpleNamespace(now=lambda zone: datetime.now(zone) - timedelta(days=9))
        clock = SimpleNamespace(datetime=then, timedelta=timedelta, UTC=UTC)
        patch.setattr("psi.network.certificates.datetime", clock)
        ring = Keyring.create(tmp_path / "old", unlocked=True, days=1)
        (tmp_path / "old.crt").write_bytes(ring.certificate)
    for words, said in refusals(companies, tmp_path):
        out = tmp_path / "plan.params"
        refused = privfed("keys", "plan", *asked, "--out", out, *words)
        assert refused.status == 2, words
        assert re.match(f"privfed: .*{said}", refused.err), refused.err
        assert refused.err.count("\n") == 1
        assert not out.exists()
    assert (tmp_path / "there").read_text() == "kept"
