"""DMA on request: serial ports that fill and drain memory through DMAMUX1 and the streams of DMA1 and DMA2."""

from __future__ import annotations

import pytest

from cosim.access import AccessKind, Initiator
from cosim.events import ConsoleInput, ConsoleLine
from cosim.peripherals.usart import Stm32Usart
from cosim.soc import Soc
from cosim.uart_input import UartInput

M4 = Initiator.M4
USART3, DMAMUX, BUFFER, SECOND = 0x4000F000, 0x48002000, 0x10000000, 0x10000100
CR1, CR3, ISR, RDR, TDR, IDLE = 0x00, 0x08, 0x1C, 0x24, 0x28, 1 << 4
UE_RE_TE, DMAR, DMAT = 0x0D, 1 << 6, 1 << 7
#: DMAMUX1 requests of USART3 (RM0436, DMAMUX1 assignment).
RX, TX = 45, 46
EN, TEIE, HTIE, TCIE, TO_PERIPHERAL, CIRC, MINC, DBM, CT = 1, 4, 8, 16, 1 << 6, 1 << 8, 1 << 10, 1 << 18, 1 << 19
TEIF, HTIF, TCIF = 1 << 3, 1 << 4, 1 << 5


class Board:
    """A SoC whose USART3 talks to stream 1 of a DMA controller."""

    def __init__(self, controller: int = 1) -> None:
        self.soc = Soc()
        usart = self.soc.blocks["usart3"]
        assert isinstance(usart, Stm32Usart)
        self.usart = usart
        self.base = 0x48000000 + 0x1000 * (controller - 1)
        self.channel = 8 * (controller - 1) + 1
        self.put(USART3 + CR1, UE_RE_TE)

    def put(self, address: int, value: int) -> None:
        assert not self.soc.bus.transact(M4, AccessKind.WRITE, address, 4, value).error

    def get(self, address: int) -> int:
        return self.soc.bus.transact(M4, AccessKind.READ, address, 4).value

    def route(self, request: int) -> None:
        self.put(DMAMUX + 4 * self.channel, request)

    def stream(self, control: int, items: int, peripheral: int, *, memory: int = BUFFER) -> None:
        stream = self.base + 0x10 + 0x18
        for offset, value in ((4, items), (8, peripheral), (12, memory), (16, SECOND), (0, control | EN)):
            self.put(stream + offset, value)

    def state(self) -> tuple[int, int, int]:
        """Flags, EN, and items left."""
        stream = self.base + 0x10 + 0x18
        return self.get(self.base) >> 6 & 0x3F, self.get(stream) & EN, self.get(stream + 4)

    def memory(self, size: int, at: int = BUFFER) -> bytes:
        return self.soc.debug_read(at, size)


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.mark.parametrize(("controller", "interrupt"), [(1, 12), (2, 57)])
def test_received_bytes_are_moved_to_memory_as_they_come(controller: int, interrupt: int) -> None:
    board = Board(controller)
    board.route(RX)
    board.put(USART3 + CR3, DMAR)
    board.stream(MINC | HTIE | TCIE, 4, USART3 + RDR)
    board.usart.receive(b"a")
    assert (board.memory(4), board.state()) == (b"a\0\0\0", (0, EN, 3))
    board.usart.receive(b"b")
    assert (board.state(), board.soc.interrupts.nvic.high()) == ((HTIF, EN, 2), (interrupt,))
    board.usart.receive(b"cde")
    assert (board.memory(5), board.state()) == (b"abcd\0", (HTIF | TCIF, 0, 0))
    assert board.get(USART3 + RDR) == ord("e")


