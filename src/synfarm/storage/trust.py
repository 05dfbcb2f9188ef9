"""TLS to the object store: by which authorities its certificate is proven, and what went wrong in words."""

from __future__ import annotations

import ssl
from pathlib import Path

from synfarm.storage.protocol import StoreRefused

__all__ = ["trusting", "untrusted"]


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """A context that proves certificate and name of the server, by ``ca_file`` alone or by the system's authorities.

    Raises:
        StoreRefused: the file cannot be read, or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:  # ssl.SSLError is one of them
        raise StoreRefused(
            f"SYNFARM_STORE_CA_FILE: {ca_file} cannot be used ({error}); name a PEM file of certificates"
        ) from error


def untrusted(error: BaseException | None) -> str | None:
    """What to correct when no TLS connection came about for good; None of any other error."""
    seen = error
    while seen is not None and not isinstance(seen, ssl.SSLError):
        inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        seen = inner or seen.__cause__ or seen.__context__
    if isinstance(seen, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not trusted ({seen.verify_message}): set SYNFARM_STORE_CA_FILE to the "
            "authority that signed it, and SYNFARM_STORE_ENDPOINT to a name that it is for"
        )
    if isinstance(seen, ssl.SSLError) and seen.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "the server does not speak TLS: set SYNFARM_STORE_SECURE=false, or name its port for HTTPS"
    return None
