"""Peak memory of each role for a large update, streamed in parts through files.

Run: python -m benchmarks.aggregation_memory --params 100000000 --clients 2 --json FILE

Each role runs in a process of its own, and its peak is what Linux says of it (VmHWM), from when
the update is there (client) or the process has loaded its libraries (server, decryptor). The
decryptor's mean, which is as large as an update, is counted apart as the update itself.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from privfed import secagg
from privfed.secagg import wire
from privfed.secagg.parts import Parts

CLIP_RANGE, BITS, MAX_WEIGHT = 0.05, 16, 1024


@dataclass(frozen=True)
class Row:
    """One role; bytes beyond the update itself."""

    role: str
    params: int
    clients: int
    download_mode: str
    masks: bool
    update_bytes: int
    peak_bytes_beyond_update: int
    seconds: float
    message_bytes: int


def peak_bytes() -> int:
    """Return the process's highest resident memory since `reset_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this needs Linux's /proc")


def reset_peak() -> int:
    """Let the peak start from now; return the memory in use now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def update(params: int, seed: int) -> dict[str, np.ndarray]:
    """Return one update, made in place."""
    rng = np.random.default_rng(seed)
    values = rng.random(params, dtype=np.float32)
    values -= np.float32(0.5)
    values *= np.float32(2 * CLIP_RANGE)
    return {"w": values}


def messages(path: Path, params: secagg.Parameters, senders: int) -> Iterator[bytes]:
    """Yield a file's messages part by part: uploads, or a total over `senders`."""
    parts = Parts(params)
    with path.open("rb") as file:
        for part in parts.all:
            kind = wire.Kind.TOTAL if senders else wire.Kind.UPLOAD
            yield file.read(parts.message_bytes(part, kind, senders or 1))


def state(job: dict[str, Any], place: int) -> Path:
    """Return where a party keeps its mask keys, from one process to the next."""
    return Path(job["folder"]) / f"state{place}"


def enter_epoch(job: dict[str, Any]) -> None:
    """Exchange mask keys between all parties."""
    params, key, parties = opened(job)
    made = [
        secagg.Encryptor(params, key, each, state(job, place)) for place, each in enumerate(parties)
    ]
    started = [each.start_epoch(1) for each in made]
    for each in made:
        each.enter_epoch(started)
        each.close()


def client(job: dict[str, Any], place: int) -> Row:
    """Encrypt one update to a file."""
    params, key, parties = opened(job)
    sent = update(params.layout.size, place)
    start, began = reset_peak(), time.perf_counter()
    encryptor = secagg.Encryptor(params, key, parties[place], state(job, place))
    size = 0
    with (job["folder"] / f"upload{place}").open("wb") as file:
        for part in encryptor.encrypt_blocks(sent, weight=MAX_WEIGHT - place, round_id=1):
            size += file.write(part)
    return row(job, "client", peak_bytes() - start, time.perf_counter() - began, size)


def server(job: dict[str, Any]) -> Row:
    """Add the uploads, and write the total to a file."""
    params = secagg.Parameters.from_bytes(job["params"])
    start, began = reset_peak(), time.perf_counter()
    aggregator = secagg.Aggregator(params, 1)
    for place in range(job["clients"]):
        for part in messages(job["folder"] / f"upload{place}", params, 0):
            aggregator.add(part)
    size = 0
    with (job["folder"] / "total").open("wb") as file:
        for part in aggregator.total_blocks():
            size += file.write(part)
    return row(job, "server", peak_bytes() - start, time.perf_counter() - began, size)


def decryptor(job: dict[str, Any]) -> Row:
    """Decrypt the total, and check the mean against numpy's integers."""
    params, key, _ = opened(job)
    start, began = reset_peak(), time.perf_counter()
    total = messages(job["folder"] / "total", params, job["clients"])
    result = secagg.Decryptor(params, key, "memory").decrypt(total, 1)
    peak, seconds = peak_bytes() - start, time.perf_counter() - began
    check(params, job["clients"], result.mean["w"])
    size = (job["folder"] / "total").stat().st_size
    return row(job, "decryptor", peak - result.mean["w"].nbytes, seconds, size)


