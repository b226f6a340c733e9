"""What an ICE connection takes from the other side, and what it keeps."""

import asyncio
import contextlib
import inspect
import time
from typing import Any

import pytest
from aioice import Candidate, Connection, stun
from aioice.ice import StunProtocol
from remote.rtc_pair import Client, join, make_peer, until

from stream.remote.settings import IceSettings
from stream.remote.transport import ice_link, ice_path
from stream.remote.transport.ice_link import MAX_CANDIDATES, MAX_WAITING, IceLink
from stream.remote.transport.peer import Peer
from stream.remote.transport.sdp import read_fragment


def candidate(
    host: str = "192.0.2.7", port: int = 5000, component: int = 1, transport: str = "udp"
) -> Candidate:
    return Candidate("1", component, transport, 1, host, port, "host")


def test_the_private_parts_of_aioice_are_there() -> None:
    """What `stream.remote.transport.ice_path` overrides is called, and what it reads is there."""
    source = inspect.getsource(Connection)
    for call in (
        "self.query_consent()",
        "self.get_component_candidates(component=component, addresses=addresses)",
        "self.check_incoming(message, addr, protocol)",
        "self._nominated[pair.component] = pair",
        "self._remote_candidates.append(remote_candidate)",
        "c._network_host == addr[0] and c.port == addr[1]",
        "self._query_consent_task",
        "def build_request(self, pair: CandidatePair, nominate: bool)",
    ):
        assert call in source, call
    protocol = inspect.getsource(StunProtocol)
    assert "self.receiver.data_received(data, self.local_candidate.component)" in protocol


@pytest.mark.parametrize(
    "useless",
    [candidate(transport="tcp"), candidate(component=2), candidate(port=0), candidate(port=70_000)]
    + [candidate(host) for host in ("224.0.0.1", "0.0.0.0", "::", "example.org", "a" * 90 + ".local")],
)
def test_useless_candidates_are_passed_over(useless: Candidate) -> None:
    async def run() -> None:
        link = IceLink(False)
        await link.add_remote_candidate(useless)
        assert link.remote_candidates == []
        await link.close()

    asyncio.run(run())


def test_a_peer_has_checks_sent_to_few_addresses_only() -> None:
    async def run() -> None:
        link = IceLink(False)
        for port in range(1, 500):
            await link.add_remote_candidate(candidate(port=port))
        assert len(link.remote_candidates) == MAX_CANDIDATES
        await link.close()

    asyncio.run(run())


def test_checks_from_ever_new_addresses_are_passed_over() -> None:
    async def run() -> None:
        link = IceLink(False)
        await link.gather_candidates()
        link.remote_username, link.remote_password = "them", "p" * 22
        protocol = link.path._protocols[0]
        check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        check.attributes["PRIORITY"] = 1
        for port in range(20_000, 20_500):
            link.path.check_incoming(check, (ice_path.LOOPBACK, port), protocol)
        assert len(link.remote_candidates) == ice_path.MAX_ADDRESSES > MAX_CANDIDATES
        link.path.check_incoming(check, (ice_path.LOOPBACK, 20_000), protocol)  # a known one is taken
        assert len(link.path._check_list) == ice_path.MAX_ADDRESSES
        await link.close()

    asyncio.run(run())


def test_a_name_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nowhere(*_: object) -> None:
        raise OSError("no multicast here")

    monkeypatch.setattr("aioice.ice.get_or_create_mdns_protocol", nowhere)

    async def run() -> None:
        link = IceLink(False)
        await link.add_remote_candidate(candidate("0c3ab2de-77aa.local"))
        await until(lambda: not link._tasks)
        assert link.remote_candidates == []
        await link.close()

    asyncio.run(run())


def test_without_a_network_the_loopback_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [])

    async def run() -> None:
        link = IceLink(False)
        await link.gather_candidates()
        assert [found.host for found in link.local_candidates] == ["127.0.0.1"]
        await link.close()

    asyncio.run(run())


