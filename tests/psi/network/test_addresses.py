"""HOST:PORT: what is taken, and what each wrong spelling is told to write instead."""

import pytest

from psi import ConfigError
from psi.network.addresses import host_and_port, looks_like_address, written_address


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("alice.example:7787", ("alice.example", 7787)),
        ("10.0.0.7:1", ("10.0.0.7", 1)),
        (":7787", ("", 7787)),
        ("[2001:db8::1]:7787", ("2001:db8::1", 7787)),
        ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
    ],
)
def test_addresses(address: str, parts: tuple[str, int]) -> None:
    assert host_and_port(address) == parts
    assert written_address(*parts) == address
    assert looks_like_address(address)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("2001:db8::1:7787", r"write \[2001:db8::1:7787\]:7787, or \[2001:db8::1\]:7787"),
        ("::1", r"in brackets before its port: write \[::1\]:7787"),
        ("[::1]", r"write \[::1\]:7787"),
        ("1:2:3:4:5:6:7:8:7787", r"write \[1:2:3:4:5:6:7:8\]:7787"),
        ("alice.example", "has no port: write HOST:PORT, such as alice.example:7787"),
        ("[alice]:7787", "no IPv6 address in its brackets"),
        ("alice:0", "no port from 1 to 65535"),
        ("alice:65536", "no port from 1 to 65535"),
        ("http://alice:7787", "is no HOST:PORT"),
        ("a.csv\x1b[31m", "is no HOST:PORT"),
        ("", "is no HOST:PORT"),
    ],
)
def test_what_is_no_address_is_told_how_to_be_one(address: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        host_and_port(address)
    assert str(refused.value).isprintable()


def test_a_free_port_is_for_those_who_listen() -> None:
    assert host_and_port("localhost:0", least_port=0) == ("localhost", 0)
