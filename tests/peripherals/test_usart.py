"""The serial port: lines out, bytes in, interrupt line."""

from __future__ import annotations

import pytest

from cosim.access import Initiator
from cosim.events import ConsoleLine, EventLog
from cosim.peripherals.usart import LINE_LIMIT, RECEIVE_LIMIT, Stm32Usart

M4, DEBUG = Initiator.M4, Initiator.DEBUG
CR1, RQR, ISR, RDR, TDR = 0x00, 0x18, 0x1C, 0x24, 0x28
UE_RE_TE = 0x0D
RXNEIE, TCIE, TXEIE = 0x20, 0x40, 0x80


class Port:
    def __init__(self) -> None:
        self.log = EventLog()
        self.levels: list[bool] = []
        self.usart = Stm32Usart(0x4000F000, self.log, "usart3", self.levels.append)
        self.usart.write(CR1, 4, UE_RE_TE, M4)

    def send(self, text: bytes, size: int = 4) -> None:
        for byte in text:
            self.usart.write(TDR, size, byte, M4)

    def lines(self) -> list[str]:
        return [event.text for event in self.log.of(ConsoleLine)]


@pytest.fixture
def port() -> Port:
    return Port()


def test_each_finished_line_is_one_event(port: Port) -> None:
    port.send(b"hello\r\nworld\n")
    assert port.log.of(ConsoleLine) == [ConsoleLine("usart3", "hello"), ConsoleLine("usart3", "world")]


def test_an_unfinished_line_appears_on_flush_only_and_once(port: Port) -> None:
    port.send(b"half")
    assert port.lines() == []
    port.usart.flush()
    port.usart.flush()
    assert port.lines() == ["half"]


def test_byte_writes_transmit_like_word_writes(port: Port) -> None:
    port.send(b"ok\n", size=1)
    assert port.lines() == ["ok"]


def test_an_endless_line_is_cut_at_the_limit(port: Port) -> None:
    port.send(b"x" * (2 * LINE_LIMIT + 1))
    assert [len(line) for line in port.lines()] == [LINE_LIMIT, LINE_LIMIT]


def test_control_characters_are_spelled_out(port: Port) -> None:
    port.send(b"\x1b[2J\xff\t.\n")
    assert port.lines() == ["\\x1b[2J\\xff\t."]


@pytest.mark.parametrize("control", [0x0, 0x1, 0x8])
def test_nothing_is_sent_unless_port_and_transmitter_are_enabled(port: Port, control: int) -> None:
    port.usart.write(CR1, 4, control, M4)
    port.send(b"lost\n")
    assert port.lines() == []


def test_the_transmitter_is_always_ready(port: Port) -> None:
    assert port.usart.read(ISR, 4, M4) == 0xC0 | 1 << 21 | 1 << 22
    port.usart.write(CR1, 4, 0, M4)
    assert port.usart.read(ISR, 4, M4) == 0xC0


def test_received_bytes_come_out_one_by_one(port: Port) -> None:
    assert port.usart.receive(b"ab") == 2
    got = []
    while port.usart.read(ISR, 4, M4) & 0x20:
        got.append(port.usart.read(RDR, 4, M4))
    assert bytes(got) == b"ab"
    assert port.usart.read(RDR, 4, M4) == 0


def test_the_debugger_does_not_take_received_bytes(port: Port) -> None:
    port.usart.receive(b"a")
    assert port.usart.read(RDR, 4, DEBUG) == ord("a")
    assert port.usart.read(RDR, 4, M4) == ord("a")


def test_the_receive_queue_is_bounded(port: Port) -> None:
    assert port.usart.receive(bytes(RECEIVE_LIMIT + 10)) == RECEIVE_LIMIT
    assert port.usart.receive(b"x") == 0


def test_the_guest_can_flush_what_it_received(port: Port) -> None:
    port.usart.receive(b"abc")
    port.usart.write(RQR, 4, 0x8, M4)
    assert not port.usart.read(ISR, 4, M4) & 0x20


def test_the_interrupt_line_follows_received_bytes(port: Port) -> None:
    port.usart.write(CR1, 4, UE_RE_TE | RXNEIE, M4)
    port.usart.receive(b"a")
    port.usart.read(RDR, 4, M4)
    assert port.levels == [True, False]


@pytest.mark.parametrize("enable", [TCIE, TXEIE])
def test_transmit_interrupts_are_raised_while_enabled(port: Port, enable: int) -> None:
    port.usart.write(CR1, 4, UE_RE_TE | enable, M4)
    port.usart.write(CR1, 4, UE_RE_TE, M4)
    assert port.levels == [True, False]


IDLE, TC, IDLEIE, ICR = 0x10, 0x40, 0x10, 0x20


def test_the_line_is_idle_when_the_last_received_byte_was_taken(port: Port) -> None:
    """RM0436, USART: ISR.IDLE rises after reception, and ICR.IDLECF clears it."""
    port.usart.write(CR1, 4, UE_RE_TE | IDLEIE, M4)
    port.usart.receive(b"ab")
    port.usart.read(RDR, 4, M4)
    assert (port.usart.read(ISR, 4, M4) & IDLE, port.levels) == (0, [])
    port.usart.read(RDR, 4, M4)
    assert (port.usart.read(ISR, 4, M4) & IDLE, port.levels) == (IDLE, [True])
    port.usart.write(ICR, 4, IDLE, M4)
    assert (port.usart.read(ISR, 4, M4) & IDLE, port.levels) == (0, [True, False])


