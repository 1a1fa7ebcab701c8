"""The issuers with their keys: whom a token is about, found out while somebody waits, or at once."""

import time
from collections.abc import Callable, Mapping

import anyio

from dominie_contracts import Forbidden, Unauthenticated, Unavailable
from dominie_contracts.people import IssuerView
from dominie_identity.people.issuers import Issuer
from dominie_identity.people.keys import IssuerKeys
from dominie_identity.people.tokens import LEEWAY_S, check, check_algorithm, read
from dominie_identity.people.vouching import Person, Workload, person, workload


class Directory:
    """Every issuer that is configured."""

    def __init__(self, issuers: Mapping[str, Issuer], *, clock: Callable[[], float] = time.time) -> None:
        self._issuers = issuers
        self._clock = clock
        self.keys = {name: IssuerKeys(name, issuer) for name, issuer in issuers.items()}

    @property
    def providers(self) -> tuple[IssuerView, ...]:
        """Where people sign in."""
        return tuple(
            IssuerView(name=name, url=issuer.url, client_id=issuer.audience, scopes=issuer.scopes)
            for name, issuer in self._issuers.items()
            if issuer.kind == "oidc"
        )

    def login_s(self, name: str) -> int:
        """How long a sign-in with an issuer lasts."""
        return self._issuers[name].login_s

    async def person(self, name: str, token: str) -> Person:
        """The person for whom a provider vouches.

        Raises:
            Forbidden: There is no such provider.
            Unauthenticated: The token does not hold.
            Invalid: It calls them what nobody can be called here.
            Unavailable: The provider is away, and its keys are not known.
        """
        issuer = self._issuers.get(name)
        if issuer is None or issuer.kind != "oidc":
            known = ", ".join(each.name for each in self.providers) or "none"
            raise Forbidden(f"there is no such issuer for people; there are: {known}")
        shown = read(token)
        if shown.claims.iss != issuer.url:
            raise Unauthenticated("the token is of another issuer")
        key = await self.keys[name].look(shown.kid, check_algorithm(shown, issuer))
        now_s = self._clock()
        return person(token, check(shown, issuer, key, now_s=now_s), issuer, now_s=now_s, leeway_s=LEEWAY_S)

    def workload(self, tenant: str, token: str) -> Workload:
        """The agent of a tenant that a pod is, decided by the keys that are known.

        Raises:
            Unauthenticated: The token does not hold.
            Forbidden: The configuration makes nobody of its service account.
            Unavailable: The cluster's keys are not known, or it is being asked for one that it may have by now.
        """
        shown = read(token)
        for name, issuer in self._issuers.items():
            if (issuer.kind, issuer.tenant, issuer.url) == ("kubernetes", tenant, shown.claims.iss):
                key = self.keys[name].find(shown.kid, check_algorithm(shown, issuer))
                if key is not None:
                    return workload(check(shown, issuer, key, now_s=self._clock()), issuer)
                if self.keys[name].want():
                    raise Unavailable("the cluster is asked for its keys", retry_after_s=1)
        raise Unauthenticated("the token is of no cluster of this tenant, or not signed by a key of it")

    async def run(self) -> None:
        """Keep the keys of every issuer, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            for keys in self.keys.values():
                group.start_soon(keys.run)
