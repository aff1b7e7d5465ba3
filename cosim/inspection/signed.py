"""Checks of what was signed against what is in the file: hash records, segments, signature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from cosim.inspection.elf import Load
from cosim.inspection.model import Finding, HashCheck
from ta.image_elf import PT_LOAD, Segment
from ta.image_format import HASH_RECORD_SIZE, HEADER_SIZE, HashRecord, SignType, TlvType, round_up
from ta.image_problem import Severity
from ta.image_scan import ImageScan
from ta.keys import PublicKey
from ta.signing import SignatureCheck, verify

#: Header, TLVs, signature and a second copy of the hash table must fit into the heap of the upstream TA (measured).
_TA_HEAP = 3924

_AFTER_SIGNING = "The file was changed after signing; sign the ELF file again."


def match_records(segments: Sequence[Segment], records: Sequence[HashRecord]) -> list[HashRecord | None]:
    """The signed record of each program header of all images: by position, or by type and address if numbers differ."""
    if len(segments) == len(records):
        return list(records)
    by_place: dict[tuple[int, int], HashRecord] = {}
    for record in records:
        by_place.setdefault((record.p_type, record.p_paddr), record)
    return [by_place.get((s.p_type, s.p_paddr)) for s in segments]


def check_hash(record: HashRecord | None, digest: bytes) -> HashCheck:
    """How the digest of a segment's bytes compares to its record."""
    if record is None:
        return HashCheck.NO_RECORD
    return HashCheck.MATCH if record.sha256 == digest else HashCheck.MISMATCH


def check_segment(load: Load, record: HashRecord | None, hashed: HashCheck) -> Iterator[Finding]:
    """Whether a program header and its bytes are what was signed."""
    s = load.segment
    severity = Severity.ERROR if s.p_type == PT_LOAD else Severity.WARNING
    if record is None:
        hint = f"{_AFTER_SIGNING} The TA answers NO_DATA (0xffff000b)."
        yield load.finding(severity, "no-record", f"no signed record for {s.type_name} at 0x{s.p_paddr:08x}", hint)
        return
    names = ("p_type", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz", "p_flags", "p_align")
    differ = [n for n in names if getattr(s, n) != getattr(record, n)]
    if differ:
        decisive = PT_LOAD in (s.p_type, record.p_type) and {"p_type", "p_paddr", "p_filesz", "p_memsz"} & set(differ)
        hint = f"{_AFTER_SIGNING} The TA compares type, load address and sizes of PT_LOAD only."
        text = f"{', '.join(differ)} differ from the signed record"
        yield load.finding(Severity.ERROR if decisive else Severity.WARNING, "record-differs", text, hint)
    if hashed is HashCheck.MISMATCH:
        hint = f"{_AFTER_SIGNING} The TA answers SECURITY (0xffff000f)."
        yield load.finding(severity, "hash-mismatch", "its bytes do not have the signed SHA-256", hint)


def check_unused(segments: Sequence[Segment], records: Sequence[HashRecord]) -> Iterator[Finding]:
    """Whether every signed PT_LOAD is in an ELF file: their headers are not signed and could leave one out."""
    present = {(s.p_type, s.p_paddr, s.p_filesz, s.p_memsz) for s in segments}
    for r in records:
        if r.p_type == PT_LOAD and (r.p_type, r.p_paddr, r.p_filesz, r.p_memsz) not in present:
            text = f"the signed segment at 0x{r.p_paddr:08x} is in no image: a program header was removed or changed"
            yield Finding(Severity.ERROR, "record-unused", text, _AFTER_SIGNING, r.offset, r.p_paddr)


def check_limits(scan: ImageScan) -> Iterator[Finding]:
    """What the TA of the STM32MP15 does not take although the format allows it."""
    if scan.sign_type is SignType.ECDSA_P256_SHA256:
        hint = "Sign with an RSA key. The TA answers NOT_SUPPORTED (0xffff000a)."
        text = "ECDSA signature: the TA of the STM32MP15 verifies RSA only"
        yield Finding(Severity.WARNING, "ecdsa", text, hint, HEADER_SIZE)
    header = scan.header
    if header is None:
        return
    copies = HASH_RECORD_SIZE * len(scan.hash_records)
    need = HEADER_SIZE + round_up(header.tlv_len) + round_up(header.sign_len) + copies
    if need > _TA_HEAP:
        text = f"authentication needs {need} bytes of the TA's 4 KiB heap, about {_TA_HEAP} are free"
        hint = "Use fewer program headers or shorter TLVs, or raise CFG_REMOTEPROC_TA_HEAP_SIZE; else OUT_OF_MEMORY."
        yield Finding(Severity.WARNING, "ta-heap", text, hint, 8)
    if not any(t.type == TlvType.HASHTYPE for t in scan.tlvs):
        text = "TLV HASHTYPE is missing; the TA does not look at it"
        yield Finding(Severity.NOTE, "no-hash-type", text, "Sign with an up-to-date tool.", HEADER_SIZE)


def check_signature(scan: ImageScan, key: PublicKey) -> SignatureCheck | None:
    """Check the signature; None when the file is too broken for that."""
    if scan.header is None or scan.sign_type is None or len(scan.signed_bytes) < scan.header.sign_offset:
        return None
    return verify(scan.signed_bytes, scan.signature, scan.sign_type, key)


def signature_finding(scan: ImageScan, check: SignatureCheck | None, key: PublicKey | None) -> Iterator[Finding]:
    """The finding for a signature that is not valid under `key`."""
    offset = None if scan.header is None else scan.header.sign_offset
    if check is SignatureCheck.WRONG:
        yield _wrong_signature(scan, key, offset)
    elif check is SignatureCheck.OTHER_KEY_KIND:
        yield Finding(Severity.ERROR, "signature-key", check.value, "Give the key that signed this image.", offset)


def _wrong_signature(scan: ImageScan, key: PublicKey | None, offset: int | None) -> Finding:
    denied = "The TA answers SIGNATURE_INVALID (0xffff3072)."
    if not isinstance(key, RSAPublicKey):
        hint = f"Check with the public half of the key it was signed with. {denied}"
        return Finding(
            Severity.ERROR, "signature-wrong", f"the signature is {SignatureCheck.WRONG.value}", hint, offset
        )
    if _made_with(scan.signature, key):
        text = "the key signed this image, but header or TLVs were changed since"
        return Finding(Severity.ERROR, "signature-content", text, f"{_AFTER_SIGNING} {denied}", offset)
    hint = f"Sign with the private key that belongs to this device, or check with the matching key (--pubkey). {denied}"
    text = "another key signed this image, or the signature itself was changed"
    return Finding(Severity.ERROR, "signature-wrong", text, hint, offset)


def _made_with(signature: bytes, key: RSAPublicKey) -> bool:
    """Whether an RSA signature opens, under `key`, to the padding that only its private half can have made."""
    numbers = key.public_numbers()
    number = int.from_bytes(signature, "big")
    if len(signature) != (key.key_size + 7) // 8 or number >= numbers.n:
        return False
    return pow(number, numbers.e, numbers.n).to_bytes(len(signature), "big").startswith(b"\x00\x01" + b"\xff" * 8)
