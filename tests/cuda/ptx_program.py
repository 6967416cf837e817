"""Reads the PTX that nvcc made and turns every instruction into a Python function."""

from __future__ import annotations

import math
import re

from ptx_values import COMPARE, MASK32, TYPES, PtxError, decoder, encoder, unsigned, width

SPECIAL = {f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"} | {"%laneid"}
DYNAMIC = "sg_dynamic_shared"


def split_operands(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    return [part.strip() for part in re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,])+", text) if part.strip()]


def vector(text: str) -> list[str]:
    """The members of {a, b}, or the one operand."""
    return [part.strip() for part in text.strip("{}").split(",")]


class Kernel:
    """One entry: `code` holds (predicate, negated, kind, function, text) by program counter."""

    def __init__(self, name: str, text: str):
        self.name = name
        head, body = text.split("{", 1)
        pattern = r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(?:\.ptr[^,)\n]*\s)?(\w+)(?:\[(\d+)\])?\s*[,)\n]"
        self.params = [(kind, at, int(size or 0)) for kind, at, size in re.findall(pattern, head)]
        self.shared, self.shared_bytes = {}, 0
        for align, at, size in re.findall(r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+(\w+)\[(\d+)\]", body):
            self.shared[at] = -(-self.shared_bytes // int(align)) * int(align)
            self.shared_bytes = self.shared[at] + int(size)
        self.shared_bytes = -(-self.shared_bytes // 16) * 16
        self.labels, lines = {}, []
        for line in re.split(r"[;\n]", re.sub(r"//[^\n]*", "", body)):
            line = line.strip()
            while match := re.match(r"(\$\w+):\s*(.*)", line):
                self.labels[match[1]] = len(lines)
                line = match[2].strip()
            if line and line[0] not in "{}.":
                lines.append(line)
        self.code = [self._instruction(line) for line in lines]

    def _instruction(self, line: str):
        match = re.match(r"(?:@(!?)(%\w+)\s+)?([\w.]+(?:::[\w.]+)*)\s*(.*)", line)
        words = match[3].split(".")
        kinds = [word for word in words if word in TYPES]
        build = getattr(self, f"_{words[0]}", None)
        if build is None:
            raise PtxError(f"unknown instruction: {line}")
        kind, function = build(words, kinds, split_operands(match[4]))
        return match[2], bool(match[1]), kind, function, line.replace("\t", " ")

    def bits(self, operand: str):
        """Function of a thread that gives the bits of an operand."""
        if operand in SPECIAL:
            return lambda t: t.special[operand]
        if operand.startswith("%"):
            return lambda t: t.registers[operand]
        if operand[:2] in ("0f", "0d"):
            value = int(operand[2:], 16)
        elif DYNAMIC in operand:
            value = self.shared_bytes
        elif operand in self.shared:
            value = self.shared[operand]
        elif re.fullmatch(r"-?(0x)?[0-9a-fA-F]+U?", operand):
            value = int(operand.rstrip("U"), 0)
        else:
            raise PtxError(f"unknown operand {operand}")
        return lambda t: value

    def number(self, operand: str, kind: str):
        """Function of a thread that gives an operand as a number of its type."""
        bits, decode = self.bits(operand), decoder(kind)
        return lambda t: decode(bits(t))

    def address(self, operand: str):
        """Function of a thread that gives the address [register + offset]."""
        match = re.match(r"\[([%\w$]+)(?:\+(-?\d+))?\]", operand)
        base, offset = self.bits(match[1]), int(match[2] or 0)
        return lambda t: base(t) + offset

    def _set(self, to: str, kind: str, function):
        encode = encoder(kind)

        def run(t):
            t.registers[to] = encode(function(t))

        return "op", run

    def _binary(self, function, kinds, a, kind=None):
        kind = kind or kinds[-1]
        left, right = self.number(a[1], kind), self.number(a[2], kind)
        return self._set(a[0], kind, lambda t: function(left(t), right(t)))

    def _ld(self, words, kinds, a):
        if "param" in words:
            name, _, offset = a[1].strip("[]").partition("+")
            index = [param[1] for param in self.params].index(name)
            size, offset = width(kinds[-1]) // 8, int(offset or 0)
            targets = vector(a[0])

            def param(t):
                for i, to in enumerate(targets):
                    t.registers[to] = t.launch.param(index, offset + i * size, size)

            return "op", param
        address, size, shared = self.address(a[1]), width(kinds[-1]) // 8, "shared" in words
        targets = vector(a[0])

        def run(t):
            t.launch.note(t, shared, address(t), size * len(targets))
            for i, to in enumerate(targets):
                t.registers[to] = t.launch.load(t, shared, address(t) + i * size, size)

        return "op", run

    def _st(self, words, kinds, a):
        address, size, shared = self.address(a[0]), width(kinds[-1]) // 8, "shared" in words
        sources = [self.bits(part) for part in vector(a[1])]

        def run(t):
            t.launch.note(t, shared, address(t), size * len(sources))
            for i, source in enumerate(sources):
                t.launch.store(t, shared, address(t) + i * size, size, source(t))

        return "op", run

    def _mov(self, words, kinds, a):
        if a[0].startswith("{"):
            low, high = vector(a[0])
            source = self.bits(a[1])

            def unpack(t):
                t.registers[low], t.registers[high] = source(t) & MASK32, source(t) >> 32

            return "op", unpack
        if a[1].startswith("{"):
            low_bits, high_bits = (self.bits(part) for part in vector(a[1]))
            return self._set(a[0], "u64", lambda t: low_bits(t) & MASK32 | high_bits(t) << 32)
        return self._set(a[0], unsigned(kinds[-1]), self.bits(a[1]))

    _cvta = _mov

    def _add(self, words, kinds, a):
        return self._binary(lambda x, y: x + y, kinds, a)

    def _sub(self, words, kinds, a):
        return self._binary(lambda x, y: x - y, kinds, a)

    def _mul(self, words, kinds, a):
        kind = kinds[-1]
        if "hi" in words:
            return self._binary(lambda x, y: (x * y) >> width(kind), kinds, a)
        left, right = self.number(a[1], kind), self.number(a[2], kind)
        to = kind[0] + str(2 * width(kind)) if "wide" in words else kind
        return self._set(a[0], to, lambda t: left(t) * right(t))

    def _mad(self, words, kinds, a):
        kind = kinds[-1]
        to = kind[0] + str(2 * width(kind)) if "wide" in words else kind
        left, right, added = self.number(a[1], kind), self.number(a[2], kind), self.number(a[3], to)
        # float32: one rounding, from float64; float64: two roundings.
        return self._set(a[0], to, lambda t: left(t) * right(t) + added(t))

    _fma = _mad

    def _min(self, words, kinds, a):
        return self._binary(min, kinds, a)

    def _max(self, words, kinds, a):
        return self._binary(max, kinds, a)

    def _div(self, words, kinds, a):
        if kinds[-1][0] == "f":
            return self._binary(lambda x, y: x / y, kinds, a)
        return self._binary(lambda x, y: abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1), kinds, a)

    def _rem(self, words, kinds, a):
        return self._binary(lambda x, y: abs(x) % abs(y) * (-1 if x < 0 else 1), kinds, a)

    def _sqrt(self, words, kinds, a):
        value = self.number(a[1], kinds[-1])
        return self._set(a[0], kinds[-1], lambda t: math.sqrt(value(t)))

    def _rcp(self, words, kinds, a):
        value = self.number(a[1], kinds[-1])
        return self._set(a[0], kinds[-1], lambda t: 1 / value(t))

    def _neg(self, words, kinds, a):
        value = self.number(a[1], kinds[-1])
        return self._set(a[0], kinds[-1], lambda t: -value(t))

    def _logic(self, function, kinds, a):
        return self._binary(function, kinds, a, unsigned(kinds[-1]))

    def _and(self, words, kinds, a):
        return self._logic(lambda x, y: x & y, kinds, a)

    def _or(self, words, kinds, a):
        return self._logic(lambda x, y: x | y, kinds, a)

    def _xor(self, words, kinds, a):
        return self._logic(lambda x, y: x ^ y, kinds, a)

    def _not(self, words, kinds, a):
        value = self.bits(a[1])
        return self._set(a[0], unsigned(kinds[-1]), lambda t: ~value(t))

    def _shl(self, words, kinds, a):
        value, by, most = self.bits(a[1]), self.number(a[2], "u32"), width(kinds[-1])
        return self._set(a[0], unsigned(kinds[-1]), lambda t: value(t) << min(by(t), most))

    def _shr(self, words, kinds, a):
        value, by, most = self.number(a[1], kinds[-1]), self.number(a[2], "u32"), width(kinds[-1])
        return self._set(a[0], unsigned(kinds[-1]), lambda t: value(t) >> min(by(t), most))

    def _shf(self, words, kinds, a):
        low, high, by = (self.number(part, "u32") for part in a[1:4])

        def function(t):
            count = by(t) & 31 if "wrap" in words else min(by(t), 32)
            both = high(t) << 32 | low(t)
            return (both << count) >> 32 if "l" in words else both >> count

        return self._set(a[0], "u32", function)

    def _bfi(self, words, kinds, a):
        inserted, into, at, size = (self.bits(part) for part in a[1:5])

        def function(t):
            mask = ((1 << size(t)) - 1) << at(t)
            return into(t) & ~mask | inserted(t) << at(t) & mask

        return self._set(a[0], unsigned(kinds[-1]), function)

    def _popc(self, words, kinds, a):
        value = self.number(a[1], unsigned(kinds[-1]))
        return self._set(a[0], "u32", lambda t: value(t).bit_count())

    def _setp(self, words, kinds, a):
        function, target = COMPARE[words[1]], a[0]
        left, right = self.number(a[1], kinds[-1]), self.number(a[2], kinds[-1])
        if len(words) > 3 and words[2] in ("and", "or"):
            both = {"and": lambda x, y: x & y, "or": lambda x, y: x | y}[words[2]]
            other = self.bits(a[3])
            return self._set(target, "pred", lambda t: both(int(function(left(t), right(t))), other(t)))
        return self._set(target, "pred", lambda t: function(left(t), right(t)))

    def _selp(self, words, kinds, a):
        first, second, chosen = (self.bits(part) for part in a[1:4])
        return self._set(a[0], unsigned(kinds[-1]), lambda t: first(t) if chosen(t) else second(t))

    def _cvt(self, words, kinds, a):
        value = self.number(a[1], kinds[-1])
        return self._set(a[0], kinds[-2], value)

    def _shfl(self, words, kinds, a):
        to, _, valid = a[0].partition("|")
        value, by, clamp, mask = (self.bits(part) for part in a[1:5])
        return "warp", lambda t: ("shfl", words[2], to, valid, value(t), by(t), clamp(t), mask(t))

    def _vote(self, words, kinds, a):
        negated, mask = a[1].startswith("!"), self.bits(a[2])
        holds = self.bits(a[1].lstrip("!"))
        return "warp", lambda t: ("vote", words[2], a[0], "", int(holds(t)) ^ negated, 0, 0, mask(t) & MASK32)

    def _bar(self, words, kinds, a):
        if "warp" in words:
            mask = self.bits(a[0])
            return "warp", lambda t: ("sync", "", "", "", 0, 0, 0, mask(t) & MASK32)
        return "barrier", None

    _barrier = _bar

    def _bra(self, words, kinds, a):
        return "branch", lambda t: self.labels[a[0]]

    def _ret(self, words, kinds, a):
        return "return", None

    _exit = _ret

    def _pragma(self, words, kinds, a):
        return "op", lambda t: None


def find_kernel(text: str, part: str) -> Kernel:
    """Return the one kernel of a PTX file whose mangled name holds `part`."""
    found = re.finditer(r"\.entry\s+(\w+)\s*(\(.*?\n\})", text, re.S)
    matches = [match for match in found if part in match[1]]
    if len(matches) != 1:
        raise PtxError(f"{len(matches)} kernels are named like {part}")
    return Kernel(matches[0][1], matches[0][2])
