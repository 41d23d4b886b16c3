"""What a deployment of Flower is given: files and settings; processes run in its smoke test."""

import tomllib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

pytest.importorskip("flwr")

from flwr.common.config import parse_config_args

from benchmarks.flower_deployment import Deployment, settings, write_app


def test_keys_and_certificates_are_of_p384_and_the_owner_s_alone(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path / "d", [{"partition-id": 0}])
    certificate = x509.load_pem_x509_certificate((tmp_path / "d/superlink.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    certificate.verify_directly_issued_by(certificate)
    key = serialization.load_ssh_private_key((tmp_path / "d/node-0.key").read_bytes(), None)
    public = serialization.load_ssh_public_key((tmp_path / "d/node-0.pub").read_bytes())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"
    assert key.public_key() == public
    for name in ("superlink.key", "node-0.key"):
        assert (tmp_path / "d" / name).stat().st_mode & 0o077 == 0
    config = tomllib.loads((tmp_path / "d/home/config.toml").read_text())
    here = config["superlink"][config["superlink"]["default"]]
    assert here["root-certificates"] == str(tmp_path / "d/superlink.crt")
    assert deployment.environment["FLWR_TELEMETRY_ENABLED"] == "0"


def test_settings_are_as_flower_reads_them() -> None:
    written = settings({"partition_id": 1, "privfed-keys": "/a b", "fast": True, "rate": 0.5})
    assert parse_config_args([written]) == {
        "partition-id": 1,
        "privfed-keys": "/a b",
        "fast": True,
        "rate": 0.5,
    }


def test_an_app_says_where_its_code_is_and_what_it_can_be_told(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", "mine:server", "mine:client", rounds=3, costs="x")
    app = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    assert app["components"] == {"serverapp": "mine:server", "clientapp": "mine:client"}
    assert app["config"] == {"rounds": 3, "costs": "x"}
