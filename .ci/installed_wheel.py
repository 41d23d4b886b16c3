"""Run inside an environment that holds the built wheel alone: what needs no torch must work."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

import privfed
import psi
from privfed import secagg

assert metadata.version("privfed") == privfed.__version__
assert (Path(privfed.__file__).parent / "py.typed").exists()
assert (Path(psi.__file__).parent / "py.typed").exists()

aligned = psi.align(["a", "b", "c"], ["c", "x", "a"])
assert sorted(zip(aligned.left_rows, aligned.right_rows, strict=True)) == [(0, 2), (2, 0)]

update = {"weight": np.array([0.25, -0.5], dtype=np.float32)}
people = [secagg.generate_identity() for _ in range(2)]
parameters = secagg.Parameters(
    job="wheel", layout=secagg.Layout.of(update), clip_range=1.0, bits=16, max_clients=2,
    min_clients=2, max_weight=None, scheme="packed", roster=tuple(p.public for p in people),
)  # fmt: skip
key = secagg.generate_keys(parameters)
server = secagg.Aggregator(parameters, round_id=1)
for person in people:
    server.add(secagg.Encryptor(parameters, key, person).encrypt(update, round_id=1, previous=b""))
opened = secagg.Decryptor(parameters, key, state=None).decrypt(server.total(), round_id=1)
assert np.allclose(opened.mean["weight"], update["weight"], atol=1e-4)

heavy = {"torch", "opacus", "pandas", "sklearn", "scipy", "matplotlib"} & set(sys.modules)
assert not heavy, f"imported without need: {heavy}"

commands = Path(sys.executable).parent
subprocess.run([commands / "psi", "--help"], check=True, capture_output=True)
shown = subprocess.run([commands / "privfed", "--version"], check=True, capture_output=True)
assert shown.stdout.decode().strip() == privfed.__version__
lacking = subprocess.run([commands / "privfed", "benchmark", "--quick"], capture_output=True)
assert lacking.returncode == 2, lacking
assert b"pip install 'privfed[train]'" in lacking.stderr, lacking.stderr
assert b"Traceback" not in lacking.stderr, lacking.stderr
print("the wheel works in an environment of its own")
