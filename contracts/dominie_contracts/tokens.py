"""Subject tokens: any text as one NATS token, and back.

Every byte but `[A-Za-z0-9_-]` is percent-encoded (RFC 3986), so that `gpt-4.1` is one token and no name can
hold a dot, a wildcard or a space.
"""

import re
from urllib.parse import quote, unquote_to_bytes

from dominie_contracts.problems import Invalid

MAX_TOKEN_BYTES = 200
_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_TOKEN_BYTES}}}")
_ENCODED = re.compile(r"(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+")


def encode_token(text: str) -> str:
    """Encode `text` as one token.

    Raises:
        Invalid: The text is empty, not Unicode, or longer than 200 bytes once encoded.
    """
    if _PLAIN.fullmatch(text):
        return text
    try:
        token = quote(text, safe="").replace(".", "%2E").replace("~", "%7E")
    except UnicodeEncodeError as error:
        raise Invalid(f"{text!r} is not valid Unicode") from error
    if not token or len(token) > MAX_TOKEN_BYTES:
        raise Invalid(f"{text[:40]!r} must be 1 to {MAX_TOKEN_BYTES} bytes long as a subject token")
    return token


def decode_token(token: str) -> str:
    """Decode one token; only what `encode_token` writes is accepted, so each text has one spelling.

    Raises:
        Invalid: The token is not one that `encode_token` writes.
    """
    if _PLAIN.fullmatch(token):
        return token
    if not _ENCODED.fullmatch(token) or len(token) > MAX_TOKEN_BYTES:
        raise Invalid(f"{token[:80]!r} is not a subject token")
    try:
        text = unquote_to_bytes(token).decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{token!r} does not decode to UTF-8") from error
    if encode_token(text) != token:
        raise Invalid(f"{token!r} is not the canonical spelling of {text!r}")
    return text
