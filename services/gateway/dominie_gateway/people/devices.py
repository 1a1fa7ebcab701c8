"""The device flow with issuers that want a secret: machines where people sign in do not have it, so they ask here.

Nothing is handed on but the code that the person types, and in the end the ID token; no access token.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dominie_contracts import Invalid, Unavailable
from dominie_contracts.people import DEVICE_GRANT, IssuerView
from dominie_gateway.aggregate import NotFound
from dominie_gateway.people.clients import Clients, Form
from dominie_gateway.people.entrance import Entrance

DEVICE = (
    "device_code",
    "user_code",
    "verification_uri",
    "verification_uri_complete",
    "expires_in",
    "interval",
    "error",
)
TOKEN = ("id_token", "error")
MAX_CODE_CHARS = 10_000
_CODE = "device_code"


class Devices:
    """Asks the issuer for whoever signs in without a browser."""

    def __init__(self, entrance: Entrance, clients: Clients, body: Callable[[Request], Awaitable[bytes]]) -> None:
        self._entrance = entrance
        self._clients = clients
        self._body = body

    async def begin(self, request: Request) -> Response:
        """`POST /people/issuers/NAME/device`: a device code (RFC 8628, 3.2)."""
        issuer = await self._issuer(request)
        endpoint = (await self._clients.metadata(issuer)).device_authorization_endpoint
        return await self._asked(issuer, endpoint, {"scope": issuer.scopes}, DEVICE)

    async def token(self, request: Request) -> Response:
        """`POST /people/issuers/NAME/token` with `device_code`: an ID token, or why there is none yet (3.5)."""
        issuer = await self._issuer(request)
        codes = [value for name, value in parse_qsl((await self._body(request)).decode("latin-1")) if name == _CODE]
        if len(codes) != 1 or len(codes[0]) > MAX_CODE_CHARS:
            raise Invalid(f"a form with one {_CODE!r} is asked for")
        endpoint = (await self._clients.metadata(issuer)).token_endpoint
        return await self._asked(issuer, endpoint, {"grant_type": DEVICE_GRANT, _CODE: codes[0]}, TOKEN)

    async def _issuer(self, request: Request) -> IssuerView:
        name = request.path_params["name"]
        if not self._clients.has_secret(name):
            raise NotFound("an issuer that wants no secret is asked itself")
        return await self._entrance.issuer(name)

    async def _asked(self, issuer: IssuerView, endpoint: str | None, form: Form, names: tuple[str, ...]) -> Response:
        if endpoint is None:
            raise Unavailable(f"the issuer {issuer.name!r} signs nobody in without a browser (RFC 8628)")
        found = await self._clients.ask(issuer, endpoint, form)
        said: dict[str, JsonValue] = {name: found[name] for name in names if name in found}
        return JSONResponse(said, status_code=400 if "error" in said else 200, headers={"cache-control": "no-store"})
