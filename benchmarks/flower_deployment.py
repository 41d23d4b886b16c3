"""Flower on this machine: a SuperLink over TLS and SuperNodes that authenticate, each a process.

    with Deployment(folder, [{"place": 0}, {"place": 1}]) as deployment:
        run = deployment.run(write_app(folder / "app", "mine:server", "mine:client"))
    assert run.status == "finished:completed", run.log

All that is started bears this deployment's FLWR_HOME in its environment. By that it is found and
ended, whatever session it is in, when the context ends. Nothing is fetched and nothing is reported:
telemetry, the search for updates and installing an app's requirements are off.
"""

import contextlib
import datetime
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.processes import LOOK_SECONDS, end_marked

__all__ = ["OFFLINE", "Config", "Deployment", "Run", "write_app"]

Config: TypeAlias = Mapping[str, str | int | float | bool]
"""Settings of a node or a run."""

OFFLINE = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
START_SECONDS = 120  # until a process listens or has met the SuperLink, on a busy machine


class Deployment:
    """A SuperLink and its SuperNodes, or one that simulates clients by Ray.

    Attributes:
        folder: Has keys, certificates and logs.
        environment: That of all processes.
        nodes: The SuperNodes' processes, by place.
    """

    def __init__(
        self,
        folder: Path,
        node_configs: Sequence[Config] = (),
        *,
        simulated: int = 0,
        environment: Mapping[str, str] | None = None,
        python: Path = Path(sys.executable),
    ) -> None:
        """Make certificates and keys; entering the context starts the processes.

        Args:
            folder: Takes keys, logs and Flower's own files.
            node_configs: A SuperNode's own settings, for each.
            simulated: How many clients Ray plays instead.
            environment: What all processes have beside this one's.
            python: An interpreter that has Flower's commands beside it.
        """
        self.folder, self.simulated = folder, simulated
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._started: list[subprocess.Popen[bytes]] = []
        self._node_configs = node_configs
        self._bin = python.absolute().parent
        self._port = free_port()
        home = folder / "home"
        self.environment = {
            **os.environ,
            **OFFLINE,
            **(environment or {}),
            "FLWR_HOME": str(home),
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",  # Flower starts its own by name
        }
        home.mkdir(parents=True)
        make_certificate(folder / "superlink")
        for place in range(len(node_configs)):
            make_node_key(folder / f"node-{place}")
        (home / "config.toml").write_text(
            '[superlink]\ndefault = "here"\n[superlink.here]\n'
            f'address = "127.0.0.1:{self._port}"\n'
            f'root-certificates = "{folder / "superlink.crt"}"\n'
        )

    def __enter__(self) -> Self:
        """Start the SuperLink, register the SuperNodes and start them."""
        try:
            certificate = str(self.folder / "superlink.crt")
            superlink = self.start_process(
                "superlink",
                *("flower-superlink", "--port", str(self._port)),
                *("--ssl-ca-certfile", certificate, "--ssl-certfile", certificate),
                *("--ssl-keyfile", str(self.folder / "superlink.key")),
                "--disable-runtime-dependency-installation",
                "--simulation" if self.simulated else "--enable-supernode-auth",
            )
            self.wait_for("superlink", superlink, lambda: listens(self._port))
            for place in range(len(self._node_configs)):
                self.flwr("supernode", "register", str(self.folder / f"node-{place}.pub"))
                self.start_node(place)
            for place, process in enumerate(self.nodes):
                self.wait_for(f"node-{place}", process, partial(self._met, place))
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every process of this deployment."""
        self.end()

    def end(self) -> None:
        """End every process of this deployment."""
        end_marked("FLWR_HOME", self.environment["FLWR_HOME"])
        for process in self._started:
            process.wait()

    def start_node(self, place: int) -> None:
        """Start a SuperNode, also one that was killed."""
        config = self._node_configs[place]
        self.nodes[place : place + 1] = [
            self.start_process(
                f"node-{place}",
                *("flower-supernode", "--superlink", f"127.0.0.1:{self._port}"),
                *("--root-certificates", str(self.folder / "superlink.crt")),
                *("--auth-supernode-private-key", str(self.folder / f"node-{place}.key")),
                *("--port", str(free_port()), "--node-config", settings(config)),
            )
        ]

    def run(self, app: Path, **config: str | int | float | bool) -> "Run":
        """Run an app to its end, which may be a failure.

        Args:
            app: Its folder.
            config: What the run is told, with _ for - in names; the app must have them.

        Returns:
            What became of it.
        """
        run = self.start(app, **config)
        run.wait()
        return run

    def start(self, app: Path, **config: str | int | float | bool) -> "Run":
        """Begin a run of an app, as `run` does.

        Args:
            app: Its folder.
            config: What the run is told.

        Returns:
            The run, which has a number.

        Raises:
            RuntimeError: The SuperLink did not take it.
        """
        name = f"run-{len(list(self.folder.glob('run-*.log')))}"
        options = ["--run-config", settings(config)] if config else []
        if self.simulated:
            options += ["--federation-config", f"num-supernodes={self.simulated}"]
        process = self.start_process(name, "flwr", "run", str(app), "here", "--stream", *options)
        run = Run(self, name, process)
        self.wait_for(name, process, lambda: run.number is not None)
        return run

    def flwr(self, *arguments: str) -> str:
        """Return what a command of `flwr` prints.

        Raises:
            RuntimeError: It failed.
        """
        done = subprocess.run(
            [self._bin / "flwr", *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"flwr {arguments[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def _met(self, place: int) -> bool:
        return "SuperNode ID:" in self.log(f"node-{place}")

    def log(self, name: str) -> str:
        """Return what "superlink", "node-0" or "run-0" printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start_process(self, name: str, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one of Flower's commands; what it prints goes to the log of that name."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [self._bin / command, *arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us, who end them
            )
        self._started.append(process)
        return process

    def wait_for(
        self, name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool]
    ) -> None:
        """Wait until something is so.

        Args:
            name: The log of the process.
            process: What brings it about.
            ready: Whether it is so.

        Raises:
            RuntimeError: The process ended before, or it took too long.
        """
        until = time.monotonic() + START_SECONDS
        while True:
            gone = process.poll() is not None
            if ready():
                return
            if gone or time.monotonic() > until:
                raise RuntimeError(f"{name} {'ended' if gone else 'hangs'}: {self.log(name)}")
            time.sleep(LOOK_SECONDS)


