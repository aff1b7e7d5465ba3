"""Connects a plain Renode to `cosim serve`: forwards accesses and SMCs, and does what the server asks meanwhile.

A Renode script includes this file into the monitor (see stm32mp157c-dk2.resc), which gives the monitor the commands
cosim_connect and cosim_wait. It runs under Renode's IronPython 2.7 and, up to the class RenodeMachine, under Python 3.
The protocol is described in cosim/serve/protocol.py.

No failure here may reach Renode: an exception on the thread of a core ends the whole process.
"""

import hashlib
import hmac
import os
import socket
import struct
import sys
import threading
import time
import types

VERSION = 1
MAGIC = "cosimRN"
MOST_PAYLOAD = 0x10100
HANDSHAKE_SECONDS, REPLY_SECONDS = 10.0, 60.0
CHALLENGE, WELCOME, DONE, READ_MEM, WRITE_MEM, LOCK, START, RELEASE, HOLD, END, REFUSED = range(0x01, 0x0C)
HELLO, READ, WRITE, SMC, CONSOLE, FIRST, TICK, RESULT, FAILED = range(0x81, 0x8A)
HOST, A7, M4 = range(3)
CORES = {"a7": A7, "m4": M4}
#: What r0 of an SMC becomes when nobody serves it (SMCCC: NOT_SUPPORTED).
NOT_SUPPORTED = 0xFFFFFFFF
#: A console line that does not end is sent in pieces of this many characters.
LONGEST_LINE = 200
#: Where the normal world's program is (docs/architecture.md); its `smc` instructions are looked for there.
PROGRAM_BASE, PROGRAM_SIZE = 0xC0000000, 0x100000


class ShimError(Exception):
    """The server cannot be used, and why."""


