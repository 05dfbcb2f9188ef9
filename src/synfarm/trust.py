"""Whom a client of ours trusts: certificate authorities are read for https addresses alone."""

from __future__ import annotations

import ssl

import httpx

__all__ = ["trust_for"]


def trust_for(url: str) -> ssl.SSLContext:
    """For httpx's ``verify``: what httpx trusts by itself where ``url`` is https, nobody at all where it is not.

    Reading the authorities takes 20 ms of CPU, which httpx spends on each client, also on one that speaks plain HTTP.
    """
    if url[:6].lower() == "https:":
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
