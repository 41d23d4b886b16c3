"""A party of openmined-psi 2.0: rank 0 is its server, rank 1 its client, which gets the result."""

import csv
import socket
import struct
import time
from typing import Any

from benchmarks.worker import Work, measured


def load(task: dict[str, Any]) -> Work:
    """Import the tool."""
    import private_set_intersection.python as psi

    def ids() -> list[str]:
        with open(task["table"], newline="") as file:  # noqa: PTH123 - as its users do
            return [row[0] for row in csv.reader(file)][1:]

    def serve() -> int:
        items, server = ids(), psi.server.CreateWithNewKey(True)
        with socket.create_server(("127.0.0.1", task["ports"][0])) as listening:
            line, _ = listening.accept()
        setup = server.CreateSetupMessage(0.0, task["n"], items, psi.DataStructure.RAW)
        sent = _send(line, setup.SerializeToString())
        request = psi.Request()
        request.ParseFromString(_receive(line))
        return sent + _send(line, server.ProcessRequest(request).SerializeToString())

    def join() -> int:
        items, client = ids(), psi.client.CreateWithNewKey(True)
        line = _connect(task["ports"][0])
        setup, response = psi.ServerSetup(), psi.Response()
        setup.ParseFromString(_receive(line))
        sent = _send(line, client.CreateRequest(items).SerializeToString())
        response.ParseFromString(_receive(line))
        rows = client.GetIntersection(setup, response)
        with open(task["out"], "w") as file:  # noqa: PTH123
            file.write("row\n" + "".join(f"{row}\n" for row in rows))
        return sent

    return join if task["rank"] else serve


def _connect(port: int) -> socket.socket:
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.01)


def _send(line: socket.socket, message: bytes) -> int:
    line.sendall(struct.pack(">Q", len(message)) + message)
    return len(message)


def _receive(line: socket.socket) -> bytes:
    with line.makefile("rb") as file:
        (length,) = struct.unpack(">Q", file.read(8))
        return file.read(length)


if __name__ == "__main__":
    measured(load)
