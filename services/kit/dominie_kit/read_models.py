"""The read models of one service: followed, waited for, rebuilt while they serve, and how far each is."""

from collections.abc import Mapping
from functools import partial

import anyio
import structlog
from anyio.abc import TaskGroup

from dominie_contracts import Invalid, Problem, Unavailable
from dominie_contracts.operations import ReadModel, ReadModelState, Rebuild, Rebuilding
from dominie_eventstore import Build, Projector, StoreUnavailable
from dominie_kit.lasting import AWAY_S, lasting

log = structlog.get_logger()
_PATIENCE_S = 5.0
"""How long a start waits for read models that are stored, before the service says how far they are."""
_RETRY_MAX_S = 60.0


class ReadModels:
    """What one service follows."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._projectors: dict[str, Projector] = {}
        self._own: list[Projector] = []
        self._asked: dict[str, bool] = {}
        """Which are to be rebuilt after the one that is, and whether anew."""
        self._rebuilt: str | None = None
        """The one that is."""
        self._changed = anyio.Event()
        self._idle = anyio.Event()
        """Set while none is to be rebuilt."""
        self._idle.set()

    def add(self, name: str, projector: Projector, *, own: bool) -> None:
        """Keep one more; with `own`, `caught_up` waits for it."""
        assert name not in self._projectors, f"{self._service} has two read models {name!r}"
        self._projectors[name] = projector
        if own:
            self._own.append(projector)

    def start(self, group: TaskGroup) -> None:
        """Follow, for as long as the group lives; an error of one ends it, an absence of the log does not."""
        for name, projector in self._projectors.items():
            group.start_soon(lasting, partial(self._follow, name, projector))
        group.start_soon(self._rebuild_what_is_asked)

    async def ready(self) -> None:
        """Wait until those in memory have caught up, and for those that are stored a while."""
        for projector in self._projectors.values():
            if not projector.stored:
                await projector.caught_up.wait()
        with anyio.move_on_after(_PATIENCE_S):
            await self.whole()

    async def whole(self) -> None:
        """Wait until all have caught up, however long that takes."""
        for projector in self._projectors.values():
            await projector.caught_up.wait()

    async def caught_up(self, position: int, timeout_s: float) -> None:
        """Wait until the service's own have seen a position.

        Raises:
            Unavailable: They have not, in time.
        """
        late = list[TimeoutError]()

        async def wait_for(projector: Projector) -> None:
            try:
                await projector.wait_for(position, timeout_s)
            except TimeoutError as error:
                late.append(error)

        async with anyio.create_task_group() as group:
            for projector in self._own:
                group.start_soon(wait_for, projector)
        if late:
            raise Unavailable(f"{self._service} has not caught up yet", retry_after_s=0.5) from late[0]

    async def has(self, name: str, position: int, timeout_s: float) -> None:
        """Wait until one of them has seen a position.

        Raises:
            Unavailable: It has not, in time.
        """
        try:
            await self._projectors[name].wait_for(position, timeout_s)
        except TimeoutError as error:
            raise Unavailable(f"{self._service} has not caught up yet", retry_after_s=0.5) from error

    def refusal(self) -> Problem | None:
        """Why nothing can be answered yet; None where it can."""
        for name, projector in self._projectors.items():
            if not projector.serves:
                build = projector.build
                percent = round(100 * build.fraction, 1)
                return Unavailable(
                    f"{self._service} is building its read model {name!r} from the log: {percent} %",
                    retry_after_s=round(min(max(build.left_s, 0.5), _RETRY_MAX_S), 1),
                    read_model=name,
                    percent=percent,
                )
        return None

    @property
    def projectors(self) -> Mapping[str, Projector]:
        """By name."""
        return self._projectors

    @property
    def status(self) -> tuple[ReadModel, ...]:
        """How each is."""
        return tuple(self._status(name, projector) for name, projector in self._projectors.items())

    def rebuild(self, command: Rebuild) -> Rebuilding:
        """Rebuild one, or all, one after the other; those that wait for it already are not asked twice.

        Raises:
            Invalid: There is none of that name.
        """
        names = tuple(self._projectors) if command.read_model is None else (command.read_model,)
        if unknown := set(names) - self._projectors.keys():
            known = ", ".join(sorted(self._projectors))
            raise Invalid(f"{self._service} has no read model {unknown.pop()!r}; it has {known}")
        self._ask(*names)
        return Rebuilding(read_models=names)

    async def rebuild_all(self) -> bool:
        """Rebuild all from what the log says now, and wait until that is done; whether each one was.

        What was begun before is of no use, be it left by another process or under way.
        """
        self._ask(*self._projectors, anew=True)
        await self._idle.wait()
        return all(projector.build.error is None for projector in self._projectors.values())

    def _ask(self, *names: str, anew: bool = False) -> None:
        for name in names:
            if anew or name != self._rebuilt:
                self._asked[name] = anew or self._asked.get(name, False)
        if self._asked and self._idle.is_set():
            self._idle = anyio.Event()
        self._changed.set()

    async def _follow(self, name: str, projector: Projector) -> None:
        async with anyio.create_task_group() as group:
            if projector.stored:
                group.start_soon(self._tell_start, name, projector)
            await projector.run()

    async def _tell_start(self, name: str, projector: Projector) -> None:
        await projector.caught_up.wait()
        _log("read_model.caught_up", self._service, name, projector.build)
        if projector.unfinished:
            self._ask(name)

    async def _rebuild_what_is_asked(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            while self._asked:
                name = self._rebuilt = next(iter(self._asked))
                anew = self._asked.pop(name)
                while not await self._rebuild(name, anew=anew):  # noqa: ASYNC110 - the log tells nobody that it is back
                    await anyio.sleep(AWAY_S)
                self._rebuilt = None
            self._idle.set()

    async def _rebuild(self, name: str, *, anew: bool) -> bool:
        """Whether it came to an end: an error is shown, and the one before serves; a log that is away is waited for."""
        projector = self._projectors[name]
        await projector.caught_up.wait()
        log.info("read_model.rebuilding", service=self._service, read_model=name, position=projector.position)
        try:
            build = await projector.rebuild(anew=anew)
        except StoreUnavailable as error:
            log.warning("read_model.log_away", service=self._service, read_model=name, error=str(error))
            return False
        except Exception as error:
            log.error("read_model.not_rebuilt", service=self._service, read_model=name, exc_info=error)
        else:
            _log("read_model.rebuilt", self._service, name, build)
        return True

    def _status(self, name: str, projector: Projector) -> ReadModel:
        build = Build() if name in self._asked and name != self._rebuilt else projector.build
        return ReadModel(
            name=name,
            state=self._state(name, projector),
            position=projector.position,
            percent=round(100 * build.fraction, 1),
            events=build.events,
            seconds=round(build.seconds, 3),
            rate_per_s=round(build.rate_per_s),
            why=None if build.error is None else repr(build.error),
        )

    def _state(self, name: str, projector: Projector) -> ReadModelState:
        if not projector.caught_up.is_set():
            return "building"
        if name in self._asked or name == self._rebuilt:
            return "rebuilding"
        return "current" if projector.build.error is None else "failed"


def _log(event: str, service: str, name: str, build: Build) -> None:
    log.info(event, service=service, read_model=name, events=build.events, seconds=round(build.seconds, 3))
