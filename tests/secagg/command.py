"""The command `privfed keys`, run in this process."""

from typer.testing import CliRunner

from privfed.cli.keys import app


def run_keys(*arguments: object) -> str:
    """Return what it prints; its errors are raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output
