"""litellm's exceptions as `ProviderError`s, by status: its classes differ by provider for the same answer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dominie_model.adapters.provider import ErrorKind, ProviderError, ProviderRequest

_PREFIX = re.compile(r"^(?:litellm\.\w+: )?(?:\w+(?:Error|Exception): )?(?:\w+Exception - )?")
_DETAIL_LENGTH = 500


def provider_error(fault: Exception, request: ProviderRequest) -> ProviderError:
    """The error to raise for what litellm raised."""
    provider = getattr(fault, "llm_provider", None) or request.target.model.partition("/")[0]
    detail = _detail(str(fault), request) or type(fault).__name__
    return ProviderError(_kind(fault), provider, detail, retry_after_s=_retry_after_s(fault))


def _kind(fault: Exception) -> ErrorKind:
    status = getattr(fault, "status_code", None)
    if isinstance(fault, TimeoutError) or status == 408:
        return "timeout"
    if status in {401, 403}:
        return "unauthenticated"
    if status == 429:
        return "rate-limited"
    if isinstance(status, int) and 400 <= status < 500:
        return "invalid"
    return "unavailable"


def _detail(text: str, request: ProviderRequest) -> str:
    key = request.target.api_key.get_secret_value() if request.target.api_key else ""
    return _PREFIX.sub("", text.replace(key, "***") if key else text)[:_DETAIL_LENGTH]


def _retry_after_s(fault: Exception) -> float | None:
    response = getattr(fault, "response", None)
    for headers in (getattr(fault, "litellm_response_headers", None), getattr(response, "headers", None)):
        if isinstance(headers, Mapping) and "retry-after" in headers:
            try:
                return max(0.0, float(headers["retry-after"]))
            except ValueError:  # an HTTP date, which no provider of models is known to send
                return None
    return None
