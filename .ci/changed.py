"""Print the tests of the rooms that differ from `main`, or, on `main`, from the last commit."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALWAYS = ("tests/test_package.py", "tests/test_voice.py", "tests/psi/test_package.py")
ELSEWHERE = {
    "privfed/defaults.py": ("tests/cli/test_defaults.py",),
    "privfed/records.py": ("tests/experiment/test_provenance.py", "tests/vertical/test_results.py"),
    "privfed/keys": ("tests/secagg/test_keys.py", "tests/secagg/test_certificates.py"),
}


def git(*arguments: str) -> str:
    """Return what git says of this tree."""
    return subprocess.run(
        ["git", "-C", ROOT, *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def changed() -> list[Path]:
    """Return the files that differ, with those that git does not know yet."""
    since = git("merge-base", "HEAD", "main").strip()
    names = git("diff", "--name-only", "-z", since)
    names += git("ls-files", "--others", "--exclude-standard", "-z")
    return [Path(name) for name in names.split("\0") if name]


def tests_of(path: Path) -> Iterator[Path]:
    """Yield where a file's tests may be: its room's folder, or one file if it is in no room."""
    if path.suffix == ".md":
        yield Path("tests/docs")
        return
    place, *rest = path.parts
    match place:
        case "tests":
            # Helpers and tests count for the room that they are in.
            is_test = path.name.startswith("test_") or len(rest) == 1
            yield path if is_test else path.parent
        case "privfed" | "psi" if rest:
            yield from map(Path, ELSEWHERE.get(f"{place}/{rest[0]}", ()))
            tests = Path("tests") if place == "privfed" else Path("tests/psi")
            yield tests / rest[0].removesuffix(".py")
            yield tests / f"test_{rest[0].removesuffix('.py')}.py"
        case "benchmarks":
            yield Path("tests/benchmarks")
        case "examples":  # an engine's app is a folder
            yield Path("tests/integrations" if len(rest) > 1 else "tests/test_examples.py")


def chosen(paths: list[Path]) -> list[str]:
    """Return what pytest is to run for these changes."""
    found = {place.as_posix() for path in paths for place in tests_of(path)}
    return [*ALWAYS, *sorted(place for place in found if (ROOT / place).exists())]


if __name__ == "__main__":
    sys.stdout.write(" ".join(chosen(changed())) + "\n")
