"""Sequences: calls of two clients, interleaved in any order, and stores of the normal world between them.

The first client offers the untouched image; the second one has a session and an image of its own, whose code nobody
signed. Short sequences of the plain calls are enumerated; longer ones come from a grammar with a bias to the
boundaries.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cosim.campaign.caller import IMAGE, IMAGE_ROOM, MESSAGE
from cosim.campaign.forging import attacker_code
from cosim.campaign.model import CaseId, CaseResult, Kind
from cosim.campaign.target import M4_BUDGET_PS, Target
from cosim.client import Command
from cosim.scripts import BOOT_MCU, ETZPC_DECPROT5, MCURST, POISON, RCC_MP_GCR, RCC_MP_GRSTCSETR, RETRAM, SRAM1
from ta.errors import BusFault
from ta.image import parse_image
from ta.image_format import round_up

_DEPTH = 3
_RANDOM_CASES = 2000
_WORDS = (0, 1, 2, 6, 7, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_SMCS = (0x32000003, 0x32000004, 0xB2000007, 0xB2000009, 0xB200000A, 0xB200000B, 0x80000000, 0x84000000, 0xBF00FF01)
_ATTRIBUTES = (0, 1, 2, 3, 5, 6, 7, 9, 10, 11, 0x101, 0x109, 0xFF)
_PLACES = (SRAM1, SRAM1 + 0x40, RETRAM, RETRAM + 4, 0x30000000, 0x10020000)


@dataclass
class _Client:
    """A client of the TEE: the session that it uses, and its image in shared memory."""

    session: int
    address: int
    image: bytes

    def open(self, target: Target) -> None:
        """OPEN_SESSION; when it is refused the client goes on with the session that it knows."""
        self.session = target.caller.open().session or self.session

    def load(self, target: Target) -> None:
        """LOAD_FW of its image."""
        target.caller.load(self.session, len(self.image), address=self.address)


@dataclass(frozen=True)
class _Clients:
    """Both clients of one case."""

    first: _Client
    second: _Client


@dataclass(frozen=True)
class Act:
    """One act of the normal world: its name, and what it does."""

    name: str
    do: Callable[[Target, _Clients], object]


class Sequences:
    """Every case is one list of acts, played from the open session on."""

    kind = Kind.SEQUENCE

    def __init__(self, target: Target) -> None:
        self._target = target
        self._plain = _plain_acts()
        self._second_at = IMAGE + round_up(len(target.image))
        fits = self._second_at + len(target.image) <= IMAGE + IMAGE_ROOM
        self._other = attacker_code(target.image, parse_image(target.image)) if fits else b""
        self.exhaustive = sum(len(self._plain) ** depth for depth in range(1, _DEPTH + 1))
        self.usual = self.exhaustive + _RANDOM_CASES

    def run(self, case: CaseId) -> CaseResult:
        """See `Attack`."""
        acts = self._acts(case)
        target = self._target
        target.reset()
        clients = _Clients(
            _Client(target.session, IMAGE, target.image), _Client(target.session, self._second_at, self._other)
        )
        for one in (clients.first, clients.second):
            target.caller.write(one.address, one.image)
        for act in acts:
            try:
                act.do(target, clients)
            except BusFault:
                continue  # the normal world's own access failed, which is its affair
        judgement = target.judge()
        return CaseResult(case, judgement.verdict, "; ".join(act.name for act in acts), judgement.evidence)

    def _acts(self, case: CaseId) -> Sequence[Act]:
        index, acts = case.index, self._plain
        for depth in range(1, _DEPTH + 1):
            if index < len(acts) ** depth:
                return [acts[index // len(acts) ** place % len(acts)] for place in range(depth)]
            index -= len(acts) ** depth
        rng = random.Random(str(case))
        return list(itertools.chain.from_iterable(_phrase(rng, acts) for _ in range(rng.randrange(3, 12))))


def _plain_acts() -> list[Act]:
    """The acts that short sequences are made of."""
    acts = [
        Act("LOAD_FW", lambda t, c: c.first.load(t)),
        Act("GET_RSC_TABLE", lambda t, c: t.caller.table(c.first.session)),
        Act("open another session", lambda t, c: c.first.open(t)),
        Act("close", lambda t, c: t.caller.close(c.first.session)),
        Act("let the M4 run", lambda t, _: t.soc.run(budget_ps=M4_BUDGET_PS)),
        Act("damage the image", lambda t, c: t.caller.write(IMAGE + len(c.first.image) - 4, b"\xff\xff\xff\xff")),
        Act("the second client opens a session", lambda t, c: c.second.open(t)),
        Act("the second client: LOAD_FW", lambda t, c: c.second.load(t)),
        Act("the second client: START_FW", lambda t, c: t.caller.command(c.second.session, Command.START_FW)),
        Act("the second client closes", lambda t, c: t.caller.close(c.second.session)),
        _store(SRAM1 + 0x40, POISON),
        _store(RCC_MP_GCR, BOOT_MCU),
    ]
    return acts + [_simple(command) for command in (Command.START_FW, Command.STOP_FW, Command.RELEASE_FW)]


def _simple(command: Command, processor: int = 0) -> Act:
    name = command.name if processor == 0 else f"{command.name} of processor 0x{processor:x}"
    return Act(name, lambda t, c: t.caller.command(c.first.session, command, processor))


def _store(address: int, value: int) -> Act:
    data = value.to_bytes(4, "little")
    return Act(f"store 0x{value:08x} at 0x{address:08x}", lambda t, _: t.caller.write(address, data))


def _phrase(rng: random.Random, acts: Sequence[Act]) -> list[Act]:
    """One or two acts that often go together."""
    (make,) = rng.choices(
        (_plain, _load_and_start, _odd_processor, _attack, _odd_smc, _odd_message, _odd_load), _WEIGHTS
    )
    return make(rng, acts)


_WEIGHTS = (8, 2, 2, 3, 2, 2, 1)


def _plain(rng: random.Random, acts: Sequence[Act]) -> list[Act]:
    return [rng.choice(acts)]


def _load_and_start(_rng: random.Random, acts: Sequence[Act]) -> list[Act]:
    return [acts[0], _simple(Command.START_FW)]


def _odd_processor(rng: random.Random, _acts: Sequence[Act]) -> list[Act]:
    return [_simple(rng.choice((Command.START_FW, Command.STOP_FW, Command.RELEASE_FW)), rng.choice(_WORDS))]


def _attack(rng: random.Random, _acts: Sequence[Act]) -> list[Act]:
    registers = ((RCC_MP_GCR, BOOT_MCU), (RCC_MP_GRSTCSETR, MCURST), (ETZPC_DECPROT5, 0xFFFFFFFF))
    places = [(place, POISON) for place in _PLACES]
    return [_store(*rng.choice((*registers, *places)))]


def _odd_smc(rng: random.Random, _acts: Sequence[Act]) -> list[Act]:
    return [_raw_smc([rng.choice(_SMCS), *(rng.choice((*_WORDS, MESSAGE)) for _ in range(7))])]


def _odd_message(rng: random.Random, _acts: Sequence[Act]) -> list[Act]:
    session, command = rng.choice((0, 1, 2, 3, 0xFFFFFFFF)), rng.choice((*range(8), 0xFFFFFFFF))
    words = [(rng.choice(_ATTRIBUTES), _three(rng)) for _ in range(rng.randrange(7))]
    return [_message(rng.choice((0, 1, 2, 3, 4, 5, 6, 0xFFFF)), session, command, words)]


def _odd_load(rng: random.Random, _acts: Sequence[Act]) -> list[Act]:
    return [_load_of(rng.choice(_WORDS))]


def _three(rng: random.Random) -> tuple[int, int, int]:
    a, b, c = (rng.choice((*_WORDS, IMAGE, MESSAGE, SRAM1, 0xDE000000)) for _ in range(3))
    return a, b, c


def _raw_smc(registers: Sequence[int]) -> Act:
    told = " ".join(f"{register:x}" for register in registers)
    return Act(f"smc {told}", lambda t, _: t.caller.smc(*registers))


def _message(kind: int, session: int, command: int, params: Sequence[tuple[int, tuple[int, int, int]]]) -> Act:
    told = " ".join(f"{attribute:x}({a:x},{b:x},{c:x})" for attribute, (a, b, c) in params)

    return Act(
        f"message {kind} session {session:x} command {command:x} {told}".rstrip(),
        lambda t, _: t.caller.call(kind, params, session=session, function=command),
    )


def _load_of(size: int) -> Act:
    return Act(f"LOAD_FW of {size} bytes", lambda t, c: t.caller.load(c.first.session, size))
