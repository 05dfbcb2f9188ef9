"""TLS in front of a server that speaks none, as a load balancer or stunnel does it; and authorities made in a test."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import trustme

__all__ = ["Authority", "TlsFront"]


@dataclass(frozen=True)
class Authority:
    """A certificate authority and files of what it signs."""

    folder: Path
    made: trustme.CA

    @classmethod
    def new(cls, folder: Path) -> Authority:
        folder.mkdir(parents=True, exist_ok=True)
        authority = cls(folder, trustme.CA())
        authority.made.cert_pem.write_to_path(str(authority.file))
        return authority

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def sign(self, name: str) -> tuple[Path, Path]:
        """Certificate and key for a host name, an address or a client, as files."""
        made = self.made.issue_cert(name)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        return cert, key


class TlsFront:
    """Takes TLS on a free loopback port and passes the bytes on to ``upstream``."""

    def __init__(
        self, upstream: tuple[str, int], certificate: tuple[Path, Path], *, clients_of: Authority | None = None
    ) -> None:
        """
        Args:
            clients_of: take only clients whose certificate this authority has signed.
        """
        self._upstream, self._context = upstream, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        if clients_of is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(clients_of.file)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = {self._listener}
        self._closing = False
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        self._closing = True
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._meet, args=(client,), daemon=True).start()

    def _meet(self, client: socket.socket) -> None:
        try:
            with (
                self._context.wrap_socket(client, server_side=True) as secured,
                socket.create_connection(self._upstream) as inner,
            ):
                self._open |= {secured, inner}
                secured.settimeout(None)
                back = threading.Thread(target=_pump, args=(inner, secured), daemon=True)
                back.start()
                _pump(secured, inner)
                back.join()
                self._open -= {secured, inner}
        except OSError:
            client.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Bytes from one to the other until either ends; then both know."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
