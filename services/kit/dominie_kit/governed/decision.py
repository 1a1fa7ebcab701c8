"""The decision point: allow, ask or deny, in memory, from the policies that guardrail last published.

Order (docs/design.md, "A governed action"): a matching forbid without `@ask` is deny; no matching permit is deny;
matching forbids that are all `@ask` are ask; an error in any policy, or a request that does not fit the schema, is
deny, because Cedar would skip a policy that errs.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Self

from dominie_contracts import Forbidden, Recorded, StreamName, Unavailable
from dominie_contracts.action import Decided
from dominie_contracts.digests import digest_json
from dominie_contracts.guardrail import POLICY_SET, PoliciesProposed, PoliciesPublished, PolicyFile
from dominie_contracts.operations import ServiceStatus
from dominie_contracts.registry import parse_event
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.token import Fork
from dominie_eventstore import InMemory
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.question import Question

_PROPOSED = 64
"""The proposed sets that are kept, the latest ones; a fork under an older one is refused."""


class DecisionPoint(InMemory):
    """Follows the published policies and decides by them while they are fresh.

    What the platform published holds for every tenant, beside what was published for that tenant alone.

    Args:
        staleness_s: How old the policies may be, by guardrail's heartbeat, before nothing is decided any more.
        silence_s: How long guardrail may be silent before nobody can be asked.
        clock: Tells seconds.
    """

    def __init__(
        self, *, staleness_s: float, silence_s: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.position = 0
        self._staleness_s = staleness_s
        self._silence_s = silence_s
        self._clock = clock
        self._published: dict[str, PoliciesPublished] = {}
        self._policies: dict[str, Policies] = {}
        """By tenant, made when first needed."""
        self._proposed: OrderedDict[tuple[str, str], Policies | tuple[PolicyFile, ...]] = OrderedDict()
        """By tenant and digest; parsed when first used."""
        self._fresh_at = self._heard_at = clock()

    @property
    def digest(self) -> str | None:
        """The digest of the platform's policy set in use."""
        return self.digest_for(PLATFORM)

    def digest_for(self, tenant: str) -> str | None:
        """The digest of what decides for a tenant: the platform's set, with the tenant's own where it has one."""
        platform, own = self._published.get(PLATFORM), self._published.get(tenant)
        if platform is None or own is None or tenant == PLATFORM:
            return platform.digest if platform else None
        return self._policies[tenant].digest if tenant in self._policies else digest_json([platform.digest, own.digest])

    def apply(self, event: Recorded) -> None:
        """Take in an event of the category `policy`."""
        self.position = event.position
        published = parse_event(event.envelope.type, event.envelope.data)
        stream = StreamName.parse(event.stream)
        if isinstance(published, PoliciesPublished) and stream.id == POLICY_SET:
            self._published[stream.tenant] = published
            self._policies.clear()
            self._fresh_at = self._clock()
        elif isinstance(published, PoliciesProposed):
            self._keep(event.envelope.tenant, published)

    def fresh(self) -> Self:
        """One that knows no policies."""
        return type(self)(staleness_s=self._staleness_s, silence_s=self._silence_s, clock=self._clock)

    def hear(self, heartbeat: ServiceStatus) -> None:
        """Take in guardrail's heartbeat: the policies are fresh if they are the ones in force."""
        self._heard_at = self._clock()
        if heartbeat.policy_position <= self.position:
            self._fresh_at = self._heard_at

    def decide(self, tenant: str, question: Question) -> Decided:
        """Allow, ask or deny.

        Raises:
            Unavailable: There are no policies yet, or they may be stale.
        """
        return self._fresh(tenant).decide(question)

    def decide_in(self, tenant: str, fork: Fork, question: Question) -> Decided:
        """As `decide`, in a run that was forked: under the set that was proposed for it, if one was.

        Raises:
            Forbidden: That set is not known here, or no longer.
            Unavailable: It has not been read yet, or the policies may be stale.
        """
        return self.policies(tenant, fork).decide(question)

    def policies(self, tenant: str, fork: Fork | None = None) -> Policies:
        """What decides for a tenant, or in a fork.

        Raises:
            Forbidden, Unavailable: As `decide_in`.
        """
        in_force = self._fresh(tenant)
        if fork is None or fork.policies is None:
            return in_force
        return self._find(tenant, fork.policies, fork.policies_at)

    def check_asking(self) -> None:
        """Whether people can be asked.

        Raises:
            Unavailable: Guardrail, which they would answer to, is not to be heard.
        """
        silent_s = self._clock() - self._heard_at
        if silent_s > self._silence_s:
            raise Unavailable(
                f"a person has to be asked, and guardrail has been silent for {silent_s:.0f} s", retry_after_s=1
            )

    def _keep(self, tenant: str, proposed: PoliciesProposed) -> None:
        self._proposed[tenant, proposed.digest] = proposed.files
        self._proposed.move_to_end((tenant, proposed.digest))
        if len(self._proposed) > _PROPOSED:
            self._proposed.popitem(last=False)

    def _find(self, tenant: str, digest: str, position: int) -> Policies:
        found = self._proposed.get((tenant, digest))
        if found is None and self.position < position:
            raise Unavailable("the proposed policies have not been read yet", retry_after_s=0.1)
        if found is None:
            raise Forbidden(f"the policies {digest[:12]!r} were never proposed here, or too many were since")
        if not isinstance(found, Policies):
            found = self._proposed[tenant, digest] = Policies(digest, found)
        return found

    def _fresh(self, tenant: str) -> Policies:
        age_s = self._clock() - self._fresh_at
        if PLATFORM not in self._published:
            raise Unavailable("no policies have been published yet; is guardrail running?", retry_after_s=0.5)
        if age_s > self._staleness_s:
            raise Unavailable(
                f"the policies were last confirmed {age_s:.0f} s ago; is guardrail running?", retry_after_s=1
            )
        return self._policies.get(tenant) or self._parsed(tenant)

    def _parsed(self, tenant: str) -> Policies:
        own = self._published.get(tenant) if tenant != PLATFORM else None
        files = (*self._published[PLATFORM].files, *(own.files if own else ()))
        digest = self.digest_for(tenant)
        assert digest is not None
        try:
            found = self._policies[tenant] = Policies(digest, files)
        except ValueError as error:
            raise Unavailable("the policies in force cannot be read here: publish others", retry_after_s=1) from error
        return found
