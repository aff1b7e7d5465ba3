"""The protocol as bytes: what both sides must agree on, and what hostile bytes come to."""

from __future__ import annotations

import struct

import pytest
from doubles import SHIM_FILE, load_shim
from hypothesis import given
from hypothesis import strategies as st

from cosim.serve import protocol
from cosim.serve.protocol import REQUESTS, Kind, ProtocolError

STAMP = struct.pack("<BQQI", 2, 5_000, 7, 0x10000000)


def test_shim_and_server_number_the_messages_alike() -> None:
    shim = load_shim(SHIM_FILE)

    assert {kind.name: getattr(shim, kind.name) for kind in Kind} == {kind.name: int(kind) for kind in Kind}
    assert shim.VERSION == protocol.VERSION
    assert shim.MAGIC.encode() + b"\0" == protocol.MAGIC
    assert shim.MOST_PAYLOAD == protocol.MOST_PAYLOAD


@given(st.binary(min_size=5, max_size=5))
def test_a_header_is_a_known_kind_with_a_bounded_length_or_an_error(data: bytes) -> None:
    try:
        length, kind = protocol.parse_header(data)
    except ProtocolError:
        return
    assert length <= protocol.MOST_PAYLOAD
    assert data == protocol.frame(kind, bytes(length))[:5]


@given(st.sampled_from(REQUESTS), st.binary(max_size=80))
def test_any_bytes_are_a_request_within_its_bounds_or_an_error(kind: Kind, payload: bytes) -> None:
    try:
        request = protocol.parse_request(kind, payload)
    except ProtocolError:
        return
    assert request.kind is kind
    assert request.size in (1, 2, 4)
    assert request.stamp.core in protocol.CORES
    assert len(request.registers) == (8 if kind is Kind.SMC else 0)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_hello_or_an_error(payload: bytes) -> None:
    try:
        hello = protocol.parse_hello(payload)
    except ProtocolError:
        return
    assert len(hello.nonce) == len(hello.proof) == 32


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in REQUESTS])
def test_only_requests_are_taken_for_requests(kind: Kind) -> None:
    with pytest.raises(ProtocolError, match=kind.name):
        protocol.parse_request(kind, STAMP)


def test_a_write_says_who_wrote_what_when_and_where() -> None:
    request = protocol.parse_request(Kind.WRITE, STAMP + struct.pack("<IBI", 0x5000010C, 2, 0x1234))

    assert (request.address, request.size, request.value) == (0x5000010C, 2, 0x1234)
    stamp = request.stamp
    assert (stamp.core, stamp.time_ps, stamp.instructions, stamp.pc) == ("m4", 5_000, 7, 0x10000000)


@pytest.mark.parametrize("core", [3, 255])
def test_a_core_that_does_not_exist_is_refused(core: int) -> None:
    with pytest.raises(ProtocolError, match=f"core {core}"):
        protocol.parse_request(Kind.SMC, bytes([core]) + STAMP[1:] + bytes(32))
