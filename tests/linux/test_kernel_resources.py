"""rproc_handle_resources: every check of the host, with the kernel's error and function."""

from __future__ import annotations

import struct

import pytest
from linux_bench import STATUS, TABLE, VRINGS, booted, commands, elf, host, word

from cosim.linux.carveout import CMA_BASE, CMA_SIZE, MOST_CARVEOUTS, Carveout, Carveouts
from cosim.linux.errno import Errno, KernelError, KernelOopsError
from cosim.linux.events import KernelMessage
from cosim.linux.remoteproc_core import RprocState
from cosim.linux.resources import KernelTable, Resources, handle_resources, vring_size, write_back_carveouts
from cosim.testing import default_signer

ANY = 0xFFFFFFFF


def table(*entries: bytes, num: int | None = None) -> bytes:
    """A resource table with its entries one behind the other."""
    offsets, at = [], 16 + 4 * len(entries)
    for entry in entries:
        offsets.append(at)
        at += len(entry)
    header = struct.pack("<4I", 1, len(entries) if num is None else num, 0, 0)
    return header + struct.pack(f"<{len(offsets)}I", *offsets) + b"".join(entries)


def carveout(name: bytes = b"mcuram2", da: int = ANY, size: int = 0x1000, reserved: int = 0, kind: int = 0) -> bytes:
    return struct.pack("<I5I32s", kind, da, 0, size, 0, reserved, name)


def trace(reserved: int = 0) -> bytes:
    return struct.pack("<I3I32s", 2, 0x10048100, 0x800, reserved, b"log")


def vring(da: int = ANY, align: int = 16, num: int = 16) -> bytes:
    return struct.pack("<5I", da, align, num, 7, 0)


def vdev(*rings: bytes, count: int | None = None, config_len: int = 0, reserved: int = 0) -> bytes:
    number = len(rings) if count is None else count
    return struct.pack("<6I4B", 3, 7, 0, 1, 0, config_len, 0, number, reserved, 0) + b"".join(rings)


def handle(data: bytes, carveouts: Carveouts | None = None) -> tuple[Resources, KernelTable, Carveouts, list[str]]:
    if carveouts is None:
        carveouts = Carveouts()
        carveouts.add_board_regions()
    lines: list[str] = []
    kept = KernelTable(data)
    found = handle_resources(kept, carveouts, lambda level, function, text: lines.append(f"{level} {function}: {text}"))
    return found, kept, carveouts, lines


def refusal(data: bytes) -> tuple[Errno, str]:
    with pytest.raises(KernelError) as caught:
        handle(data)
    return caught.value.errno, caught.value.function


@pytest.mark.parametrize(
    ("data", "errno", "function"),
    [
        pytest.param(
            struct.pack("<5I", 1, 1, 0, 0, 0x1000), Errno.EINVAL, "rproc_handle_resources", id="entry-outside"
        ),
        pytest.param(table(trace()[:-1]), Errno.EINVAL, "rproc_handle_trace", id="trace-truncated"),
        pytest.param(table(trace(reserved=1)), Errno.EINVAL, "rproc_handle_trace", id="trace-reserved"),
        pytest.param(table(carveout()[:-1]), Errno.EINVAL, "rproc_handle_carveout", id="carveout-truncated"),
        pytest.param(table(carveout(reserved=1)), Errno.EINVAL, "rproc_handle_carveout", id="carveout-reserved"),
        pytest.param(table(carveout(kind=1)), Errno.EINVAL, "rproc_handle_devmem", id="devmem-without-iommu"),
        pytest.param(table(vdev(vring(), vring())[:-1]), Errno.EINVAL, "rproc_handle_vdev", id="vdev-truncated"),
        pytest.param(table(vdev()[:-1]), Errno.EINVAL, "rproc_handle_vdev", id="vdev-head-truncated"),
        pytest.param(table(vdev(vring(), config_len=1)), Errno.EINVAL, "rproc_handle_vdev", id="vdev-config-outside"),
        pytest.param(table(vdev(vring(), reserved=1)), Errno.EINVAL, "rproc_handle_vdev", id="vdev-reserved"),
        pytest.param(table(vdev(vring(), vring(), vring())), Errno.EINVAL, "rproc_handle_vdev", id="three-vrings"),
        pytest.param(table(vdev(vring(num=0))), Errno.EINVAL, "rproc_parse_vring", id="vring-without-buffers"),
        pytest.param(table(vdev(vring(align=0))), Errno.EINVAL, "rproc_parse_vring", id="vring-without-alignment"),
        pytest.param(table(vdev(vring(num=1 << 20))), Errno.ENOMEM, "rproc_alloc_vring", id="vring-absurd"),
        pytest.param(table(vdev(vring(num=256))), Errno.ENOMEM, "rproc_alloc_vring", id="vring-larger-than-carveout"),
        pytest.param(table(vdev(vring(da=0x10040010))), Errno.ENOMEM, "rproc_alloc_vring", id="vring-behind-carveout"),
        pytest.param(table(vdev(vring(da=0x1003F000))), Errno.ENOMEM, "rproc_alloc_vring", id="vring-below-carveout"),
        pytest.param(table(carveout(size=0x40001)), Errno.ENOMEM, "rproc_handle_carveout", id="carveout-too-long"),
        pytest.param(table(carveout(da=0xFFFFFFF)), Errno.ENOMEM, "rproc_handle_carveout", id="carveout-below"),
        pytest.param(table(carveout(da=0x1003F001)), Errno.ENOMEM, "rproc_handle_carveout", id="carveout-ends-behind"),
        pytest.param(table(carveout(), carveout()), Errno.ENOMEM, "rproc_handle_carveout", id="carveout-twice"),
    ],
)
def test_a_bad_table_is_refused_with_the_kernels_error(data: bytes, errno: Errno, function: str) -> None:
    assert refusal(data) == (errno, function)


