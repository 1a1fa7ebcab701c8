"""The HTTP side of a witness: `POST /add-checkpoint`, and a health check."""

import sys
import traceback
from collections.abc import Awaitable, Callable

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dominie.cosignatures import SIZE_TYPE
from dominie_witness.refusals import Failed, OtherSize, Refusal, TooLarge, TooSlow
from dominie_witness.witness import Witness

MAX_BODY_BYTES = 64 * 2**10
"""A proof has at most 63 hashes; the rest is room for signatures."""
BODY_S = 10.0


def application(witness: Witness) -> Starlette:
    """Every route there is."""

    async def add_checkpoint(request: Request) -> Response:
        line = await witness.add(await _body(request))
        return PlainTextResponse(line)

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            Route("/add-checkpoint", _guarded(add_checkpoint), methods=["POST"]),
            Route("/healthz", health, methods=["GET"]),
        ]
    )


def _guarded(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except OtherSize as refusal:
            return Response(f"{refusal.size}\n", refusal.status, {"content-type": SIZE_TYPE})
        except Refusal as refusal:
            return _problem(refusal)
        except Exception:  # a full disk, say: it is not signed
            traceback.print_exc(file=sys.stderr)
            return _problem(Failed("the witness failed; its standard error says why"))

    return answer


async def _body(request: Request) -> bytes:
    body = bytearray()
    with anyio.move_on_after(BODY_S) as limit:
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise TooLarge(f"at most {MAX_BODY_BYTES} bytes are taken")
    if limit.cancelled_caught:
        raise TooSlow(f"the body took more than {BODY_S:g} s")
    return bytes(body)


def _problem(refusal: Refusal) -> Response:
    body = refusal.details.model_dump_json(exclude_defaults=True)
    return Response(body, refusal.status, media_type="application/problem+json")
