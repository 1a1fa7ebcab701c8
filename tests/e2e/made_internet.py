"""Runs a house's services with an internet of the test's own: `MADE_INTERNET` says what listens where."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from dominie_kit import runner
from dominie_tool import build
from dominie_tool.egress import Egress
from dominie_tool.egress.testing import Authority, Internet


def main(names: Sequence[str], *, on_ready: Callable[[], None] | None = None) -> None:
    """Run services: the tool service reaches this internet and no other, the rest are as they are."""
    if names != ["tool"]:
        runner.main(names, on_ready=on_ready)
        return
    made = json.loads(os.environ["MADE_INTERNET"])
    internet = Internet({name: [[address]] for name, address in made["names"].items()})
    internet.listens = {(address, 443): port for address, port in made["ports"].items()}
    egress = Egress(internet.ground(), dial=internet.dial, tls=Authority(Path(made["trusted"])).trust)
    uvloop.run(runner._run([build(egress=egress)], on_ready))
