"""Runs PTX one CUDA thread at a time: about a million instructions a second, for small cases.

A global access outside the given arrays, a misaligned one, an unknown instruction, a warp operation whose lanes do not
all come, a barrier that some threads miss and a race between accesses that nothing orders are errors.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from ptx_program import Kernel
from ptx_values import PtxError, encoder

FIRST_ADDRESS = 0x7000_0000_0000


@dataclass(eq=False, slots=True)
class Thread:
    """The state of one CUDA thread."""

    launch: Launch
    block: tuple[int, int, int]
    number: int
    special: dict[str, int]
    registers: dict[str, int] = field(default_factory=dict)
    counter: int = 0
    state: str = "run"
    want: tuple = ()
    barriers: int = 0
    warp_syncs: int = 0
    meetings: int = 0  # barriers and warp operations so far
    times: dict[int, int] = field(default_factory=dict)  # that an instruction ran since the last of them


@dataclass(frozen=True)
class Access:
    """Who touched an address last, and between which barriers."""

    block: tuple[int, int, int]
    thread: int
    barriers: int
    warp_syncs: int

    def ordered(self, other: Access) -> bool:
        """Whether something orders the two accesses of one launch."""
        if self.block != other.block:
            return False
        if self.thread == other.thread or self.barriers != other.barriers:
            return True
        return self.thread // 32 == other.thread // 32 and self.warp_syncs != other.warp_syncs


class Launch:
    """The memory of one launch, and what is noted about it."""

    def __init__(self, kernel: Kernel, arguments, dynamic: int):
        self.kernel, self.arrays, self.params = kernel, [], []
        self.shared_bytes = kernel.shared_bytes + dynamic
        self.shared = np.zeros(0, np.uint8)
        self.touched = {}  # (shared, block, warp, counter, meetings, times) -> [(address, bytes)]
        self.writers = ({}, {})
        self.readers = ({}, {})
        at = FIRST_ADDRESS
        if len(kernel.params) != len(arguments):
            raise PtxError(f"{kernel.name} takes {len(kernel.params)} arguments, got {len(arguments)}")
        for argument in arguments:
            parts = argument if isinstance(argument, list) else [argument]  # a list: the members of a struct
            raw = b""
            for part in parts:
                if isinstance(part, np.ndarray):
                    self.arrays.append((at, part.nbytes, part.reshape(-1).view(np.uint8)))
                    raw += at.to_bytes(8, "little")
                    at += -(-part.nbytes // 256) * 256 + 4096
                else:
                    kind, value = part
                    raw += encoder(kind)(value).to_bytes(max(1, int(kind[1:]) // 8), "little")
            self.params.append(raw)

    def param(self, index: int, offset: int, size: int) -> int:
        return int.from_bytes(self.params[index][offset : offset + size], "little")

    def note(self, thread: Thread, shared: bool, address: int, size: int) -> None:
        """Count the access as if the lanes of a warp ran an instruction's n-th time since they met together."""
        counter = thread.counter
        times = thread.times[counter] = thread.times.get(counter, 0) + 1
        key = (shared, thread.block, thread.number // 32, counter, thread.meetings, times)
        self.touched.setdefault(key, []).append((address, size))

    def _place(self, thread: Thread, shared: bool, address: int, size: int):
        text = self.kernel.code[thread.counter][4]
        if shared:
            if address >= 0 and address + size <= self.shared_bytes:
                return self.shared, address
            raise PtxError(f"shared access at {address}, {size} of {self.shared_bytes} bytes: {text}")
        for begin, length, array in self.arrays:
            if begin <= address and address + size <= begin + length:
                if (address - begin) % size:
                    raise PtxError(f"misaligned access: {text}")
                return array, address - begin
        raise PtxError(f"global access outside every array by thread {thread.number} of block {thread.block}: {text}")

    def _ordered(self, thread: Thread, access: Access, others) -> None:
        for other in others:
            if not access.ordered(other):
                raise PtxError(
                    f"race of block {access.block} thread {access.thread} and block {other.block} thread "
                    f"{other.thread}: {self.kernel.code[thread.counter][4]}"
                )

    def load(self, thread: Thread, shared: bool, address: int, size: int) -> int:
        array, offset = self._place(thread, shared, address, size)
        me = Access(thread.block, thread.number, thread.barriers, thread.warp_syncs)
        writer = self.writers[shared].get(address)
        self._ordered(thread, me, [writer] if writer else [])
        readers = self.readers[shared]
        readers[address] = [*[r for r in readers.get(address, []) if r.thread != me.thread][-1:], me]
        return int.from_bytes(array[offset : offset + size].tobytes(), "little")

    def store(self, thread: Thread, shared: bool, address: int, size: int, value: int) -> None:
        array, offset = self._place(thread, shared, address, size)
        me = Access(thread.block, thread.number, thread.barriers, thread.warp_syncs)
        writer = self.writers[shared].get(address)
        self._ordered(thread, me, ([writer] if writer else []) + self.readers[shared].get(address, []))
        self.writers[shared][address] = me
        raw = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        array[offset : offset + size] = np.frombuffer(raw, np.uint8)

    def traffic(self) -> dict[str, tuple[int, int, int]]:
        """By instruction on global memory: requests of warps, 32-byte sectors, bytes that threads asked for."""
        total = {}
        for (shared, _, _, counter, *_), accesses in self.touched.items():
            if shared:
                continue
            sectors = {at for address, size in accesses for at in range(address // 32, (address + size - 1) // 32 + 1)}
            key = f"{counter}: {self.kernel.code[counter][4]}"
            requests, all_sectors, size = total.get(key, (0, 0, 0))
            total[key] = (requests + 1, all_sectors + len(sectors), size + sum(part[1] for part in accesses))
        return total


def _advance(thread: Thread, code) -> int:
    """Run a thread to its next barrier, warp operation or end; return the number of instructions."""
    count = 0
    while True:
        predicate, negated, kind, function, text = code[thread.counter]
        count += 1
        try:
            if predicate is not None and bool(thread.registers[predicate]) == negated:
                thread.counter += 1
                continue
            if kind == "op":
                function(thread)
                thread.counter += 1
            elif kind == "branch":
                thread.counter = function(thread)
            elif kind == "warp":
                thread.want = function(thread)
                thread.state = "warp"
                return count
            else:
                thread.state = "done" if kind == "return" else "barrier"
                thread.counter += 1
                return count
        except KeyError as error:
            raise PtxError(f"register {error} is read before it is set: {text}") from None


def _meet(warp: list[Thread], code) -> bool:
    """Carry out the warp operations of which all lanes have come; return whether there was one."""
    moved = False
    for thread in warp:
        if thread.state != "warp":
            continue
        mask, text = thread.want[7], code[thread.counter][4]
        members = {t.number % 32: t for t in warp if mask >> (t.number % 32) & 1}
        if thread.number % 32 not in members:
            raise PtxError(f"a lane outside of its own mask: {text}")
        if len(members) < mask.bit_count() or any(t.state == "done" for t in members.values()):
            raise PtxError(f"a mask names a lane that has exited: {text}")
        together = [t.state == "warp" and t.counter == thread.counter and t.want[7] == mask for t in members.values()]
        if not all(together):
            continue
        ballot = sum(1 << lane for lane, t in members.items() if t.want[4])
        results = []
        for lane, t in members.items():
            what, mode, to, valid, value, by, clamp, _ = t.want
            if what == "vote":
                results.append((t, to, {"ballot": ballot, "any": ballot != 0, "all": ballot == mask}[mode]))
            elif what == "shfl":
                segment, most = clamp >> 8 & 31, clamp & 31
                low = lane & segment
                high = low | (most & ~segment & 31)
                by &= 31
                source = {"up": lane - by, "down": lane + by, "bfly": lane ^ by, "idx": low | (by & ~segment)}[mode]
                inside = source >= high if mode == "up" else source <= high
                source = source if inside else lane
                if source not in members:
                    raise PtxError(f"a shuffle from a lane outside the mask: {text}")
                results.append((t, to, members[source].want[4]))
                if valid:
                    results.append((t, valid, int(inside)))
        for t, to, value in results:
            t.registers[to] = int(value)
        for t in members.values():
            t.state, t.counter = "run", t.counter + 1
            t.warp_syncs += t.want[0] == "sync"
            t.meetings += 1
            t.times.clear()
        moved = True
    return moved


def _open_barrier(threads: list[Thread], code) -> None:
    """Let the threads past the barrier at which all of them wait."""
    for thread in threads:
        if thread.state == "warp":
            raise PtxError(f"a warp operation whose lanes do not all come: {code[thread.counter][4]}")
        if thread.state == "done":
            raise PtxError("a barrier that exited threads miss")
    if len({thread.counter for thread in threads}) > 1:
        raise PtxError("threads wait at different barriers")
    for thread in threads:
        thread.state, thread.barriers = "run", thread.barriers + 1
        thread.meetings += 1
        thread.times.clear()


def run(kernel: Kernel, grid, block: int, arguments, seed: int = 0, dynamic: int = 0) -> tuple[int, Launch]:
    """Run a launch; return the number of instructions and the launch.

    arguments: arrays (given by address), (type, value) pairs, or a list of both for a struct. dynamic: bytes of dynamic
    shared memory. seed: 0 runs blocks and threads in order, others permute them.
    """
    launch = Launch(kernel, arguments, dynamic)
    grid = (*grid, 1, 1)[:3] if isinstance(grid, tuple) else (grid, 1, 1)
    generator = random.Random(seed)
    blocks = [(x, y, z) for z in range(grid[2]) for y in range(grid[1]) for x in range(grid[0])]
    if seed:
        generator.shuffle(blocks)
    sizes = {
        f"%n{name}.{axis}": n
        for name, v in (("tid", (block, 1, 1)), ("ctaid", grid))
        for axis, n in zip("xyz", v, strict=True)
    }
    count = 0
    for at in blocks:
        launch.shared = np.full(max(1, launch.shared_bytes), 0xFF, np.uint8)
        launch.writers[True].clear()
        launch.readers[True].clear()
        threads = []
        for number in range(block):
            places = zip(
                ("%tid.x", "%tid.y", "%tid.z", "%ctaid.x", "%ctaid.y", "%ctaid.z"), (number, 0, 0, *at), strict=True
            )
            threads.append(Thread(launch, at, number, {**sizes, **dict(places), "%laneid": number % 32}))
        warps = [threads[i : i + 32] for i in range(0, block, 32)]
        while any(thread.state != "done" for thread in threads):
            order = list(threads)
            if seed:
                generator.shuffle(order)
            ready = [thread for thread in order if thread.state == "run"]
            count += sum(_advance(thread, kernel.code) for thread in ready)
            met = [_meet(warp, kernel.code) for warp in warps]
            if not ready and not any(met):
                _open_barrier(threads, kernel.code)
    return count, launch
