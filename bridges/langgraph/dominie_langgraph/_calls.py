"""Keys of model calls: the same call has the same key when its node is run again, and when the agent is."""

import threading
from collections import OrderedDict

from pydantic import JsonValue

from dominie_contracts.digests import digest_json

_RUNS = 1024
_Place = tuple[str, int]


class ModelCalls:
    """Numbers equal model calls of a run.

    A call is known by its place: the graph's step, and how many equal calls this attempt of the step made before. A
    step that is run again after an interrupt makes its calls at the same places; a restarted agent makes them in the
    same order. Either way each finds its key.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: OrderedDict[str, dict[str, list[_Place]]] = OrderedDict()
        self._attempts: OrderedDict[tuple[str, str], int] = OrderedDict()

    def key(self, run: str, request: JsonValue, *, step: str, attempt: str) -> str:
        """The idempotency key of a call, `attempt` telling apart the times its step was run."""
        digest = digest_json(request)
        with self._lock:
            earlier = self._attempts.get((attempt, digest), 0)
            self._attempts[attempt, digest] = earlier + 1
            places = self._of(run).setdefault(digest, [])
            place = (step, earlier)
            if place not in places or not step:
                places.append(place)
            number = len(places) - 1 if not step else places.index(place)
            _bound(self._attempts)
        return f"{run}/model/{digest[:40]}/{number}"

    def _of(self, run: str) -> dict[str, list[_Place]]:
        found = self._places.setdefault(run, {})
        self._places.move_to_end(run)
        _bound(self._places)
        return found


def _bound(cache: OrderedDict[str, dict[str, list[_Place]]] | OrderedDict[tuple[str, str], int]) -> None:
    while len(cache) > _RUNS:
        cache.popitem(last=False)
