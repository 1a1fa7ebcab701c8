"""Where the arguments of a call came from: by what they say, and by what its caller refers to."""

from collections.abc import Mapping

from pydantic import JsonValue

from dominie_contracts.memory import MEMORY
from dominie_contracts.provenance import Label, both, join
from dominie_contracts.seen import label_arguments
from dominie_eventstore import EventStore
from dominie_kit import Context
from dominie_kit.governed.given import Provenance
from dominie_tool.endorsing.counting import Counting
from dominie_tool.endorsing.projection import known
from dominie_tool.projection import Catalog, Tool
from dominie_tool.provenance.references import References
from dominie_tool.provenance.requests import Requests
from dominie_tool.provenance.sources import Sources, gone


class Labelling:
    """Labels the arguments of calls.

    Args:
        store: The log, for requests and for what is referred to.
        catalog: What tools say of their results.
        sources: What tools gave to runs.
        provenance: What models and memory gave to them, and which runs share.
        endorsed: Which endorsements count.
        restricts: Whether results may turn out to be for nobody's eyes.
    """

    def __init__(
        self,
        store: EventStore,
        catalog: Catalog,
        sources: Sources,
        provenance: Provenance,
        endorsed: Counting,
        *,
        restricts: bool = False,
    ) -> None:
        self._catalog = catalog
        self._sources = sources
        self._provenance = provenance
        self._endorsed = endorsed
        self._restricts = restricts
        self._requests = Requests(store)
        self._references = References(store)

    async def of(
        self, tool: Tool, arguments: dict[str, JsonValue], context: Context, references: Mapping[str, str] = {}
    ) -> dict[str, Label]:
        """The labels of the arguments with a role, and of all in a run that holds what not everybody may read.

        Raises:
            Invalid: What a caller refers to is not there, or is another value.
        """
        endorsed = await self._endorsed.of(context) if references else ()
        referred = await self._references.labels(references, arguments, context, endorsed, tool.typed.things)
        labels = await self._by_content(tool, arguments, context)
        return labels | {name: label for name, label in referred.items() if name in labels}

    async def _by_content(self, tool: Tool, arguments: dict[str, JsonValue], context: Context) -> dict[str, Label]:
        restricts = self._restricts or self._catalog.restricts(context.tenant)
        if not (tool.typed.roles or restricts):
            return {}
        await context.read_everything()
        seen = await self._sources.of(context.tenant, context.run)
        more = self._provenance.of(context)
        beside = await self._sources.beside(context.tenant, context.run, self._provenance.family(context))
        if self._provenance.of(context, (MEMORY,)).level == 0:
            beside = (*beside, gone())  # what a note says is not read here, so it may say any short value
        words = await self._requests.words(context)
        names = arguments if restricts and both(seen.join.readers, more.readers) is not None else tool.typed.roles
        endorsed = known(await self._endorsed.of(context))
        more = join((more, await self._endorsed.taken_back(context)))
        units, things = tool.typed.units, tool.typed.things
        return label_arguments(
            arguments, names, units, seen, more=more, words=words, beside=beside, endorsed=endorsed, things=things
        )
