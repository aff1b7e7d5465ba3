"""Targets `image` and `elf`: LOAD_FW and START_FW of whatever a file holds, under both profiles.

The signature of an image is made good before it is loaded, so that everything behind the signature check is reached;
an image with a wrong one is loaded as well. What the hardened profile starts is held against the signed hash table by
a reader of its own, which shares no code with the TA.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from fuzz_machine import INITIAL, RETRAM, RETRAM_SIZE, SRAM, SRAM_ALIAS, FuzzMachine, signing_key
from fuzz_target import VECTORS, FuzzTarget, Play, require

from cosim.inspection import inspect
from cosim.resources import firmware_file
from cosim.testing import flip
from ta.errors import ImageError
from ta.events import ProcessorStarted, TaDied
from ta.image_elf import scan_elf
from ta.image_scan import scan_image
from ta.profile import Profile
from ta.signing import binding_tlvs, sign_images

_HASHTABLE, _RECORD, _SIGNATURE = 0x10, 64, 256
_PIECE = 0x10000
_ZEROS, _AT_FIRST, _BLANK = bytes(_PIECE), bytes([INITIAL]) * _PIECE, bytes([0, INITIAL])
_GOOD = ("a.elf", "b.elf", "c.elf")
_START, _STOP, _RELEASE = 2, 3, 6


def sign_again(image: bytes) -> bytes:
    """The image with a good signature at the place where its header has one, where there is room for it."""
    if len(image) < 20:
        return image
    at = 20 + _round_up(int.from_bytes(image[8:12], "little"))
    if at + _SIGNATURE > len(image):
        return image
    return image[:at] + signing_key().sign(image[:at], padding.PKCS1v15(), hashes.SHA256()) + image[at + _SIGNATURE :]


class Loader:
    """Plays LOAD_FW, GET_RSC_TABLE, START_FW, STOP_FW and RELEASE_FW on a machine per profile."""

    def __init__(self) -> None:
        self._machines = {profile: FuzzMachine(profile) for profile in Profile}
        for machine in self._machines.values():
            machine.learn(_bound("a.elf"))

    def play(self, image: bytes) -> None:
        """Serve the image with both profiles."""
        for profile, machine in self._machines.items():
            machine.reset()
            self._serve(machine, image, hardened=profile is Profile.HARDENED)

    def _serve(self, machine: FuzzMachine, image: bytes, *, hardened: bool) -> None:
        session = machine.open()
        loaded = machine.load(session, image) == 0
        if not loaded:
            require(not any(isinstance(e, ProcessorStarted) for e in machine.events), "a refused image was started")
            if hardened:
                _nothing_left(machine)
        table, address, size = machine.table(session)
        if loaded and table == 0 and size and hardened:
            _table_is_signed(image, address, size)
        started = machine.command(session, _START) == 0
        require(loaded or not started, "START_FW succeeded after a LOAD_FW that was refused")
        if started and hardened:
            _memory_is_signed(machine, image)
        if started:
            machine.command(session, _STOP)
        machine.command(session, _RELEASE)
        if hardened:
            _nothing_left(machine)
            require(not any(isinstance(e, TaDied) for e in machine.events), "the hardened TA died")


def _memory_is_signed(machine: FuzzMachine, image: bytes) -> None:
    """Every signed segment lies in memory as it was signed, and nothing else of the image does."""
    held = {RETRAM: bytearray(machine.bus.retram), SRAM: bytearray(machine.bus.sram)}
    for p_paddr, filesz, memsz, digest in _signed_loads(image):
        base, offset = _place(p_paddr)
        content = held[base][offset : offset + memsz]
        good = not filesz or hashlib.sha256(content[:filesz]).digest() == digest
        require(good, f"0x{p_paddr:08x} does not hold what was signed")
        require(not any(content[filesz:]), f"memory behind the segment at 0x{p_paddr:08x} is not zero")
        held[base][offset : offset + memsz] = bytes(memsz)
    require(all(_empty(block) for block in held.values()), "something lies in memory that was not signed")


def _table_is_signed(image: bytes, address: int, size: int) -> None:
    cell = address - SRAM_ALIAS + SRAM if address >= SRAM_ALIAS and address < RETRAM else address
    for p_paddr, filesz, _, _ in _signed_loads(image):
        base, offset = _place(p_paddr)
        if base + offset <= cell and cell + size <= base + offset + filesz:
            return
    require(False, f"the resource table at 0x{address:08x} is not among the signed bytes")


def _nothing_left(machine: FuzzMachine) -> None:
    for name, block in (("RETRAM", machine.bus.retram), ("MCU SRAM", machine.bus.sram)):
        require(not machine.bus.dirty or _empty(block), f"something was left in {name}")


def _empty(block: bytearray) -> bool:
    """Each byte is as before any image, or zero."""
    # Comparing whole pieces is much faster than looking at bytes, and nearly always enough.
    pieces = (block[at : at + _PIECE] for at in range(0, len(block), _PIECE))
    return all(piece in (_ZEROS, _AT_FIRST) or not piece.strip(_BLANK) for piece in pieces)


def _signed_loads(image: bytes) -> list[tuple[int, int, int, bytes]]:
    """p_paddr, p_filesz, p_memsz and SHA-256 of each PT_LOAD record of the hash table."""
    length = int.from_bytes(image[8:12], "little")
    at, found = 20, []
    while at + 8 <= 20 + length:
        kind, size = struct.unpack_from("<2I", image, at)
        if kind == _HASHTABLE:
            for record in range(at + 8, at + 8 + size, _RECORD):
                p_type, _, _, p_paddr, filesz, memsz = struct.unpack_from("<6I", image, record)
                if p_type == 1 and memsz:
                    found.append((p_paddr, filesz, memsz, image[record + 32 : record + 64]))
        at += 8 + _round_up(size)
    return found


def _place(da: int) -> tuple[int, int]:
    """Memory and offset behind a device address of the M4."""
    if da < RETRAM_SIZE:
        return RETRAM, da
    return SRAM, da - (SRAM_ALIAS if da >= SRAM_ALIAS else SRAM)


def _round_up(size: int) -> int:
    return -(-size // 8) * 8


# -- inputs --------------------------------------------------------------------------------------------------------


def _elf(name: str) -> bytes:
    return (VECTORS / "elf" / name).read_bytes()


def _bound(name: str) -> bytes:
    return sign_images([_elf(name)], signing_key(), platform_tlvs=binding_tlvs([_elf(name)], 0, 1))


def image_seeds() -> Sequence[bytes]:
    """Signed images: unbound, bound, of two files with key info and a vendor's TLV, and one that says ECDSA."""
    unbound = [sign_images([_elf(name)], signing_key()) for name in _GOOD]
    two = sign_images(
        [_elf("a.elf"), _elf("c.elf")], signing_key(), key_info=b"key info", platform_tlvs=[(0x10001, b"x")]
    )
    ecdsa = flip(unbound[0], 28, 3)
    return [*unbound, *(_bound(name) for name in _GOOD), two, ecdsa]


def elf_seeds() -> Sequence[bytes]:
    """ELF files for the M4: the small ones of the vectors, and a real one."""
    return [*(_elf(name) for name in (*_GOOD, "d.elf", "e.elf")), firmware_file("demo_m4.elf").read_bytes()[:8192]]


def _make_image() -> Play:
    loader = Loader()

    def play(data: bytes) -> None:
        scan_image(data)
        loader.play(data)
        loader.play(sign_again(data))

    return play


def _make_elf() -> Play:
    loader = Loader()

    def play(data: bytes) -> None:
        scan_elf(data)
        inspect(data, "input.elf").as_dict()
        try:
            image = sign_images([data], signing_key())
            loader.play(image)
            loader.play(sign_images([data], signing_key(), platform_tlvs=binding_tlvs([data], 0, 1)))
        except ImageError:
            return  # what cannot be signed is nothing for the TA
        findings = inspect(image, "input.sign", signing_key().public_key()).findings
        require(not any("hash" in f.code and f.severity.value == "error" for f in findings), "signed with wrong hashes")

    return play


IMAGE = FuzzTarget("image", image_seeds, _make_image, 8192)
ELF = FuzzTarget("elf", elf_seeds, _make_elf, 16384)
