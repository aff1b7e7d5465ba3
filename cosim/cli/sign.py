"""`cosim sign`: put ELF files into one signed image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cosim.cli._output import about, check_writable, log, read_input, write_atomically
from cosim.errors import UsageError

if TYPE_CHECKING:
    from ta.image_elf import Elf


@click.command()
@click.argument("elves", metavar="FW.elf...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", "key_path", required=True, type=click.Path(path_type=Path), help="Private key (PEM).")
@click.option("--out", "out_path", required=True, type=click.Path(path_type=Path), help="Signed image to write.")
@click.option("--version", type=click.IntRange(0, 0xFFFFFFFF), help="Rollback version; binds the image to a processor.")
@click.option("--processor", type=click.IntRange(0, 0xFFFFFFFF), help="Remote processor id that the image is for.")
@click.option("--key-info", "info_path", type=click.Path(path_type=Path), help="File that becomes the TLV PKEYINFO.")
@click.option("--plat-tlv", "tlvs", nargs=2, multiple=True, metavar="ID VALUE", help="Platform TLV: 0x… or text.")
@click.option("--upstream-format", is_flag=True, help="Without RSC_TABLE: byte for byte what sign_rproc_fw.py makes.")
def sign(
    *,
    elves: tuple[Path, ...],
    key_path: Path,
    out_path: Path,
    version: int | None,
    processor: int | None,
    info_path: Path | None,
    tlvs: tuple[tuple[str, str], ...],
    upstream_format: bool,
) -> None:
    """Sign one or more M4 ELF files into one image, as OP-TEE's sign_rproc_fw.py does.

    Where an ELF file has a resource table, its place is signed too, as the platform TLV RSC_TABLE. The hardened profile
    insists on that and refuses such an image from --upstream-format; the upstream TA skips the TLV. --version or
    --processor (the other is 0 then) adds two more that the hardened profile heeds: processor and rollback version.
    """
    from ta.keys import load_private_key
    from ta.resource_table import locate
    from ta.signing import binding_tlvs, platform_tlv, sign_images

    for source in (*elves, key_path, *([info_path] if info_path else [])):
        if out_path.exists() and source.exists() and out_path.samefile(source):
            raise UsageError("the output would replace an input", hint="Choose another --out.", file=str(out_path))
    if upstream_format and not (version is None and processor is None):
        raise UsageError(
            "the upstream tool knows neither --version nor --processor",
            hint="Leave away --upstream-format, or these.",
            option="upstream-format",
        )
    check_writable(out_path)
    key = load_private_key(key_path)
    read = [_read_elf(path) for path in elves]
    data = [elf.data for elf in read]
    with about(elves[0]):
        platform = [platform_tlv(*tlv) for tlv in tlvs]
        if version is not None or processor is not None:
            platform += binding_tlvs(data, processor or 0, version or 0)
        key_info = read_input(info_path) if info_path else None
        image = sign_images(data, key, key_info=key_info, platform_tlvs=platform, sign_table_place=not upstream_format)
    write_atomically(out_path, [image])
    log(f"wrote {out_path}: {len(elves)} image(s), {len(image)} bytes")
    if upstream_format and any(locate(elf)[0] for elf in read):
        log("nobody signed where its resource table is, so the hardened profile refuses it")


def _read_elf(path: Path) -> Elf:
    from ta.image_elf import read_elf

    data = read_input(path)
    with about(path):
        # With several inputs the signer cannot say which file is bad; reading each by its name can.
        return read_elf(data, file=str(path))