def parse_endpoint(text):
    """(host, port) of "127.0.0.1:4157" or "[::1]:4157"."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ShimError("%r is no address of the form HOST:PORT" % text)
    return host.strip("[]"), int(port)


def token_path(name):
    """The token file: `name`, or the default that `cosim serve` has too."""
    if name:
        return name
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return os.path.join(runtime, "cosim.token")
    return os.path.join(os.path.expanduser("~"), ".cosim.token")


def read_token(path):
    try:
        with open(path, "r") as stream:
            return bytearray(stream.read(256).strip().encode("ascii"))
    except (IOError, UnicodeError) as error:
        raise ShimError("cannot read the token file %s: %s; `cosim serve` makes it" % (path, error))


def proof(token, role, server_nonce, client_nonce):
    message = bytearray(role.encode("ascii")) + server_nonce + client_nonce
    return bytearray(hmac.new(bytes(token), bytes(message), hashlib.sha256).digest())


def smc_sites(data, base):
    """Addresses of the A32 `smc` instructions (any condition) in a bytearray that lies at `base`."""
    words = struct.unpack_from("<%dI" % (len(data) // 4), data)
    return [base + 4 * n for n, word in enumerate(words) if word & 0x0FFFFFF0 == 0x01600070 and word < 0xF0000000]


def pack(layout, *values):
    return bytearray(struct.pack(layout, *values))


def pack_name(text):
    data = bytearray(text.encode("ascii", "replace")[:255])
    return pack("<B", len(data)) + data


def take_name(payload):
    """A name in front of `payload`, and the rest."""
    end = 1 + payload[0]
    return payload[1:end].decode("ascii"), payload[end:]


def to_text(data):
    return data.decode("ascii", "replace")


class Stream(object):
    """Frames over a socket; any failure is a ShimError."""

    def __init__(self, stream):
        self._socket = stream

    def send(self, kind, payload=b""):
        try:
            self._socket.sendall(bytes(pack("<IB", len(payload), kind) + payload))
        except (socket.error, ValueError) as error:
            raise ShimError("lost the server: %s" % error)

    def receive(self):
        """Kind and payload of the next frame; what a server says when it refuses is raised."""
        length, kind = struct.unpack_from("<IB", self._read(5))
        if length > MOST_PAYLOAD:
            raise ShimError("what answers there is not `cosim serve` (a frame of %d bytes)" % length)
        payload = self._read(length)
        if kind == REFUSED:
            raise ShimError("the server says: " + to_text(payload))
        return kind, payload

    def close(self):
        self._socket.close()

    def _read(self, size):
        data = bytearray()
        try:
            while len(data) < size:
                chunk = self._socket.recv(size - len(data))
                if not chunk:
                    raise ShimError("the server closed the connection")
                data += bytearray(chunk)
        except (socket.error, ValueError) as error:
            raise ShimError("lost the server: %s" % error)
        return data


def connect(endpoint, token, peer):
    """A Stream to an authenticated server of this version."""
    address = parse_endpoint(endpoint)
    try:
        raw = socket.create_connection(address, HANDSHAKE_SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except socket.error as error:
        raise ShimError("no server at %s (%s): start `cosim serve IMAGE` first" % (endpoint, error))
    stream = Stream(raw)
    try:
        _handshake(stream, token, peer)
        raw.settimeout(REPLY_SECONDS)
        return stream
    except ShimError:
        stream.close()
        raise


def _handshake(stream, token, peer):
    kind, payload = stream.receive()
    if kind != CHALLENGE or len(payload) < 10 or to_text(payload[:7]) != MAGIC:
        raise ShimError("what answers there is not `cosim serve`")
    (version,) = struct.unpack_from("<H", payload, 8)
    mine = bytearray(os.urandom(32))
    theirs = payload[10:]
    introduction = pack("<H", VERSION) + mine + proof(token, "client", theirs, mine) + pack_name(peer)
    stream.send(HELLO, introduction)
    if version != VERSION:
        raise ShimError("the server speaks protocol version %d, this file %d: use matching files" % (version, VERSION))
    kind, payload = stream.receive()
    if kind != WELCOME or payload != proof(token, "server", theirs, mine):
        raise ShimError("the server does not know the token")


class Shim(object):
    """Requests to the server. `machine` does what the server asks for; see RenodeMachine."""

    def __init__(self, stream, machine):
        self.ended = False
        self._machine = machine
        self._stream = stream
        self._lock = threading.RLock()
        self._actions = {
            READ_MEM: self._read_mem,
            WRITE_MEM: self._write_mem,
            LOCK: self._lock_range,
            START: self._start,
            RELEASE: self._release,
            HOLD: self._hold,
            END: self._end,
        }

    def begin(self):
        """Let the server prepare memories and cores, as it does before it answers HELLO."""
        return self._guarded(self._until_done)

    def access(self, address, size, value):
        """Read (`value` None) or write a block; what cannot be served reads as zero."""
        if value is None:
            return self._request(READ, pack("<IB", address, size)) or 0
        self._request(WRITE, pack("<IBI", address, size, value))
        return 0

    def smc(self, registers):
        """r0 to r3 after an SMC with r0 to r7."""
        answer = self._ask(SMC, pack("<8I", *registers))
        if answer is None or len(answer) != 16:
            return (NOT_SUPPORTED, 0, 0, 0)
        return struct.unpack_from("<4I", answer)

    def console(self, source, text):
        self._ask(CONSOLE, pack_name(source) + bytearray(text.encode("ascii", "replace")))

    def first_instruction(self, address):
        self._ask(FIRST, pack("<I", address))

    def tick(self):
        self._ask(TICK, pack("<?", self._machine.m4_halted()))

    def _request(self, kind, body):
        answer = self._ask(kind, body)
        return struct.unpack_from("<I", answer)[0] if answer is not None and len(answer) >= 4 else None

    def _ask(self, kind, body):
        """The server's answer, None when there is none (any more)."""

        def exchange():
            core, nanoseconds, instructions, pc = self._machine.stamp()
            self._stream.send(kind, pack("<BQQI", core, nanoseconds * 1000, instructions, pc) + body)
            return self._until_done()

        return self._guarded(exchange)

    def _guarded(self, function):
        with self._lock:
            if self._stream is None:
                return None
            try:
                return function()
            except ShimError as error:
                self._give_up("%s; blocks read as zero from now on" % error)
            except:
                self._give_up("the shim failed: %s" % (sys.exc_info()[1],))
            return None

    def _give_up(self, why):
        self._machine.error(why)
        self._stream.close()
        self._stream = None
        self.ended = True

    def _until_done(self):
        while True:
            kind, payload = self._stream.receive()
            if kind == DONE:
                if self.ended:
                    self._stream.close()
                    self._stream = None
                return payload
            action = self._actions.get(kind)
            if action is None:
                raise ShimError("the server sent a message of unknown kind 0x%02x" % kind)
            try:
                answer = action(payload)
            except:
                self._stream.send(FAILED, bytearray(("%s" % (sys.exc_info()[1],)).encode("ascii", "replace")[:1000]))
            else:
                self._stream.send(RESULT, answer or bytearray())

    def _read_mem(self, payload):
        name, rest = take_name(payload)
        offset, size = struct.unpack_from("<II", rest)
        return self._machine.read_mem(name, offset, min(size, 0x10000))

    def _write_mem(self, payload):
        name, rest = take_name(payload)
        self._machine.write_mem(name, struct.unpack_from("<I", rest)[0], rest[4:])

    def _lock_range(self, payload):
        core, rest = take_name(payload)
        address, size, locked = struct.unpack_from("<II?", rest)
        self._machine.lock(core, address, size, locked)

    def _start(self, payload):
        core, rest = take_name(payload)
        self._machine.start(core, struct.unpack_from("<I", rest)[0])

    def _release(self, payload):
        core, rest = take_name(payload)
        self._machine.release(core, struct.unpack_from("<I", rest)[0])

    def _hold(self, payload):
        return pack("<Q", self._machine.hold(take_name(payload)[0]))

    def _end(self, payload):
        self._machine.end(payload[0], to_text(payload[1:]))
        self.ended = True


