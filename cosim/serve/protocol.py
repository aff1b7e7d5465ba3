"""The language between `cosim serve` and the shim in Renode (platforms/pydev/cosim_shim.py): frames and messages.

A frame is a little-endian header of five bytes (u32 payload length, u8 kind) and the payload. Text and names are ASCII
with a length byte in front; a message's last field of bytes fills the rest of the frame. Conversation, version 1:

    server CHALLENGE, client HELLO, server WELCOME        each proves that it knows the token (cosim.serve.token)
    then a HELLO, READ, WRITE, SMC, CONSOLE, FIRST or TICK of the client is a request, answered by DONE; before that
    the server may ask for READ_MEM, WRITE_MEM, LOCK, START, RELEASE, HOLD and END, each answered by RESULT or FAILED.

REFUSED may take the place of any message of the server; the connection ends with it.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Any

from cosim.errors import CosimError
from cosim.events import Stamp

VERSION = 1
MAGIC = b"cosimRN\0"
NONCE = PROOF = 32
#: Bytes of memory that one READ_MEM or WRITE_MEM carries at most.
MOST_DATA = 0x10000
#: Bytes of a payload; the data and room for the fields before them.
MOST_PAYLOAD = MOST_DATA + 0x100
HEADER = struct.Struct("<IB")
CORES = ("host", "a7", "m4")

#: Bytes of a HELLO, all that an unknown client may send.
MOST_HELLO = 0x200
_CHALLENGE = struct.Struct(f"<8sH{NONCE}s")
_HELLO = struct.Struct(f"<H{NONCE}s{PROOF}s")
_STAMP = struct.Struct("<BQQI")
_READ = struct.Struct("<IB")
_WRITE = struct.Struct("<IBI")
_SMC = struct.Struct("<8I")
_WORD = struct.Struct("<I")


class ProtocolError(CosimError):
    """The other side does not speak this protocol, or broke off (`peer`)."""

    kind = "protocol"


class Kind(enum.IntEnum):
    """What a frame is; kinds of the client have bit 7 set."""

    CHALLENGE = 0x01
    WELCOME = 0x02
    DONE = 0x03
    READ_MEM = 0x04
    WRITE_MEM = 0x05
    LOCK = 0x06
    START = 0x07
    RELEASE = 0x08
    HOLD = 0x09
    END = 0x0A
    REFUSED = 0x0B
    HELLO = 0x81
    READ = 0x82
    WRITE = 0x83
    SMC = 0x84
    CONSOLE = 0x85
    FIRST = 0x86
    TICK = 0x87
    RESULT = 0x88
    FAILED = 0x89


_KINDS = frozenset(Kind)
#: What a client may ask once it was welcomed.
REQUESTS = (Kind.READ, Kind.WRITE, Kind.SMC, Kind.CONSOLE, Kind.FIRST, Kind.TICK)


@dataclass(frozen=True)
class Hello:
    """The client's introduction; `peer` says in its own words what it is."""

    version: int
    nonce: bytes
    proof: bytes
    peer: str


@dataclass(frozen=True)
class Request:
    """A request of a welcomed client; which fields count depends on `kind`.

    `address`, `size` (1, 2, 4) and `value` belong to READ, WRITE and FIRST, `registers` (r0..r7) to SMC, `source` and
    `text` to CONSOLE, `halted` (Renode halted the core) to TICK. `stamp` says when, on which core ("host" for an access
    by the debugger), after how many instructions and at which PC.
    """

    kind: Kind
    stamp: Stamp
    address: int = 0
    size: int = 4
    value: int = 0
    registers: tuple[int, ...] = ()
    source: str = ""
    text: str = ""
    halted: bool = False


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return HEADER.pack(len(payload), kind) + payload


def parse_header(data: bytes) -> tuple[int, Kind]:
    """Payload length and kind from the five bytes of a header. Raises `ProtocolError`."""
    length, kind = HEADER.unpack(data)
    if kind not in _KINDS or length > MOST_PAYLOAD:
        raise malformed(f"a frame of kind 0x{kind:02x} with {length} bytes")
    return length, Kind(kind)


def malformed(what: str) -> ProtocolError:
    """The error for something that is not a message of this version."""
    return ProtocolError(f"not a message of protocol version {VERSION}: {what}", hint="is it a Renode with our .resc?")


