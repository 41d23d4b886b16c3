"""A party of spu (SecretFlow) 0.9: both parties get the result, as the matching rows."""

from typing import Any

from benchmarks.worker import Work, measured


def load(task: dict[str, Any]) -> Work:
    """Import the tool."""
    from spu import libspu, psi

    protocol = psi.PsiProtocolConfig(
        protocol=psi.parse_protocol(f"PROTOCOL_{task['protocol'].upper()}"),
        receiver_rank=0,
        broadcast_result=True,
        ecdh_params=psi.EcdhParams(curve=psi.EllipticCurveType.CURVE_25519),
    )
    config = psi.PsiExecuteConfig(
        protocol_conf=protocol,
        input_params=psi.InputParams(path=task["table"], selected_keys=["ID"], keys_unique=True),
        output_params=psi.OutputParams(path=task["out"]),
    )

    def work() -> None:
        description = libspu.link.Desc()
        description.recv_timeout_ms = 600_000
        for rank, port in enumerate(task["ports"]):
            description.add_party(f"party{rank}", f"127.0.0.1:{port}")
        link = libspu.link.create_brpc(description, task["rank"])
        psi.psi_execute(config, link)
        link.stop_link()

    return work


if __name__ == "__main__":
    measured(load)