class RenodeMachine(object):
    """The machine in Renode, as the shim and the server need it."""

    def __init__(self, machine, program=""):
        from Antmicro.Renode.Logging import LogLevel
        from Antmicro.Renode.Peripherals.CPU import RegisterValue
        from Antmicro.Renode.Time import TimeInterval

        self._levels, self._register_value, self._interval = LogLevel, RegisterValue, TimeInterval
        self._machine = machine
        self._program = program
        self._bus = machine.SystemBus
        self._cpus = {"a7": machine["sysbus.a7"], "m4": machine["sysbus.m4"]}
        self._m4_released = False
        self._retired = 0
        self._hooked = set()
        self._expected_entry = None
        self._shim = None

    def attach(self, shim):
        """Tell `shim` what the UARTs print, and every 10 ms of virtual time how the M4 is."""
        self._shim = shim
        for name in ("usart3", "uart4"):
            self._machine["sysbus." + name].CharReceived += self._line_collector(name)
        self._schedule_tick()

    def log(self, text):
        self._machine.Log(self._levels.Info, "cosim: {0}", text)

    def error(self, text):
        self._machine.Log(self._levels.Error, "cosim: {0}", text)

    def stamp(self):
        """Core, virtual time in nanoseconds, its instructions, its PC; the host when no core is at work."""
        nanoseconds = self._machine.ElapsedVirtualTime.TimeElapsed.TotalNanoseconds
        found, cpu = self._bus.TryGetCurrentCPU()
        for name, known in self._cpus.items():
            if found and cpu == known:
                retired = known.ExecutedInstructions + (self._retired if name == "m4" else 0)
                return CORES[name], int(nanoseconds), int(retired), int(known.PC.RawValue)
        return HOST, int(nanoseconds), 0, 0

    def m4_halted(self):
        return bool(self._m4_released and self._cpus["m4"].IsHalted)

    def read_mem(self, name, offset, size):
        return bytearray(self._machine["sysbus." + name].ReadBytes(offset, size))

    def write_mem(self, name, offset, data):
        from System import Array, Byte

        self._machine["sysbus." + name].WriteBytes(offset, Array[Byte](data))

    def lock(self, core, address, size, locked):
        from Antmicro.Renode.Core import Range
        from System import UInt64

        self._bus.SetAddressRangeLocked(Range(UInt64(address), UInt64(size)), locked, self._cpus[core])

    def start(self, core, entry):
        cpu = self._cpus[core]
        if self._program:
            self._bus.LoadELF(self._program, False, True, cpu)
            entry = int(cpu.PC.RawValue)
        for site in smc_sites(self.read_mem("ddr", 0, PROGRAM_SIZE), PROGRAM_BASE):
            if site not in self._hooked:
                self._hooked.add(site)
                cpu.AddHook(site, self._on_smc)
        cpu.PC = self._register_value.Create(entry, 32)
        cpu.IsHalted = False

    def release(self, core, entry):
        cpu, entry = self._cpus[core], entry & ~1
        self._expected_entry = entry
        if (core, entry) not in self._hooked:
            self._hooked.add((core, entry))
            cpu.AddHook(entry, self._on_entry)
        # Renode would guess it from a loaded ELF file; reset forgets it.
        cpu.VectorTableOffset = 0
        self._m4_released = True
        cpu.IsHalted = False

    def hold(self, core):
        cpu = self._cpus[core]
        self._m4_released = False
        self._retired += int(cpu.ExecutedInstructions)
        cpu.IsHalted = True
        cpu.Reset()
        cpu.IsHalted = True
        self._machine["sysbus.nvic"].Reset()
        return self._retired

    def end(self, exit_code, text):
        self._m4_released = False
        for cpu in self._cpus.values():
            cpu.IsHalted = True
        for line in text.splitlines():
            self.log(line)
        self.log("exit code %d" % exit_code)

    def _on_smc(self, cpu, address):
        try:
            results = self._shim.smc([int(cpu.GetRegister(n).RawValue) for n in range(8)])
            for n, value in enumerate(results):
                cpu.SetRegister(n, self._register_value.Create(value, 32))
            cpu.PC = self._register_value.Create(address + 4, 32)
        except:
            self.error("SMC at 0x%08x: %s" % (address, sys.exc_info()[1]))

    def _on_entry(self, _cpu, address):
        # A loop may come by again: only the first time after a release counts.
        if address != self._expected_entry:
            return
        self._expected_entry = None
        self._shim.first_instruction(int(address))

    def _line_collector(self, name):
        line = []

        def on_char(value):
            if value == 10 or len(line) == LONGEST_LINE:
                self._shim.console(name, "".join(line))
                del line[:]
            if value not in (10, 13):
                line.append(chr(value) if value < 128 else "?")

        return on_char

    def _schedule_tick(self):
        self._machine.ScheduleAction(self._interval.FromMilliseconds(10.0), self._on_tick)

    def _on_tick(self, _now):
        try:
            self._shim.tick()
            if not self._shim.ended:
                self._schedule_tick()
        except:
            self.error("tick: %s" % (sys.exc_info()[1],))


