"""The signer writes what the upstream tool writes, and refuses what it cannot sign."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ta.errors import ImageError, KeyFileError
from ta.image import SignedImage, SignType, parse_image
from ta.keys import generate, load_private_key, load_public_key
from ta.signing import SignatureCheck, check_signature, platform_tlv, sign_images

VECTORS = Path(__file__).parent.parent / "vectors"
SIGNED = [json.loads(line) for line in (VECTORS / "sign.jsonl").read_text().splitlines()]
A_ELF = (VECTORS / "elf" / "a.elf").read_bytes()


def sign_vector(vector: dict[str, Any]) -> bytes:
    """Sign as the vector's options say."""
    options = list(vector["options"])
    key_info = None
    platform = []
    while options:
        option = options.pop(0)
        if option == "--key_info":
            key_info = (VECTORS / options.pop(0)).read_bytes()
        elif option == "--plat-tlv":
            platform.append(platform_tlv(options.pop(0), options.pop(0)))
        else:
            assert (option, options.pop(0)) == ("--key_type", "ECC")
    elves = [(VECTORS / name).read_bytes() for name in vector["inputs"]]
    return sign_images(
        elves,
        load_private_key(VECTORS / vector["key"]),
        key_info=key_info,
        platform_tlvs=platform,
        sign_table_place=False,
    )


@pytest.mark.parametrize("vector", [v for v in SIGNED if v["byte_exact"]], ids=lambda v: Path(v["output"]).stem)
def test_rsa_image_equals_the_one_of_the_upstream_tool_byte_for_byte(vector: dict[str, Any]) -> None:
    built = sign_vector(vector)

    assert built == (VECTORS / vector["output"]).read_bytes()
    assert len(built) == vector["bytes"]
    assert hashlib.sha256(built).hexdigest() == vector["sha256"]


@pytest.mark.parametrize("vector", [v for v in SIGNED if not v["byte_exact"]], ids=lambda v: Path(v["output"]).stem)
def test_ecdsa_image_differs_from_the_upstream_one_only_in_a_signature_that_verifies(vector: dict[str, Any]) -> None:
    built, upstream = sign_vector(vector), (VECTORS / vector["output"]).read_bytes()
    image, reference = parse_image(built), parse_image(upstream)
    at = image.header.sign_offset

    assert built[:at] == upstream[:at]
    assert built[at + 64 :] == upstream[at + 64 :]
    key = load_public_key(VECTORS / "keys" / "ecc256.pub.pem")
    assert check_signature(image, key) is SignatureCheck.VALID
    assert check_signature(reference, key) is SignatureCheck.VALID


@pytest.mark.parametrize("vector", SIGNED, ids=lambda v: Path(v["output"]).stem)
def test_upstream_image_verifies_with_its_key_only(vector: dict[str, Any]) -> None:
    image = parse_image((VECTORS / vector["output"]).read_bytes())
    public = load_public_key(VECTORS / vector["key"].replace(".pem", ".pub.pem"))
    stranger = generate("ecdsa-p256" if image.sign_type is SignType.ECDSA_P256_SHA256 else "rsa2048").public_key()

    assert check_signature(image, public) is SignatureCheck.VALID
    assert check_signature(image, stranger) in (SignatureCheck.WRONG, SignatureCheck.OTHER_KEY_KIND)


@pytest.mark.parametrize(
    ("image", "key"), [("a", "ecc256"), ("a", "trusted2048"), ("a_rsa2048", "trusted4096"), ("a_ecc", "trusted2048")]
)
def test_key_of_another_kind_or_size_is_told_apart_from_a_wrong_signature(image: str, key: str) -> None:
    parsed = parse_image((VECTORS / "images" / f"{image}.bin").read_bytes())

    public = load_public_key(VECTORS / "keys" / f"{key}.pub.pem")

    assert check_signature(parsed, public) is SignatureCheck.OTHER_KEY_KIND


def test_ecdsa_signature_of_zeros_is_wrong() -> None:
    signed = (VECTORS / "images" / "a_ecc.bin").read_bytes()
    at = parse_image(signed).header.sign_offset
    zeros = parse_image(signed[:at] + bytes(64) + signed[at + 64 :])

    assert check_signature(zeros, load_public_key(VECTORS / "keys" / "ecc256.pub.pem")) is SignatureCheck.WRONG


