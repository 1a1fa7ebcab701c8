"""The agent of the flood benchmark, a process of its own: it sends as fast as it can, and comes back when it is out.

python -m dominie_bench.flooder URL SEED TENANT PRINCIPAL BYTES SECONDS TOKEN
"""

import json
import sys
import time
import uuid
from contextlib import closing, suppress

from dominie.keys import KeyPair
from dominie_contracts import headers
from dominie_contracts.subjects import CommandSubject, inbox_prefix
from dominie_contracts.tool import InvokeTool
from dominie_kit.house.processes import die_with_parent
from dominie_kit.testing import RawConnection

AT_ONCE_BYTES = 256 * 1024


def main(url: str, seed: str, tenant: str, principal: str, *, size: int, seconds: float, token: str) -> int:
    """Flood until the time is up; how many messages were sent."""
    until, sent, lives = time.monotonic() + seconds, 0, 0
    commands, forbidden = _commands(tenant, principal, size, token), _forbidden(size)
    while time.monotonic() < until:
        with suppress(OSError), closing(RawConnection(url, KeyPair(seed), tenant, principal)) as raw:
            lives += 1
            while time.monotonic() < until:
                batch, number = commands if lives % 2 else forbidden
                raw.send(batch.replace(b"KKKKKKKK", uuid.uuid4().hex[:8].encode()))
                sent += number
    return sent


def _commands(tenant: str, principal: str, size: int, token: str) -> tuple[bytes, int]:
    """Calls of a tool that it was granted, each under a key of its own."""
    subject = CommandSubject(tenant, principal, "tool", "invoke", "balance")
    body = InvokeTool(tool="balance", arguments={"account": "x"}).model_dump_json().encode()
    body = InvokeTool(tool="balance", arguments={"account": "x" * max(1, size - len(body))}).model_dump_json().encode()
    found = b""
    number = max(1, AT_ONCE_BYTES // size)
    for each in range(number):
        said = f"NATS/1.0\r\n{headers.TOKEN}: {token}\r\n{headers.KEY}: KKKKKKKK-{each}\r\n\r\n".encode()
        line = f"HPUB {subject} {inbox_prefix(tenant, principal)}.x {len(said)} {len(said) + len(body)}\r\n"
        found += line.encode() + said + body + b"\r\n"
    return found, number


def _forbidden(size: int) -> tuple[bytes, int]:
    """Events, which are not an agent's to write."""
    number = max(1, AT_ONCE_BYTES // size)
    return (f"PUB evt.0.bench.tool.x {size}\r\n".encode() + b"x" * size + b"\r\n") * number, number


if __name__ == "__main__":
    die_with_parent()
    given = sys.argv[1:]
    print(json.dumps({"sent": main(*given[:4], size=int(given[4]), seconds=float(given[5]), token=given[6])}))