class Peripherals(object):
    """What the script of each Python.PythonPeripheral in stm32mp157-secure.repl calls."""

    def __init__(self):
        self.shim = None

    def access(self, peripheral, request):
        if not (request.IsRead or request.IsWrite):
            return
        try:
            if self.shim is None or request.Length > 4:
                peripheral.Log(LogLevel.Warning, "access of {0} bytes is not served", request.Length)  # noqa: F821
                return
            value = int(request.Value) if request.IsWrite else None
            request.Value = self.shim.access(int(request.Absolute), int(request.Length), value)
        except:
            peripheral.Log(LogLevel.Error, "cosim: {0}", "%s" % (sys.exc_info()[1],))  # noqa: F821


PERIPHERALS = Peripherals()


def mc_cosim_connect(endpoint, token="", program=""):
    """Monitor command: connect the current machine to `cosim serve` and let it prepare the boot."""
    machine = RenodeMachine(monitor.Machine, program)  # noqa: F821 - Renode's monitor
    try:
        stream = connect(endpoint, read_token(token_path(token)), "Renode")
    except ShimError as error:
        machine.error("%s" % error)
        return False
    shim = Shim(stream, machine)
    if shim.begin() is None:
        return False
    machine.attach(shim)
    PERIPHERALS.shim = shim
    return None


def mc_cosim_wait():
    """Monitor command: wait until the boot is over."""
    while PERIPHERALS.shim is not None and not PERIPHERALS.shim.ended:
        time.sleep(0.05)


if "monitor" in globals():
    # The scripts of the peripherals have scopes of their own: an importable module is how they find this one.
    sys.modules["cosim_shim"] = types.ModuleType("cosim_shim")
    sys.modules["cosim_shim"].access = PERIPHERALS.access
