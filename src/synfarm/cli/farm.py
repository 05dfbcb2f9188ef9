"""Which farm a command talks to: named by options, by the environment, or found as a stack that runs nearby."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from synfarm.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from synfarm.local.finding import Found
    from synfarm.sdk import AsyncClient, Client, ClientConfig

__all__ = ["DEMO_FOLDER", "STACK_FOLDER", "Address", "Farm", "in_words", "living_stack", "nearby"]

STACK_FOLDER, DEMO_FOLDER = Path("synfarm-data"), Path("demo")
"""Where `synfarm up` and `synfarm demo` keep their things unless told otherwise."""

Needs = Literal["api", "trainer", "both"]
_URL = re.compile(r"https?://[^/\s]+[^\s]*")
_QUICK, _PATIENT = 3, 8
"""Tries: an answer within two seconds or an error; or half a minute, while something is watched."""


@dataclass(frozen=True, slots=True)
class Address:
    """A farm's two APIs, the key, and who named them."""

    api_url: str | None
    trainer_url: str | None
    key: str | None = field(repr=False)
    source: str
    folder: Path | None = None
    """Of the stack, where one was found."""


@dataclass(frozen=True, slots=True)
class Farm:
    """What the user said of the farm; nothing is looked for before it is needed."""

    url: str | None = None
    trainer_url: str | None = None
    key: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    data_dir: Path | None = None

    def address(self) -> Address:
        """The farm to talk to: options first, then the environment, then a living stack.

        Raises:
            CommandFailed: none is named and none lives; or the key cannot be read.
        """
        environment = os.environ
        if self.url or self.trainer_url:
            api, trainer = self.url, self.trainer_url
            return Address(
                api or environment.get("SYNFARM_API_URL") or None,
                trainer or environment.get("SYNFARM_TRAINER_URL") or None,
                self._key(),
                "--url" if api else "--trainer-url",
            )
        # As of a shell, an empty variable is none.
        named = environment.get("SYNFARM_API_URL") or None, environment.get("SYNFARM_TRAINER_URL") or None
        if any(named) and self.data_dir is None:
            return Address(*named, self._key(), "SYNFARM_API_URL" if named[0] else "SYNFARM_TRAINER_URL")
        found = living_stack(self.data_dir)
        if found.state is None:
            raise CommandFailed(f"the stack in {found.folder.root} is not ready yet; `synfarm status` shows it.", _AWAY)
        # A key of the environment is another farm's; only one that is named here goes before the stack's own.
        key = self._named_key() or _read_key(found.state.key_file, "the stack")
        root = found.folder.root
        return Address(found.state.api_url, found.state.trainer_url, key, f"the stack in {root}", root)

    def _named_key(self) -> str | None:
        if self.key is not None:
            return _checked_key(self.key, "--key")
        return None if self.key_file is None else _read_key(self.key_file, "--key-file")

    def _key(self) -> str | None:
        if named := self._named_key():
            return named
        if key := os.environ.get("SYNFARM_API_KEY"):
            return _checked_key(key, "SYNFARM_API_KEY")
        if path := os.environ.get("SYNFARM_API_KEY_FILE"):
            return _read_key(Path(path), "SYNFARM_API_KEY_FILE")
        return None

    def _config(self, address: Address, needs: Needs, *, patient: bool) -> ClientConfig:
        from synfarm.sdk import ClientConfig
        from synfarm.sdk.config import without_user

        api, trainer = address.api_url, address.trainer_url
        for wanted, url, option, variable in (
            ("api", api, "--url", "SYNFARM_API_URL"),
            ("trainer", trainer, "--trainer-url", "SYNFARM_TRAINER_URL"),
        ):
            if url is not None and not _is_address(url):
                shown = without_user(url)
                raise CommandFailed(f"{option}: {shown!r} is no address; write http://host:port.", ExitCode.REFUSED)
            if url is None and needs in {wanted, "both"}:
                raise CommandFailed(
                    f"{address.source} names one API; this command needs the other: {option} or {variable}.",
                    ExitCode.REFUSED,
                )
        # The one that is not needed is never asked.
        one, other = api or trainer or "", trainer or api or ""
        return ClientConfig(one.rstrip("/"), other.rstrip("/"), key=address.key, tries=_PATIENT if patient else _QUICK)

    @contextmanager
    def client(self, needs: Needs = "api", *, patient: bool = False) -> Iterator[Client]:
        """A client of the farm; what goes wrong with the connection is told with the address and who named it.

        Args:
            patient: for watching: outlive a service's restart.

        Raises:
            CommandFailed: no farm, no answer, a refused key, or an answer that is not a farm's.
        """
        from synfarm.sdk import Client

        address = self.address()
        config = self._config(address, needs, patient=patient)
        with _told(address), Client(config) as client:
            yield client

    @asynccontextmanager
    async def async_client(self, needs: Needs = "both") -> AsyncIterator[AsyncClient]:
        """As ``client``."""
        from synfarm.sdk import AsyncClient

        address = self.address()
        config = self._config(address, needs, patient=False)
        with _told(address):
            async with AsyncClient(config) as client:
                yield client


