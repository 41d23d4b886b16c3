"""Run every test with the marker `deep`, as often as is stated there; `make deep`.

A part is one test, or one script beside the tests. Parts that have passed are kept in
build/deep.json and left out at the next start; if the code has changed, all run again.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "build" / "deep.json"
CODE = ("benchmarks", "examples", "privfed", "psi", "tests", "constraints.txt", "pyproject.toml")
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
MOST_SECONDS = 3600


def tree() -> str:
    """Return a hash of the code as it is."""
    digest = hashlib.sha256()
    for top in CODE:
        for path in sorted((ROOT / top).rglob("*")) or [ROOT / top]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def parts() -> dict[str, list[str]]:
    """Return all parts, each with its command."""
    collected = subprocess.run(
        [*PYTEST, "--collect-only", "-m", "deep"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    tests = [line for line in collected.splitlines() if "::" in line]
    if not tests:
        sys.exit(f"no test bears the marker deep:\n{collected}")
    scripts = [name for name in ("other_pythons.sh", "busy.sh") if (ROOT / ".ci" / name).exists()]
    return {test: [*PYTEST, test] for test in tests} | {
        name: [str(ROOT / ".ci" / name)] for name in scripts
    }


def passed(command: list[str]) -> tuple[bool, str, float]:
    """Return whether a part passes within its hour, its output, and its seconds."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"PRIVFED_DEEP": "1"},
            timeout=MOST_SECONDS,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return False, f"took more than {MOST_SECONDS} s", time.monotonic() - began
    return done.returncode == 0, done.stdout, time.monotonic() - began


def kept(code: str) -> dict[str, float]:
    """Return the parts that have passed on this code, with their seconds."""
    if not KEPT.exists():
        return {}
    found = json.loads(KEPT.read_text("utf-8"))
    seconds: dict[str, float] = found["passed"] if found["tree"] == code else {}
    return seconds


def keep(code: str, seconds: dict[str, float]) -> None:
    """Write what has passed to the file, whole or not at all."""
    KEPT.parent.mkdir(exist_ok=True)
    fresh = KEPT.with_suffix(".new")
    fresh.write_text(json.dumps({"tree": code, "passed": seconds}, indent=1) + "\n", "utf-8")
    fresh.replace(KEPT)


def main() -> None:
    """Run what is left, as many parts at once as there are processors."""
    code, wanted = tree(), parts()
    seconds = kept(code)
    left = {name: command for name, command in wanted.items() if name not in seconds}
    print(f"{len(wanted)} parts, {len(wanted) - len(left)} of them passed before", flush=True)
    failed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(passed, command): name for name, command in left.items()}
        try:
            for number, future in enumerate(as_completed(running), len(wanted) - len(left) + 1):
                name, (well, said, took) = running[future], future.result()
                verdict = "passed" if well else "FAILED"
                print(f"[{number}/{len(wanted)}] {verdict} in {took:.0f} s: {name}", flush=True)
                if well:
                    seconds[name] = round(took, 1)
                    keep(code, seconds)
                else:
                    print(said, flush=True)
                    failed.append(name)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            sys.exit("interrupted: what has passed is kept, and `make deep` goes on from there")
    if failed:
        sys.exit(f"{len(failed)} parts failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
