"""Where people sign in: which issuers there are, and an ID token for a key of their own (RFC 8693's words).

Nobody is known yet who asks here; identity finds out, and says what is wrong.
"""

import time
import uuid
from collections.abc import Awaitable, Callable

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dominie_contracts import Invalid, Unauthenticated
from dominie_contracts.identity import ListIssuers, SignIn, Vouch
from dominie_contracts.people import Issuers, IssuerView, SignedIn, Vouched
from dominie_contracts.subjects import PLATFORM
from dominie_gateway.handlers import Calls
from dominie_gateway.people.clients import Clients
from dominie_kit import Context

ANSWER_S = 12.0
"""An issuer that has to be asked first may take ten."""
ASK_S = 3.0
"""For what identity knows by heart."""
_HEADERS = {"cache-control": "no-store"}


class People:
    """Hands on to identity what people show."""

    def __init__(self, services: Calls, clients: Clients, body: Callable[[Request], Awaitable[bytes]]) -> None:
        self._services = services
        self._clients = clients
        self._body = body

    async def issuers(self, request: Request) -> Response:
        """`GET /people/issuers`: where one can sign in."""
        known = await self.known()
        relayed = (each.model_copy(update={"relayed": self._clients.has_secret(each.name)}) for each in known)
        found = Issuers(issuers=tuple(relayed))
        return JSONResponse(found.model_dump(mode="json"), headers=_HEADERS)

    async def known(self) -> tuple[IssuerView, ...]:
        """The issuers with whom people sign in, as identity says.

        Raises:
            Unavailable: It does not.
        """
        return (await self._services.call(_context(ASK_S), ListIssuers(), Issuers)).issuers

    async def vouched(self, issuer: str, token: str, nonce: str) -> Vouched:
        """Whom an ID token is about that was got for a nonce, if identity vouches for it.

        Raises:
            Problem: It does not, and why.
        """
        try:
            command = Vouch(issuer=issuer, subject_token=token, nonce=nonce)
        except ValidationError as error:
            raise Unauthenticated("the issuer answers with something that is no token") from error
        return await self._services.call(_context(), command, Vouched)

    async def sign_in(self, request: Request) -> Response:
        """`POST /people/sign-in`: `SignIn` as JSON; the answer is `SignedIn`."""
        try:
            command = SignIn.model_validate_json(await self._body(request))
        except ValidationError as error:
            places = sorted({".".join(map(str, each["loc"])) or "body" for each in error.errors()[:5]})
            raise Invalid(f"the request does not fit its contract: {', '.join(places)}") from error
        found = await self._services.call(_context(), command, SignedIn)
        return JSONResponse(found.model_dump(mode="json"), headers=_HEADERS)


def _context(answer_s: float = ANSWER_S) -> Context:
    return Context(tenant=PLATFORM, principal="svc-gateway", key=uuid.uuid4().hex, deadline=time.monotonic() + answer_s)
