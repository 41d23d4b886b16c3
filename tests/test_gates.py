"""The gates' own programs: which tests a change asks for, and large counts in parts."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.places import ROOT
from tests.scale import chosen


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHANGED = program("changed")
FACES = {"__init__.py", "__main__.py", "errors.py"}  # their tests always run
CODE = sorted(
    path.relative_to(ROOT) for top in ("privfed", "psi") for path in (ROOT / top).rglob("*.py")
)


def asked_for(*names: str) -> set[str]:
    return set(CHANGED.chosen([Path(name) for name in names])) - set(CHANGED.ALWAYS)


def test_every_file_of_code_has_tests_of_its_room() -> None:
    alone = [
        path.as_posix()
        for path in CODE
        if not asked_for(path.as_posix()) and not (len(path.parts) == 2 and path.name in FACES)
    ]
    assert alone == []


def test_a_change_asks_for_its_room_and_no_more() -> None:
    assert asked_for("psi/protocols/vole/rounds.py") == {"tests/psi/protocols"}
    assert asked_for("privfed/rounding.py", "privfed/dp/plan.py") == {
        *("tests/dp", "tests/test_rounding.py")
    }
    assert asked_for("tests/secagg/parties.py") == {"tests/secagg"}
    assert asked_for("tests/secagg/test_keys.py") == {"tests/secagg/test_keys.py"}
    assert asked_for("docs/psi.md", "README.md") == {"tests/docs"}
    assert asked_for("tests/secagg/test_gone.py") == set()


def test_a_large_count_is_the_stated_one_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRIVFED_DEEP", raising=False)
    assert chosen(normal=1_000, stated=5_000) == 1_000
    monkeypatch.setenv("PRIVFED_DEEP", "1")
    assert chosen(normal=1_000, stated=5_000) == 5_000
    for normal, stated in ((2_001, 5_000), (6, 5), (0, 5)):
        with pytest.raises(ValueError, match="is not from 1 to"):
            chosen(normal=normal, stated=stated)


def test_deep_goes_on_where_it_was_and_begins_anew_for_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = program("deep")
    log = tmp_path / "log"
    note = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).open('a').write(sys.argv[2])"
    call = [sys.executable, "-c", f"{note}; sys.exit(os.environ['PRIVFED_DEEP'] != sys.argv[3])"]
    parts = {"good": [*call, str(log), "g", "1"], "bad": [*call, str(log), "b", "2"]}
    monkeypatch.setattr(deep, "KEPT", tmp_path / "build" / "deep.json")
    monkeypatch.setattr(deep, "tree", lambda: "one tree")
    monkeypatch.setattr(deep, "parts", lambda: parts)
    for ran in ("bg", "bbg"):
        with pytest.raises(SystemExit, match="1 parts failed: bad"):
            deep.main()
        assert "".join(sorted(log.read_text())) == ran
        assert list(json.loads(deep.KEPT.read_text())["passed"]) == ["good"]
    parts["bad"][-1] = "1"
    deep.main()
    assert "[2/2] passed" in capsys.readouterr().out
    deep.main()
    assert "2 parts, 2 of them passed before" in capsys.readouterr().out
    monkeypatch.setattr(deep, "tree", lambda: "another tree")
    deep.main()
    assert "".join(sorted(log.read_text())) == "bbbbgg"


def test_a_part_that_never_ends_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = program("deep")
    monkeypatch.setattr(deep, "MOST_SECONDS", 0.01)
    well, said, _ = deep.passed([sys.executable, "-c", "import time; time.sleep(60)"])
    assert (well, said) == (False, "took more than 0.01 s")


def test_deep_knows_all_that_bear_the_marker() -> None:
    marked = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if "pytest.mark.deep(" in path.read_text("utf-8") and path != Path(__file__)
    }
    found = program("deep").parts()
    assert {name.partition("::")[0] for name in found if "::" in name} == marked
