"""docs/flower.md between companies: keys, SuperLink and SuperNodes as its commands start them."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.flower_deployment import Deployment, free_port, listens, write_app
from privfed.integrations import trained_model
from privfed.secagg import Keyring
from tests.integrations.flower_page import blocks, write_files
from tests.places import ROOT

COMPANIES = ("alice", "bob", "carol")

# In the place of the page's app, whose imports would take longer than all else.
APP = {
    "task": """
import numpy as np

class Net:
    def state_dict(self):
        return {"w": np.zeros(8, np.float32)}
""",
    "client_app": """
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from privfed.integrations.flower import EncryptedMod

app = ClientApp(mods=[EncryptedMod()])

@app.train()
def train(msg, context):
    own = context.node_config["partition-id"]
    content = RecordDict()
    content["arrays"] = ArrayRecord({"w": Array(msg.content["arrays"]["w"].numpy() + own)})
    content["metrics"] = MetricRecord({"num-examples": 1 + own})
    return Message(content, reply_to=msg)
""",
    "server_app": """
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from privfed.integrations.flower import EncryptedStrategy
from quickstart.task import Net

app = ServerApp()

@app.main()
def main(grid, context):
    arrays = {name: Array(each) for name, each in Net().state_dict().items()}
    strategy = EncryptedStrategy(FedAvg(fraction_evaluate=0.0))
    strategy.start(grid, ArrayRecord(arrays), num_rounds=1)
""",
}
MEAN = (0 * 1 + 1 * 2 + 2 * 3) / 6


class Companies(Deployment):
    """Companies of one machine, each in a folder, where the page's commands run as printed.

    But for the server's address, and a port for each SuperNode, since they share a host.
    """

    def __init__(self, folder: Path) -> None:
        settings = {
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
            "PYTHONPATH": str(ROOT),
        }
        super().__init__(folder, environment=settings)
        self.port = free_port()
        files = [*blocks("toml"), *blocks("python")]
        files = [each for each in files if not each.text.startswith("# quickstart/")]
        for who in (*COMPANIES, "cloud"):
            (folder / who).mkdir()
            write_files(folder / who, files)
        app = folder / "alice" / "app"
        write_app(app, "quickstart.server_app:app", "quickstart.client_app:app")
        (app / "quickstart").mkdir()
        for name, text in APP.items():
            (app / "quickstart" / f"{name}.py").write_text(text)
        config = (folder / "alice" / "config.toml").read_text()
        (folder / "home" / "config.toml").write_text(self.local(config))

    def __enter__(self) -> "Companies":
        return self

    def local(self, text: str) -> str:
        """A text of the page as it is here."""
        text = text.replace("cloud.example:8000", f"127.0.0.1:{self.port}")
        text = text.replace("0.0.0.0 --port 8000", f"127.0.0.1 --port {self.port}")
        return text.replace("/home/alice", str(self.folder / "alice"))

    def do(self, who: str, command: str) -> str:
        """Run a command of a company's, or start what stays; return what it printed."""
        command = self.local(command)
        if command.startswith("flower-supernode"):
            command = f"{command} --port {free_port()}"
        if command.startswith("flower-"):
            process = self.start_process(who, "/bin/sh", "-ec", f"cd {who}; exec {command}")
            self.wait_for(who, process, lambda: self.ready(who))
            return ""
        done = subprocess.run(
            ["sh", "-ec", command],
            cwd=self.folder / who,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def ready(self, who: str) -> bool:
        """Whether the server listens, or a SuperNode has met it."""
        return listens(self.port) if who == "cloud" else "SuperNode ID" in self.log(who)

    def hand_over(self, made: str) -> None:
        """Give all what a command made for them: what is public, and the keys sealed to them."""
        public = [*self.folder.glob("*/*.crt"), *self.folder.glob("alice/params.json")]
        for who in COMPANIES:
            for file in public:
                if file.parent != self.folder / who:
                    shutil.copy(file, self.folder / who)
        for who in COMPANIES[1:] if made.startswith("privfed keys make") else ():
            own = Keyring(self.folder / who / who, self.words(who)).identity.public.id
            (self.folder / who / "sealed").mkdir()
            sealed = Path("sealed") / f"{own}.sealed"
            shutil.copy(self.folder / "alice" / sealed, self.folder / who / sealed)

    def words(self, who: str) -> str:
        return (self.folder / who / "words").read_text().strip()


@pytest.mark.slow
def test_three_companies_train_by_the_page_s_commands_and_a_key_that_is_not_theirs_fails(
    tmp_path: Path,
) -> None:
    with Companies(tmp_path / "c") as companies:
        for block in blocks("console"):
            for who, command in block.commands:
                printed = companies.do(who, command)
                companies.hand_over(command)
        (run,) = json.loads(printed)["runs"]
        assert run["status"] == "finished:completed", companies.log("alice")
        models = [
            trained_model(companies.folder / who / who, companies.words(who)) for who in COMPANIES
        ]
        np.testing.assert_allclose(models[0]["w"], MEAN, atol=1e-3)
        assert {model["w"].tobytes() for model in models} == {models[0]["w"].tobytes()}

        companies.do("alice", "privfed keys rotate alice --out new --passphrase-file words")
        printed = companies.do("alice", "flwr run app --stream")
        assert "different shared keys" in printed
        run = json.loads(companies.do("alice", "flwr list --format json"))["runs"][0]
        assert run["status"] == "finished:failed"
