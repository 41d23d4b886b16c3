from __future__ import annotations

import privfed.report


def test_exports_are_pinned() -> None:
    assert privfed.report.__all__ == [
        "Finding",
        "findings",
        "load_results",
        "readme_picture",
        "readme_table",
        "render_html",
        "terminal_table",
        "write_report",
    ]
    assert all(hasattr(privfed.report, name) for name in privfed.report.__all__)
