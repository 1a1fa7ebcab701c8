"""A whole house on three nodes: each of them is killed in turn, and agents go on."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

import dominie
from dominie.keys import KeyPair
from dominie_contracts.audit import LogReport, VerifyLog
from dominie_contracts.identity import PrincipalView, Register
from dominie_contracts.token import Grants
from dominie_kit.house.broker_config import server_config
from dominie_kit.house.operator import operator
from dominie_kit.keys.folder import KeyFolder

if TYPE_CHECKING:
    from tests.chaos.conftest import Cluster

pytestmark = pytest.mark.timeout(170)
ROOMS = ("identity", "guardrail", "memory", "audit")
START_S, STOP_S = 40.0, 20.0
AWAY_S, ATTEMPT_S = 90.0, 10.0
"""How long a cluster may take to find its leaders, which it does in 5 to 15 s where it has a processor to itself."""


class Deployment:
    """Services in one process, on a cluster."""

    def __init__(self, folder: Path, cluster: "Cluster", keys: KeyFolder, command: str) -> None:
        self.url, self._keys = ",".join(cluster.urls), keys
        given = {"DOMINIE_NATS_URL": self.url, "DOMINIE_KEYS": str(keys.path), "DOMINIE_REPLICAS": "3"}
        given |= {"DOMINIE_STATE": str(folder / "state"), "DOMINIE_LOCAL": "true"}
        env = os.environ | given
        subprocess.run([command, "provision", "--replicas", "3"], check=True, timeout=START_S, env=env, cwd=folder)
        self.log = folder / "serve.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([command, "serve", *ROOMS], env=env, cwd=folder, stderr=log)

    async def register(self, principal: str, **more: object) -> dominie.Credentials:
        """Register somebody as the operator, once identity serves."""
        keys = KeyPair.generate()
        command = Register.model_validate({"principal": principal, "nkey": keys.public, "tenant": "acme", **more})
        with anyio.fail_after(START_S):
            while True:
                try:
                    async with operator(self.url, self._keys) as asking:
                        await asking.ask(command, PrincipalView)
                        return dominie.Credentials(self.url, "acme", principal, keys)
                except dominie.Unavailable:
                    continue


@pytest.fixture
def nodes(tmp_path: Path, cluster_of: "type[Cluster]") -> "Iterator[Cluster]":
    keys = KeyFolder(tmp_path / "keys").create()

    def configured(name: str, store: Path, block: str) -> str:
        return server_config(keys.roster(), store=store, name=name, extra=(block,))

    running = cluster_of(tmp_path, configured)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        for name in running.nodes:
            show(tmp_path / name / "log")


@pytest.fixture
def deployment(tmp_path: Path, nodes: "Cluster", dominie_command: str) -> Iterator[Deployment]:
    found = Deployment(tmp_path, nodes, KeyFolder(tmp_path / "keys"), dominie_command)
    try:
        yield found
    finally:
        found.process.terminate()
        found.process.wait(STOP_S)
        show(found.log)


def show(log: Path) -> None:
    """The end of a log, for who reads why a test has failed."""
    print(f"\n--- {log.parent.name}/{log.name}", *log.read_text(errors="replace").splitlines()[-60:], sep="\n")


def remember(agent: dominie.Client, number: int, deployment: Deployment) -> None:
    """One governed call, repeated as the same one until it is done."""
    begun_s = time.monotonic()
    while True:
        try:
            with agent.run(user="dev", id=f"run-{number}", timeout_s=ATTEMPT_S) as run:
                run.remember(f"note {number}")
                return
        except (dominie.Unavailable, dominie.DeadlineExceeded) as problem:
            assert deployment.process.poll() is None, "the services ended"
            away_s = time.monotonic() - begun_s
            print(f"note {number} after {away_s:.1f} s: {problem}")
            if away_s > AWAY_S:
                raise


def signed(auditor: dominie.Client) -> LogReport:
    """What audit says of the log, once it has signed a checkpoint: a leader may have to be found first."""
    until_s = time.monotonic() + AWAY_S
    while True:
        report = auditor.ask(VerifyLog(), LogReport)
        if report.durability is not None or time.monotonic() > until_s:
            return report
        time.sleep(0.2)


def test_each_node_is_killed_in_turn(deployment: Deployment, nodes: "Cluster") -> None:
    developer = anyio.run(lambda: deployment.register("u-dev", groups=("developers",)))
    desk = anyio.run(lambda: deployment.register("a-desk", users=("u-dev",), grants=Grants(namespaces=("*",))))
    with dominie.Client(credentials=desk) as agent:
        for number, node in enumerate(nodes.nodes.values()):
            remember(agent, 2 * number, deployment)
            node.kill()
            remember(agent, 2 * number + 1, deployment)
            node.start()
    with dominie.Client(credentials=developer) as auditor:
        report = signed(auditor)
    assert report.ok and report.durability == "quorum 3", report
