"""What a decision of the TA costs: LOAD_FW of a 30 KiB image, accepted and refused, by key and by profile.

A decision is the SMC with its message in shared memory, authentication, copying, hashing and the firewall, on the
models of a whole SoC with event log, without monitors and without a core that executes anything. An accepted image is
given up by RELEASE_FW, whose wipe counts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from cosim.bench.measurement import Finding, Measurement, Sizes, processor_seconds
from cosim.campaign.caller import IMAGE, Caller
from cosim.client import Command
from cosim.errors import EngineError
from cosim.resources import TEST_KEY, key_file
from cosim.soc import Soc, SocConfig
from cosim.testing import flip
from ta.image import parse_image
from ta.keys import PrivateKey, generate, load_private_key
from ta.profile import FirewallProfile, Profile
from ta.signing import binding_tlvs, sign_images

_SECTION = "decisions of the TA"
_VECTORS = struct.pack("<2I", 0x10020000, 0x10000001)
_CODE, _SRAM1_2, _BEHIND_VECTORS = 0x10000000, 256 * 1024, 0x1000
_CODE_SIZE = 30 * 1024
_EHDR, _PHDR, _SHDR = struct.Struct("<16s2H5I6H"), struct.Struct("<8I"), struct.Struct("<10I")
_NAMES = b"\0.shstrtab\0\0"


def large_elf(code_size: int = _CODE_SIZE) -> bytes:
    """An ELF file with vectors at 0x0, `code_size` bytes from 0x10000000 (a multiple of 256), and no resource table.

    What SRAM1 and SRAM2 do not hold lies in RETRAM behind the vectors.
    """
    code = bytes(range(256)) * (code_size // 256)
    pieces = [(0, _VECTORS), (_CODE, code[:_SRAM1_2])]
    if code_size > _SRAM1_2:
        pieces.append((_BEHIND_VECTORS, code[_SRAM1_2:]))
    at = _EHDR.size + len(pieces) * _PHDR.size
    headers = b""
    for address, data in pieces:
        headers += _PHDR.pack(1, at, address, address, len(data), len(data), 5, 4)
        at += len(data)
    names_at = at
    sections = bytes(_SHDR.size) + _SHDR.pack(1, 3, 0, 0, names_at, len(_NAMES), 0, 0, 1, 0)
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    sizes = (_EHDR.size, _PHDR.size, len(pieces), _SHDR.size, 2, 1)
    header = _EHDR.pack(ident, 2, 40, 1, 0x10000001, _EHDR.size, names_at + len(_NAMES), 0, *sizes)
    return header + headers + _VECTORS + code + _NAMES + sections


def measure_decisions(sizes: Sizes) -> Iterator[Finding]:
    """Decisions per second of processor time."""
    how = f"best of {sizes.repeats}, {sizes.decisions} in a row"
    keys = {"RSA-4096": load_private_key(key_file(TEST_KEY)), "RSA-2048": generate("rsa2048")}
    for name, key in keys.items():
        for profile in Profile:
            rates = decision_rates(key, profile, sizes)
            for outcome, rate in rates.items():
                yield Measurement(_SECTION, f"{name}, {profile.value}, {outcome}", rate, "1/s", how)


def decision_rates(key: PrivateKey, profile: Profile, sizes: Sizes) -> dict[str, float]:
    """Accepted images, and images with a flipped bit in the signature, per second.

    Raises `EngineError` when the TA decides otherwise.
    """
    elf = large_elf()
    image = sign_images([elf], key, platform_tlvs=binding_tlvs([elf], 0, 1))
    forged = flip(image, parse_image(image).header.sign_offset + 8)
    soc = Soc(SocConfig(profile=profile, firewall=FirewallProfile.ISOLATED, public_key=key.public_key()))
    caller = Caller(soc)
    session, start = caller.open().session, len(soc.log)

    def accepted() -> bool:
        return caller.load(session, len(image)).ok and caller.command(session, Command.RELEASE_FW).ok

    def refused() -> bool:
        return not caller.load(session, len(forged)).ok

    rates = {}
    for outcome, data, decide in (("accepted", image, accepted), ("refused", forged, refused)):
        caller.write(IMAGE, data)
        best = min(_row(decide, sizes.decisions, lambda: soc.log.truncate(start)) for _ in range(sizes.repeats))
        rates[outcome] = sizes.decisions / best
    return rates


def _row(decide: Callable[[], bool], times: int, forget: Callable[[], None]) -> float:
    def row() -> bool:
        good = True
        for _ in range(times):
            good = decide() and good
            forget()
        return good

    taken, good = processor_seconds(row)
    if not good:
        raise EngineError("the TA did not decide as the benchmark expects")
    return taken
