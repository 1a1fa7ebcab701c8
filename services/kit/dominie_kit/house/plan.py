"""What `dominie up` is to run, as one value that crosses to the process that runs it."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from dominie_contracts import Message
from dominie_contracts.subjects import SERVICES

DEFAULT_RIGHTS_S = 300.0
BROKER = "broker"
"""What the broker is called beside the services."""


class Plan(Message):
    """A deployment on this machine."""

    folder: Path
    """The project; its state goes into `.dominie/` there."""
    keys: Path
    services: tuple[str, ...] = SERVICES
    port: int | None = Field(default=None, ge=1, le=65535)
    """The broker's; None for the one of last time, or a free one."""
    gateway_port: int | None = Field(default=None, ge=1, le=65535)
    policies: Path | None = None
    observe: bool = False
    """Enforce no policy, and record what each would have decided."""
    rights_s: float = Field(default=DEFAULT_RIGHTS_S, gt=0)
    """How long a connection's rights last."""
    runner: str = "dominie_kit.runner:main"
    """`MODULE:FUNCTION(names, *, on_ready)`, what a service's process calls."""
    preload: str = "dominie_kit.house.preload"
    """What the fork server imports, so that services share it."""
    stop_s: float = Field(default=10.0, gt=0)
    """How long a service may take to stop before it is ended by force."""
    report: bool = False
    """Say on standard output, in one JSON object, that all is ready; otherwise in words."""
    until_eof: bool = False
    """Stop when standard input ends, too: whoever started it is gone."""

    def environment(self, nats_url: str, gateway_url: str | None) -> Mapping[str, str]:
        """What a service's settings read."""
        found = {
            "DOMINIE_NATS_URL": nats_url,
            "DOMINIE_KEYS": str(self.keys),
            "DOMINIE_STATE": str(self.folder / ".dominie"),
            "DOMINIE_LOCAL": "true",
            "DOMINIE_IDENTITY_RIGHTS_S": str(self.rights_s),
            "DOMINIE_AUDIT_SERVICES": ",".join(self.services),
        }
        if self.observe:
            found["DOMINIE_OBSERVE"] = "true"
        if gateway_url is not None:
            found["DOMINIE_GATEWAY_PORT"] = gateway_url.rpartition(":")[2]
        if self.policies is not None:
            found["DOMINIE_GUARDRAIL_POLICIES"] = str(self.policies)
        return found


def rights_s_from_environment() -> float:
    """`$DOMINIE_IDENTITY_RIGHTS_S`, or the default."""
    return float(os.environ.get("DOMINIE_IDENTITY_RIGHTS_S") or DEFAULT_RIGHTS_S)
