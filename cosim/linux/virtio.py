"""The virtio device of a remote processor (remoteproc_virtio.c): status, features and rings in its table entry."""

from __future__ import annotations

from typing import Protocol

from cosim.linux.errno import Errno, KernelError
from cosim.linux.remoteproc_core import Rproc
from cosim.linux.resources import (
    VDEV_DFEATURES,
    VDEV_GFEATURES,
    VDEV_STATUS,
    VDEV_VRINGS,
    VRING_SIZE,
    VdevSpec,
)
from cosim.linux.vring import Virtqueue

STATUS_ACKNOWLEDGE, STATUS_DRIVER, STATUS_DRIVER_OK, STATUS_FAILED = 1, 2, 4, 0x80


class VirtioDriver(Protocol):
    """A driver of one virtio device id."""

    features: int

    def probe(self, device: VirtioDevice) -> None:
        """Take the device into use, up to `device.ready`. Raises `KernelError`."""
        ...

    def interrupt(self, number: int) -> bool:
        """The device has notified the virtqueue of that number; whether there was anything in it."""
        ...

    def remove(self) -> None:
        """The device goes away."""
        ...


class VirtioDevice:
    """One vdev entry; a subdevice of the core. `driver` None: nobody drives that device id."""

    def __init__(self, rproc: Rproc, spec: VdevSpec, driver: VirtioDriver | None) -> None:
        self.rproc = rproc
        self.spec = spec
        self.features = 0
        self._driver = driver
        self._bound = False

    # -- for the core --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """register_virtio_device: reset, acknowledge, and let the driver probe; its failure is only logged."""
        self._set_status(0)
        self._set_status(STATUS_ACKNOWLEDGE)
        if self._driver is None:
            self.rproc.printk("warn", "virtio_dev_probe", f"no driver for virtio device id {self.spec.id}")
            return
        self._set_status(STATUS_ACKNOWLEDGE | STATUS_DRIVER)
        offered = self.rproc.table_read(self.spec.offset + VDEV_DFEATURES)
        self.features = offered & self._driver.features
        self.rproc.table_write(self.spec.offset + VDEV_GFEATURES, self.features)
        try:
            self._driver.probe(self)
            self._bound = True
        except KernelError as error:
            self._set_status(STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FAILED)
            self.rproc.printk("err", error.function, f"probe failed: {error.message}")

    def stop(self) -> None:
        """unregister_virtio_device: remove the driver, reset."""
        if self._bound and self._driver is not None:
            self._driver.remove()
        self._bound = False
        self._set_status(0)

    # -- for the driver ------------------------------------------------------------------------------------------

    def find_vq(self, number: int) -> Virtqueue:
        """rp_find_vq: the ring in its carveout, zeroed; its address goes into the table. Raises KernelError."""
        function = "rp_find_vq"
        if number >= len(self.spec.vrings):
            raise KernelError(function, Errno.EINVAL, f"the device has no vring {number}")
        ring = self.spec.vrings[number]
        mem = self.rproc.carveouts.by_name(f"vdev{self.spec.index}vring{number}")
        if mem is None or mem.pa is None or not mem.mapped:
            raise KernelError(function, Errno.ENOMEM, f"vring {number} has no memory")
        if ring.num & (ring.num - 1) or ring.align & (ring.align - 1):
            raise KernelError(function, Errno.ENOMEM, f"Bad virtqueue length {ring.num} or alignment {ring.align}")
        queue = Virtqueue(self.rproc.memory, ring.notify_id, mem.pa, ring.num, ring.align)
        self.rproc.table_write(self.spec.offset + VDEV_VRINGS + number * VRING_SIZE, mem.da)
        return queue

    def ready(self) -> None:
        """virtio_device_ready."""
        self._set_status(STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK)

    def notify(self, queue: Virtqueue) -> None:
        """rproc_virtio_notify."""
        self.rproc.ops.kick(queue.queue)

    # -- for the interrupt ---------------------------------------------------------------------------------------

    def interrupt(self, notify_id: int) -> bool:
        """rproc_vq_interrupt: the processor rang for a virtqueue; whether it is of this device and had anything."""
        found = False
        for number, ring in enumerate(self.spec.vrings):
            if self._bound and self._driver is not None and ring.notify_id == notify_id:
                found |= self._driver.interrupt(number)
        return found

    def _set_status(self, status: int) -> None:
        self.rproc.table_write(self.spec.offset + VDEV_STATUS, status, 1)
