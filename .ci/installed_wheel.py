"""Run inside an environment that holds the built wheel alone: what needs no torch must work.

With the argument `base` TenSEAL must be missing, with `aggregate` there; what needs it says so.
"""

import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib import metadata, util
from pathlib import Path

import numpy as np

import privfed
import psi
from privfed import secagg
from privfed.errors import ConfigError, LayoutError

[extra] = sys.argv[1:]
assert {"base": False, "aggregate": True}[extra] == bool(util.find_spec("tenseal"))
assert metadata.version("privfed") == privfed.__version__
assert (Path(privfed.__file__).parent / "py.typed").exists()
assert (Path(psi.__file__).parent / "py.typed").exists()

aligned = psi.align(["a", "b", "c"], ["c", "x", "a"])
assert sorted(zip(aligned.left_rows, aligned.right_rows, strict=True)) == [(0, 2), (2, 0)]

update = {"weight": np.array([0.25, -0.5], dtype=np.float32)}
people = [secagg.generate_identity() for _ in range(2)]
parameters = secagg.Parameters(
    job="wheel", layout=secagg.Layout.of(update), clip_range=1.0, bits=16, max_clients=2,
    max_weight=None, scheme="packed", roster=tuple(p.public for p in people),
)  # fmt: skip
key = secagg.generate_keys(parameters)
server = secagg.Aggregator(parameters, round_id=1)
if extra == "aggregate":
    assert replace(parameters, scheme="auto") == parameters
    for person in people:
        encryptor = secagg.Encryptor(parameters, key, person, "memory")
        server.add(encryptor.encrypt(update, round_id=1, previous=b""))
    opened = secagg.Decryptor(parameters, key, "memory").decrypt(server.total(), round_id=1)
    assert np.allclose(opened.mean["weight"], update["weight"], atol=1e-4)
else:
    for needs_seal in (
        lambda: replace(parameters, scheme="auto"),
        secagg.Encryptor(parameters, key, people[0], "memory").prepare,
    ):
        told = None
        try:
            needs_seal()
        except ConfigError as error:
            told = error
        assert told is not None
        assert not isinstance(told, LayoutError), told
        assert "TenSEAL is not installed: pip install 'privfed[aggregate]'" in str(told), told

heavy = {"torch", "opacus", "pandas", "sklearn", "scipy", "matplotlib"} & set(sys.modules)
assert not heavy, f"imported without need: {heavy}"

commands = Path(sys.executable).parent
subprocess.run([commands / "psi", "--help"], check=True, capture_output=True)
subprocess.run([commands / "privfed", "--help"], check=True, capture_output=True)
shown = subprocess.run([commands / "privfed", "--version"], check=True, capture_output=True)
assert shown.stdout.decode().strip() == privfed.__version__
with tempfile.TemporaryDirectory() as folder:
    ring = Path(folder) / "ring"
    subprocess.run(
        [commands / "privfed", "keys", "identity", ring, "--unlocked"],
        check=True,
        capture_output=True,
    )
    assert secagg.Keyring(ring).certificate == (ring / "tls.crt").read_bytes()
    left, right = Path(folder) / "left.csv", Path(folder) / "right.csv"
    left.write_text("ID\n1\n2\n")
    right.write_text("ID\n2\n3\n")
    align = subprocess.run(
        [commands / "psi", "align", left, right, "--on", "ID", "--rows"],
        check=True, capture_output=True,
    )  # fmt: skip
    rows = align.stdout.split()
    assert rows == [b"left_row,right_row", b"1,0"], rows
lacking = subprocess.run([commands / "privfed", "benchmark", "--quick"], capture_output=True)
assert lacking.returncode == 2, lacking
assert b"pip install 'privfed[train]'" in lacking.stderr, lacking.stderr
assert b"Traceback" not in lacking.stderr, lacking.stderr
print(f"the wheel works in an environment of its own ({extra})")
