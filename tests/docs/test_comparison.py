"""docs/comparison.md says of each cell where it was seen, in versions that are in use here."""

import re
from importlib.metadata import PackageNotFoundError, files, version

import pytest

from tests.places import DOCS, ROOT

PAGE = (DOCS / "comparison.md").read_text("utf-8")
# What a column's notes begin with.
COLUMNS = {
    "privfed": "our",
    "psi and privfed": "our",
    "privfed and psi": "our",
    "Flower": "fl",
    "NVFlare": "nv",
    "FATE": "fa",
    "SecretFlow": "sf",
    "Opacus": "op",
    "openmined-psi": "om",
    "spu": "spu",
}
_NOTE = re.compile(r"\[\^([\w-]+)\](?!:)")
NOTES: dict[str, str] = dict(re.findall(r"^\[\^([\w-]+)\]: (.*)$", PAGE, re.MULTILINE))
TABLES = [
    [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
]
FEATURES = [table for table in TABLES if table[0][0] == ""]
# "flwr 1.42.0" or "OpenMined/PSI@95be652", as the first table has them.
_READ = re.compile(r"[\w-]+ \d+\.\d+\.\d+(?:b\d+)?(?= as installed)|[\w-]+/[\w-]+@[0-9a-f]{7}")


def pinned() -> dict[str, str]:
    """The version of each project that is installed here, or for benchmarks."""
    texts = [(ROOT / name).read_text("utf-8") for name in ("constraints.txt", "Makefile")]
    return dict(re.findall(r"(?<![\w-])([\w-]+)==([\w.]+)", "\n".join(texts)))


def test_every_project_is_compared() -> None:
    named = {name for table in FEATURES for name in table[0][1:]}
    assert named == set(COLUMNS)
    assert {name for name, _ in TABLES[0][2:]} | {
        "privfed",
        "psi and privfed",
        "privfed and psi",
    } == named


def test_every_cell_says_where_it_was_seen() -> None:
    assert len(FEATURES) == 3
    for table in FEATURES:
        head, _, *rows = table
        for row in rows:
            assert len(row) == len(head), row
            for column, cell in zip(head[1:], row[1:], strict=True):
                sources = _NOTE.findall(cell)
                assert sources, (row[0], column)
                assert _NOTE.sub("", cell).strip(), (row[0], column)
                for source in sources:
                    assert source.split("-")[0] == COLUMNS[column], (row[0], column, source)


def test_every_note_is_there_once_and_is_used() -> None:
    assert len(re.findall(r"^\[\^[\w-]+\]: ", PAGE, re.MULTILINE)) == len(NOTES)
    assert set(_NOTE.findall(PAGE)) == set(NOTES)


def test_a_peers_note_names_a_version_that_was_read() -> None:
    read = set(_READ.findall("\n".join(row[1] for row in TABLES[0][2:])))
    read.add("meta-pytorch/opacus@88919b6")  # for its history alone
    for note, text in NOTES.items():
        if not note.startswith("our-"):
            found = re.match(r"[\w-]+ \d[\w.]+(?=[:,])|[\w-]+/[\w-]+@[0-9a-f]{7}", text)
            assert found, note
            assert found[0] in read, note


def test_versions_are_those_in_use_here() -> None:
    stated = re.findall(r"(?<![\w-])([a-z][\w-]+) (\d+\.\d+\.\d+(?:b\d+)?)(?![\w.]*\d)", PAGE)
    pins = pinned()
    compared = {(name, number) for name, number in stated if name in pins}
    assert {name for name, _ in compared} == {
        *("flwr", "nvflare", "opacus", "openmined-psi", "spu", "sf-heu"),
    }
    assert all(pins[name] == number for name, number in compared)


def test_our_places_exist() -> None:
    for note, text in NOTES.items():
        links = re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", text)
        assert links or not note.startswith("our-"), note
        assert all((DOCS / link).exists() for link in links), note


@pytest.mark.parametrize("package", ["opacus", "flwr", "nvflare"])
def test_a_peers_places_exist_where_it_is_installed(package: str) -> None:
    try:
        installed = version(package), {str(path) for path in files(package) or ()}
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed here")
    number, paths = installed
    if number != pinned()[package]:
        pytest.skip(f"another {package} is installed here")
    named = set(re.findall(rf"`({package}[/-][\w./-]+)`", "\n".join(NOTES.values())))
    assert named
    for place in named:
        assert any(path == place or path.startswith(f"{place}/") for path in paths), place
