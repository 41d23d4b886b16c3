"""A party of spu (SecretFlow) 0.9, CHEETAH: the logistic regression of SecretFlow's SSRegression.

Rank 0 is the guest. Each side gives its whitened block as its own (spu then multiplies by what one
party knows, which is cheaper than shares) and an intercept is a column of ones of the guest's. The
protocol's ring has 64 bits, 18 of them the fraction. One executable does an iteration and runs
once for each; its compilation counts as start-up. The sigmoid is exact, 1 / (1 + exp(-z)), or with
`sigmoid` "t1" SecretFlow's default, a line cut off at 0 and 1, which is cheaper and fits worse.
One thread of work a party takes less processor time than spu's default. Bytes are the link's own
count, and those of the shares.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.vertical_job import STEP, tables, whitened
from benchmarks.worker import Work, measured

NAMES = ("guest", "host", "labels", "weights")
OWNERS = (0, 1, 0, 0)


def load(task: dict[str, Any]) -> Work:
    """Import the tool and compile an iteration."""
    import jax
    import jax.numpy as jnp
    from spu import api, libspu
    from spu.utils import frontend

    log = Path(f"{task['out']}.log")  # where spu says what its link has sent
    options = libspu.logging.LogOptions()
    options.enable_console_logger = False
    options.system_log_path = str(log)
    libspu.logging.setup_logging(options)
    rank, rows, half = task["rank"], task["rows"], task["columns"] // 2
    drawn = tables(rows, task["columns"])

    def sigmoid(z: Any) -> Any:
        if task["sigmoid"] == "exact":
            return jax.nn.sigmoid(z)
        line = 0.5 + z * 0.25
        return jnp.select([line < 0, line > 1], [jnp.zeros_like(z), jnp.ones_like(z)], line)

    def iterate(guest: Any, host: Any, labels: Any, weights: Any) -> Any:
        z = jnp.matmul(guest, weights[: half + 1]) + jnp.matmul(host, weights[half + 1 :])
        residual = sigmoid(z) - labels
        gradients = [jnp.matmul(jnp.transpose(block), residual) for block in (guest, host)]
        return weights - (STEP / rows) * jnp.concatenate(gradients)

    shapes = ((rows, half + 1), (rows, half), (rows, 1), (2 * half + 1, 1))
    executable, _ = frontend.compile(
        frontend.Kind.JAX,
        iterate,
        [np.zeros(shape, np.float32) for shape in shapes],
        {},
        list(NAMES),
        [libspu.Visibility.VIS_SECRET] * len(NAMES),
        lambda outputs: ["weights"],
    )
    config = libspu.RuntimeConfig(protocol=libspu.ProtocolKind.CHEETAH, field=libspu.FieldType.FM64)
    config.enable_pphlo_profile = True
    config.experimental_enable_colocated_optimization = True
    config.max_concurrency = 1

    def work() -> int:
        blocks, changes = zip(
            *(whitened(block) for block in (drawn.guest, drawn.host)), strict=True
        )
        values = (
            np.hstack((np.ones((rows, 1)), blocks[0])),
            blocks[1],
            drawn.labels[:, None],
            np.zeros(shapes[3]),
        )
        description = libspu.link.Desc()
        description.recv_timeout_ms = 600_000
        for party, port in enumerate(task["ports"]):
            description.add_party(f"party{party}", f"127.0.0.1:{port}")
        link = libspu.link.create_brpc(description, rank)
        runtime, io = api.Runtime(link, config), api.Io(2, config)
        sent = 0
        for name, owner, value in zip(NAMES, OWNERS, values, strict=True):
            if rank == owner:
                shares = io.make_shares(
                    value.astype(np.float32), libspu.Visibility.VIS_SECRET, owner
                )
                sent += _send(link, shares[1 - rank])
                runtime.set_var(name, shares[rank])
            else:
                runtime.set_var(name, _receive(link, libspu.Share()))
        for _ in range(task["iterations"]):
            runtime.run(executable)
        own = runtime.get_var("weights")
        sent += _send(link, own)
        shares = [own, _receive(link, libspu.Share())]
        weights = io.reconstruct(shares if rank == 0 else shares[::-1]).ravel()
        link.stop_link()
        parts = weights[1 : half + 1], weights[half + 1 :]
        coefficients = changes[rank] @ parts[rank]
        Path(task["out"]).write_text(json.dumps(coefficients.tolist()))
        counts = re.findall(r"total send bytes (\d+)", log.read_text())
        assert len(counts) == task["iterations"]
        return sent + sum(map(int, counts))

    return work


def _send(link: Any, share: Any) -> int:
    """Send a share to the other side; return its bytes."""
    pieces = [share.meta, *share.share_chunks]
    link.send(1 - link.rank, str(len(pieces)))
    for piece in pieces:
        link.send(1 - link.rank, piece)
    return sum(map(len, pieces))


def _receive(link: Any, share: Any) -> Any:
    """Fill in a share from the other side."""
    other = 1 - link.rank
    share.meta, *share.share_chunks = [link.recv(other) for _ in range(int(link.recv(other)))]
    return share


if __name__ == "__main__":
    measured(load)
