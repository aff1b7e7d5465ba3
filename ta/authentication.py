"""Authentication of a signed image: copy of header, TLVs and signature, their checks, and the signature itself.

Order and results as in `remoteproc_verify_firmware` of OP-TEE's remoteproc TA. After it the TLVs are trusted; nothing
else is. Every check reports itself as an `AuthenticationStep`.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from ta.events import AuthenticationStep
from ta.heap import DIGEST_SIZE, OPERATION_SIZE, HeapBlock, TaHeap
from ta.image_format import HEADER_SIZE, MAGIC, VERSION, SignType, TlvType
from ta.ports import Sink
from ta.remoteproc_pta import RemoteprocPta
from ta.results import DeathCause, RefusedError, TaDeathError, TeeResult
from ta.shared_memory import ClientBuffer
from ta.tlv import TlvArea, round_up_8

_KEY_INFO_HEADER = 8  # struct rproc_pta_key_info: algorithm and size of what follows


@dataclass(frozen=True)
class SignedHeader:
    """The TA's own copy of header, TLVs and signature.

    `images_at` is the offset of the first image in the client's buffer, `img_len` the size of all images in bytes.
    """

    block: HeapBlock
    tlvs: TlvArea
    tlv_len: int
    sign_len: int
    img_len: int
    images_at: int

    @property
    def signature_address(self) -> int:
        """User address of the signature in the copy."""
        return self.tlvs.address + round_up_8(self.tlv_len)

    def signature(self) -> bytes:
        """The signature in the copy. Raises `TaDeathError` (A1) when it leaves the heap."""
        return self.block.read(self.signature_address, self.sign_len, "A1")

    def sign_type(self) -> SignType:
        """The signature algorithm that SIGNTYPE names. Raises BAD_PARAMETERS or NOT_SUPPORTED."""
        return _sign_type(self.tlvs.find(TlvType.SIGNTYPE))


class step:  # noqa: N801 - used as a statement
    """Report one step: `detail` when it passed, the reason when it was refused."""

    __slots__ = "_detail", "_name", "_sink"

    def __init__(self, sink: Sink, name: str, detail: str) -> None:
        self._sink, self._name, self._detail = sink, name, detail

    def __enter__(self) -> None:
        """The step begins."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """It ended; what it raised goes on."""
        if error is None:
            self._sink(AuthenticationStep(self._name, True, self._detail))
        elif isinstance(error, (RefusedError, TaDeathError)):
            self._sink(AuthenticationStep(self._name, False, error.message))


def copy_lengths(buffer: ClientBuffer) -> tuple[int, int, bytes]:
    """How many bytes of the buffer to copy: tlv_len and sign_len as read now, and the header bytes read so far.

    Upstream reads the two words alone, before any check of the size (A3), and copies the header again later (A1); the
    hardened profile reads the header once. Raises BAD_PARAMETERS.
    """
    if buffer.address % 4:
        raise _bad_parameters(f"the buffer at 0x{buffer.address:08x} is not aligned to 4 bytes")
    if not buffer.exact:
        return buffer.u32(8, "A3"), buffer.u32(12, "A3"), b""
    if buffer.size < HEADER_SIZE:
        raise _bad_parameters(f"{buffer.size} bytes are too few for a signed header of {HEADER_SIZE}")
    header = buffer.read(0, HEADER_SIZE, "")
    _, _, tlv_len, sign_len, _ = struct.unpack("<5I", header)
    return tlv_len, sign_len, header


def copy_length(buffer: ClientBuffer, tlv_len: int, sign_len: int) -> int:
    """Size in bytes of header, TLVs and signature (`remoteproc_save_fw_header_and_tlvs`). Raises BAD_PARAMETERS."""
    if buffer.exact and max(tlv_len, sign_len) > buffer.size:
        raise _bad_parameters(
            f"the header claims {tlv_len} bytes of TLVs and {sign_len} of signature, the file has {buffer.size}"
        )
    length = HEADER_SIZE + round_up_8(tlv_len) + round_up_8(sign_len)
    if max(HEADER_SIZE + round_up_8(tlv_len), length) >= 1 << 32:
        raise _bad_parameters("the lengths in the header overflow 32 bits")
    if buffer.size <= length or not sign_len or not tlv_len:
        raise _bad_parameters(
            f"not a signed image: header, TLVs ({tlv_len} bytes) and signature ({sign_len} bytes) do not fit the file "
            f"of {buffer.size} bytes"
        )
    return length


def check_copied_header(block: HeapBlock, buffer: ClientBuffer) -> SignedHeader:
    """The checks of `remoteproc_verify_header` on the copy. Raises BAD_PARAMETERS."""
    magic, version, tlv_len, sign_len, img_len = struct.unpack_from("<5I", block.data)
    if magic != MAGIC:
        raise _bad_parameters(f"the magic number is 0x{magic:08x}, a signed image has 0x{MAGIC:08x}")
    if version != VERSION:
        raise _bad_parameters(f"the header has version {version}, the TA knows version {VERSION}")
    total = HEADER_SIZE
    for part in (sign_len, img_len, tlv_len):
        total += round_up_8(part)
        if total >= 1 << 32:
            raise _bad_parameters("the lengths in the header are larger than the file")
    if total != buffer.size:
        raise _bad_parameters(f"the header describes a file of {total} bytes, this one has {buffer.size}")
    tlvs = TlvArea(block, block.address + HEADER_SIZE, tlv_len, bounded=buffer.exact)
    images_at = HEADER_SIZE + round_up_8(tlv_len) + round_up_8(sign_len)
    return SignedHeader(block, tlvs, tlv_len, sign_len, img_len, images_at)


def copy_header(buffer: ClientBuffer, length: int, header: bytes, address: int) -> HeapBlock:
    """Copy `length` bytes to the heap block at `address`; bytes already read as `header` are not read again."""
    return HeapBlock(address, header + buffer.read(len(header), length - len(header), "A16"))


def signed_digest(header: SignedHeader) -> bytes:
    """SHA-256 over header and padded TLV area. Raises `TaDeathError` (A1) when the TLV area leaves the heap."""
    size = round_up_8(header.tlv_len)
    if not header.block.readable(header.tlvs.address, size):
        raise TaDeathError(
            DeathCause.PANIC,
            "A1",
            f"tlv_len changed to {header.tlv_len} between its two reads: hash over foreign memory",
        )
    return hashlib.sha256(header.block.data[:HEADER_SIZE] + header.block.read(header.tlvs.address, size, "A1")).digest()


def verify_signature(header: SignedHeader, heap: TaHeap, pta: RemoteprocPta, processor_id: int) -> bytes:
    """Verify the signature through the PTA (`remoteproc_verify_signature`); returns the signed SHA-256.

    Raises `RefusedError` and, for upstream, `TaDeathError` (A1, A2).
    """
    sign_type = header.sign_type()
    with (
        heap.block(DIGEST_SIZE, "the digest"),
        heap.block(OPERATION_SIZE, "the digest operation"),
        heap.block(DIGEST_SIZE, "the digest buffer"),
    ):
        digest = signed_digest(header)
        key_info = header.tlvs.find(TlvType.PKEYINFO) or b""
        with heap.block(_KEY_INFO_HEADER + len(key_info), "the copy of PKEYINFO"):
            if not header.block.readable(header.signature_address, header.sign_len):
                raise TaDeathError(
                    DeathCause.PANIC,
                    "A2" if header.sign_len > 0xFFFFFFF8 else "A1",
                    f"a signature of {header.sign_len} bytes was handed to the TEE core, which stopped the TA",
                )
            pta.verify_digest(processor_id, sign_type, digest, header.signature())
    return digest


def _sign_type(value: bytes | None) -> SignType:
    if value is None or len(value) != 1:
        raise _bad_parameters("the TLVs name no signature algorithm (SIGNTYPE)")
    try:
        return SignType(value[0])
    except ValueError:
        raise RefusedError(
            TeeResult.NOT_SUPPORTED, f"signature algorithm {value[0]} is unknown", hint="1 is RSA, 2 is ECDSA P-256"
        ) from None


def _bad_parameters(reason: str) -> RefusedError:
    return RefusedError(
        TeeResult.BAD_PARAMETERS, reason, hint="sign the ELF file with `cosim sign` and load the whole signed file"
    )
