"""The platform driver stm32_rproc.c: hold boot and memories without a TEE, or the same operations through it.

Registers are those of the board's device tree: st,syscfg-holdboot, st,syscfg-pdds, st,syscfg-m4-state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cosim.linux import elf_loader
from cosim.linux.carveout import Carveouts
from cosim.linux.errno import Errno, KernelError
from cosim.linux.mailbox import Channel, Mailbox
from cosim.linux.memory import KernelMemory
from cosim.linux.optee import Smc
from cosim.linux.remoteproc_core import RprocOps, RprocState
from cosim.linux.remoteproc_tee import RemoteprocTee
from cosim.linux.resources import Printk
from ta.memory_map import (
    RCC_MP_GCR,
    RCC_MP_GCR_BOOT_MCU,
    RCC_MP_GRSTCSETR,
    RCC_MP_GRSTCSETR_MCURST,
    RCC_TZCR,
    RCC_TZCR_TZEN,
)

PWR_MCUCR, PDDS = 0x50001014, 1 << 0
TAMP_RSC_TABLE, TAMP_COPRO_STATE = 0x5C00A144, 0x5C00A148  # BKP17R, BKP18R
M4_STATE_OFF, M4_STATE_CRUN = 0, 2
#: tx_tout of the shutdown channel: 500 ms.
SHUTDOWN_TIMEOUT_PS = 500 * 10**9
#: tx_tout of the detach channel: 200 ms.
DETACH_TIMEOUT_PS = 200 * 10**9
#: What the driver takes for the size of a table that someone else installed.
RSC_TBL_SIZE = 1024
#: dma-ranges of the mlahb node: device address, physical address, size.
_DMA_RANGES = ((0x00000000, 0x38000000, 0x10000), (0x10000000, 0x10000000, 0x60000), (0x30000000, 0x30000000, 0x60000))
_ATTACH_HINT = "the boot loader writes the table's device address into TAMP BKP17R"
_SMC_RCC, _SMC_REG_WRITE = 0x82001000, 0x1

#: Lets the SoC run until the condition holds or the time (virtual, picoseconds) is over; whether it held.
Wait = Callable[[Callable[[], bool], int], bool]


@dataclass(frozen=True)
class Board:
    """What the driver finds on the board; `mailbox` is None where there is no IPCC."""

    memory: KernelMemory
    smc: Smc
    mailbox: Mailbox | None
    wait: Wait
    printk: Printk
    shutdown_timeout_ps: int = SHUTDOWN_TIMEOUT_PS


class Stm32Rproc(RprocOps):
    """The operations without a TEE: the ELF file is loaded, and BOOT_MCU written, by the normal world."""

    def __init__(self, board: Board) -> None:
        self._memory = board.memory
        self._smc = board.smc
        self._mailbox = board.mailbox
        self._wait = board.wait
        self._printk = board.printk
        self._shutdown_timeout_ps = board.shutdown_timeout_ps

    def probe(self) -> RprocState:
        """stm32_rproc_probe: a processor that a boot loader started is found DETACHED."""
        running = self._memory.read_word(TAMP_COPRO_STATE) == M4_STATE_CRUN
        return RprocState.DETACHED if running else RprocState.OFFLINE

    def sanity_check(self, firmware: bytes) -> None:
        """rproc_elf_sanity_check."""
        elf_loader.sanity_check(firmware)

    def prepare(self, carveouts: Carveouts) -> None:
        """stm32_rproc_prepare: register the board's memory regions."""
        carveouts.add_board_regions()

    def parse_fw(self, firmware: bytes) -> bytes | None:
        """stm32_rproc_parse_fw: a firmware without a usable table is only warned about."""
        try:
            return elf_loader.load_table(firmware, self._printk)
        except KernelError:
            self._printk("warn", "stm32_rproc_parse_fw", "no resource table found for this firmware")
            return None

    def load(self, firmware: bytes, carveouts: Carveouts) -> None:
        """rproc_elf_load_segments."""
        elf_loader.load_segments(firmware, carveouts, self._memory)

    def find_loaded_rsc_table(self, firmware: bytes, carveouts: Carveouts) -> int | None:
        """rproc_elf_find_loaded_rsc_table: where the table runs, by its section's address."""
        section = elf_loader.find_table(firmware, self._printk)
        return None if section is None else carveouts.da_to_pa(section.da, len(section.data))

    def get_boot_addr(self, firmware: bytes) -> int:
        """rproc_elf_get_boot_addr."""
        return elf_loader.boot_address(firmware)

    def get_loaded_rsc_table(self) -> tuple[int, int]:
        """stm32_rproc_get_loaded_rsc_table: from BKP17R. Raises KernelError (-ENOENT, -EINVAL)."""
        function = "stm32_rproc_get_loaded_rsc_table"
        da = self._memory.read_word(TAMP_RSC_TABLE)
        if not da:
            raise KernelError(function, Errno.ENOENT, "no resource table: BKP17R is 0", hint=_ATTACH_HINT)
        for start, pa, size in _DMA_RANGES:
            if start <= da < start + size:
                return da - start + pa, RSC_TBL_SIZE
        raise KernelError(function, Errno.EINVAL, f"can't translate da {da:x}", hint=_ATTACH_HINT, address=da)

    def attach(self) -> None:
        """stm32_rproc_attach: the processor shall not start again by itself."""
        self._hold_boot(True)

    def detach(self) -> None:
        """stm32_rproc_detach: tell the firmware, and let the processor start again by itself."""
        self._ask(Channel.DETACH, DETACH_TIMEOUT_PS, "stm32_rproc_detach", "warning: remote FW detach without ack")
        self._hold_boot(False)

    def start(self) -> None:
        """stm32_rproc_start: no deep sleep, then release and set hold boot again."""
        self._pdds(0)
        self._hold_boot(False)
        self._hold_boot(True)

    def stop(self, state: RprocState) -> None:
        """stm32_rproc_stop: ask the firmware (unless it crashed), hold, reset, allow deep sleep, report OFF."""
        self._request_shutdown(state)
        self._hold()
        self._pdds(PDDS)
        self._memory.write_word(TAMP_COPRO_STATE, M4_STATE_OFF)
        if self._mailbox is not None:
            self._mailbox.reset()

    def kick(self, notify_id: int) -> None:
        """stm32_rproc_kick: the mailbox of the virtqueue; other ids have none and nothing happens."""
        if self._mailbox is None or notify_id not in (Channel.VQ0, Channel.VQ1):
            return
        if not self._mailbox.send(Channel(notify_id)):
            self._printk("err", "stm32_rproc_kick", f"failed (vq{notify_id}, err:-105)")

    def release_fw(self, state: RprocState) -> None:
        """Nothing is left to release without a TEE."""

    def _request_shutdown(self, state: RprocState) -> None:
        if state not in (RprocState.OFFLINE, RprocState.CRASHED):
            text = "warning: remote FW shutdown without ack"
            self._ask(Channel.SHUTDOWN, self._shutdown_timeout_ps, "stm32_rproc_stop", text)

    def _ask(self, channel: Channel, timeout_ps: int, function: str, without: str) -> None:
        """mbox_send_message on a blocking channel; the warning `without` when the firmware does not take it."""
        mailbox = self._mailbox
        if mailbox is None:
            return
        mailbox.send(channel)
        if not self._wait(lambda: mailbox.acknowledged(channel), timeout_ps):
            self._printk("warn", function, without)

    def _hold(self) -> None:
        self._hold_boot(True)
        self._memory.write_word(RCC_MP_GRSTCSETR, RCC_MP_GRSTCSETR_MCURST)

    def _hold_boot(self, hold: bool) -> None:
        """stm32_rproc_set_hold_boot: by SMC while RCC is in secure mode, else straight. Raises KernelError (-EPERM)."""
        if self._memory.read_word(RCC_TZCR) & RCC_TZCR_TZEN:
            offset = RCC_MP_GCR & 0xFFF
            status = self._smc((_SMC_RCC, _SMC_REG_WRITE, offset, 0 if hold else RCC_MP_GCR_BOOT_MCU, 0, 0, 0, 0))[0]
            if status:
                raise KernelError(
                    "stm32_rproc_set_hold_boot",
                    Errno.EPERM,
                    "failed to set hold boot: RCC_TZCR.TZEN is set and the secure monitor has no such call",
                    hint="with TZEN only the TEE can start the Cortex-M4; clear TZEN before OP-TEE's start, or sign",
                    smc_status=status,
                )
            return
        value = self._memory.read_word(RCC_MP_GCR) & ~RCC_MP_GCR_BOOT_MCU
        self._memory.write_word(RCC_MP_GCR, value if hold else value | RCC_MP_GCR_BOOT_MCU)

    def _pdds(self, value: int) -> None:
        self._memory.write_word(PWR_MCUCR, self._memory.read_word(PWR_MCUCR) & ~PDDS | value)


