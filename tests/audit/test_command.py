"""The whole audit, its files and its page, on tiny settings."""

from __future__ import annotations

import dataclasses
import html
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from privfed.audit import CHECKS, AuditResults, AuditSettings, Detection, run_audit
from privfed.audit.verdicts import verdicts
from privfed.cli import main
from privfed.data import Dataset, load_dataset
from privfed.errors import ConfigError
from privfed.report.audit import render_audit, write_audit

TINY = AuditSettings(
    quick=True,
    seed=4,
    attacked_rows=16,
    shadow_models=8,
    epochs=4,
    steps=6,
    member_epsilons=(8.0,),
    canaries=1000,
    small_canaries=500,
    runs=2,
)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["privfed", "audit", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@dataclasses.dataclass(frozen=True)
class Finished:
    """One audit by the command: what it measured, printed and left."""

    results: AuditResults
    status: int
    out: str
    folder: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder, measured, work = tmp_path_factory.mktemp("audit") / "out", [], []

    def watched(*args: Any, advance: Any, **kwargs: Any) -> AuditResults:
        def counted(doing: str, done: int) -> None:
            work.append(done)
            advance(doing, done)

        measured.append(run_audit(*args, advance=counted, **kwargs))
        return measured[0]

    with pytest.MonkeyPatch.context() as patch, io.StringIO() as printed:
        patch.setattr("privfed.audit.run_audit", watched)
        patch.setattr(AuditSettings, "short", classmethod(lambda cls, seed: TINY))
        patch.setattr(sys, "stdout", printed)
        status = command(patch, "--quick", "--seed", "4", "--out", str(folder))
        out = printed.getvalue()
    assert sum(work) == TINY.work  # the bar reaches its end
    return Finished(measured[0], status, out, folder)


@pytest.fixture(scope="module")
def results(finished: Finished) -> AuditResults:
    return finished.results


def test_everything_holds_and_is_written(finished: Finished, results: AuditResults) -> None:
    assert results.held, results.verdicts
    assert results.simulation
    kept = json.loads((finished.folder / "audit.json").read_text(encoding="utf-8"))
    assert kept.keys() == {field.name for field in dataclasses.fields(AuditResults)}
    assert kept["schema_version"] == 2
    assert [each["planted"] for each in kept["detections"]] == [
        *("nothing", "no clipping", "σ/10", "a share left out", "the same noise twice")
    ]
    assert any("not an ε" in limit for limit in kept["limits"])


def test_the_page_shows_recovered_rows_beside_the_true_ones(
    results: AuditResults, tmp_path: Path
) -> None:
    page = write_audit(results, tmp_path).read_text(encoding="utf-8")
    for who in ("true", "plaintext update", "second of two parties", "server, encrypted"):
        assert f">{who}</th>" in page
    for said in results.beside.rows:
        assert said[0][1] == said[1][1]  # what was recovered from plaintext is the row
        assert all(said[0][2])
    assert "Surrogate data." in page
    assert "Simulation." in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert render_audit(results) == page


def test_every_check_says_what_it_cannot_see(finished: Finished) -> None:
    page = html.unescape((finished.folder / "audit.html").read_text("utf-8"))
    assert len(CHECKS) == 4
    for check in CHECKS.values():
        assert len(check.blind) > 20
        assert check.blind in page


def test_no_epsilon_stands_alone(results: AuditResults) -> None:
    said = [(each.onlooker, each.statement) for each in results.attacks]
    said += [(each.trained, each.statement) for each in results.membership]
    for name, statement in said:
        assert "ε =" not in name
        if statement is not None:
            for word in ("ε = ", "δ = ", "zero-out", "sampling"):
                assert word in statement


def test_each_verdict_can_fail(results: AuditResults) -> None:
    def failing(**changes: object) -> set[str]:
        changed = dataclasses.replace(results, **changes)  # type: ignore[arg-type]
        return {verdict.name for verdict in verdicts(changed) if not verdict.held}

    assert failing() == set()
    attacks = list(results.attacks)
    place = next(i for i, a in enumerate(attacks) if a.kind == "encrypted")
    for broken in ({"recovered": 1}, {"identified": 5}):
        leaks = [*attacks]
        leaks[place] = dataclasses.replace(attacks[place], **broken)  # type: ignore[arg-type]
        assert failing(attacks=leaks) == {"the server gets nothing"}
    control = next(i for i, a in enumerate(attacks) if a.kind == "control")
    powerless = [*attacks]
    powerless[control] = dataclasses.replace(attacks[control], recovered=0)
    assert failing(attacks=powerless) == {"the server gets nothing"}
    for noise in results.checked:
        bad = dataclasses.replace(results.checked[noise]["noise level"], flagged=True)
        changed = results.checked | {noise: results.checked[noise] | {"noise level": bad}}
        assert failing(checked=changed) == {"no check flags the real thing"}
    high = dataclasses.replace(results.bounds["nothing"], epsilon=3.0)
    high = dataclasses.replace(results.bounds["nothing"], epsilon=3.0)
    bounds = results.bounds | {"nothing": high}
    assert failing(bounds=bounds) == {"the lower bound is below the claim"}

    def with_flags(count: int) -> list[Detection]:
        return [
            dataclasses.replace(each, flagged=dict.fromkeys(each.flagged, count))
            for each in results.detections
        ]

    assert failing(detections=with_flags(0)) == {"each planted fault is noticed"}
    assert failing(detections=with_flags(2)) == {"sound runs are not flagged"}
    sound = results.detections[0]
    unclipped = dataclasses.replace(sound, flagged=sound.flagged | {"longest row": 1})
    assert failing(detections=[unclipped, *results.detections[1:]]) == {
        "sound runs are not flagged"
    }


@pytest.mark.parametrize("change", [{"parties": 1}, {"rounds": 4}, {"runs": 0}])
def test_settings_that_no_audit_can_have(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="an audit needs"):
        dataclasses.replace(TINY, **change)


def test_of_a_large_table_some_rows_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Dataset] = []

    class Enough(Exception):  # noqa: N818 - no error
        pass

    def watched(dataset: Dataset, seed: int) -> None:
        seen.append(dataset)
        raise Enough

    monkeypatch.setattr("privfed.audit.scenes.Step", watched)
    digits = load_dataset("digits")
    with pytest.raises(Enough):
        run_audit(digits, TINY)
    (drawn,) = seen
    assert drawn.features.shape == (1000, 64)
    assert drawn.labels.shape == (1000,)
    assert len(digits) == 1797


