"""Who may look at the live page: where people sign in, whoever did, and else this machine, or who knows a token."""

import hmac
import time
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.requests import Request
from starlette.responses import Response

from dominie_contracts import Forbidden, Unauthenticated, Unavailable
from dominie_contracts.people import IssuerView
from dominie_contracts.rights import AUDITORS, DEVELOPERS
from dominie_gateway.adapters.people import People
from dominie_gateway.aggregate import NotFound
from dominie_gateway.people.sessions import Session, Sessions

KNOWN_S = 5.0
"""So long it is remembered where people sign in; for longer while identity is away."""
_PAGE, _SESSION = "dominie_page", "dominie_session"


class SignInNeeded(Unauthenticated):
    """People sign in here, and this browser's session is over, or never was."""


@dataclass(frozen=True, slots=True)
class View:
    """What one request may see: one tenant's events, or, where nobody signs in, all of them."""

    session: Session | None = None

    @property
    def tenant(self) -> str | None:
        """Whose events; None: everybody's."""
        return None if self.session is None else self.session.tenant


class Entrance:
    """Lets requests in."""

    def __init__(self, people: People, sessions: Sessions, *, token: str | None, public_url: str | None) -> None:
        self._people = people
        self._sessions = sessions
        self._token = token
        self._public_url = public_url
        self._issuers: tuple[IssuerView, ...] | None = None
        self._asked_s = 0.0

    async def issuers(self) -> tuple[IssuerView, ...]:
        """Where people sign in; nowhere, in local development.

        Raises:
            Unavailable: Identity is away, and has not said so yet.
        """
        if self._issuers is None or time.monotonic() - self._asked_s > KNOWN_S:
            try:
                self._issuers = await self._people.known()
            except Unavailable:
                if self._issuers is None:
                    raise
            self._asked_s = time.monotonic()
        return self._issuers

    async def issuer(self, name: str) -> IssuerView:
        """The one of a name; the only one, if that is empty.

        Raises:
            NotFound: There is none.
        """
        fit = [each for each in await self.issuers() if name in ("", each.name)]
        if len(fit) != 1:
            raise NotFound("nobody signs in with that issuer here")
        return fit[0]

    async def admit(self, request: Request) -> View:
        """What this request may see.

        Raises:
            SignInNeeded: Nothing, before somebody signs in.
            Unauthenticated, Forbidden: Nothing.
            Unavailable: There is no telling.
        """
        if await self.issuers():
            session = self.session(request)
            if session is None:
                raise SignInNeeded("sign in to see this: open /login")
            if not {DEVELOPERS, AUDITORS} & set(session.groups):
                raise Forbidden(f"{session.principal} is neither in {DEVELOPERS!r} nor in {AUDITORS!r}")
            return View(session)
        if self._token is not None:
            self._check_token(request.cookies.get(_PAGE) or _bearer(request))
        elif not is_local(request):
            raise Forbidden("the live page is for this machine; set DOMINIE_GATEWAY_PAGE_TOKEN to open it to others")
        return View()

    async def takes_token(self, request: Request, answer: Response) -> bool:
        """Whether the page's token is in the address; then it moves into a cookie.

        Raises:
            Unauthenticated: It is another one.
        """
        given = request.query_params.get("token")
        if self._token is None or given is None or await self.issuers():
            return False
        self._check_token(given)
        answer.set_cookie(_PAGE, given, httponly=True, samesite="strict")
        return True

    def base(self, request: Request) -> str:
        """The gateway's own address, as people's browsers know it, without a slash at its end.

        Raises:
            Forbidden: It is not known: what a request says of that is not believed, unless it is of this machine.
        """
        if self._public_url is not None:
            return self._public_url
        if not is_local(request) or "@" in request.url.netloc:
            raise Forbidden("people sign in at this gateway's public address: set DOMINIE_GATEWAY_PUBLIC_URL")
        return f"http://{request.url.netloc}"

    def session(self, request: Request) -> Session | None:
        """Who this browser signed in."""
        return self._sessions.find(request.cookies.get(self.cookie(_SESSION), ""))

    def let_in(self, answer: Response, id_: str, lasts_s: int) -> None:
        """Have the browser keep a session's id, where no script reads it."""
        self.keep(answer, _SESSION, id_, lasts_s)

    def leave(self, request: Request, answer: Response) -> None:
        """End this browser's session; a request of another site comes without its cookie, and ends none."""
        name = self.cookie(_SESSION)
        if self._sessions.end(request.cookies.get(name, "")):
            self.drop(answer, _SESSION)

    def cookie(self, name: str) -> str:
        """A cookie's name: over https no other host, nor http, can set it."""
        return f"__Host-{name}" if self._is_secure else name

    def keep(self, answer: Response, name: str, value: str, lasts_s: int) -> None:
        """Set a cookie."""
        answer.set_cookie(
            self.cookie(name), value, max_age=lasts_s, secure=self._is_secure, httponly=True, samesite="lax"
        )

    def drop(self, answer: Response, name: str) -> None:
        """Take a cookie away."""
        answer.delete_cookie(self.cookie(name), secure=self._is_secure, httponly=True, samesite="lax")

    @property
    def _is_secure(self) -> bool:
        return self._public_url is not None and self._public_url.startswith("https:")

    def _check_token(self, given: str) -> None:
        assert self._token is not None
        if not hmac.compare_digest(self._token.encode(), given.encode()):
            raise Unauthenticated("this page needs its token: open /?token=… once")


def is_local(request: Request) -> bool:
    """Whether a request comes from this machine, is meant for it (no rebound name), and was not forwarded."""
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "via"))
    return (
        not forwarded
        and request.client is not None
        and all(map(_is_loopback, (request.client.host, request.url.hostname or "")))
    )


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
