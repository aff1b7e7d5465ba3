"""The remoteproc core in the order of remoteproc_core.c: boot, attach, detach, shutdown, crash and recovery.

`Rproc` holds the state; what the hardware needs is behind `RprocOps`, what runs on top of a started processor (virtio
devices) behind `Subdevice`.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from cosim.errors import CosimError
from cosim.events import EventLog
from cosim.linux.carveout import Carveout, Carveouts
from cosim.linux.coredump import Coredump
from cosim.linux.errno import Errno, KernelError
from cosim.linux.events import KernelMessage, RprocStateChanged
from cosim.linux.memory import KernelMemory
from cosim.linux.resources import KernelTable, Resources, VdevSpec, handle_resources, write_back_carveouts

#: The stm32 driver keeps the message buffers out of coredumps.
_NOT_DUMPED = "vdev0buffer"


class RprocState(enum.Enum):
    """enum rproc_state."""

    OFFLINE = 0
    SUSPENDED = 1
    RUNNING = 2
    CRASHED = 3
    DELETED = 4
    ATTACHED = 5
    DETACHED = 6


class CrashType(enum.Enum):
    """enum rproc_crash_type."""

    MMUFAULT = "mmufault"
    WATCHDOG = "watchdog"
    FATAL_ERROR = "fatal error"


class RprocOps(ABC):
    """struct rproc_ops, as far as the core uses it here. Every operation raises `KernelError` when it fails."""

    @abstractmethod
    def sanity_check(self, firmware: bytes) -> None:
        """Look at the file before anything is touched."""

    @abstractmethod
    def prepare(self, carveouts: Carveouts) -> None:
        """Register the memories of the processor."""

    @abstractmethod
    def parse_fw(self, firmware: bytes) -> bytes | None:
        """The firmware's resource table, None when it has none."""

    @abstractmethod
    def load(self, firmware: bytes, carveouts: Carveouts) -> None:
        """Put the firmware into the processor's memories."""

    @abstractmethod
    def find_loaded_rsc_table(self, firmware: bytes, carveouts: Carveouts) -> int | None:
        """Physical address of the table in the processor's memory, None when the kernel cannot reach it."""

    @abstractmethod
    def get_boot_addr(self, firmware: bytes) -> int:
        """What the core takes for the entry point; the M4 does not use it."""

    @abstractmethod
    def get_loaded_rsc_table(self) -> tuple[int, int]:
        """Physical address and size of the table of a processor that someone else started."""

    @abstractmethod
    def start(self) -> None:
        """Let the processor run."""

    @abstractmethod
    def attach(self) -> None:
        """Take over a processor that someone else started."""

    @abstractmethod
    def detach(self) -> None:
        """Leave it to itself."""

    @abstractmethod
    def stop(self, state: RprocState) -> None:
        """Stop the processor; `state` is the state that it is in."""

    @abstractmethod
    def kick(self, notify_id: int) -> None:
        """Tell the processor that a virtqueue has something."""

    @abstractmethod
    def release_fw(self, state: RprocState) -> None:
        """Give up what parse_fw and load made."""


class Subdevice(Protocol):
    """struct rproc_subdev: something that lives while the processor runs."""

    def start(self) -> None:
        """The processor was started. Raises `KernelError`."""
        ...

    def stop(self) -> None:
        """The processor is about to be stopped, or has crashed."""
        ...


#: Makes the device for a vdev entry of the table.
MakeDevice = Callable[["Rproc", VdevSpec], Subdevice]