def test_typed_bytes_are_moved_one_in_each_frame_and_the_line_falls_idle_behind_them(board: Board) -> None:
    """HAL_UARTEx_ReceiveToIdle_DMA: the message is complete when IDLE rises, once."""
    board.route(RX)
    board.put(USART3 + CR3, DMAR)
    board.stream(MINC, 8, USART3 + RDR)
    UartInput(board.soc, b"abc")
    board.soc.engine.release("m4")
    board.put(USART3 + CR1, UE_RE_TE)
    seen = []
    while (due := board.soc.timers.next_at()) is not None:
        board.soc.timers.run_due(due)
        seen.append((due // board.usart.frame_ps, board.memory(4), board.get(USART3 + ISR) & IDLE))
    assert seen == [(1, b"a\0\0\0", 0), (2, b"ab\0\0", 0), (3, b"abc\0", 0), (4, b"abc\0", IDLE)]
    assert board.soc.log.of(ConsoleInput) == [ConsoleInput("usart3", "abc")]


def test_memory_is_transmitted_to_the_console(board: Board) -> None:
    board.soc.bus.write(Initiator.DEBUG, BUFFER, b"by DMA\n")
    board.route(TX)
    board.stream(TO_PERIPHERAL | MINC, 7, USART3 + TDR)
    assert board.state() == (0, EN, 7)
    board.put(USART3 + CR3, DMAT)
    assert board.soc.log.of(ConsoleLine) == [ConsoleLine("usart3", "by DMA")]
    assert board.state() == (HTIF | TCIF, 0, 0)


def test_nothing_moves_without_a_route(board: Board) -> None:
    board.route(RX + 2)
    board.put(USART3 + CR3, DMAR)
    board.stream(MINC, 4, USART3 + RDR)
    board.usart.receive(b"abcd")
    assert (board.memory(4), board.state()) == (bytes(4), (0, EN, 4))
    board.route(RX)
    assert board.memory(4) == b"abcd"


def test_a_circular_stream_goes_round(board: Board) -> None:
    board.route(RX)
    board.put(USART3 + CR3, DMAR)
    board.stream(MINC | CIRC, 4, USART3 + RDR)
    board.usart.receive(b"abcdef")
    assert (board.memory(5), board.state()) == (b"efcd\0", (HTIF | TCIF, EN, 2))


def test_a_double_buffer_changes_sides(board: Board) -> None:
    board.route(RX)
    board.put(USART3 + CR3, DMAR)
    board.stream(MINC | DBM, 2, USART3 + RDR)
    board.usart.receive(b"abc")
    assert (board.memory(3), board.memory(3, SECOND)) == (b"ab\0", b"c\0\0")
    assert board.get(board.base + 0x28) & CT
    board.usart.receive(b"defg")
    assert (board.memory(3), board.memory(3, SECOND)) == (b"ef\0", b"gd\0")


def test_a_circular_transmission_ends_after_one_round(board: Board) -> None:
    board.soc.bus.write(Initiator.DEBUG, BUFFER, b"on\n")
    board.route(TX)
    board.put(USART3 + CR3, DMAT)
    board.stream(TO_PERIPHERAL | MINC | CIRC, 3, USART3 + TDR)
    assert board.soc.log.of(ConsoleLine) == [ConsoleLine("usart3", "on")]
    assert board.state() == (HTIF | TCIF, EN, 3)


def test_memory_that_is_not_there_is_a_transfer_error(board: Board) -> None:
    board.route(RX)
    board.put(USART3 + CR3, DMAR)
    board.stream(MINC | TEIE, 4, USART3 + RDR, memory=0x60000000)
    board.usart.receive(b"ab")
    assert board.state() == (TEIF, 0, 4)
    assert board.soc.interrupts.nvic.high() == (12,)


def test_a_stream_without_items_moves_nothing(board: Board) -> None:
    board.route(RX)
    board.put(USART3 + CR3, DMAR)
    board.stream(MINC, 0, USART3 + RDR)
    board.usart.receive(b"a")
    assert (board.state(), board.get(USART3 + RDR)) == ((0, EN, 0), ord("a"))


def test_bytes_wait_in_the_port_until_it_may_ask_for_transfers(board: Board) -> None:
    board.route(RX)
    board.stream(MINC, 4, USART3 + RDR)
    board.usart.receive(b"ab")
    assert (board.memory(2), board.state()) == (bytes(2), (0, EN, 4))
    board.put(USART3 + CR3, DMAR)
    assert (board.memory(2), board.state()) == (b"ab", (HTIF, EN, 2))


def test_a_reset_multiplexer_routes_nothing(board: Board) -> None:
    board.route(RX)
    board.put(USART3 + CR3, DMAR)
    board.usart.receive(b"ab")
    board.soc.blocks["dmamux"].reset()
    board.stream(MINC, 4, USART3 + RDR)
    assert board.state() == (0, EN, 4)


def test_another_peripherals_request_changes_nothing_for_a_circular_transmission(board: Board) -> None:
    board.soc.bus.write(Initiator.DEBUG, BUFFER, b"on\n")
    board.route(TX)
    board.put(USART3 + CR3, DMAT)
    board.stream(TO_PERIPHERAL | MINC | CIRC, 3, USART3 + TDR)
    board.put(USART3 + CR3, DMAT | DMAR)
    board.usart.receive(b"x")
    assert board.soc.log.of(ConsoleLine) == [ConsoleLine("usart3", "on")]


def test_a_stream_that_a_transfer_switches_on_does_not_run(board: Board) -> None:
    """Or else streams that start each other with each word would keep the host busy for hours."""
    words = 2 << 6 | 2 << 11 | 2 << 13 | EN
    board.soc.bus.write(Initiator.DEBUG, BUFFER, words.to_bytes(4, "little"))
    first, second = board.base + 0x28, 0x48001028
    for base, target in ((second, first), (first, second)):
        for offset, value in ((4, 16), (8, BUFFER), (12, target)):
            board.put(base + offset, value)
    board.put(first, words)
    assert board.state() == (HTIF | TCIF, 0, 0)
    assert (board.get(0x48001000), board.get(second) & EN, board.get(second + 4)) == (0, EN, 16)


def test_a_restored_snapshot_goes_on_where_the_stream_was(board: Board) -> None:
    board.route(RX)
    board.put(USART3 + CR3, DMAR)
    board.stream(MINC | CIRC, 4, USART3 + RDR)
    board.usart.receive(b"ab")
    snapshot = board.soc.snapshot()
    board.put(board.base + 0x28, 0)
    board.stream(MINC | CIRC, 2, USART3 + RDR)
    board.usart.receive(b"xyz")
    board.soc.restore(snapshot)
    board.usart.receive(b"cde")
    assert (board.memory(4), board.state()) == (b"ebcd", (HTIF | TCIF, EN, 3))


def waiting(board: Board) -> None:
    """The port asks for a transfer and no stream is on; the byte is taken, and that is undone by a snapshot."""
    board.put(USART3 + CR3, DMAR)
    board.usart.receive(b"a")
    snapshot = board.soc.snapshot()
    board.get(USART3 + RDR)
    board.soc.restore(snapshot)


def test_a_restored_request_is_served_by_a_stream_that_is_switched_on_later(board: Board) -> None:
    board.route(RX)
    waiting(board)
    board.stream(MINC, 4, USART3 + RDR)
    assert (board.memory(1), board.state()) == (b"a", (0, EN, 3))


def test_a_restored_request_can_be_routed_later(board: Board) -> None:
    waiting(board)
    board.stream(MINC, 4, USART3 + RDR)
    board.route(RX)
    assert board.memory(1) == b"a"


def test_a_restored_request_can_be_withdrawn(board: Board) -> None:
    board.route(RX)
    waiting(board)
    board.put(USART3 + CR3, 0)
    board.stream(MINC, 4, USART3 + RDR)
    assert (board.memory(1), board.state()) == (b"\0", (0, EN, 4))
