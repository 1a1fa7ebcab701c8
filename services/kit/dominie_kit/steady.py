"""A connection to the broker that no message can end.

nats-py stops reading for good when it meets headers, or a reply subject, that are no text; it does not even reconnect.
The broker passes such messages on as they are, so any agent could take a service off the bus with one of them.
"""

import re
from typing import Any

import structlog
from nats.aio.client import Client

_SPACE = re.compile(r"\s")
log = structlog.get_logger()


class SteadyClient(Client):
    """Drops what cannot be read, and reads on."""

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """What nats-py's own makes of a block of headers, without its look at each character of each name."""
        found: dict[str, str] = {}
        for line in raw.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            key = name.strip().decode("ascii", "replace")
            if colon and key.isascii() and not _SPACE.search(key):
                found[key] = value.strip().decode("utf-8", "replace")
        return found

    async def _process_msg(self, sid: int, subject: bytes, *rest: Any) -> None:
        try:
            await super()._process_msg(sid, subject, *rest)
        except Exception as error:
            log.warning("bus.dropped", subject=subject[:200].decode(errors="replace"), error=repr(error))