_AWAY = ExitCode.UNREACHABLE


def _is_address(url: str) -> bool:
    try:
        return _URL.fullmatch(url) is not None and urlsplit(url).port != 0
    except ValueError:  # its port is no number
        return False


@contextmanager
def _told(address: Address) -> Iterator[None]:
    from pydantic import ValidationError

    from synfarm.sdk import ApiError, ApiUnreachable, NotAllowed
    from synfarm.sdk.config import without_user

    where = f"The address is that of {address.source}."
    try:
        yield
    except ApiUnreachable as error:
        cause = str(error.__cause__ or "") or type(error.__cause__).__name__
        urls = " and ".join(dict.fromkeys(map(without_user, filter(None, (address.api_url, address.trainer_url)))))
        raise CommandFailed(f"no answer ({cause}) from the farm at {urls}. {where}", _AWAY) from error
    except NotAllowed as error:
        sent = "" if address.key else " No key was sent: name one with --key-file or SYNFARM_API_KEY."
        raise CommandFailed(f"{error}{sent}", ExitCode.NOT_ALLOWED) from error
    except ApiError as error:
        if error.code == "foreign_answer":
            raise CommandFailed(f"{error} {where}", _AWAY) from error
        raise
    except ValidationError as error:
        raise CommandFailed(
            f"what answers there does not speak this version's language ({error.title}). {where}", _AWAY
        ) from error


def nearby(data_dir: Path | None) -> list[Found]:
    """What is found in the folder that was named; without one, in those that `up` and `demo` use."""
    from synfarm.local.finding import look

    return [look(folder) for folder in ([data_dir] if data_dir else [STACK_FOLDER, DEMO_FOLDER])]


def in_words(found: Found) -> str:
    """What a look at a folder has found, for a sentence that names the folder first."""
    from synfarm.local.finding import Condition

    return {
        Condition.ABSENT: "there is none",
        Condition.FOREIGN: "holds no stack's files",
        Condition.STARTING: "is starting or stopping",
        Condition.RUNNING: "runs",
        Condition.STOPPED: "is stopped",
        Condition.STALE: "was killed",
    }[found.condition]


def living_stack(data_dir: Path | None) -> Found:
    """The one stack that lives in the folder that was named, or nearby.

    Raises:
        CommandFailed: there is none, or more than one.
    """
    looked = nearby(data_dir)
    living = [found for found in looked if found.lives]
    if len(living) > 1:
        folders = " and ".join(str(found.folder.root) for found in living)
        raise CommandFailed(f"stacks run in {folders}: say which with --data-dir.", ExitCode.REFUSED)
    if living:
        return living[0]
    told = ", ".join(f"{found.folder.root} ({in_words(found)})" for found in looked)
    if data_dir is not None:
        raise CommandFailed(f"no stack runs in {told}. Start it: synfarm up --data-dir {data_dir}", _AWAY)
    raise CommandFailed(
        f"no farm found. Looked at --url, SYNFARM_API_URL, and for a running stack in {told}. "
        "Start one with `synfarm up`, or name one with --url or --data-dir.",
        _AWAY,
    )


def _read_key(path: Path, source: str) -> str:
    try:
        return _checked_key(path.read_text(encoding="ascii").strip(), f"{source} ({path})")
    except OSError as error:
        raise CommandFailed(f"{source}: cannot read the key: {path}: {error.strerror}.", ExitCode.REFUSED) from error
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{source}: {path} holds no key.", ExitCode.REFUSED) from error


def _checked_key(key: str, source: str) -> str:
    # It goes into a header: anything else would end in an error that names neither the key nor its source.
    if not re.fullmatch(r"[!-~]{1,200}", key):
        raise CommandFailed(f"{source}: a key is one word of plain ASCII characters.", ExitCode.REFUSED)
    return key