def check(params: secagg.Parameters, clients: int, mean: np.ndarray) -> None:
    """Compare the first and last million values with the sum of quantised integers."""
    limit = 2 ** (BITS - 1) - 1
    step, total = CLIP_RANGE / limit, sum(MAX_WEIGHT - place for place in range(clients))
    count = min(1_000_000, len(mean))
    for piece in (slice(count), slice(len(mean) - count, None)):
        sums = np.zeros(count, np.int64)
        for place in range(clients):
            values = update(params.layout.size, place)["w"][piece].astype(np.float64)
            scaled = np.rint(values * ((MAX_WEIGHT - place) / MAX_WEIGHT / step))
            sums += np.clip(scaled, -limit, limit).astype(np.int64)
        expected = (sums * (step * (MAX_WEIGHT / total))).astype(np.float32)
        np.clip(expected, -np.float32(CLIP_RANGE), np.float32(CLIP_RANGE), out=expected)
        if not np.array_equal(mean[piece], expected):
            raise SystemExit("the sums differ from numpy's integers")


def row(job: dict[str, Any], role: str, peak: int, seconds: float, size: int) -> Row:
    """Return a role's figures."""
    params = secagg.Parameters.from_bytes(job["params"])
    return Row(
        role=role,
        params=params.layout.size,
        clients=job["clients"],
        download_mode=params.download_mode,
        masks=params.masks,
        update_bytes=4 * params.layout.size,
        peak_bytes_beyond_update=peak,
        seconds=seconds,
        message_bytes=size,
    )


def opened(job: dict[str, Any]) -> tuple[secagg.Parameters, secagg.SecretKey, list[Any]]:
    """Return what the parties share, read from the job's folder."""
    folder = job["folder"]
    parties = [secagg.Identity.load(folder / f"identity{place}") for place in range(job["clients"])]
    return (
        secagg.Parameters.from_bytes(job["params"]),
        secagg.SecretKey.load(folder / "key"),
        parties,
    )


def measure(params: int, clients: int, download: str, masks: bool) -> list[Row]:
    """Run the three roles, each in a fresh process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parties = [secagg.generate_identity() for _ in range(clients)]
        for place, party in enumerate(parties):
            party.save(folder / f"identity{place}", unlocked=True)
        agreed = secagg.Parameters(
            job="memory",
            layout=secagg.Layout((("w", (params,)),)),
            clip_range=CLIP_RANGE,
            bits=BITS,
            max_clients=clients,
            min_clients=clients,
            max_weight=MAX_WEIGHT,
            scheme="packed",
            download=download,
            adversary="lying-server+1" if masks else "lying-server",
            roster=tuple(party.public for party in parties),
        )
        secagg.generate_keys(agreed).save(folder / "key", unlocked=True)
        job = {"folder": folder, "params": agreed.to_bytes(), "clients": clients}
        # Each task in a new process: a fork would begin with its parent's memory.
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            if masks:
                pool.apply(enter_epoch, (job,))
            rows = [pool.apply(client, (job, place)) for place in range(clients)]
            return [rows[0], pool.apply(server, (job,)), pool.apply(decryptor, (job,))]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=int, default=100_000_000)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--download", choices=("seeds", "summed"), default="seeds")
    parser.add_argument("--masks", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = measure(asked.params, asked.clients, asked.download, asked.masks)
    for each in rows:
        print(
            f"{each.role:10} {each.peak_bytes_beyond_update / 2**20:8.0f} MiB beyond the update of "
            f"{each.update_bytes / 2**20:.0f} MiB, {each.seconds:6.1f} s, "
            f"message {each.message_bytes / each.update_bytes:.3f}x"
        )
    if asked.json:
        asked.json.write_text(
            json.dumps({"rows": [asdict(each) for each in rows]}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
