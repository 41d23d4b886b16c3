"""What vole is made of beside its vector OLE: buckets, equal tags, texts as items, and no numba."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import psi.protocols.vole.buckets
from psi import ConfigError, RepeatedElementError
from psi.kernels.texts import TextKeys, Texts
from psi.protocols.vole import Receiver, Sender
from psi.protocols.vole.buckets import Buckets
from psi.protocols.vole.matching import matching_tags
from tests.psi.peers import run


def test_matching_notices_tags_that_occur_twice() -> None:
    tags = np.random.default_rng(3).integers(0, 256, (50, 16), np.uint8)
    rows, found = matching_tags(tags, tags[[7, 3]])
    assert (rows.tolist(), found.tolist()) == ([3, 7], [1, 0])
    tags[20] = tags[30]
    with pytest.raises(RepeatedElementError):
        matching_tags(tags, tags[:2])
    tags[20, -1] ^= 1  # the same first 8 bytes are not the same tag
    assert matching_tags(tags, tags[[20]])[0].tolist() == [20]
    assert [len(part) for part in matching_tags(tags[:0], tags[:2])] == [0, 0]


@pytest.mark.parametrize("spilled", [False, True])
@pytest.mark.parametrize("buckets", [1, 2, 16])
def test_every_digest_is_in_the_bucket_of_its_first_bits(
    buckets: int, spilled: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(psi.protocols.vole.buckets, "_SPILL_FROM", 500 if spilled else 501)
    digests = np.random.default_rng(1).integers(0, 256, (500, 16), np.uint8)
    sorted_in = Buckets(iter(np.split(digests, [100, 100, 350])), 500, buckets)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(on_disk) == (500 * 24 if spilled else 0)
    assert not any(digest.tobytes()[:8] in on_disk for digest in digests)  # but encrypted
    every = []
    for number in range(buckets):
        rows, own = sorted_in.take(number)
        assert len(rows) == sorted_in.sizes[number]
        assert np.array_equal(own, digests[rows])
        words = own[:, :4].copy().view("<u4").ravel().astype(float)
        assert np.all(words * buckets // 2**32 == number)
        every += rows.tolist()
    assert sorted(every) == list(range(500))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    sorted_in.close()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_nothing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(psi.protocols.vole.buckets, "_SPILL_FROM", 1)
    digests = np.zeros((1, 16), np.uint8)
    spilled = Buckets([digests], 1, 1)
    next(path for path in tmp_path.rglob("*") if path.is_file()).unlink()
    with pytest.raises(ConfigError, match="TMPDIR"):
        spilled.take(0)
    spilled.close()
    monkeypatch.setattr(Buckets, "_path", lambda self, bucket: tmp_path / "missing" / "file")
    with pytest.raises(ConfigError, match="TMPDIR"):
        Buckets([digests], 1, 1)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="No such file"):
        Buckets([digests], 1, 1)


def test_keys_of_texts_are_items_like_any_others() -> None:
    texts = TextKeys(Texts.of_list([str(number) for number in range(300)]), np.arange(300))
    plain = list(texts)
    for left, right in ((texts, plain[100:]), (plain[:200], texts)):
        receiver, sender = Receiver(left), Sender(right)
        run(receiver, sender)
        found = [left[index] for index in receiver.matches]
        assert found == [right[index] for index in sender.matches]
        assert set(found) == set(left) & set(right)


SMALL_SESSION = """
import sys
{before}
from psi.protocols.vole import Receiver, Sender
items = [str(number).encode() for number in range(500)]
receiver, sender = Receiver(items), Sender(items[250:] + [b"x"])
message, turn = receiver.start(), 0
while message is not None:
    message = (sender, receiver)[turn % 2].receive(message)
    turn += 1
assert len(receiver.matches) == 250
print(sys.modules.get("numba"))
"""


@pytest.mark.parametrize(
    "before",
    [
        "",  # a small set never loads numba
        "sys.modules['numba'] = None; import importlib.util as util; "
        "util.find_spec = lambda name: None; import psi.kernels; "
        "psi.kernels.FAST_FROM = 1",  # and without numba everything works
    ],
)
def test_numba_is_not_needed(before: str) -> None:
    code = SMALL_SESSION.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