def name(text: str) -> bytes:
    """A short text with its length in front."""
    data = text.encode("ascii", "replace")[:255]
    return bytes((len(data),)) + data


def challenge(nonce: bytes) -> bytes:
    """Payload of CHALLENGE."""
    return _CHALLENGE.pack(MAGIC, VERSION, nonce)


def parse_hello(payload: bytes) -> Hello:
    """Parse the payload of HELLO. Raises `ProtocolError`."""
    (version, nonce, proof), rest = _take(_HELLO, payload, Kind.HELLO)
    peer, rest = _take_name(rest, Kind.HELLO)
    _nothing_left(rest, Kind.HELLO)
    return Hello(version, nonce, proof, peer)


def parse_request(kind: Kind, payload: bytes) -> Request:
    """Parse a client's message of one of the `REQUESTS`. Raises `ProtocolError`."""
    if kind not in REQUESTS:
        raise malformed(f"{kind.name} where a request was expected")
    (core, time_ps, instructions, pc), rest = _take(_STAMP, payload, kind)
    if core >= len(CORES):
        raise malformed(f"{kind.name} by core {core}")
    stamp = Stamp(time_ps, CORES[core], instructions, pc)
    if kind is Kind.CONSOLE:
        source, rest = _take_name(rest, kind)
        return Request(kind, stamp, source=source, text=rest.decode("ascii", "replace"))
    if kind is Kind.READ:
        (address, size), rest = _take(_READ, rest, kind)
        request = Request(kind, stamp, address, size)
    elif kind is Kind.WRITE:
        (address, size, value), rest = _take(_WRITE, rest, kind)
        request = Request(kind, stamp, address, size, value)
    elif kind is Kind.SMC:
        registers, rest = _take(_SMC, rest, kind)
        request = Request(kind, stamp, registers=registers)
    elif kind is Kind.FIRST:
        (address,), rest = _take(_WORD, rest, kind)
        request = Request(kind, stamp, address)
    else:
        (halted,), rest = _take(struct.Struct("<?"), rest, kind)
        request = Request(kind, stamp, halted=halted)
    _nothing_left(rest, kind)
    if request.size not in (1, 2, 4):
        raise malformed(f"{kind.name} of {request.size} bytes")
    return request


def done(*values: int) -> bytes:
    """Payload of DONE: up to four words."""
    return struct.pack(f"<{len(values)}I", *values)


def read_mem(bank: str, offset: int, size: int) -> bytes:
    """Payload of READ_MEM; the bank is named as in the platform file."""
    return name(bank) + struct.pack("<II", offset, size)


def write_mem(bank: str, offset: int, data: bytes) -> bytes:
    """Payload of WRITE_MEM."""
    return name(bank) + _WORD.pack(offset) + data


def lock(core: str, address: int, size: int, *, locked: bool) -> bytes:
    """Payload of LOCK: the core reads zero in the range and its writes are dropped, or again not."""
    return name(core) + struct.pack("<II?", address, size, locked)


def start(core: str, entry: int) -> bytes:
    """Payload of START: let the core begin at `entry`."""
    return name(core) + _WORD.pack(entry)


def release(core: str, entry: int) -> bytes:
    """Payload of RELEASE: let the core take its vectors; the one of reset is `entry`."""
    return name(core) + _WORD.pack(entry)


def hold(core: str) -> bytes:
    """Payload of HOLD: put the core into reset."""
    return name(core)


def end(exit_code: int, text: str) -> bytes:
    """Payload of END: what the run came to."""
    return bytes((exit_code,)) + text.encode("ascii", "replace")[:MOST_DATA]


def _take(layout: struct.Struct, payload: bytes, kind: Kind) -> tuple[tuple[Any, ...], bytes]:
    if len(payload) < layout.size:
        raise malformed(f"{kind.name} ends after {len(payload)} bytes")
    return layout.unpack_from(payload), payload[layout.size :]


def _take_name(payload: bytes, kind: Kind) -> tuple[str, bytes]:
    if not payload or len(payload) < 1 + payload[0]:
        raise malformed(f"{kind.name} ends inside a name")
    return payload[1 : 1 + payload[0]].decode("ascii", "replace"), payload[1 + payload[0] :]


def _nothing_left(rest: bytes, kind: Kind) -> None:
    if rest:
        raise malformed(f"{kind.name} with {len(rest)} bytes too many")
