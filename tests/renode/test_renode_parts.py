"""The parts of the engine renode that need no Renode: routes, secure monitor calls, transfers, and finding Renode."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cosim.access import Deny, Initiator, Rights
from cosim.engine.renode.installation import Installation, find_renode
from cosim.engine.renode.routes import ADDRESS_SPACE, Route, Span, Viewer, gap_spans, window_spans
from cosim.engine.renode.smc_sites import condition_holds, find_sites, is_smc
from cosim.engine.renode.transfers import Transfer, decode
from cosim.errors import EngineError
from cosim.soc import Soc, SocConfig
from ta.profile import FirewallProfile

A7 = Viewer("a7", Initiator.A7_NS, "a7", frozenset({"ddr", "sysram", "bkpsram"}))
M4 = Viewer("m4", Initiator.M4, "m4", frozenset({"retram", "sram1", "sram2", "sram3", "sram4"}))
SECURE_DDR, SRAM1 = 0xDE000000, 0x30000000


@pytest.fixture(scope="module")
def soc() -> Soc:
    return Soc(SocConfig(firewall=FirewallProfile.ISOLATED))


def route(soc: Soc, viewer: Viewer, address: int, kind: Rights, deny: Deny) -> Route:
    """The one way that an access takes."""
    spans = gap_spans(soc.bus.windows, viewer)
    for window in soc.bus.windows:
        if viewer.sees(window):
            spans += window_spans(window, viewer, soc.firewall, deny)
    (found,) = (s for s in spans if s.start <= address < s.end and kind in s.kinds)
    return found.route


@pytest.mark.parametrize("viewer", [A7, M4], ids=["a7", "m4"])
@pytest.mark.parametrize("deny", list(Deny))
def test_every_address_has_exactly_one_way_for_each_kind_of_access(soc: Soc, viewer: Viewer, deny: Deny) -> None:
    spans = gap_spans(soc.bus.windows, viewer)
    for window in soc.bus.windows:
        if viewer.sees(window):
            spans += window_spans(window, viewer, soc.firewall, deny)
    for kind in (Rights.READ, Rights.WRITE, Rights.FETCH):
        at = 0
        for span in sorted((s for s in spans if kind in s.kinds), key=lambda s: s.start):
            assert span.start == at
            at = span.end
        assert at == ADDRESS_SPACE


@pytest.mark.parametrize(
    ("viewer", "address", "kind", "ways"),
    [
        (A7, 0xC0000000, Rights.WRITE, (Route.DIRECT, Route.DIRECT)),
        (A7, SRAM1, Rights.WRITE, (Route.ASK, Route.ASK)),  # home to the other core
        (A7, SRAM1, Rights.READ, (Route.DIRECT, Route.DIRECT)),
        (A7, SECURE_DDR, Rights.READ, (Route.ASK, Route.FAULT)),
        (A7, SECURE_DDR, Rights.FETCH, (Route.FAULT, Route.FAULT)),
        (A7, 0x4000F000, Rights.FETCH, (Route.FAULT, Route.FAULT)),
        (A7, 0x4FFFF000, Rights.READ, (Route.DIRECT, Route.FAULT)),  # a block that denies this core everything
        (A7, 0x60000000, Rights.READ, (Route.FAULT, Route.FAULT)),
        (A7, 0xE000ED00, Rights.READ, (Route.FAULT, Route.FAULT)),
        (M4, 0x00000000, Rights.WRITE, (Route.DIRECT, Route.DIRECT)),
        (M4, 0xC0000000, Rights.WRITE, (Route.ASK, Route.ASK)),
        (M4, 0xC0000000, Rights.FETCH, (Route.FAULT, Route.FAULT)),  # the default memory map never executes there
        (M4, 0xE000ED00, Rights.READ, (Route.DIRECT, Route.DIRECT)),
        (M4, 0xE0001000, Rights.READ, (Route.DIRECT, Route.DIRECT)),  # the DWT
        (M4, 0xE0003000, Rights.READ, (Route.FAULT, Route.FAULT)),
        (M4, 0xFFFFFFF8, Rights.FETCH, (Route.DIRECT, Route.DIRECT)),  # an exception return
    ],
)
def test_access_takes_the_way_that_firewall_and_home_ask_for(
    soc: Soc, viewer: Viewer, address: int, kind: Rights, ways: tuple[Route, Route]
) -> None:
    assert tuple(route(soc, viewer, address, kind, deny) for deny in (Deny.RAZWI, Deny.ABORT)) == ways


def test_kinds_with_the_same_way_share_a_span(soc: Soc) -> None:
    (window,) = (w for w in soc.bus.windows if w.target.name == "sram1" and w.cpu == "m4" and w.address == SRAM1)

    assert window_spans(window, M4, soc.firewall, Deny.ABORT) == [
        Span(window.address, window.end, Rights.ALL, Route.DIRECT)
    ]


def test_monitor_calls_are_found_at_aligned_addresses_only() -> None:
    a32, t32 = bytes.fromhex("700060e1"), bytes.fromhex("f0f70080")

    assert list(find_sites(a32 + b"\0" * 4 + a32, 0x1000)) == [0x1000, 0x1008]
    assert list(find_sites(b"\0" * 2 + a32 + b"\0" * 2, 0x1000)) == []
    assert list(find_sites(b"\0" * 2 + t32, 0x1000)) == [0x1002]
    assert list(find_sites(b"\0" + t32, 0x1000)) == []
    assert list(find_sites(bytes.fromhex("70707070006000e1"), 0x1000)) == []
    assert is_smc(a32, thumb=False)
    assert not is_smc(a32, thumb=True)
    assert is_smc(t32, thumb=True)
    assert not is_smc(bytes.fromhex("700060f1"), thumb=False)  # the unconditional space


@pytest.mark.parametrize(
    ("condition", "flags", "holds"),
    [
        (0, 0b0100, True),
        (1, 0b0100, False),
        (2, 0b0010, True),
        (5, 0b1000, False),
        (6, 0b0001, True),
        (8, 0b0010, True),
        (8, 0b0110, False),
        (10, 0b1001, True),
        (11, 0b1000, True),
        (12, 0b0100, False),
        (13, 0b0100, True),
        (14, 0b0000, True),
    ],
)
def test_conditions_are_those_of_the_architecture(condition: int, flags: int, holds: bool) -> None:
    assert condition_holds(condition, flags << 28) is holds


@pytest.mark.parametrize(
    ("code", "thumb", "transfer"),
    [
        ("081082e5", False, Transfer(4, 1)),  # str r1, [r2, #8]
        ("0810c2e5", False, Transfer(1, 1)),  # strb r1, [r2, #8]
        ("b830c2e1", False, Transfer(2, 3)),  # strh r3, [r2, #8]
        ("d830d2e1", False, Transfer(1, 3)),  # ldrsb r3, [r2, #8]
        ("f840c2e1", False, Transfer(4, 4)),  # strd r4, r5, [r2, #8]
        ("f0002de9", False, Transfer(4, 4)),  # push {r4-r7}
        ("930f82e1", False, Transfer(4, 3)),  # strex r0, r3, [r2]
        ("000082e0", False, Transfer(4, None)),  # add r0, r2, r0
        ("9160", True, Transfer(4, 1)),  # str r1, [r2, #8]
        ("1172", True, Transfer(1, 1)),  # strb r1, [r2, #8]
        ("1181", True, Transfer(2, 1)),  # strh r1, [r2, #8]
        ("d152", True, Transfer(2, 1)),  # strh r1, [r2, r3]
        ("0191", True, Transfer(4, 1)),  # str r1, [sp, #4]
        ("30b5", True, Transfer(4, 4)),  # push {r4, r5, lr}
        ("00b5", True, Transfer(4, 14)),  # push {lr}
        ("60c1", True, Transfer(4, 5)),  # stmia r1!, {r5, r6}
        ("c2f80810", True, Transfer(4, 1)),  # str.w r1, [r2, #8]
        ("82f80810", True, Transfer(1, 1)),  # strb.w r1, [r2, #8]
        ("a2f80810", True, Transfer(2, 1)),  # strh.w r1, [r2, #8]
        ("c2e90234", True, Transfer(4, 3)),  # strd r3, r4, [r2, #8]
        ("2de9f041", True, Transfer(4, 4)),  # push.w {r4-r8, lr}
        ("c2e8401f", True, Transfer(1, 1)),  # strexb r0, r1, [r2]
        ("82ed020a", True, Transfer(4, None)),  # vstr s0, [r2, #8]
    ],
)
def test_transfer_is_decoded(code: str, thumb: bool, transfer: Transfer) -> None:
    assert decode(bytes.fromhex(code).ljust(4, b"\0"), thumb=thumb) == transfer


def test_stored_value_is_cut_to_the_width_of_the_store() -> None:
    assert Transfer(2, 5).value({5: 0x12345678}.__getitem__) == 0x5678
    assert Transfer(4, None).value({}.__getitem__) == 0


def test_engine_can_be_named_and_imported_without_loading_a_clr() -> None:
    code = "import cosim.engine.renode, sys; print([m for m in ('clr', 'pythonnet', 'pyrenode3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PYRENODE_RUNTIME": "jvm"}, "PYRENODE_RUNTIME is 'jvm'"),
        ({"PYRENODE_PKG": "a", "PYRENODE_BIN": "b"}, "PYRENODE_PKG and PYRENODE_BIN are both set"),
        ({"PYRENODE_BIN": "/nowhere/renode", "PYRENODE_RUNTIME": "coreclr"}, "/nowhere/renode is not a file"),
        ({"PYRENODE_BIN": __file__}, "does not run on Mono"),
        ({"PYRENODE_BUILD_DIR": "/nowhere"}, "Renode.exe is not there"),
        ({"PYRENODE_BUILD_DIR": "/nowhere", "PYRENODE_RUNTIME": "coreclr"}, "Renode.dll is not there"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(environment: dict[str, str], message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        find_renode(environment)
    assert caught.value.hint


def test_build_directory_is_found_as_pyrenode3_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosim.engine.renode.installation.find_spec", lambda _name: object())
    monkeypatch.setattr("cosim.engine.renode.installation.find_library", lambda _name: "libmonosgen-2.0.so")
    program = tmp_path / "out" / "Renode.exe"
    program.parent.mkdir()
    program.touch()
    environment = {"PYRENODE_BUILD_DIR": str(tmp_path), "PYRENODE_BUILD_OUTPUT": "out"}

    assert find_renode(environment) == Installation("build", tmp_path / "out", "mono")


def test_missing_binding_names_the_extra_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosim.engine.renode.installation.find_spec", lambda _name: None)
    package = tmp_path / "renode.pkg.tar.xz"
    package.touch()

    with pytest.raises(EngineError, match="pyrenode3 is not installed") as caught:
        find_renode({"PYRENODE_PKG": str(package)})
    assert "remoteproc-cosim[renode]" in caught.value.hint