class Run:
    """A run of an app at a deployment."""

    def __init__(self, where: Deployment, name: str, process: subprocess.Popen[bytes]) -> None:
        self._where, self._name, self._process = where, name, process

    @property
    def log(self) -> str:
        """What `flwr run` and the ServerApp printed."""
        return self._where.log(self._name)

    @property
    def number(self) -> int | None:
        """The SuperLink's number for it, once it has one."""
        found = re.search(r"Successfully started run (\d+)", self.log)
        return int(found[1]) if found else None

    @property
    def status(self) -> str:
        """Its end as Flower has it: "finished:completed", "finished:failed"."""
        return str(self.listed()["status"])

    def wait(self) -> None:
        """Wait for its end."""
        self._process.wait()  # its exit code says nothing of how the run ended

    def listed(self) -> dict[str, Any]:
        """Return what `flwr list` has: status, status-details, network-traffic and more."""
        printed = self._where.flwr("list", "--run-id", str(self.number), "--format", "json")
        (found,) = json.loads(printed)["runs"]
        return dict(found)


def settings(config: Config) -> str:
    """Return settings as Flower's options take them."""
    return " ".join(f"{key.replace('_', '-')}={json.dumps(item)}" for key, item in config.items())


def write_app(folder: Path, serverapp: str, clientapp: str, **config: str | int | float) -> Path:
    """Write a Flower app whose code is importable.

    Args:
        folder: The app's, which is made; what the code does not find elsewhere goes there, too.
        serverapp: Its ServerApp, as module:name.
        clientapp: Its ClientApp.
        config: Settings that a run may be told otherwise, with _ for -.

    Returns:
        The folder.
    """
    folder.mkdir(exist_ok=True)
    lines = [f"{key.replace('_', '-')} = {json.dumps(item)}" for key, item in config.items()]
    text = f"""[project]
name = "app"
version = "1.0.0"
license = {{ file = "LICENSE" }}
dependencies = ["flwr"]
[tool.flwr.app]
publisher = "nobody"
[tool.flwr.app.components]
serverapp = "{serverapp}"
clientapp = "{clientapp}"
[tool.flwr.app.config]
"""
    (folder / "LICENSE").touch()
    (folder / "pyproject.toml").write_text(text + "".join(f"{line}\n" for line in lines))
    return folder


# -- keys and ports --------------------------------------------------------------------------------


def make_certificate(prefix: Path) -> None:
    """Write a key and a self-signed certificate for 127.0.0.1, which is its own authority."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA384())
    )
    _write_key(key, prefix.with_suffix(".key"), serialization.PrivateFormat.PKCS8)
    prefix.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def make_node_key(prefix: Path) -> None:
    """Write a SuperNode's pair of keys, in the formats that Flower takes."""
    key = ec.generate_private_key(ec.SECP384R1())
    _write_key(key, prefix.with_suffix(".key"), serialization.PrivateFormat.OpenSSH)
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    prefix.with_suffix(".pub").write_bytes(public)


def _write_key(
    key: ec.EllipticCurvePrivateKey, path: Path, form: serialization.PrivateFormat
) -> None:
    path.touch(0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def listens(port: int) -> bool:
    """Return whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