def test_a_number_of_entries_that_the_table_does_not_hold_ends_the_kernel_not_the_simulator() -> None:
    with pytest.raises(KernelOopsError):
        handle(table(num=0xFFFFFFFF))


def test_a_table_of_zeros_asks_for_nothing() -> None:
    assert handle(bytes(140))[0] == Resources()


def test_unknown_and_vendor_entries_are_skipped_with_a_warning() -> None:
    found, _, _, lines = handle(table(struct.pack("<I", 4), struct.pack("<I", 128), trace()))
    assert [t.name for t in found.traces] == ["log"]
    assert [line.split(":")[1].strip() for line in lines] == [
        "unsupported resource 4 is skipped",
        "vendor resource 128 is skipped",
    ]


def test_a_vdev_gets_notify_ids_in_order_across_devices() -> None:
    found, kept, _, _ = handle(table(vdev(vring(), vring()), vdev(vring())))
    assert [[ring.notify_id for ring in device.vrings] for device in found.vdevs] == [[0, 1], [2]]
    assert kept.word(24 + 28 + 12) == 0
    assert kept.word(24 + 28 + 20 + 12) == 1


def test_a_vring_without_carveout_is_taken_from_ddr() -> None:
    _, _, carveouts, _ = handle(table(vdev(vring(), vring()), vdev(vring())))
    carveouts.allocate()
    ring = carveouts.by_name("vdev1vring0")
    assert ring is not None
    assert (ring.pa, ring.da) == (CMA_BASE, CMA_BASE)


def test_allocated_carveouts_are_written_back_with_address_and_length() -> None:
    _, kept, carveouts, _ = handle(table(carveout(name=b"mcuram2", size=0x100), carveout(name=b"heap", size=0x2000)))
    carveouts.allocate()
    write_back_carveouts(kept, carveouts)
    named, fresh = 24, 24 + 56
    assert [kept.word(named + n) for n in (4, 8, 12)] == [0x10000000, 0x10000000, 0x40000]
    assert [kept.word(fresh + n) for n in (4, 8, 12)] == [CMA_BASE, CMA_BASE, 0x2000]


def test_memory_that_ddr_cannot_give_is_enomem() -> None:
    _, _, carveouts, _ = handle(table(carveout(name=b"heap", size=CMA_SIZE + 1)))
    with pytest.raises(KernelError) as caught:
        carveouts.allocate()
    assert (caught.value.errno, caught.value.function) == (Errno.ENOMEM, "rproc_alloc_carveout")


def test_a_table_that_asks_for_thousands_of_carveouts_is_stopped() -> None:
    names = [carveout(name=str(n).encode()) for n in range(MOST_CARVEOUTS)]
    assert refusal(table(*names)) == (Errno.ENOMEM, "rproc_mem_entry_init")


def test_device_addresses_translate_only_inside_one_mapped_carveout() -> None:
    carveouts = Carveouts()
    carveouts.add(Carveout("retram", 0, 0x38000000, 0x10000))
    assert carveouts.da_to_pa(0x100, 4) is None
    carveouts.allocate()
    assert carveouts.da_to_pa(0x100, 4) == 0x38000100
    assert carveouts.da_to_pa(0xFFFF, 2) is None
    assert carveouts.holds_pa(0x3800FFFF, 1)
    assert not carveouts.holds_pa(0x3800FFFF, 2)


