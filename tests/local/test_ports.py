"""Ports: named ones are checked before anything starts, free ones never meet them."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import pytest

from synfarm.local.folder import StackFolder
from synfarm.local.ports import HeldPorts, PortTaken, check_port
from synfarm.local.stack import Ports, process_specs


def test_a_port_that_is_listened_on_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(PortTaken, match="is taken: stop what listens there, or name another"):
            check_port(server.getsockname()[1])
        with pytest.raises(PortTaken, match="is taken"):
            Ports.free(api=server.getsockname()[1])


def test_a_port_of_a_server_that_has_just_stopped_is_free() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    accepted, _ = server.accept()
    # The side that closes first keeps the port in TIME_WAIT for a minute.
    accepted.close()
    client.close()
    server.close()
    check_port(port)


def test_a_held_port_is_chosen_by_nobody_else_and_open_to_who_names_it() -> None:
    ours = HeldPorts(12)
    assert len(set(ours.numbers)) == 12
    for port in ours.numbers:
        with socket.socket() as chooser, pytest.raises(OSError, match="in use"):
            chooser.bind(("127.0.0.1", port))
        # A server, and the one that is started in its place.
        for _ in range(2):
            socket.create_server(("127.0.0.1", port)).close()
    ours.release()
    for port in ours.numbers:
        with socket.socket() as chooser:
            chooser.bind(("127.0.0.1", port))


def test_two_holders_at_once_share_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    # A range so narrow that two who only looked would meet for sure.
    with monkeypatch.context() as patch:
        patch.setattr("synfarm.local.ports._RANGE", range(14_000, 14_020))
        first, second = HeldPorts(8), HeldPorts(8)
        assert not set(first.numbers) & set(second.numbers)
        with pytest.raises(RuntimeError, match="fewer than 8 free ports"):
            HeldPorts(8)
        first.release()
        assert len(HeldPorts(8).numbers) == 8


def test_ports_go_back_with_their_holder() -> None:
    held = HeldPorts(1)
    (port,) = held.numbers
    del held
    gc.collect()
    with socket.socket() as chooser:
        chooser.bind(("127.0.0.1", port))


def test_named_and_free_ports_are_all_different() -> None:
    named = HeldPorts(2)
    api, trainer = named.numbers
    ports = Ports.free(api=api, trainer=trainer)
    assert (ports.api, ports.trainer) == (api, trainer)
    s3 = ports.s3
    rest = [s3.s3, s3.s3_grpc, s3.master, s3.master_grpc, s3.volume, s3.volume_grpc, s3.filer, s3.filer_grpc]
    every = [ports.redis, ports.llm, ports.api, ports.render, ports.trainer, *rest]
    assert len(set(every)) == 13
    with pytest.raises(PortTaken, match="each needs its own"):
        Ports.free(api=api, trainer=api)


def test_the_page_is_told_where_the_trainer_is(tmp_path: Path) -> None:
    with StackFolder(tmp_path) as folder:
        ports = Ports.free()
        specs = {spec.name: spec for spec in process_specs(folder, folder.secrets(), ports)}
    assert specs["caption-api"].env["SYNFARM_CAPTION_API_TRAINER_URL"] == f"http://127.0.0.1:{ports.trainer}"
    assert specs["trainer"].address == f"127.0.0.1:{ports.trainer}"
    assert specs["s3"].address == f"127.0.0.1:{ports.s3.s3}"
