"""The certificates that this machine trusts, for a box whose tool speaks TLS itself."""

from __future__ import annotations

import os
import ssl
from functools import cache

CERTIFICATES = "/run/certificates.pem"
"""Where a box has them."""
_USUAL = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@cache
def find_certificates() -> str | None:
    """One file that has all of them, if there is one."""
    paths = ssl.get_default_verify_paths()
    found = next((each for each in (paths.cafile, *_USUAL) if each and os.path.isfile(each)), None)
    return found and os.path.realpath(found)