def test_the_line_is_not_idle_while_its_sender_goes_on(port: Port) -> None:
    port.usart.write(CR1, 4, UE_RE_TE | IDLEIE, M4)
    port.usart.receive(b"a", more=True)
    port.usart.read(RDR, 4, M4)
    port.usart.receive(b"b", more=True)
    saved = port.usart.save()
    port.usart.read(RDR, 4, M4)
    assert (port.usart.read(ISR, 4, M4) & IDLE, port.levels) == (0, [])
    port.usart.fall_idle()
    assert (port.usart.read(ISR, 4, M4) & IDLE, port.levels) == (IDLE, [True])
    port.usart.load(saved)
    port.usart.read(RDR, 4, M4)
    assert port.usart.read(ISR, 4, M4) & IDLE == 0


def test_transmission_complete_can_be_cleared_and_comes_back_with_the_next_byte(port: Port) -> None:
    """RM0436, USART: ICR.TCCF clears ISR.TC, so that an interrupt handler gets rid of it."""
    port.usart.write(CR1, 4, UE_RE_TE | TCIE, M4)
    port.usart.write(ICR, 4, TC, M4)
    assert (port.usart.read(ISR, 4, M4) & TC, port.levels) == (0, [True, False])
    port.send(b"x")
    assert (port.usart.read(ISR, 4, M4) & TC, port.levels) == (TC, [True, False, True])


def test_flags_fall_back_when_the_port_is_switched_off(port: Port) -> None:
    port.usart.write(ICR, 4, TC, M4)
    port.usart.receive(b"a")
    port.usart.read(RDR, 4, M4)
    port.usart.write(CR1, 4, 0, M4)
    assert port.usart.read(ISR, 4, M4) == 0xC0


def test_a_snapshot_keeps_the_unfinished_line_and_the_queue(port: Port) -> None:
    port.send(b"first ")
    port.usart.receive(b"z")
    saved = port.usart.save()
    port.send(b"lost\n")
    port.usart.read(RDR, 4, M4)
    port.usart.load(saved)
    port.send(b"half\n")
    assert port.lines() == ["first lost", "first half"]
    assert port.usart.read(RDR, 4, M4) == ord("z")


def test_console_traffic_leaves_no_register_events(port: Port) -> None:
    port.send(b"x")
    assert len(port.log) == 0


FIFOEN, TXFE, RXFF, RXFT, TXFT = 1 << 29, 1 << 23, 1 << 24, 1 << 26, 1 << 27
RXFTIE, RXFFIE, TXFTIE, TXFEIE = 1 << 28, 1 << 31, 1 << 23, 1 << 30
CR3, PRESC, GTPR = 0x08, 0x2C, 0x10


def test_fifo_flags_exist_in_fifo_mode_only(port: Port) -> None:
    assert not port.usart.read(ISR, 4, M4) & (TXFE | TXFT)
    port.usart.write(CR1, 4, UE_RE_TE | FIFOEN, M4)
    assert port.usart.read(ISR, 4, M4) & (TXFE | TXFT | RXFT | RXFF) == TXFE | TXFT


@pytest.mark.parametrize(("setting", "threshold"), list(enumerate((2, 4, 8, 12, 14, 16))))
def test_the_receive_threshold_is_reached_at_its_number_of_bytes(port: Port, setting: int, threshold: int) -> None:
    port.usart.write(CR1, 4, UE_RE_TE | FIFOEN, M4)
    port.usart.write(CR3, 4, setting << 25 | RXFTIE, M4)
    port.usart.receive(bytes(threshold - 1))
    assert (port.usart.read(ISR, 4, M4) & RXFT, port.levels) == (0, [])
    port.usart.receive(b"x")
    assert (port.usart.read(ISR, 4, M4) & RXFT, port.levels) == (RXFT, [True])
    port.usart.read(RDR, 4, M4)
    assert port.levels == [True, False]


def test_the_receive_fifo_is_full_at_sixteen_bytes(port: Port) -> None:
    port.usart.write(CR1, 4, UE_RE_TE | FIFOEN | RXFFIE, M4)
    port.usart.receive(bytes(15))
    assert port.levels == []
    port.usart.receive(b"x")
    assert (port.usart.read(ISR, 4, M4) & RXFF, port.levels) == (RXFF, [True])


@pytest.mark.parametrize(("control", "thresholds"), [(TXFEIE, 0), (0, TXFTIE)])
def test_transmit_fifo_interrupts_need_fifo_mode(port: Port, control: int, thresholds: int) -> None:
    port.usart.write(CR3, 4, thresholds, M4)
    port.usart.write(CR1, 4, UE_RE_TE | control, M4)
    assert port.levels == []
    port.usart.write(CR1, 4, UE_RE_TE | control | FIFOEN, M4)
    assert port.levels == [True]


def test_prescaler_guard_time_and_identity_are_there(port: Port) -> None:
    port.usart.write(PRESC, 4, 0xFF, M4)
    port.usart.write(GTPR, 2, 0x1234, M4)
    assert [port.usart.read(offset, 4, M4) for offset in (PRESC, GTPR, 0x3EC, 0x3F0, 0x3F4, 0x3F8, 0x3FC)] == [
        0xF,
        0x1234,
        0x14,
        0x14,
        0x23,
        0x00130003,
        0xA3C5DD01,
    ]
