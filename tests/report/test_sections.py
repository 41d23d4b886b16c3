"""The parts of a report: every template is a row, and what has nothing to show is left out."""

from pathlib import Path

from privfed.report import sections
from privfed.report.view import View
from tests.report.samples import sample


def test_every_template_is_a_part_of_the_report() -> None:
    templates = Path(sections.__file__).parent.glob("*.html.j2")
    assert {path.name.removesuffix(".html.j2") for path in templates} == {
        section.name for section in sections.SECTIONS
    }


def test_parts_with_nothing_to_show_are_left_out() -> None:
    everything = [part.name for part in sections.rendered(View(sample()))]
    assert everything == [section.name for section in sections.SECTIONS]
    nothing = sections.rendered(View(sample(arms=())))
    assert [part.name for part in nothing] == ["understood", "findings", "provenance"]
