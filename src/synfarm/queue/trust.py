"""TLS to Redis: the same options for every client, and a look at the start whether Redis takes this process at all."""

from __future__ import annotations

import socket
import ssl
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from synfarm.settings import RedisSettings
from synfarm.telemetry import get_logger

__all__ = ["RedisRefused", "refused_by_redis", "require_trusted", "tls_options"]

_log = get_logger(__name__)


class RedisRefused(Exception):
    """No restart helps before somebody corrects ``SYNFARM_REDIS_*``; the message names the setting."""


def tls_options(settings: RedisSettings) -> dict[str, Any]:
    """Arguments of redis-py's TLS connections, for kombu too; none without TLS.

    kombu by itself proves nothing: given ``rediss://`` alone it warns and takes any certificate (kombu/connection.py,
    ``_init_params``).

    Raises:
        RedisRefused: the settings contradict each other, or a file cannot be read.
    """
    parts = urlsplit(settings.url.get_secret_value())
    files = {"CA_FILE": settings.ca_file, "CERT_FILE": settings.cert_file, "KEY_FILE": settings.key_file}
    given = [name for name, file in files.items() if file is not None]
    if parts.scheme != "rediss":
        if given:
            raise RedisRefused(
                f"SYNFARM_REDIS_{given[0]} needs TLS; begin SYNFARM_REDIS_URL with rediss://, or unset it"
            )
        return {}
    if any(name.startswith("ssl_") for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise RedisRefused("SYNFARM_REDIS_URL must not hold ssl_ options; SYNFARM_REDIS_CA_FILE says whom to trust")
    if (settings.cert_file is None) != (settings.key_file is None):
        raise RedisRefused("SYNFARM_REDIS_CERT_FILE and SYNFARM_REDIS_KEY_FILE belong together; set both or none")
    _context(settings)
    return {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
        "ssl_ca_certs": None if settings.ca_file is None else str(settings.ca_file),
        "ssl_certfile": None if settings.cert_file is None else str(settings.cert_file),
        "ssl_keyfile": None if settings.key_file is None else str(settings.key_file),
    }


def _context(settings: RedisSettings) -> ssl.SSLContext:
    """
    Raises:
        RedisRefused: a file cannot be read, or is not what it should be.
    """
    try:
        context = ssl.create_default_context()
        if settings.ca_file is not None:
            context.load_verify_locations(settings.ca_file)
    except OSError as error:  # ssl.SSLError is one of them
        raise RedisRefused(f"SYNFARM_REDIS_CA_FILE: {settings.ca_file} cannot be used ({error})") from error
    if settings.cert_file is not None and settings.key_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError as error:
            told = f"{settings.cert_file} with {settings.key_file} cannot be used ({error})"
            raise RedisRefused(f"SYNFARM_REDIS_CERT_FILE: {told}") from error
    return context


def require_trusted(settings: RedisSettings) -> None:
    """Ask Redis once. One that is away is no fault of the settings, and waited for as ever.

    Raises:
        RedisRefused: contradictory settings; a certificate that is not trusted; no TLS where it is asked for; a
            certificate or password that Redis does not take.
    """
    options = tls_options(settings)
    url = settings.url.get_secret_value()
    once = Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0), **options)
    try:
        with once:
            once.ping()
    except AuthenticationError as error:
        raise RedisRefused(f"Redis does not take the password of SYNFARM_REDIS_URL ({error})") from error
    except RedisError as error:
        if options and (told := _in_words(_cause(error), settings)) is not None:
            raise RedisRefused(f"Redis at {_where(settings)}: {told}") from error
        _log.warning("redis_away", error=str(error))


def _where(settings: RedisSettings) -> str:
    """Without the password."""
    parts = urlsplit(settings.url.get_secret_value())
    return f"{parts.hostname}:{parts.port or 6379}"


def _cause(error: BaseException) -> BaseException:
    """What redis-py has wrapped."""
    inner = error.__cause__ or error.__context__
    return error if inner is None else _cause(inner)


def _in_words(error: BaseException, settings: RedisSettings) -> str | None:
    """What to correct when no TLS connection came about for good; None where waiting may help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}): set SYNFARM_REDIS_CA_FILE to the authority that "
            "signed it, and SYNFARM_REDIS_URL to a name that it is for"
        )
    if isinstance(error, TimeoutError) and "handshake" in str(error) and _speaks_plainly(settings):
        # One without TLS waits for the end of the line. One that hangs says nothing to anybody, and may come back.
        return "it answers nothing to TLS: begin SYNFARM_REDIS_URL with redis://, or name its port for TLS"
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        reason = _alert(settings)
    if "ALERT" not in (reason or ""):
        return None
    return (
        f"it does not take this process' certificate ({reason}): set SYNFARM_REDIS_CERT_FILE and "
        "SYNFARM_REDIS_KEY_FILE to one that it knows"
    )


def _speaks_plainly(settings: RedisSettings) -> bool:
    """Whether Redis' own words get an answer without TLS; a refusal without a password is one."""
    host, _, port = _where(settings).rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as plain:
            plain.sendall(b"PING\r\n")
            return plain.recv(1) in (b"+", b"-")
    except OSError:
        return False


def _alert(settings: RedisSettings) -> str | None:
    """With TLS 1.3 a server refuses after the handshake, while the client writes already: its reason is what is read by
    one who writes nothing."""
    host, _, port = _where(settings).rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=5) as plain,
            _context(settings).wrap_socket(plain, server_hostname=host) as secured,
        ):
            secured.recv(1)
    except ssl.SSLError as error:
        return error.reason
    except OSError:
        pass
    return None


def refused_by_redis(settings: RedisSettings) -> bool:
    """Log one line about a Redis that a process cannot start with; True if there was reason to."""
    try:
        require_trusted(settings)
    except RedisRefused as error:
        _log.error("redis_refused", error=str(error), next_step="correct SYNFARM_REDIS_*, and start again")
        return True
    return False