class Rproc:
    """One remote processor. `request_firmware` returns the bytes of the firmware file at each call."""

    def __init__(
        self,
        ops: RprocOps,
        memory: KernelMemory,
        log: EventLog,
        request_firmware: Callable[[], bytes],
        make_device: MakeDevice,
    ) -> None:
        self.ops = ops
        self.memory = memory
        self.carveouts = Carveouts()
        self.resources = Resources()
        self.recovery_disabled = False
        self.coredump = Coredump(self.printk)
        self.crash_count = 0
        #: Physical address of the table that the processor sees, None while the cached copy is the table.
        self.loaded_table: int | None = None
        self.table: KernelTable | None = None
        self._log = log
        self._request_firmware = request_firmware
        self._make_device = make_device
        self._state = RprocState.OFFLINE
        self._power = 0
        self._boot_address = 0
        self._clean_table: bytes | None = None  # of a processor that was attached to
        self._devices: list[Subdevice] = []

    @property
    def state(self) -> RprocState:
        """Where the state machine is."""
        return self._state

    def printk(self, level: str, function: str, text: str) -> None:
        """A line of the kernel log (info, warn, err)."""
        self._log.emit(KernelMessage(level, function, text))

    # -- what a user of the core calls -------------------------------------------------------------------------

    def found_running(self) -> None:
        """The driver's probe found a processor that someone else started: `boot` will attach to it."""
        self._enter(RprocState.DETACHED)

    def boot(self) -> None:
        """rproc_boot: boot, or attach to a DETACHED processor.

        Raises KernelError; one that failed leaves the state as it was and nothing behind.
        """
        if self._state is RprocState.DELETED:
            raise KernelError("rproc_boot", Errno.ENODEV, "can't boot deleted rproc")
        self._power += 1
        if self._power > 1:
            return
        try:
            if self._state is RprocState.DETACHED:
                self.printk("info", "rproc_boot", "attaching to the remote processor")
                self._attach()
            else:
                self.printk("info", "rproc_boot", "powering up")
                self._fw_boot(self._request_firmware())
        except CosimError:
            self._power -= 1
            raise

    def shutdown(self) -> None:
        """rproc_shutdown. Raises KernelError (-EINVAL) unless the processor runs, or when it cannot be stopped."""
        if self._state not in (RprocState.RUNNING, RprocState.ATTACHED):
            raise KernelError("rproc_shutdown", Errno.EINVAL, f"can't stop rproc in state {self._state.name}")
        if self._power > 1:
            self._power -= 1
            return
        self._stop(crashed=False)
        self._cleanup()
        self.ops.release_fw(self._state)
        self.table = None
        self._power = 0

    def detach(self) -> None:
        """rproc_detach. Raises KernelError (-EINVAL) unless it was attached to."""
        if self._state is not RprocState.ATTACHED:
            raise KernelError("rproc_detach", Errno.EINVAL, f"can't detach rproc in state {self._state.name}")
        if self._power > 1:
            self._power -= 1
            return
        for device in reversed(self._devices):
            device.stop()
        self._reset_table(clean=True)
        self.ops.detach()
        self._enter(RprocState.DETACHED)
        self.printk("info", "__rproc_detach", "detached remote processor")
        self._cleanup()
        self.table = None
        self._power = 0

    def report_crash(self, kind: CrashType) -> None:
        """rproc_report_crash and its handler: mark, then recover unless that is disabled. Raises KernelError."""
        if self._state not in (RprocState.RUNNING, RprocState.ATTACHED):
            self.printk("err", "rproc_report_crash", f"{kind.value} in state {self._state.name} is not a new crash")
            return
        self.crash_count += 1
        self.printk("err", "rproc_crash_handler_work", f"handling crash #{self.crash_count}: {kind.value}")
        self._enter(RprocState.CRASHED)
        if not self.recovery_disabled:
            self.trigger_recovery()

    def trigger_recovery(self) -> None:
        """rproc_trigger_recovery: stop, dump, fetch the file again, start. Raises KernelError.

        Nothing is released in between; the TA authenticates the file again. After a recovery that failed the use count
        stays as it was, as in the kernel: the next `boot` only counts.
        """
        if self._state is not RprocState.CRASHED:
            return
        self.printk("err", "rproc_trigger_recovery", "recovering the remote processor")
        self._stop(crashed=True)
        self.coredump.generate(self._boot_address, self._read_da)
        try:
            self._start(self._request_firmware())
        except CosimError:
            self.ops.release_fw(self._state)
            raise

    def delete(self) -> None:
        """rproc_del: shut down if it runs, then no more."""
        if self._state in (RprocState.RUNNING, RprocState.ATTACHED):
            self._power = 1
            self.shutdown()
        self._enter(RprocState.DELETED)

    # -- the resource table while a processor runs ---------------------------------------------------------------

    def table_read(self, offset: int, size: int = 4) -> int:
        """A word of the table that `table_ptr` points at: the processor's own, or the cached copy."""
        if self.loaded_table is not None:
            return self.memory.read_word(self.loaded_table + offset, size, "rproc_virtio_get_status")
        return int.from_bytes(self.table.data[offset : offset + size], "little") if self.table else 0

    def table_write(self, offset: int, value: int, size: int = 4) -> None:
        """Write a word of the table that `table_ptr` points at."""
        if self.loaded_table is not None:
            self.memory.write_word(self.loaded_table + offset, value, size, "rproc_virtio_set_status")
        elif self.table is not None:
            self.table.put(offset, value, size)

    # -- the core's own order ------------------------------------------------------------------------------------

    def _fw_boot(self, firmware: bytes) -> None:
        """rproc_fw_boot."""
        self.ops.sanity_check(firmware)
        self.printk("info", "rproc_fw_boot", f"Booting fw image, size {len(firmware)}")
        self._boot_address = self.ops.get_boot_addr(firmware)
        self._prepare()
        try:
            data = self.ops.parse_fw(firmware)
            self.table = None if data is None else KernelTable(data)
            self._take_resources()
            self._start(firmware)
        except CosimError as error:
            self.printk("err", str(error.fields.get("function", "rproc_fw_boot")), error.message)
            self._cleanup()
            self.ops.release_fw(self._state)
            self.table = None
            raise

    def _prepare(self) -> None:
        self.ops.prepare(self.carveouts)
        for entry in dump_regions(self.carveouts):
            self.coredump.add(entry.da, entry.size)

    def _take_resources(self) -> None:
        """rproc_handle_resources and rproc_alloc_registered_carveouts."""
        self.resources = handle_resources(self.table, self.carveouts, self.printk)
        self._devices = [self._make_device(self, spec) for spec in self.resources.vdevs]
        self.carveouts.allocate()
        write_back_carveouts(self.table, self.carveouts)

    def _attach(self) -> None:
        """rproc_attach: as rproc_fw_boot, without the file; the table is the one that the processor uses."""
        self._prepare()
        try:
            pa, size = self.ops.get_loaded_rsc_table()
            self._clean_table = self.memory.read(pa, size, "rproc_set_rsc_table")
            self.table, self.loaded_table = KernelTable(self._clean_table), pa
            self._take_resources()
            self.memory.write(pa, bytes(self.table.data), "rproc_handle_resources")
            self._dump_traces()
            self.ops.attach()
            self._start_devices()
        except CosimError as error:
            self.printk("err", str(error.fields.get("function", "rproc_attach")), error.message)
            self._cleanup()
            self.table = None
            raise
        self._enter(RprocState.ATTACHED)
        self.printk("info", "__rproc_attach", "remote processor is now attached")

    def _dump_traces(self) -> None:
        # In the stm32 driver's own start and attach, before anything else.
        for trace in self.resources.traces:
            self.coredump.add_trace(trace.da, trace.size)

    def _read_da(self, da: int, size: int) -> bytes | None:
        pa = self.carveouts.da_to_pa(da, size)
        return None if pa is None else self.memory.read(pa, size, "rproc_copy_segment")

    def _reset_table(self, *, clean: bool) -> None:
        """rproc_reset_rsc_table_on_stop; with `clean`, rproc_reset_rsc_table_on_detach."""
        at, self.loaded_table = self.loaded_table, None
        original, self._clean_table = self._clean_table, None
        if at is None or original is None:
            return  # the cached copy is the table from here on
        self.table = KernelTable(self.memory.read(at, len(original), "rproc_reset_rsc_table"))
        if clean:
            self.memory.write(at, original, "rproc_reset_rsc_table_on_detach")

    def _start(self, firmware: bytes) -> None:
        """rproc_start."""
        self.ops.load(firmware, self.carveouts)
        loaded = self.ops.find_loaded_rsc_table(firmware, self.carveouts)
        if loaded is not None and self.table is not None:
            self.memory.write(loaded, bytes(self.table.data), "rproc_start")
            self.loaded_table = loaded
        try:
            self._dump_traces()
            self.ops.start()
            self._start_devices()
        except CosimError:
            self.loaded_table = None
            raise
        self._enter(RprocState.RUNNING)
        self.printk("info", "rproc_start", "remote processor is now up")

    def _start_devices(self) -> None:
        for index, device in enumerate(self._devices):
            try:
                device.start()
            except CosimError:
                for started in reversed(self._devices[:index]):
                    started.stop()
                self.ops.stop(self._state)
                raise

    def _stop(self, *, crashed: bool) -> None:
        """rproc_stop."""
        for device in reversed(self._devices):
            device.stop()
        self._reset_table(clean=False)
        self.ops.stop(RprocState.CRASHED if crashed else self._state)
        self._enter(RprocState.OFFLINE)
        self.printk("info", "rproc_stop", "stopped remote processor")

    def _cleanup(self) -> None:
        """rproc_resource_cleanup and rproc_unprepare_device."""
        self._devices = []
        self.resources = Resources()
        self.loaded_table = self._clean_table = None
        self.carveouts.clear()
        self.coredump.clear()

    def _enter(self, state: RprocState) -> None:
        before, self._state = self._state, state
        self._log.emit(RprocStateChanged(before.name, state.name))


def dump_regions(carveouts: Carveouts) -> list[Carveout]:
    """The board's memory regions that a coredump holds (stm32_rproc_prepare)."""
    return [entry for entry in carveouts if entry.name != _NOT_DUMPED]
