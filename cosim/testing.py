"""What a test suite needs besides a SoC: a signer with the project's test key, and images with damage."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cosim.resources import TEST_KEY, key_file
from ta.image_elf import ELF_MAGIC
from ta.keys import PrivateKey, PublicKey, load_private_key
from ta.signing import binding_tlvs, sign_images

Source = bytes | str | os.PathLike[str]


@dataclass(frozen=True)
class Signer:
    """Signs ELF files, given as bytes or as paths, into one image."""

    key: PrivateKey

    @property
    def public_key(self) -> PublicKey:
        """What a `SocConfig` needs to accept the images of this signer."""
        return self.key.public_key()

    def sign(self, *elves: Source, platform_tlvs: tuple[tuple[int, bytes], ...] = ()) -> bytes:
        """The signed image. Raises ImageError for what is no usable ELF file."""
        data = [elf if isinstance(elf, bytes) else Path(elf).read_bytes() for elf in elves]
        return sign_images(data, self.key, platform_tlvs=platform_tlvs)


def default_signer() -> Signer:
    """A signer with the project's test key, which every SoC accepts unless told otherwise."""
    return Signer(load_private_key(key_file(TEST_KEY)))


def bound_image(data: bytes) -> bytes:
    """`data` if it is an image already; an ELF file signed with the test key, for processor 0, version 1 and its table.

    Raises ImageError for what is no usable ELF file.
    """
    if not data.startswith(ELF_MAGIC):
        return data
    return default_signer().sign(data, platform_tlvs=tuple(binding_tlvs([data], 0, 1)))


def flip(image: bytes, offset: int, mask: int = 0x01) -> bytes:
    """`image` with the byte at `offset` changed by `mask`; negative offsets count from the end."""
    damaged = bytearray(image)
    damaged[offset] ^= mask
    return bytes(damaged)