@pytest.mark.parametrize(("num", "align", "size"), [(16, 16, 438), (16, 4096, 4230), (256, 4096, 10246)])
def test_the_size_of_a_ring_is_that_of_the_virtio_specification(num: int, align: int, size: int) -> None:
    # virtio 1.0, 2.6.2: align(16 * num + 2 * (3 + num)) + 6 + 8 * num
    assert vring_size(num, align) == size


# -- through a whole boot ----------------------------------------------------------------------------------------------


def with_table(data: bytes) -> bytes:
    """The demo, signed, with another resource table of at most 140 bytes in the place of its own."""
    image = elf("demo_m4")
    start = image.index(struct.pack("<4I", 1, 2, 0, 0))
    return default_signer().sign(image[:start] + data.ljust(140, b"\0") + image[start + 140 :])


def test_the_addresses_of_rings_go_into_the_table_of_the_running_firmware() -> None:
    linux = booted()
    assert linux.rproc.loaded_table == TABLE
    assert [word(linux, VRINGS + n) for n in (0, 20)] == [0x10040000, 0x10041000]
    assert [word(linux, VRINGS + 12 + n) for n in (0, 20)] == [0, 1]


def test_the_kernels_notify_ids_replace_the_firmwares_in_the_processors_memory() -> None:
    linux = host()
    linux.firmware = with_table(table(vdev(vring(), vring())))  # both ask for 7
    linux.boot()
    assert [word(linux, VRINGS - 4 + 12 + n) for n in (0, 20)] == [0, 1]


def test_the_driver_is_ok_in_the_table_while_the_firmware_runs() -> None:
    linux = booted()
    assert word(linux, STATUS, 1) == 7
    assert word(linux, STATUS - 8) == 1  # VIRTIO_RPMSG_F_NS was offered and taken


def test_a_table_that_the_host_refuses_fails_the_boot_and_releases_the_firmware() -> None:
    linux = host()
    linux.firmware = with_table(table(carveout(kind=1)))
    with pytest.raises(KernelError) as caught:
        linux.boot()
    assert (caught.value.errno, caught.value.function) == (Errno.EINVAL, "rproc_handle_devmem")
    assert commands(linux) == ["LOAD_FW", "GET_RSC_TABLE", "RELEASE_FW"]
    assert linux.rproc.state is RprocState.OFFLINE
    assert not linux.soc.m4.retired


@pytest.mark.parametrize(
    ("rings", "reason"),
    [
        pytest.param((vring(num=32), vring(num=32)), "do not fit vdev0buffer", id="buffers-too-large"),
        pytest.param((vring(num=12), vring(num=12)), "Bad virtqueue length 12", id="no-power-of-two"),
        pytest.param((vring(align=24), vring()), "alignment 24", id="alignment"),
        pytest.param((vring(),), "the device has no vring 1", id="one-ring"),
    ],
)
def test_rings_that_cannot_be_used_leave_the_processor_running_without_rpmsg(
    rings: tuple[bytes, ...], reason: str
) -> None:
    linux = host()
    linux.firmware = with_table(table(vdev(*rings)))
    linux.boot()
    assert linux.rproc.state is RprocState.RUNNING
    assert any("probe failed" in m.text and reason in m.text for m in linux.soc.log.of(KernelMessage))
    assert word(linux, STATUS - 4, 1) & 0x80  # FAILED; the entry starts 4 bytes earlier in a table of one entry
    with pytest.raises(KernelError) as caught:
        linux.buses[0].send(1024, 1024, b"x")
    assert caught.value.errno is Errno.EINVAL


def test_rings_of_different_sizes_are_warned_about_and_the_smaller_one_fills_up() -> None:
    linux = host()
    linux.firmware = with_table(table(vdev(vring(num=16), vring(num=4))))
    linux.boot()
    assert any("symmetric" in m.text for m in linux.soc.log.of(KernelMessage))
    for _ in range(4):
        linux.buses[0].send(1024, 1, b"x")
    with pytest.raises(KernelError) as caught:
        linux.buses[0].send(1024, 1, b"x")
    assert caught.value.errno is Errno.ENOSPC


def test_a_device_that_nobody_drives_is_only_acknowledged() -> None:
    linux = host()
    entry = bytearray(vdev(vring(), vring()))
    entry[4] = 3  # a console
    linux.firmware = with_table(table(bytes(entry)))
    linux.boot()
    assert word(linux, STATUS - 4, 1) == 1
