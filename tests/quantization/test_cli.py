"""The command `quantize` as people type it."""

from typer.testing import CliRunner

from proto.errors import ConfigError
from quantization.cli import app


def test_a_model_nobody_knows_is_told_by_its_name_whatever_that_is() -> None:
    found = CliRunner().invoke(app, ["pull", "[/x]"])
    assert isinstance(found.exception, ConfigError)
    assert "no base model [/x]; known are" in str(found.exception)
