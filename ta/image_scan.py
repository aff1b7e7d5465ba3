"""The lenient walk through a signed image: keeps what can be read, collects every problem, never raises on content."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ta.errors import ImageError
from ta.image_format import (
    HASH_RECORD_SIZE,
    HASHTYPE_SHA256,
    HEADER_SIZE,
    IMGTYPE_ELF,
    MAGIC,
    MAX_FILE_SIZE,
    MAX_TLV_LEN,
    MAX_TLVS,
    SIGNATURE_SIZES,
    TLV_HEAD,
    TLV_HEAD_SIZE,
    VERSION,
    HashRecord,
    Header,
    ImagePart,
    SignedImage,
    SignType,
    Tlv,
    TlvType,
    read_hash_records,
    read_header,
    round_up,
)
from ta.image_problem import Problem, Severity

_SIGN_AGAIN = "Sign the ELF file again; the image was cut or changed after signing."
_RESIGN_TOOL = "Sign the ELF file with `cosim sign` or OP-TEE's sign_rproc_fw.py."
_ELF_MAGIC = b"\x7fELF"


@dataclass(frozen=True, slots=True)
class ImageScan:
    """What could be read of a signed image; parts that could not are None or empty, and `problems` says why."""

    header: Header | None
    tlvs: tuple[Tlv, ...]
    sign_type: SignType | None
    images: tuple[ImagePart, ...]
    hash_records: tuple[HashRecord, ...]
    signature: bytes
    signed_bytes: bytes
    problems: tuple[Problem, ...]

    def image(self) -> SignedImage:
        """The well-formed image. Raises ImageError when a part is missing; `problems` then says what and where."""
        if self.header is None or self.sign_type is None:
            raise ImageError("not a well-formed signed image", hint=_RESIGN_TOOL)
        return SignedImage(
            self.header, self.tlvs, self.sign_type, self.images, self.hash_records, self.signature, self.signed_bytes
        )


def scan_image(data: bytes) -> ImageScan:
    """Walk through `data`, of any content and length, and report everything found."""
    return _Walk(data).scan()


class _Walk:
    """State of one walk: the bytes, the records found so far, and the problems."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.problems: list[Problem] = []
        self.tlvs: list[Tlv] = []

    def scan(self) -> ImageScan:
        header = self._header()
        if header is None:
            return ImageScan(None, (), None, (), (), b"", b"", tuple(self.problems))
        self._sizes(header)
        self._records(header)
        self._duplicates()
        sign_type = self._sign_type()
        self._hash_type()
        records = self._hash_table()
        images = self._images(header)
        signature = self.data[header.sign_offset : header.sign_offset + header.sign_len]
        self._signature(header, sign_type)
        signed = self.data[: header.sign_offset]
        return ImageScan(header, tuple(self.tlvs), sign_type, images, records, signature, signed, tuple(self.problems))

    def _report(self, code: str, offset: int, field: str, message: str, hint: str) -> None:
        self.problems.append(Problem(code, message, hint, offset, field))

    def _warn(self, code: str, offset: int, field: str, message: str, hint: str) -> None:
        self.problems.append(Problem(code, message, hint, offset, field, Severity.WARNING))

    def _header(self) -> Header | None:
        size = len(self.data)
        if size > MAX_FILE_SIZE:
            text = f"file of {size} bytes, at most {MAX_FILE_SIZE} are read"
            self._report("file-size", MAX_FILE_SIZE, "file", text, "This cannot be firmware for this processor.")
            return None
        if self.data[:4] == _ELF_MAGIC:
            text = "this is an ELF file, not a signed image"
            self._report("magic", 0, "magic", text, "Sign it first: `cosim sign FW.elf --key KEY.pem --out FW.sign`.")
            return None
        if size < HEADER_SIZE:
            text = f"the file ends inside the header: {size} of {HEADER_SIZE} bytes"
            self._report("header-truncated", size, "header", text, _SIGN_AGAIN)
            return None
        header = read_header(self.data)
        if header.magic != MAGIC:
            text = f"magic is 0x{header.magic:08x}, a signed image has 0x{MAGIC:08x}"
            self._report("magic", 0, "magic", text, _RESIGN_TOOL)
            return None
        if header.version != VERSION:
            text = f"format version {header.version}, only {VERSION} is known"
            self._report("version", 4, "version", text, _RESIGN_TOOL)
        return header

    def _sizes(self, header: Header) -> None:
        lengths = (("tlv_len", 8, header.tlv_len), ("sign_len", 12, header.sign_len), ("img_len", 16, header.img_len))
        for field, offset, value in lengths:
            if value == 0:
                self._report("empty-part", offset, field, f"{field} is 0", _RESIGN_TOOL)
        if header.tlv_len > MAX_TLV_LEN:
            text = f"tlv_len is {header.tlv_len}, at most {MAX_TLV_LEN} are read"
            self._report("tlv-area-size", 8, "tlv_len", text, _RESIGN_TOOL)
        size = len(self.data)
        if size > header.file_size:
            text = f"{size - header.file_size} bytes behind the last image; the TA wants exactly {header.file_size}"
            self._report("trailing-bytes", header.file_size, "img_len", text, "Remove what was appended to the file.")
        elif size < header.file_size:
            part = self._part_at(header, size)
            text = f"the file ends inside the {part}: {size} bytes, its header says {header.file_size}"
            self._report("truncated", size, part, text, _SIGN_AGAIN)

    @staticmethod
    def _part_at(header: Header, offset: int) -> str:
        if offset < header.sign_offset:
            return "TLV area"
        return "signature" if offset < header.image_offset else "images"

    def _records(self, header: Header) -> None:
        """Collect the TLV records up to the unrounded end of the area, as the TA does."""
        end = min(HEADER_SIZE + min(header.tlv_len, MAX_TLV_LEN), len(self.data))
        at = HEADER_SIZE
        while end - at >= TLV_HEAD_SIZE:
            if len(self.tlvs) == MAX_TLVS:
                self._report("tlv-count", at, "TLV", f"more than {MAX_TLVS} TLV records", _RESIGN_TOOL)
                return
            head = TLV_HEAD.parse(self.data[at : at + TLV_HEAD_SIZE])
            start = at + TLV_HEAD_SIZE
            if head.length > end - start:
                text = f"TLV 0x{head.type:x} has {head.length} bytes, {end - start} are left in the TLV area"
                self._report("tlv-length", at + 4, "length", text, _SIGN_AGAIN)
                return
            tlv = Tlv(at, head.type, self.data[start : start + head.length])
            self.tlvs.append(tlv)
            if tlv.name == "UNKNOWN":
                text = f"TLV 0x{tlv.type:x} is of no known type and is ignored"
                self._warn("tlv-unknown", at, "type", text, "Platform data uses the types 0x10000 to 0x1ffff.")
            at = start + round_up(head.length)
            if any(self.data[start + head.length : min(at, end)]):
                text = f"the padding of {tlv.name} is not zero"
                self._warn("tlv-padding", start + head.length, tlv.name, text, _RESIGN_TOOL)
        if at < end:
            text = f"{end - at} bytes behind the last TLV record, too few for another one"
            self._warn("tlv-leftover", at, "TLV", text, _RESIGN_TOOL)

    def _duplicates(self) -> None:
        seen: Counter[int] = Counter()
        for tlv in self.tlvs:
            seen[tlv.type] += 1
            if seen[tlv.type] == 2:
                text = f"TLV 0x{tlv.type:x} ({tlv.name}) occurs twice; the TA uses the first and ignores the rest"
                self._report("tlv-duplicate", tlv.offset, tlv.name, text, _RESIGN_TOOL)

    def _value(self, tlv_type: TlvType, length: int | None, *, required: bool = True) -> Tlv | None:
        """The first record of a type with the length it must have; reports when there is none."""
        tlv = next((t for t in self.tlvs if t.type == tlv_type), None)
        if tlv is None:
            if required:
                text = f"TLV {tlv_type.name} is missing"
                self._report("tlv-missing", HEADER_SIZE, tlv_type.name, text, _RESIGN_TOOL)
            return None
        if length is not None and len(tlv.value) != length:
            text = f"{tlv_type.name} has {len(tlv.value)} bytes instead of {length}"
            self._report("tlv-size", tlv.offset + 4, tlv_type.name, text, _RESIGN_TOOL)
            return None
        return tlv

    def _sign_type(self) -> SignType | None:
        tlv = self._value(TlvType.SIGNTYPE, 1)
        if tlv is None:
            return None
        if tlv.value[0] not in SIGNATURE_SIZES:
            text = f"signature type {tlv.value[0]} is not known"
            hint = "Use an RSA key (type 1) or an ECDSA P-256 key (type 2)."
            self._report("sign-type", tlv.value_offset, "SIGNTYPE", text, hint)
            return None
        return SignType(tlv.value[0])

    def _hash_type(self) -> None:
        tlv = self._value(TlvType.HASHTYPE, 1, required=False)
        if tlv is not None and tlv.value[0] != HASHTYPE_SHA256:
            text = f"hash type {tlv.value[0]}, only 1 (SHA-256) exists; the upstream TA does not look at it"
            self._report("hash-type", tlv.value_offset, "HASHTYPE", text, _RESIGN_TOOL)

    def _hash_table(self) -> tuple[HashRecord, ...]:
        tlv = self._value(TlvType.HASHTABLE, None)
        if tlv is None:
            return ()
        if not tlv.value or len(tlv.value) % HASH_RECORD_SIZE:
            text = f"HASHTABLE has {len(tlv.value)} bytes, not a multiple of {HASH_RECORD_SIZE} above 0"
            self._report("hash-table-size", tlv.offset + 4, "HASHTABLE", text, _RESIGN_TOOL)
        return read_hash_records(tlv.value, tlv.value_offset)

    def _images(self, header: Header) -> tuple[ImagePart, ...]:
        number = self._value(TlvType.NUM_IMG, 1)
        count = number.value[0] if number else None
        if number and not count:
            self._report("no-image", number.value_offset, "NUM_IMG", "the file claims to hold no image", _RESIGN_TOOL)
        types = self._value(TlvType.IMGTYPE, count)
        sizes = self._value(TlvType.IMGSIZE, None if count is None else 4 * count)
        if count is None or types is None or sizes is None:
            return ()
        parts: list[ImagePart] = []
        at = header.image_offset
        for index in range(count):
            where = sizes.value_offset + 4 * index
            size = int.from_bytes(sizes.value[4 * index : 4 * index + 4], "little")
            part = ImagePart(index, types.value[index], at, size)
            parts.append(part)
            self._image(part, header, where, types.value_offset + index)
            at += size
        total = at - header.image_offset
        if total != header.img_len:
            text = f"the images sum up to {total} bytes, img_len says {header.img_len}"
            self._report("image-sum", 16, "img_len", text, _RESIGN_TOOL)
        return tuple(parts)

    def _image(self, part: ImagePart, header: Header, size_at: int, type_at: int) -> None:
        if part.type != IMGTYPE_ELF:
            text = f"image {part.index} is of type {part.type}, only 1 (ELF) is known"
            self._report("image-type", type_at, "IMGTYPE", text, _RESIGN_TOOL)
        if part.size == 0 or part.size % 8:
            text = f"image {part.index} has {part.size} bytes, not a multiple of 8 above 0"
            self._report("image-size", size_at, "IMGSIZE", text, _RESIGN_TOOL)
        if part.offset + part.size > header.file_size:
            text = f"image {part.index} ends at 0x{part.offset + part.size:08x}, behind the end of the file"
            self._report("image-outside", size_at, "IMGSIZE", text, _SIGN_AGAIN)

    def _signature(self, header: Header, sign_type: SignType | None) -> None:
        if sign_type is not None and header.sign_len not in SIGNATURE_SIZES[sign_type]:
            sizes = ", ".join(str(size) for size in SIGNATURE_SIZES[sign_type])
            text = f"sign_len is {header.sign_len}, {sign_type.name} has {sizes}"
            self._report("signature-size", 12, "sign_len", text, _RESIGN_TOOL)
