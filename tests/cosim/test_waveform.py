"""The event log as a waveform: what a viewer reads out of the file is what the log tells, at the same picosecond."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from vcd.reader import TokenKind, tokenize

from cosim.boot import boot
from cosim.cli import run
from cosim.events import (
    AccessDenied,
    ConsoleLine,
    CoreHeld,
    CoreReleased,
    EventLog,
    FirewallChanged,
    MonitorBroken,
    Payload,
    RegisterWritten,
    Stamp,
)
from cosim.resources import firmware_file
from cosim.soc import SocConfig
from cosim.testing import Signer
from cosim.waveform import to_vcd
from ta.events import CommandReturned

Wave = list[tuple[int, object]]
DEMO = firmware_file("demo_m4.elf")


def waves(text: str) -> dict[str, Wave]:
    """What pyvcd's reader finds: the changes of each signal by its full name; the first is the value at the start."""
    scope: list[str] = []
    names: dict[str, str] = {}
    found: dict[str, Wave] = defaultdict(list)
    now = 0
    for token in tokenize(io.BytesIO(text.encode())):
        if token.kind is TokenKind.SCOPE:
            scope.append(token.scope.ident)
        elif token.kind is TokenKind.UPSCOPE:
            scope.pop()
        elif token.kind is TokenKind.VAR:
            names[token.var.id_code] = ".".join((*scope, token.var.reference))
        elif token.kind is TokenKind.CHANGE_TIME:
            assert token.time_change >= now
            now = token.time_change
        elif token.kind in (TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR, TokenKind.CHANGE_STRING):
            change = token.data
            text = str(change.value).encode().decode("unicode_escape")
            is_text = token.kind is TokenKind.CHANGE_STRING
            found[names[change.id_code]].append((now, text if is_text or text == "x" else int(text)))
    return found


def steps(before: object, changes: Iterable[tuple[int, object]]) -> Wave:
    """The wave of a signal that was `before` and took the values of `changes`: without those that change nothing."""
    wave: Wave = [(0, before)]
    for at, value in changes:
        if at == 0:
            wave = [(0, value)]
        elif value != wave[-1][1]:
            wave.append((at, value))
    return wave


def log_of(payloads: Iterable[tuple[int, str, Payload]]) -> EventLog:
    log = EventLog()
    for time_ps, core, payload in payloads:
        log.clock = lambda time_ps=time_ps, core=core: Stamp(time_ps, core, 0, 0)  # type: ignore[misc]
        log.emit(payload)
    return log


@pytest.mark.parametrize("timing", ["instructions", "cycles"])
def test_the_signals_of_a_boot_change_when_its_log_says_so(
    timing: str, cosim_config: SocConfig, signer: Signer
) -> None:
    records = boot(signer.sign(DEMO), replace(cosim_config, timing=timing)).soc.log.records
    seen = waves(to_vcd(records))
    released, held = (
        next(r.stamp.time_ps for r in records if isinstance(r.payload, kind)) for kind in (CoreReleased, CoreHeld)
    )
    assert seen["m4.state"] == [(0, "in reset"), (released, "running"), (held, "in reset")]
    rights = [(r.stamp.time_ps, r.payload) for r in records if isinstance(r.payload, FirewallChanged)]
    sram1 = [(at, p.after) for at, p in rights if p.target == "sram1"]
    assert len(sram1) > 2
    assert seen["firewall.sram1"] == steps("NS_RW", sram1)
    written = [(r.stamp.time_ps, r.payload) for r in records if isinstance(r.payload, RegisterWritten)]
    boot_mcu = [(at, p.after) for at, p in written if (p.block, p.register) == ("rcc", "MP_GCR")]
    assert 1 in [value for _, value in boot_mcu]
    assert seen["blocks.rcc.MP_GCR"] == steps(0, boot_mcu)
    states = [(r.stamp.time_ps, r.payload.state) for r in records if isinstance(r.payload, CommandReturned)]
    assert seen["secure_world.ta_state"] == steps("", states)
    assert ("m4.cycles" in seen) is (timing == "cycles")
    assert seen["monitors.boot_control"] == [(0, 1)]


def test_cores_that_were_logged_turn_by_turn_share_one_axis_of_time() -> None:
    log = log_of([
        (900, "a7", FirewallChanged("sram1", "NS_RW", "S_RW")),
        (400, "m4", ConsoleLine("usart3", "earlier")),
    ])  # fmt: skip
    seen = waves(to_vcd(log))
    assert seen["console.usart3"] == [(0, ""), (400, "earlier")]
    assert seen["firewall.sram1"] == [(0, "NS_RW"), (900, "S_RW")]


def test_a_broken_monitor_falls_to_zero_and_a_denied_access_is_told_in_words() -> None:
    denied = AccessDenied("a7-ns", "write", 0x10000000, 4, 1, "sram1", "ETZPC_DECPROT5.SRAM1", "razwi")
    log = log_of([(5, "a7", MonitorBroken("image-untouched", "why")), (7, "a7", denied)])
    seen = waves(to_vcd(log))
    assert seen["monitors.image_untouched"] == [(0, 1), (5, 0)]
    (start, _), (at, what) = seen["trouble.what"]
    assert (start, at) == (0, 7)
    assert "DENIED a7-ns write of 0x1 at 0x10000000" in str(what)


def test_names_and_texts_from_firmware_cannot_break_the_file() -> None:
    source = "trace $end\n#99\x1b[31m" + "x" * 500
    log = log_of(
        [(3, "m4", ConsoleLine(source, "a b\n#1 $enddefinitions \x07\u20ac")), (9, "m4", ConsoleLine("", "t"))]
    )
    seen = waves(to_vcd(log))
    (name,) = (n for n in seen if n.startswith("console.trace"))
    assert len(name) < 80
    assert [at for at, _ in seen[name]] == [0, 3]
    assert seen[name][1][1] == "a b\\n#1 $enddefinitions \\x07\\u20ac"
    assert seen["console._"][1] == (9, "t")


def test_the_same_boot_gives_the_same_file(cosim_config: SocConfig, signer: Signer) -> None:
    first, second = (to_vcd(boot(signer.sign(DEMO), cosim_config).soc.log) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("name", "command"), [("demo_m4.elf", ["boot"]), ("rpmsg_echo.elf", ["rpmsg", "--echo", "1"])])
def test_the_commands_write_it(
    name: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    firmware = tmp_path / "fw.elf"
    firmware.write_bytes(firmware_file(name).read_bytes())
    run([command[0], str(firmware), *command[1:], "--vcd", str(tmp_path / "boot.vcd")])
    capsys.readouterr()
    seen = waves((tmp_path / "boot.vcd").read_text())
    assert "running" in [value for _, value in seen["m4.state"]]


def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    firmware = tmp_path / "fw.elf"
    firmware.write_bytes(DEMO.read_bytes())
    assert run(["boot", str(firmware), "--vcd", str(tmp_path / "none" / "boot.vcd")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