class Stm32RprocTee(Stm32Rproc):
    """The operations with `st,rproc-tee`: load, start, stop and release are the TA's."""

    def __init__(self, board: Board, tee: RemoteprocTee) -> None:
        super().__init__(board)
        self._tee = tee

    def probe(self) -> RprocState:
        """As without a TEE, but a running processor cannot be taken over. Raises KernelError (-EINVAL)."""
        state = super().probe()
        if state is RprocState.DETACHED:
            raise KernelError("stm32_rproc_probe", Errno.EINVAL, "the TEE cannot attach to a running processor")
        self._tee.register()
        return state

    def sanity_check(self, firmware: bytes) -> None:
        """The TEE operations have none: the file is the TA's to judge."""

    def parse_fw(self, firmware: bytes) -> bytes | None:
        """rproc_tee_parse_fw."""
        return self._tee.parse_fw(firmware)

    def load(self, firmware: bytes, carveouts: Carveouts) -> None:  # noqa: ARG002 - the TA knows the regions
        """rproc_tee_load_fw."""
        self._tee.load_fw(firmware)

    def get_boot_addr(self, firmware: bytes) -> int:  # noqa: ARG002
        """The TEE operations have none, and the core takes 0."""
        return 0

    def find_loaded_rsc_table(self, firmware: bytes, carveouts: Carveouts) -> int | None:  # noqa: ARG002
        """rproc_tee_find_loaded_rsc_table: the TA's address, if a carveout holds it."""
        pa, size = self._tee.resource_table("rproc_tee_find_loaded_rsc_table")
        return pa if size and carveouts.holds_pa(pa, size) else None

    def start(self) -> None:
        """stm32_rproc_tee_start."""
        self._pdds(0)
        self._tee.start()

    def release_fw(self, state: RprocState) -> None:
        """rproc_tee_release_fw: what goes wrong is only logged, and a processor that is not OFFLINE is left alone."""
        if state is RprocState.DETACHED:
            return
        if state is not RprocState.OFFLINE:
            self._printk("err", "rproc_tee_release_fw", f"state is {state.name}, firmware is not released")
            return
        try:
            self._tee.release_fw()
        except KernelError as error:
            self._printk("err", "rproc_tee_release_fw", error.message)

    def _hold(self) -> None:
        self._tee.stop()