def test_any_flipped_byte_of_header_tlvs_or_signature_breaks_the_signature() -> None:
    image = parse_image((VECTORS / "images" / "a_rsa2048.bin").read_bytes())
    key = load_public_key(VECTORS / "keys" / "trusted2048.pub.pem")

    def checked(signed: bytes, signature: bytes) -> SignatureCheck:
        changed = SignedImage(
            image.header, image.tlvs, image.sign_type, image.images, image.hash_records, signature, signed
        )
        return check_signature(changed, key)

    for parts in (image.signed_bytes, image.signature):
        for at in range(len(parts)):
            flipped = parts[:at] + bytes([parts[at] ^ 1]) + parts[at + 1 :]
            both = (flipped, image.signature) if parts is image.signed_bytes else (image.signed_bytes, flipped)
            assert checked(*both) is SignatureCheck.WRONG


def test_signature_with_the_same_kind_of_key_but_another_one_is_wrong() -> None:
    image = parse_image((VECTORS / "images" / "a_otherkey.bin").read_bytes())

    trusted = load_public_key(VECTORS / "keys" / "trusted4096.pub.pem")

    assert check_signature(image, trusted) is SignatureCheck.WRONG


def test_signing_twice_gives_the_same_bytes() -> None:
    key = load_private_key(VECTORS / "keys" / "trusted2048.pem")

    assert sign_images([A_ELF], key) == sign_images([A_ELF], key)


def test_repeated_platform_tlv_keeps_its_last_value_once() -> None:
    key = load_private_key(VECTORS / "keys" / "trusted2048.pem")

    image = parse_image(sign_images([A_ELF], key, platform_tlvs=[(0x10000, b"old"), (0x10000, b"new")]))

    assert [(t.type, t.value) for t in image.platform_tlvs if t.type == 0x10000] == [(0x10000, b"new")]


def test_empty_key_info_is_a_record_of_length_zero() -> None:
    key = load_private_key(VECTORS / "keys" / "trusted2048.pem")

    assert parse_image(sign_images([A_ELF], key, key_info=b"")).key_info == b""
    assert parse_image(sign_images([A_ELF], key)).key_info is None


@pytest.mark.parametrize(
    ("identifier", "value"),
    [("0xffff", "x"), ("0x20000", "x"), ("-1", "x"), ("ten", "x"), ("0x10000", "0x100000000"), ("0x10000", "0xzz")],
)
def test_platform_tlv_out_of_range_is_refused(identifier: str, value: str) -> None:
    with pytest.raises(ImageError) as caught:
        platform_tlv(identifier, value)

    assert caught.value.fields["field"] == "platform TLV"
    assert caught.value.hint


def test_signer_refuses_no_image_and_too_many() -> None:
    key = load_private_key(VECTORS / "keys" / "trusted2048.pem")

    for elves in ([], [A_ELF] * 256):
        with pytest.raises(ImageError) as caught:
            sign_images(elves, key)
        assert caught.value.fields["field"] == "NUM_IMG"


def test_signer_refuses_more_than_a_reader_would_take() -> None:
    key = load_private_key(VECTORS / "keys" / "trusted2048.pem")
    large = A_ELF + bytes((13 << 20) - len(A_ELF))

    with pytest.raises(ImageError) as images:
        sign_images([large] * 5, key)
    with pytest.raises(ImageError) as area:
        sign_images([A_ELF], key, key_info=bytes(1 << 20))
    with pytest.raises(ImageError) as tlvs:
        sign_images([A_ELF], key, platform_tlvs=[(0x10000 + n, b"") for n in range(513)])

    fields = [caught.value.fields["field"] for caught in (images, area, tlvs)]
    assert fields == ["img_len", "tlv_len", "platform TLV"]


def test_signer_names_the_image_that_is_no_elf() -> None:
    key = load_private_key(VECTORS / "keys" / "trusted2048.pem")

    with pytest.raises(ImageError) as caught:
        sign_images([A_ELF, b"not an ELF"], key)

    assert caught.value.fields["file"] == "image 1"
    assert caught.value.fields["code"] == "elf-magic"


def test_signer_refuses_a_key_size_that_the_format_does_not_know() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    with pytest.raises(KeyFileError):
        sign_images([A_ELF], ec.generate_private_key(ec.SECP384R1()))


def test_damaged_rsa_key_is_refused_instead_of_signing_garbage() -> None:
    numbers = load_private_key(VECTORS / "keys" / "trusted2048.pem").private_numbers()
    assert isinstance(numbers, rsa.RSAPrivateNumbers)
    damaged = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d ^ 2, numbers.dmp1 ^ 2, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    )
    key = damaged.private_key(unsafe_skip_rsa_key_validation=True)

    with pytest.raises(KeyFileError, match="damaged"):
        sign_images([A_ELF], key)