def test_too_few_rows(dresses: Dataset) -> None:
    with pytest.raises(ConfigError, match="500 rows and the audit attacks 640"):
        run_audit(dresses, dataclasses.replace(TINY, attacked_rows=640))


def test_the_command(finished: Finished) -> None:
    assert finished.status == 0
    for word in ("holds", "the same noise", "one-run audit", "not an ε", "audit.json"):
        assert word in finished.out
    assert "FAILS" not in finished.out
    assert {path.name for path in finished.folder.iterdir()} == {"audit.html", "audit.json"}
    # The page shows rows: nobody else's to read.
    assert {path.stat().st_mode & 0o777 for path in finished.folder.iterdir()} == {0o600}


def test_the_command_says_by_its_status_that_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    results: AuditResults,
    tmp_path: Path,
) -> None:
    wrong = [dataclasses.replace(v, held=False) for v in results.verdicts]
    monkeypatch.setattr(
        "privfed.audit.run_audit",
        lambda *args, **kwargs: dataclasses.replace(results, verdicts=wrong),
    )
    assert command(monkeypatch, "--quick", "--out", str(tmp_path)) == 1
    assert "FAILS" in capsys.readouterr().out


def test_bad_data_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "--dataset", "nothing") == 2
    assert capsys.readouterr().err.startswith("privfed: unknown data set")
