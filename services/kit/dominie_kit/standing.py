"""Who is registered and who is revoked, as the log says: every edge asks before it serves."""

from dominie_contracts import Recorded
from dominie_contracts.identity import Registered, Revoked


class Standing:
    """A projection of the category `principal`."""

    def __init__(self) -> None:
        self.position = 0
        self._registered: dict[tuple[str, str], Registered] = {}
        self._revoked: set[tuple[str, str]] = set()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        kind, data = event.envelope.type, event.envelope.data
        if kind == f"principal.{Registered.KIND}":
            registered = Registered.model_validate(data)
            self._registered[registered.tenant, registered.principal] = registered
        elif kind == f"principal.{Revoked.KIND}":
            revoked = Revoked.model_validate(data)
            self._revoked.add((revoked.tenant, revoked.principal))

    def reset(self) -> None:
        """Forget everything, before a rebuild."""
        self.position = 0
        self._registered.clear()
        self._revoked.clear()

    def is_revoked(self, tenant: str, principal: str) -> bool:
        """Whether the principal's identity was taken away."""
        return (tenant, principal) in self._revoked

    def find(self, tenant: str, principal: str) -> Registered | None:
        """The registration of a principal that stands."""
        return None if self.is_revoked(tenant, principal) else self._registered.get((tenant, principal))
