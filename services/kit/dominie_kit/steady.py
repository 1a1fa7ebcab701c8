"""A connection to the broker that no message can end.

nats-py stops reading for good when it meets headers, or a reply subject, that are no text; it does not even reconnect.
The broker passes such messages on as they are, so any agent could take a service off the bus with one of them.
"""

from typing import Any

import structlog
from nats.aio.client import Client

log = structlog.get_logger()


class SteadyClient(Client):
    """Drops what cannot be read, and reads on."""

    async def _process_msg(self, sid: int, subject: bytes, *rest: Any) -> None:
        try:
            await super()._process_msg(sid, subject, *rest)
        except Exception as error:
            log.warning("bus.dropped", subject=subject[:200].decode(errors="replace"), error=repr(error))
