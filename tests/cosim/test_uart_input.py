"""Typing into the M4's UART: when each byte arrives, who has to listen, and the same log at every quantum."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cosim.access import Initiator
from cosim.boot import BootReport, attempt
from cosim.errors import UsageError
from cosim.events import ConsoleInput, ConsoleLine, CoreStopped, Record
from cosim.peripherals.usart import RECEIVE_LIMIT, Stm32Usart
from cosim.resources import firmware_file
from cosim.scripts import timed_flow
from cosim.soc import Soc, SocConfig
from cosim.testing import default_signer
from cosim.uart_input import MOST_UART_INPUT, UartInput

#: uart_echo clocks USART3 with 64 MHz and divides by 556: 10 bits.
FRAME_PS = 10 * 556 * 10**12 // 64_000_000
CR1, ISR, RE_UE, TE_UE, IDLE = 0x00, 0x1C, 0x05, 0x09, 0x10


@pytest.fixture(scope="module")
def echo() -> bytes:
    return default_signer().sign(firmware_file("uart_echo.elf"))


def typed(image: bytes, data: bytes, config: SocConfig | None = None, milliseconds: int = 3) -> BootReport:
    soc = Soc(config)
    UartInput(soc, data)
    return attempt(soc, image, script=timed_flow(milliseconds))


def lines(report: BootReport) -> list[str]:
    return [event.text for event in report.soc.log.of(ConsoleLine) if event.source == "usart3"]


def console(soc: Soc, name: str = "usart3") -> Stm32Usart:
    port = soc.blocks[name]
    assert isinstance(port, Stm32Usart)
    return port


def test_a_firmware_gets_the_typed_lines_and_answers_each(echo: bytes) -> None:
    report = typed(echo, b"hello\nto \x01you\xff\r\nrest")
    assert lines(report) == ["echo: ready", "echo: hello", "echo: to \\x01you\\xff"]
    texts = ("hello\\n", "to \\x01you\\xff\\r", "\\n", "rest")
    assert report.soc.log.of(ConsoleInput) == [ConsoleInput("usart3", text) for text in texts]
    assert report.exit_code == 0


def test_one_byte_arrives_in_each_frame_time_from_the_moment_the_receiver_is_on(echo: bytes) -> None:
    """The firmware sleeps between bytes: each of them wakes it at the end of its frame."""
    report = typed(echo, b"abcdefgh")
    log = list(report.soc.log)
    ready = next(r for r in log if r.payload == ConsoleLine("usart3", "echo: ready"))
    end = next(r for r in log if r.payload == ConsoleInput("usart3", "abcdefgh"))
    asleep = [r.stamp.time_ps for r in log if isinstance(r.payload, CoreStopped) and r.stamp.core == "m4"]
    gaps = [after - before for before, after in pairwise(asleep[1:])]
    # A core wakes on its own clock, so that a gap may be an instruction shorter or longer.
    assert all(abs(gap - FRAME_PS) <= 2 * 10**6 // 209 for gap in gaps[:6])
    first = asleep[1] - FRAME_PS
    assert asleep[0] - 5 * 10**6 < first < ready.stamp.time_ps
    assert end.stamp.time_ps == pytest.approx(first + 8 * FRAME_PS, abs=10**6)


def test_the_line_falls_idle_once_a_frame_after_the_last_byte(echo: bytes) -> None:
    """What firmware that collects messages until IDLE relies on."""
    soc = Soc()
    UartInput(soc, b"abc")
    idle: list[bool] = []

    def look(record: Record) -> None:
        if isinstance(record.payload, (CoreStopped, ConsoleInput)) and record.stamp.core == "m4":
            idle.append(bool(console(soc).read(ISR, 4, Initiator.DEBUG) & IDLE))

    soc.log.listen(look)
    attempt(soc, echo, script=timed_flow(1))
    assert idle == [False] * 5  # asleep, three bytes, the line
    assert console(soc).read(ISR, 4, Initiator.DEBUG) & IDLE


@pytest.mark.parametrize("timing", ["instructions", "cycles"])
def test_the_log_is_the_same_at_every_quantum_and_with_either_loop(echo: bytes, timing: str) -> None:
    settings = [(1, "auto"), (7, "auto"), (1000, "auto"), (20_000, "auto"), (1000, "python")]
    logs = [
        tuple(typed(echo, b"one\ntwo\n", SocConfig(quantum=quantum, loop=loop, timing=timing), 2).soc.log)
        for quantum, loop in settings
    ]
    assert len(set(logs)) == 1
    assert sum(isinstance(record.payload, ConsoleInput) for record in logs[0]) == 2


def test_the_receiver_of_another_core_is_not_what_is_waited_for() -> None:
    soc = Soc()
    typing = UartInput(soc, b"x")
    console(soc, "uart4").write(CR1, 4, RE_UE, Initiator.A7_NS)
    console(soc).write(CR1, 4, TE_UE, Initiator.M4)
    assert (typing.port, soc.timers.next_at()) == (None, None)
    console(soc).write(CR1, 4, RE_UE, Initiator.M4)
    console(soc, "usart2").write(CR1, 4, RE_UE, Initiator.M4)
    assert (typing.port, soc.timers.next_at()) == ("usart3", console(soc).frame_ps)


def test_nothing_arrives_while_the_core_is_held_and_typing_goes_on_when_it_listens_again() -> None:
    soc = Soc()
    typing = UartInput(soc, b"x")
    for attempts in range(2):
        console(soc).write(CR1, 4, RE_UE, Initiator.M4)
        due = soc.timers.next_at()
        assert due is not None, attempts
        soc.timers.run_due(due)
        assert (typing.arrived, soc.timers.next_at()) == (0, None)


def test_a_byte_that_finds_the_queue_full_is_repeated_and_not_lost(
    echo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    soc = Soc()
    typing, port = UartInput(soc, bytes(3)), console(soc)
    port.receive(bytes(RECEIVE_LIMIT - 2))
    # The handler finds nothing to read.
    monkeypatch.setattr(port, "read_register", lambda _register, _initiator: 0)
    attempt(soc, echo, script=timed_flow(1))
    assert (typing.arrived, port.waiting) == (2, RECEIVE_LIMIT)


def test_more_than_a_mebibyte_is_refused_and_nothing_is_as_good_as_no_input() -> None:
    soc = Soc()
    with pytest.raises(UsageError) as refused:
        UartInput(soc, bytes(MOST_UART_INPUT + 1))
    assert refused.value.fields["size"] == MOST_UART_INPUT + 1
    UartInput(soc, b"")
    console(soc).write(CR1, 4, RE_UE, Initiator.M4)
    assert soc.timers.next_at() is None
