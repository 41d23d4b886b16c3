"""What a release takes for granted: one version, and changelog lines that become its section."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import privfed
import psi
from tests.places import ROOT

CHANGELOG = ROOT / "CHANGELOG.md"
FRAGMENTS = ROOT / "changelog.d"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
VERSION = PROJECT["project"]["version"]
SECTION = re.compile(r"^## (\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$", re.MULTILINE)


def fragments() -> list[Path]:
    return [path for path in sorted(FRAGMENTS.iterdir()) if path.name != "template.md.jinja"]


def test_a_version_is_the_same_everywhere() -> None:
    assert privfed.__version__ == psi.__version__ == VERSION
    released = SECTION.findall(CHANGELOG.read_text("utf-8"))
    assert released[:1] == [VERSION] or (not released and fragments())  # nothing released yet
    assert len(set(released)) == len(released)


def test_lines_for_the_changelog_are_a_paragraph_of_a_known_kind() -> None:
    kinds = {each["directory"] for each in PROJECT["tool"]["towncrier"]["type"]}
    for path in fragments():
        assert re.fullmatch(rf"[a-z0-9-]+\.({'|'.join(kinds)})\.md", path.name), path.name
        text = path.read_text("utf-8").strip()
        assert text, path.name
        assert "\n" not in text, path.name
        assert not text.startswith("- "), path.name


def test_a_release_moves_the_lines_into_its_section(tmp_path: Path) -> None:
    for name in ("CHANGELOG.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(FRAGMENTS, tmp_path / "changelog.d", ignore=shutil.ignore_patterns("*.md"))
    for kind, text in {"fixed": "A fault `x` is gone.", "added": "New."}.items():
        (tmp_path / "changelog.d" / f"topic.{kind}.md").write_text(f"{text}\n")
    before = CHANGELOG.read_text("utf-8")
    build: list[str | Path] = [
        *(sys.executable, "-m", "towncrier", "build", "--yes", "--version", "99.1.0"),
        *("--date", "2026-01-02", "--dir", tmp_path),
    ]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    head, marker, rest = before.partition(PROJECT["tool"]["towncrier"]["start_string"])
    assert marker
    section = "\n## 99.1.0 (2026-01-02)\n\n### Fixed\n- A fault `x` is gone.\n\n### Added\n- New.\n"
    after = (tmp_path / "CHANGELOG.md").read_text("utf-8")
    assert after.startswith(head + marker + section)
    assert after.endswith(rest)
    assert SECTION.findall(after)[0] == "99.1.0"
    assert [path.name for path in (tmp_path / "changelog.d").iterdir()] == ["template.md.jinja"]