def test_an_answer_does_not_wait_long_for_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_path.IcePath.get_component_candidates, "__defaults__", (0.2,))

    async def run() -> None:
        client, peer = Client(), Peer(IceSettings(stun=("stun:127.0.0.1:9",)), 5.0)
        client.receives()
        offer, begun = await client.offer(), time.monotonic()
        answer = await peer.accept(offer, receive=False, send=None)
        assert "a=candidate" in answer
        assert 0.15 < time.monotonic() - begun < 4, "aioice waits 5 s"
        await peer.close()
        await client.close()

    asyncio.run(run())


def test_datagrams_that_nobody_reads_are_dropped() -> None:
    async def run() -> None:
        link = IceLink(False)
        for _ in range(MAX_WAITING + 7):
            link.received(b"x")
        assert link.lost == 7
        await link.close()
        with pytest.raises(ConnectionError):
            await link.recv()
        with pytest.raises(ConnectionError):
            await link.send(b"x")
        with pytest.raises(ConnectionError):
            await link.renew()

    asyncio.run(run())


def test_a_lost_connection_whose_restart_leads_nowhere_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_link, "RESTART_SECONDS", 0.2)

    async def run() -> None:
        client, peer, closed = Client(), make_peer(), []
        peer.on_closed = lambda: closed.append(peer.state)
        client.receives()
        await join(client, peer, receive=False)
        await peer.restart(read_fragment("a=ice-ufrag:gone\r\na=ice-pwd:" + "x" * 22))
        old = peer._rtc.links[0]._active
        assert old is not None
        await old.close()  # as when consent has expired
        await asyncio.sleep(0)
        assert closed == [], "the restart may yet succeed"
        await until(lambda: closed == ["failed"])
        await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("turns", range(6))
def test_a_restart_that_meets_the_end_leaves_no_socket(turns: int) -> None:
    async def run() -> None:
        link = IceLink(False)
        await link.gather_candidates()
        renewing = asyncio.ensure_future(link.renew())
        for _ in range(turns):
            await asyncio.sleep(0)
        await link.close()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(renewing, 5)
        assert link.path._protocols == []

    asyncio.run(run())


def test_a_restart_uses_the_newest_credentials() -> None:
    async def run() -> None:
        link = IceLink(False, turn_server=("127.0.0.1", 9), turn_username="old", turn_password="x")
        assert link.path.turn_username == "old"
        link._newest.turn_server = None  # nobody is there
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ice_path.IcePath, "gather_candidates", lambda _: asyncio.sleep(0))
            await link.renew(turn_username="new")
        assert (link.path.turn_username, link.path.turn_password) == ("new", "x")
        await link.close()

    asyncio.run(run())


def test_a_network_that_is_too_slow_gets_no_more() -> None:
    async def run() -> None:
        client, peer = Client(), make_peer()
        client.receives()
        await join(client, peer, receive=False)
        link = peer._rtc.links[0]
        transport: Any = link.path._nominated[1].protocol.transport
        transport.get_write_buffer_size = lambda: ice_path.MAX_UNSENT + 1
        await link.send(b"late")
        assert link.lost == 1
        await peer.close()
        await client.close()

    asyncio.run(run())


def test_consent_that_is_not_given_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_path, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(ice_path, "CONSENT_SECONDS", 0.6)

    async def run() -> None:
        client, peer, closed = Client(), make_peer(), []
        peer.on_closed = lambda: closed.append(peer.state)
        client.receives()
        await join(client, peer, receive=False)
        link = peer._rtc.links[0]
        heard = link.heard
        await until(lambda: link.heard > heard)
        for protocol in client.rtc.links[0].path._protocols:
            protocol.datagram_received = lambda *_: None
        await until(lambda: closed == ["failed"], 5)
        await client.close()

    asyncio.run(run())
