"""Loopback ports: free ones that stay ours between their choice and their use, or named ones."""

from __future__ import annotations

import os
import random
import socket
import weakref

__all__ = ["HeldPorts", "PortTaken", "check_port"]

_RANGE = range(15_000, 32_000)
"""Below Linux' ephemeral range (32768 and up): the kernel's own outgoing connections do not wander here."""


class PortTaken(RuntimeError):
    """A port that was asked for by number cannot be had; the message says why and what to do."""


def check_port(port: int) -> None:
    """Nothing, if a server could listen on 127.0.0.1:``port`` now.

    Raises:
        PortTaken: something listens there, or only the system's administrator may.
    """
    with socket.socket() as probe:
        # As servers do it: without this, connections of a server that has just stopped would look like a living one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except PermissionError:
            raise PortTaken(f"port {port} needs the rights of the administrator: name one from 1024.") from None
        except OSError:
            raise PortTaken(f"port {port} on 127.0.0.1 is taken: stop what listens there, or name another.") from None


def _hold(port: int) -> int | None:
    """A descriptor that keeps ``port`` from who looks for a free one, and lets in who names it; None if taken."""
    held = socket.socket()
    try:
        # Alone, so that of two who choose it at once one fails ...
        held.bind(("127.0.0.1", port))
    except OSError:
        held.close()
        return None
    # ... and shared from here on: Linux lets a server with SO_REUSEADDR, which all of ours set, bind a port that others
    # have bound so and do not listen on.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return held.detach()


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


class HeldPorts:
    """``count`` different TCP ports of 127.0.0.1 that no other holder can choose as long as this object lives.

    A server starts seconds after its port was chosen, and may be started again: a port that was only *looked at* can be
    another server's by then. The kernel lets go of the ports when the process dies, however it dies.

    Raises:
        RuntimeError: the range is all but used up.
    """

    def __init__(self, count: int) -> None:
        descriptors: list[int] = []
        self.release = weakref.finalize(self, _close, descriptors)
        """Let all go now; a server that listens on one keeps it. Nothing the second time."""
        numbers: list[int] = []
        # Two stacks that start at once should not walk the range in the same order: the system's entropy, not a seed.
        for port in random.SystemRandom().sample(_RANGE, len(_RANGE)):
            if len(numbers) == count:
                break
            if (held := _hold(port)) is not None:
                descriptors.append(held)
                numbers.append(port)
        if len(numbers) < count:
            self.release()
            raise RuntimeError(f"fewer than {count} free ports between {_RANGE.start} and {_RANGE.stop} on 127.0.0.1")
        self.numbers: tuple[int, ...] = tuple(numbers)
