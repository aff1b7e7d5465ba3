"""The second look of the hardened profile: whether memory holds what was signed, and the whole of it.

It starts over from the signed bytes and from memory, and uses nothing that the load itself found out: not its plan, not
its addresses, not its comparisons. So one decision of the load that went wrong, by a fault or by a mistake, is found.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from ta.elf32 import PT_LOAD
from ta.image_format import HEADER_SIZE
from ta.isolation import DecprotAttribute
from ta.remoteproc_pta import RemoteprocPta
from ta.results import RefusedError, TeeResult
from ta.segment_loader import NO_TABLE, Located
from ta.signed_tlvs import Device, SignedRecord, check_device, read_signed_tlvs


def look_again(pta: RemoteprocPta, device: Device, signed: bytes, located: Located, version: int) -> None:
    """Hold memory, the place of the resource table and the rollback version against the signed header and TLVs.

    Raises SECURITY, and what reading the TLVs raises.
    """
    pta.isolation.require(DecprotAttribute.S_RW)
    tlv_len = struct.unpack_from("<I", signed, 8)[0]
    tlvs = read_signed_tlvs(signed[HEADER_SIZE : HEADER_SIZE + tlv_len])
    check_device(tlvs, device)
    if (tlvs.version or 0) != version:
        raise _differs(f"the signed version is {tlvs.version or 0}, not {version}")
    for record in tlvs.records:
        if record.p_type == PT_LOAD and record.p_memsz:
            _look_at(pta, device.processor_id, record)
    da, size = tlvs.table or (0, 0)
    wanted = Located(pta.da_to_pa(device.processor_id, da, size), size) if size else NO_TABLE
    if located != wanted:
        raise _differs("the resource table is not where the signed record says")


def _look_at(pta: RemoteprocPta, processor_id: int, record: SignedRecord) -> None:
    memory = pta.loaded(pta.da_to_pa(processor_id, record.p_paddr, record.p_memsz), record.p_memsz)
    actual = hashlib.sha256(memory[: record.p_filesz]).digest()
    if not hmac.compare_digest(actual, record.sha256):
        raise _differs(f"the {record.p_filesz} bytes at 0x{record.p_paddr:08x} are not the signed ones")
    if any(memory[record.p_filesz :]):
        raise _differs(f"the memory behind the segment at 0x{record.p_paddr:08x} is not zero")


def _differs(what: str) -> RefusedError:
    return RefusedError(
        TeeResult.SECURITY,
        f"a second look at what was loaded disagrees with the first: {what}",
        hint="a fault hit the secure world, or memory was written while the image was loaded",
    )
