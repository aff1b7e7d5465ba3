"""Targets `inspect`, `journal`, `key` and `text`: the files and words that a user hands to the command line."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from fuzz_images import elf_seeds, image_seeds
from fuzz_target import VECTORS, FuzzTarget, Play, require

from cosim.campaign.model import CampaignSpec, CaseId, Kind
from cosim.campaign.run import CHUNK, Campaign, run_campaign
from cosim.cli import run
from cosim.errors import ImageError, UsageError
from cosim.resources import firmware_file
from cosim.testing import default_signer
from ta.errors import KeyFileError
from ta.image_format import FIRST_PLATFORM_TLV, LAST_PLATFORM_TLV
from ta.keys import key_type_of, load_private_key, load_public_key
from ta.signing import platform_tlv

#: Characters that a report may put between its words.
_LAYOUT = {"\n"}


def _scratch() -> tuple[Path, object]:
    """A file for the input, and what keeps its folder alive."""
    folder = tempfile.TemporaryDirectory(prefix="cosim-fuzz-")
    return Path(folder.name, "input"), folder


def _make_inspect() -> Play:
    path, folder = _scratch()

    def shown(*options: str) -> tuple[int, str]:
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
            code = run(["inspect", str(path), *options])
        return code, text.getvalue()

    def play(data: bytes, _keep: object = folder) -> None:
        path.write_bytes(data)
        code, report = shown()
        require(code in (0, 1, 2), f"exit code {code}")
        require(all(c.isprintable() or c in _LAYOUT for c in report), "a report that drives the terminal")
        again, document = shown("--json")
        require(again == code, f"exit codes {code} and {again} for one file")
        if data:
            require(json.loads(document)["size"] == len(data), "another size is reported")

    return play


def _journal_spec() -> CampaignSpec:
    image = default_signer().sign(firmware_file("demo_m4.elf"))
    return CampaignSpec(image, kinds=(Kind.MUTATION,), limit=2 * CHUNK)


@cache
def journal_seeds() -> Sequence[bytes]:
    """A finished journal, and one that was cut in its second chunk."""
    with tempfile.TemporaryDirectory(prefix="cosim-fuzz-") as folder:
        path = Path(folder, "journal")
        for _ in run_campaign(Campaign(_journal_spec()), journal=path):
            pass
        whole = path.read_bytes()
    return [whole, whole[: len(whole) * 2 // 3], whole.split(b"\n")[0] + b"\n"]


def _make_journal() -> Play:
    path, folder = _scratch()
    campaign = Campaign(_journal_spec())
    first = journal_seeds()[-1]

    def play(data: bytes, _keep: object = folder) -> None:
        path.write_bytes(data)
        count = 0
        try:
            for chunk in run_campaign(campaign, journal=path, stopped=lambda: True):
                named = [(result.case.kind, result.case.index) for result in chunk]
                require(named == [(Kind.MUTATION, count + i) for i in range(CHUNK)], "cases out of order")
                count += len(chunk)
        except UsageError:
            require(path.read_bytes() == data, "a journal that was refused was changed")
            return
        left = path.read_bytes()
        require(left.count(b"\n") == 1 + count // CHUNK, "what was counted is not what the journal holds")
        require(data.startswith(left) or first.startswith(data), "a file was rewritten that is no journal")

    return play


def key_seeds() -> Sequence[bytes]:
    """Private and public keys of each kind."""
    return [file.read_bytes() for file in sorted((VECTORS / "keys").glob("*.pem"))]


def _make_key() -> Play:
    path, folder = _scratch()

    def play(data: bytes, _keep: object = folder) -> None:
        path.write_bytes(data)
        for load in (load_private_key, load_public_key):
            try:
                key_type_of(load(path))
            except KeyFileError as refusal:
                require(bool(refusal.hint), f"{refusal} names no way out")

    return play


def text_seeds() -> Sequence[bytes]:
    """Replay lines and platform TLVs."""
    lines = [f"{kind.value}:{17 * number}:{number}" for number, kind in enumerate(Kind)]
    return [line.encode() for line in (*lines, "0x10001\0hello", "65538\0000x1234", "0x1c001\0000xffffffff")]


def _make_text() -> Play:
    def play(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        with contextlib.suppress(UsageError):
            case = CaseId.parse(text)
            require(CaseId.parse(str(case)) == case, f"{case} does not name itself")
        identifier, _, value = text.partition("\0")
        with contextlib.suppress(ImageError):
            kind, content = platform_tlv(identifier, value)
            require(FIRST_PLATFORM_TLV <= kind <= LAST_PLATFORM_TLV, f"0x{kind:x} is no platform TLV")
            require(len(content) <= max(4, 4 * len(value)), "the value has grown")

    return play


INSPECT = FuzzTarget("inspect", lambda: [*image_seeds(), *elf_seeds()], _make_inspect, 16384)
JOURNAL = FuzzTarget("journal", journal_seeds, _make_journal, 65536)
KEY = FuzzTarget("key", key_seeds, _make_key, 8192)
TEXT = FuzzTarget("text", text_seeds, _make_text, 256)
