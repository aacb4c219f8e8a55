#!/usr/bin/env python3
"""Opens sealed files of EFS without EFS.

    recover.py -p password.txt drive.efs.tar.gz.aes > drive.tar
    recover.py -i private.key -t drive.efs.tar.gz.aes

This is a second reader of the sealed file, written from docs/sealed-file.md and
docs/archive.md and not from the Go code: each part names the section of the
former that it follows. It is one file and needs Python 3.11 and the package cryptography (38 or
later; Debian: python3-cryptography). Compressed files need libzstd or the
command zstd besides.

It streams in constant memory. Nothing comes out that was not authenticated; only
exit status 0 says that all of it came out:

    0  the whole file was opened and is what was sealed
    1  the system failed: a file cannot be read or written, zstd is missing
    2  the command was not understood, or a key or password file cannot be used
    3  format        not a sealed file, or against a rule of the format
    4  unsupported   written by a later version, or too costly to open
    5  no key        none of the keys opens it; wrong passphrase
    6  tampered      it was altered
    7  truncated     the end is missing
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import ctypes.util
import functools
import getpass
import hashlib
import hmac
import io
import json
import os
import stat
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, BinaryIO, ClassVar, NoReturn, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# ---------------------------------------------------------------- Errors


class SealError(Exception):
    """A sealed file that does not open. Its class is the kind of the section "Errors"."""

    kind: ClassVar[str]
    status: ClassVar[int]


class FormatError(SealError):
    kind, status = "format", 3


class UnsupportedError(SealError):
    kind, status = "unsupported", 4


class NoKeyError(SealError):
    kind, status = "no key", 5


class TamperedError(SealError):
    kind, status = "tampered", 6


class TruncatedError(SealError):
    kind, status = "truncated", 7


class UsageError(Exception):
    """The caller gave something that cannot be used; nothing was done."""


# ---------------------------------------------------------------- Deterministic CBOR

UINT, NEGATIVE, BYTES, TEXT, ARRAY, MAP = range(6)  # major types
MAX_DEPTH = 8  # of values that are skipped


class Cbor:
    """Reads one item after the other of deterministic CBOR (RFC 8949, 4.2.1)."""

    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, n: int) -> bytes:
        if n > len(self.data) - self.at:
            raise FormatError("CBOR item is longer than what is there")
        self.at += n
        return self.data[self.at - n : self.at]

    def head(self) -> tuple[int, int]:
        """The major type of the next item and its argument."""
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if major > MAP:
            raise FormatError("CBOR tag, float or simple value")
        if info < 24:
            return major, info
        if info > 27:
            raise FormatError("CBOR item of indefinite or reserved length")
        size = 1 << (info - 24)
        argument = int.from_bytes(self.take(size), "big")
        if argument < (24 if size == 1 else 1 << (4 * size)):
            raise FormatError("CBOR argument is not in its shortest form")
        return major, argument

    def expect(self, major: int, what: str) -> int:
        got, argument = self.head()
        if got != major:
            raise FormatError(f"{what} has CBOR type {got}, not {major}")
        return argument

    def uint(self, what: str, limit: int = 1 << 64) -> int:
        n = self.expect(UINT, what)
        if n >= limit:
            raise FormatError(f"{what} is {n}, too large")
        return n

    def int64(self, what: str) -> int:
        major, n = self.head()
        if major not in (UINT, NEGATIVE) or n >= 1 << 63:
            raise FormatError(f"{what} is no signed 64-bit integer")
        return n if major == UINT else -1 - n

    def bytes(self, what: str, limit: int) -> bytes:
        n = self.expect(BYTES, what)
        if n > limit:
            raise FormatError(f"{what} has {n} bytes, more than {limit}")
        return self.take(n)

    def bytes_of(self, what: str, size: int) -> bytes:
        b = self.bytes(what, size)
        if len(b) != size:
            raise FormatError(f"{what} has {len(b)} bytes, not {size}")
        return b

    def text(self, what: str) -> str:
        return utf8(self.take(self.expect(TEXT, what)), what)

    def items(self, major: int, what: str) -> int:
        """The number of items of an array or of pairs of a map; each takes a byte at least."""
        n = self.expect(major, what)
        if n > len(self.data) - self.at:
            raise FormatError(f"{what} has more items than there are bytes")
        return n

    def map_keys(self, what: str) -> Iterator[int]:
        """Yields each key of a map of integer keys; the caller reads the value."""
        before = b""
        for _ in range(self.items(MAP, what)):
            start = self.at
            key = self.int64(f"a key of the {what}")
            before = self.ascending(before, start, what)
            yield key

    def text_map(self, what: str) -> dict[str, str]:
        before, result = b"", {}
        for _ in range(self.items(MAP, what)):
            start = self.at
            key = self.text(what)
            before = self.ascending(before, start, what)
            result[key] = self.text(what)
        return result

    def ascending(self, before: bytes, start: int, what: str) -> bytes:
        key = self.data[start : self.at]
        if key <= before:
            raise FormatError(f"{what} has keys that are repeated or out of order")
        return key

    def skip(self, depth: int = 1) -> None:
        """Passes over a value of any kind."""
        if depth > MAX_DEPTH:
            raise FormatError("CBOR is nested too deeply")
        major, n = self.head()
        if major in (ARRAY, MAP) and n > len(self.data) - self.at:
            raise FormatError("a value has more items than there are bytes")
        if major in (BYTES, TEXT):
            raw = self.take(n)
            if major == TEXT:
                utf8(raw, "text")
        elif major == ARRAY:
            for _ in range(n):
                self.skip(depth + 1)
        elif major == MAP:
            before = b""
            for _ in range(n):
                start = self.at
                self.skip(depth + 1)
                before = self.ascending(before, start, "map")
                self.skip(depth + 1)

    def unknown(self, key: int, what: str) -> None:
        """What becomes of a key that this version does not know."""
        if key >= 0:
            raise UnsupportedError(f"{what} has the unknown critical key {key}: written by a later version")
        self.skip()

    def end(self, what: str) -> None:
        if self.at != len(self.data):
            raise FormatError(f"{what} has bytes after its end")


def utf8(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{what} is not UTF-8") from None


# ---------------------------------------------------------------- The file; Header

MAGIC = b"EFSseal"
VERSION = 1
MAX_HEADER = 65_536
MIN_SEGMENT, MAX_SEGMENT = 1 << 10, 1 << 20
MAX_STAGES, MAX_SLOTS = 8, 32
MAC_SIZE, TAG_SIZE = 32, 16
COMPRESS_NONE, COMPRESS_ZSTD = 0, 1
PAD_NONE, PAD_PADME = 0, 1
SLOT_KEY, SLOT_PASSPHRASE, SLOT_PUBLIC_KEY = 1, 2, 3


@dataclass
class Slot:
    """A stage's file key, wrapped for one recipient."""

    type: int = 0
    id: bytes = b""
    salt: bytes = b""
    parameters: list[int] = field(default_factory=list)
    body: bytes = b""


@dataclass
class Stage:
    suite: int = 0
    slots: list[Slot] = field(default_factory=list)


@dataclass
class Header:
    raw: bytes  # H of the key schedule: magic to the end of the CBOR
    mac: bytes = b""
    fs: bytes = b""
    content: bytes = b""
    segment: int = 0  # S
    compression: int = 0
    padding: int = 0
    stages: list[Stage] = field(default_factory=list)
    frame: int = 0  # F

    @property
    def sealed_segment(self) -> int:
        return self.segment + TAG_SIZE * len(self.stages)


def read_full(src: BinaryIO, n: int) -> bytes:
    """Up to n bytes; fewer only at the end of src."""
    data = src.read(n)
    while 0 < len(data) < n:
        more = src.read(n - len(data))
        if not more:
            break
        data += more
    return data


def read_header(src: BinaryIO) -> Header:
    fixed = read_full(src, 12)
    if fixed[:7] != MAGIC[: len(fixed)]:
        raise FormatError("this is not a sealed file")
    if len(fixed) > 7 and fixed[7] != VERSION:
        raise UnsupportedError(f"version {fixed[7]} of the format; this program knows version {VERSION}")
    if len(fixed) < 12:
        raise TruncatedError("the file ends within its first 12 bytes")
    length = int.from_bytes(fixed[8:], "big")
    if not 1 <= length <= MAX_HEADER:
        raise FormatError(f"the header has {length} bytes; allowed are 1 to {MAX_HEADER}")
    body = read_full(src, length)
    if len(body) < length:
        raise TruncatedError("the file ends within the header")
    header = parse_header(body, fixed + body)
    header.mac = read_full(src, MAC_SIZE)
    if len(header.mac) < MAC_SIZE:
        raise TruncatedError("the file ends within the MAC of the header")
    return header


def parse_header(body: bytes, raw: bytes) -> Header:
    c, h, seen = Cbor(body), Header(raw), set()
    for key in c.map_keys("header"):
        seen.add(key)
        if key == 1:
            h.fs = c.bytes_of("file-system id", 16)
        elif key == 2:
            h.content = c.bytes_of("content id", 16)
        elif key == 3:
            h.segment = c.uint("segment size")
        elif key == 4:
            h.compression = c.uint("compression", 256)
        elif key == 5:
            h.padding = c.uint("padding", 256)
        elif key == 6:
            h.stages = parse_stages(c)
        elif key == 7:
            h.frame = c.uint("frame size")
        else:
            c.unknown(key, "header")
    c.end("header")
    if not {1, 2, 3, 4, 5, 6} <= seen:
        raise FormatError("a field of the header is missing")
    check_header(h, 7 in seen)
    return h


def check_header(h: Header, has_frame: bool) -> None:
    """The values, in the order of their keys, once the whole header could be read."""
    power_of_two(h.segment, "segment size")
    known(h.compression, "compression", (COMPRESS_NONE, COMPRESS_ZSTD))
    known(h.padding, "padding", (PAD_NONE, PAD_PADME))
    if not h.stages:
        raise FormatError("there is no stage")
    for stage in h.stages:
        known(stage.suite, "suite", tuple(SUITES))
        if not stage.slots:
            raise FormatError("a stage has no slots")
        if len(stage.slots) > 1 and any(s.type == SLOT_PASSPHRASE for s in stage.slots):
            raise FormatError("a passphrase is not the only slot of its stage")
    if has_frame != (h.compression != COMPRESS_NONE):
        raise FormatError("frame size and compression do not go together")
    if has_frame:
        power_of_two(h.frame, "frame size")


def power_of_two(n: int, what: str) -> None:
    if not MIN_SEGMENT <= n <= MAX_SEGMENT or n & (n - 1):
        raise FormatError(f"{what} is {n}; allowed are powers of two from {MIN_SEGMENT} to {MAX_SEGMENT}")


def known(n: int, what: str, values: Sequence[int]) -> None:
    if n not in values:
        raise UnsupportedError(f"{what} {n} is not known to this program")


def parse_stages(c: Cbor) -> list[Stage]:
    n = c.items(ARRAY, "stages")
    if n > MAX_STAGES:
        raise FormatError(f"{n} stages; allowed are 1 to {MAX_STAGES}")
    stages: list[Stage] = []
    for _ in range(n):
        room = MAX_SLOTS - sum(len(s.slots) for s in stages)
        stages.append(parse_stage(c, room))
    return stages


def parse_stage(c: Cbor, room: int) -> Stage:
    stage, seen = Stage(), set()
    for key in c.map_keys("stage"):
        seen.add(key)
        if key == 1:
            stage.suite = c.uint("suite", 256)
        elif key == 2:
            n = c.items(ARRAY, "slots")
            if n > room:
                raise FormatError(f"more than {MAX_SLOTS} slots in all stages")
            stage.slots = [parse_slot(c) for _ in range(n)]
        else:
            c.unknown(key, "stage")
    if not {1, 2} <= seen:
        raise FormatError("a stage lacks its suite or its slots")
    return stage


def parse_slot(c: Cbor) -> Slot:
    slot = Slot()
    for key in c.map_keys("slot"):
        if key == 1:
            slot.type = c.uint("slot type", 256)
        elif 4 <= slot.type <= 127:
            c.skip()  # a type of a later version: its fields are its own
        elif key == 2:
            slot.id = c.bytes("slot id", 64)
        elif key == 3:
            slot.salt = c.bytes("slot salt", 64)
        elif key == 4:
            n = c.items(ARRAY, "slot parameters")
            if n > 8:
                raise FormatError(f"{n} slot parameters; at most 8 are allowed")
            slot.parameters = [c.uint("slot parameter") for _ in range(n)]
        elif key == 5:
            slot.body = c.bytes("slot body", 4096)
        else:
            c.unknown(key, "slot")
    if slot.type == 0:
        raise FormatError("a slot has no type")
    return slot


# ---------------------------------------------------------------- Terms and notation: HKDF


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hkdf_extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, "sha256")


def hkdf_expand(prk: bytes, info: bytes, size: int = 32) -> bytes:
    """HKDF-Expand of RFC 5869 for up to one block, which is all that is needed."""
    assert size <= 32
    return hmac.digest(prk, info + b"\x01", "sha256")[:size]


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return hkdf_expand(hkdf_extract(salt, secret), info)


# ---------------------------------------------------------------- Slots


class Identity(Protocol):
    """What opens slots of one type."""

    def unwrap(self, slot: Slot, context: bytes) -> bytes | None:
        """The file key; None if the slot is not for this identity.

        context is what follows the label in context(label)."""


WRAPPED = 32 + TAG_SIZE  # bytes of wrap(K, file key)


def unwrap(key: bytes, wrapped: bytes) -> bytes | None:
    return aead_open(AESGCM(key), bytes(12), wrapped, b"")


def aead_open(cipher: AESGCM | ChaCha20Poly1305, nonce: bytes, sealed: bytes, ad: bytes) -> bytes | None:
    try:
        return cipher.decrypt(nonce, sealed, ad)
    except InvalidTag:
        return None


@dataclass
class KeyIdentity:
    """Type 1: key-encryption keys by their ids."""

    keys: dict[bytes, bytes]

    def unwrap(self, slot: Slot, context: bytes) -> bytes | None:
        if slot.type != SLOT_KEY:
            return None
        if len(slot.id) != 16 or len(slot.salt) != 32 or slot.parameters or len(slot.body) != WRAPPED:
            raise FormatError("a key slot has fields of another length than it must")
        if slot.id not in self.keys:
            return None
        key = unwrap(hkdf(self.keys[slot.id], slot.salt, b"efs/seal/1/slot/key" + context), slot.body)
        if key is None:
            raise TamperedError("the wrapped file key does not open, although the key is the right one")
        return key


@dataclass
class PassphraseIdentity:
    """Type 2: a passphrase."""

    passphrase: bytes
    max_passes: int = 8
    max_memory: int = 1 << 20  # KiB
    max_threads: int = 16

    def unwrap(self, slot: Slot, context: bytes) -> bytes | None:
        if slot.type != SLOT_PASSPHRASE:
            return None
        if slot.id or len(slot.salt) != 32 or len(slot.parameters) != 3 or len(slot.body) != WRAPPED:
            raise FormatError("a passphrase slot has fields of another length than it must")
        passes, memory, threads = slot.parameters
        if passes > self.max_passes or memory > self.max_memory or threads > self.max_threads:
            raise UnsupportedError(f"Argon2id with {passes} passes, {memory} KiB, {threads} threads is too costly")
        if passes < 1 or threads < 1 or memory < 8 * threads:
            raise FormatError(f"Argon2id with {passes} passes, {memory} KiB, {threads} threads is not possible")
        t = argon2id(self.passphrase, slot.salt, passes, memory, threads)
        return unwrap(hkdf(t, slot.salt, b"efs/seal/1/slot/passphrase" + context), slot.body)


MLKEM768_X25519, HKDF_SHA256, AES_256_GCM = 0x647A, 0x0001, 0x0002


class PrivateKeyIdentity:
    """Type 3: a private key of MLKEM768-X25519, a seed of 32 bytes."""

    def __init__(self, seed: bytes):
        self.kem = XWing(seed)
        self.id = sha256(b"efs/seal/1/recipient" + self.kem.public)[:16]

    def unwrap(self, slot: Slot, context: bytes) -> bytes | None:
        if slot.type != SLOT_PUBLIC_KEY:
            return None
        if len(slot.id) != 16 or len(slot.parameters) != 3 or slot.salt:
            raise FormatError("a public-key slot has fields of another length than it must")
        if slot.id != self.id:
            return None
        if slot.parameters != [MLKEM768_X25519, HKDF_SHA256, AES_256_GCM]:
            raise UnsupportedError(f"HPKE with {slot.parameters} is not known to this program")
        if len(slot.body) < XWING_CIPHERTEXT:
            raise TamperedError("the body of a public-key slot was cut")
        enc, sealed = slot.body[:XWING_CIPHERTEXT], slot.body[XWING_CIPHERTEXT:]
        key = hpke_open(self.kem.decapsulate(enc), b"efs/seal/1/slot/hpke" + context, sealed)
        if key is None:
            raise TamperedError("the wrapped file key does not open, although the private key is the right one")
        return key


def file_key(header: Header, number: int, identities: Sequence[Identity]) -> bytes:
    """The file key of a stage: each identity is tried on all of its slots."""
    stage = header.stages[number]
    context = header.fs + header.content + bytes([number, stage.suite])
    for identity in identities:
        for slot in stage.slots:
            key = identity.unwrap(slot, context)
            if key is None:
                continue
            if len(key) != 32:
                raise FormatError(f"the file key of stage {number} has {len(key)} bytes, not 32")
            return key
    if stage.slots[0].type == SLOT_PASSPHRASE and any(isinstance(i, PassphraseIdentity) for i in identities):
        raise NoKeyError(f"wrong passphrase (stage {number})")
    raise NoKeyError(f"nothing that was given opens stage {number}; it has " + ", ".join(map(describe, stage.slots)))


def describe(slot: Slot) -> str:
    names = {SLOT_KEY: "a key slot", SLOT_PASSPHRASE: "a passphrase slot", SLOT_PUBLIC_KEY: "a public-key slot"}
    return names.get(slot.type, f"a slot of type {slot.type}") + (f" for {slot.id.hex()}" if slot.id else "")


# ---------------------------------------------------------------- Slots: HPKE (RFC 9180, base mode, single shot)

HPKE_SUITE = b"HPKE" + struct.pack(">HHH", MLKEM768_X25519, HKDF_SHA256, AES_256_GCM)


def labeled_extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hkdf_extract(salt, b"HPKE-v1" + HPKE_SUITE + label + ikm)


def labeled_expand(prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
    return hkdf_expand(prk, struct.pack(">H", size) + b"HPKE-v1" + HPKE_SUITE + label + info, size)


def hpke_open(shared_secret: bytes, info: bytes, sealed: bytes) -> bytes | None:
    """KeySchedule (section 5.1) and the first Open (5.2): its nonce is the base nonce."""
    context = b"\x00" + labeled_extract(b"", b"psk_id_hash", b"") + labeled_extract(b"", b"info_hash", info)
    secret = labeled_extract(shared_secret, b"secret", b"")
    key = labeled_expand(secret, b"key", context, 32)
    nonce = labeled_expand(secret, b"base_nonce", context, 12)
    return aead_open(AESGCM(key), nonce, sealed, b"")


# ---------------------------------------------------------------- Slots: MLKEM768-X25519, also known as X-Wing
# draft-connolly-cfrg-xwing-kem, draft-ietf-hpke-pq

XWING_LABEL = b"\\.//^\\"
XWING_CIPHERTEXT = 1088 + 32


class XWing:
    def __init__(self, seed: bytes):
        if len(seed) != 32:
            raise UsageError(f"a private key is a seed of 32 bytes, this one has {len(seed)}")
        expanded = hashlib.shake_256(seed).digest(96)
        self.mlkem = MLKEM768(expanded[:32], expanded[32:64])
        self.x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.x25519_public = self.x25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = self.mlkem.public + self.x25519_public

    def decapsulate(self, enc: bytes) -> bytes:
        ct_m, ct_x = enc[:1088], enc[1088:]
        try:
            ss_x = self.x25519.exchange(X25519PublicKey.from_public_bytes(ct_x))
        except ValueError:
            raise TamperedError("the ephemeral key of a public-key slot is a point of small order") from None
        return hashlib.sha3_256(self.mlkem.decapsulate(ct_m) + ss_x + ct_x + self.x25519_public + XWING_LABEL).digest()


# ---------------------------------------------------------------- Slots: ML-KEM-768 (FIPS 203)
# Not in constant time, as nothing in Python is: for recovery, not for a server.

Q, K, ETA, DU, DV = 3329, 3, 2, 10, 4
Poly = list[int]


def zetas() -> list[int]:
    return [pow(17, int(f"{i:07b}"[::-1], 2), Q) for i in range(128)]


ZETA = zetas()  # 17^BitRev7(i), appendix A
GAMMA = [pow(17, 2 * int(f"{i:07b}"[::-1], 2) + 1, Q) for i in range(128)]


def ntt(f: Poly) -> Poly:
    """Algorithm 9."""
    f, i, size = f[:], 1, 128
    while size >= 2:
        for start in range(0, 256, 2 * size):
            zeta, i = ZETA[i], i + 1
            for j in range(start, start + size):
                t = zeta * f[j + size] % Q
                f[j], f[j + size] = (f[j] + t) % Q, (f[j] - t) % Q
        size //= 2
    return f


def inverse_ntt(f: Poly) -> Poly:
    """Algorithm 10."""
    f, i, size = f[:], 127, 2
    while size <= 128:
        for start in range(0, 256, 2 * size):
            zeta, i = ZETA[i], i - 1
            for j in range(start, start + size):
                t = f[j]
                f[j], f[j + size] = (t + f[j + size]) % Q, zeta * (f[j + size] - t) % Q
        size *= 2
    return [x * 3303 % Q for x in f]


def multiply(f: Poly, g: Poly) -> Poly:
    """MultiplyNTTs, algorithms 11 and 12."""
    h = [0] * 256
    for i in range(128):
        a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        h[2 * i] = (a0 * b0 + a1 * b1 * GAMMA[i]) % Q
        h[2 * i + 1] = (a0 * b1 + a1 * b0) % Q
    return h


def add(f: Poly, g: Poly) -> Poly:
    return [(a + b) % Q for a, b in zip(f, g)]


def subtract(f: Poly, g: Poly) -> Poly:
    return [(a - b) % Q for a, b in zip(f, g)]


def dot(a: Iterable[Poly], b: Iterable[Poly]) -> Poly:
    return functools.reduce(add, map(multiply, a, b))


def byte_encode(f: Poly, d: int) -> bytes:
    """Algorithm 5: d bits for each coefficient, little endian."""
    return sum(x << (d * i) for i, x in enumerate(f)).to_bytes(32 * d, "little")


def byte_decode(b: bytes, d: int) -> Poly:
    """Algorithm 6."""
    n, mask = int.from_bytes(b, "little"), (1 << d) - 1
    m = 1 << d if d < 12 else Q
    return [(n >> (d * i) & mask) % m for i in range(256)]


def compress(f: Poly, d: int) -> Poly:
    return [((x << d) + Q // 2) // Q % (1 << d) for x in f]


def decompress(f: Poly, d: int) -> Poly:
    return [(x * Q + (1 << (d - 1))) >> d for x in f]


def sample_ntt(seed: bytes) -> Poly:
    """Algorithm 7: uniform coefficients by rejection."""
    size = 168 * 5
    while True:
        b, out = hashlib.shake_128(seed).digest(size), []
        for i in range(0, size, 3):
            d1, d2 = b[i] | (b[i + 1] & 15) << 8, b[i + 1] >> 4 | b[i + 2] << 4
            out += [d for d in (d1, d2) if d < Q]
        if len(out) >= 256:
            return out[:256]
        size *= 2


def sample_cbd(seed: bytes, n: int) -> Poly:
    """PRF and algorithm 8, for eta = 2."""
    bits = int.from_bytes(hashlib.shake_256(seed + bytes([n])).digest(64 * ETA), "little")
    nibbles = ((bits >> (4 * i)) & 15 for i in range(256))
    return [((x & 1) + (x >> 1 & 1) - (x >> 2 & 1) - (x >> 3)) % Q for x in nibbles]


def sha3_512_halves(data: bytes) -> tuple[bytes, bytes]:
    h = hashlib.sha3_512(data).digest()
    return h[:32], h[32:]


class MLKEM768:
    """A key pair made from its seed (d, z), and decapsulation."""

    def __init__(self, d: bytes, z: bytes):
        """ML-KEM.KeyGen_internal and K-PKE.KeyGen, algorithms 16 and 13."""
        rho, sigma = sha3_512_halves(d + bytes([K]))
        self.matrix = [[sample_ntt(rho + bytes([j, i])) for j in range(K)] for i in range(K)]
        self.s = [ntt(sample_cbd(sigma, n)) for n in range(K)]
        e = [ntt(sample_cbd(sigma, K + n)) for n in range(K)]
        self.t = [add(dot(self.matrix[i], self.s), e[i]) for i in range(K)]
        self.public = b"".join(byte_encode(t, 12) for t in self.t) + rho
        self.public_hash = hashlib.sha3_256(self.public).digest()
        self.z = z

    def decapsulate(self, c: bytes) -> bytes:
        """ML-KEM.Decaps_internal, algorithm 18: another ciphertext gives another secret, not an error."""
        m = self.decrypt(c)
        secret, r = sha3_512_halves(m + self.public_hash)
        if not hmac.compare_digest(self.encrypt(m, r), c):
            return hashlib.shake_256(self.z + c).digest(32)
        return secret

    def decrypt(self, c: bytes) -> bytes:
        """K-PKE.Decrypt, algorithm 15."""
        cut = 32 * DU * K
        u = [decompress(byte_decode(c[32 * DU * i : 32 * DU * (i + 1)], DU), DU) for i in range(K)]
        v = decompress(byte_decode(c[cut:], DV), DV)
        w = subtract(v, inverse_ntt(dot(self.s, map(ntt, u))))
        return byte_encode(compress(w, 1), 1)

    def encrypt(self, m: bytes, r: bytes) -> bytes:
        """K-PKE.Encrypt, algorithm 14."""
        y = [ntt(sample_cbd(r, n)) for n in range(K)]
        e1 = [sample_cbd(r, K + n) for n in range(K)]
        e2 = sample_cbd(r, 2 * K)
        u = [add(inverse_ntt(dot((self.matrix[j][i] for j in range(K)), y)), e1[i]) for i in range(K)]
        v = add(add(inverse_ntt(dot(self.t, y)), e2), decompress(byte_decode(m, 1), 1))
        return b"".join(byte_encode(compress(x, DU), DU) for x in u) + byte_encode(compress(v, DV), DV)


# ---------------------------------------------------------------- Slots: how keys are written (Bech32, BIP 173)

BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
SECRET_PREFIX = "efs-secret-key-"


def bech32_decode(text: str) -> tuple[str, bytes]:
    if text != text.lower() and text != text.upper():
        raise UsageError("a key has capitals and small letters mixed")
    prefix, _, data = text.lower().rpartition("1")
    if not prefix or len(data) < 6 or any(x not in BECH32 for x in data):
        raise UsageError("a key has characters that do not belong there, or too few")
    values = [BECH32.index(x) for x in data]
    if bech32_polymod([ord(x) >> 5 for x in prefix] + [0] + [ord(x) & 31 for x in prefix] + values) != 1:
        raise UsageError("the check sum of a key does not fit: a character is missing or wrong")
    return prefix, from_base32(values[:-6])


def bech32_polymod(values: Iterable[int]) -> int:
    check = 1
    for v in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ v
        for i, g in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= g if top >> i & 1 else 0
    return check


def from_base32(values: Sequence[int]) -> bytes:
    n = functools.reduce(lambda a, v: a << 5 | v, values, 0)
    spare = len(values) * 5 % 8
    if spare > 4 or n & ((1 << spare) - 1):
        raise UsageError("a key does not end on a whole byte")
    return (n >> spare).to_bytes(len(values) * 5 // 8, "big")


def parse_private_key(text: str) -> PrivateKeyIdentity:
    prefix, raw = bech32_decode(text.strip())
    if prefix == "efs":
        raise UsageError("this is a public key (efs1…); what opens a file is the private one (EFS-SECRET-KEY-1…)")
    if prefix != SECRET_PREFIX:
        raise UsageError("this is not a private key of EFS (EFS-SECRET-KEY-1…)")
    if raw[:2] != struct.pack(">H", MLKEM768_X25519):
        raise UsageError(f"a private key of KEM 0x{raw[:2].hex()}, which this program does not know")
    return PrivateKeyIdentity(raw[2:])


# ---------------------------------------------------------------- Slots: Argon2id (RFC 9106)

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1
ARGON2ID = 2
ARGON2_VERSION = 0x13


def argon2id(password: bytes, salt: bytes, passes: int, memory: int, threads: int) -> bytes:
    """32 bytes; by the fastest implementation that this machine has. memory is in KiB."""
    for implementation in (argon2_of_cryptography, argon2_of_argon2_cffi):
        result = implementation(password, salt, passes, memory, threads)
        if result is not None:
            return result
    return Argon2id(passes, memory, threads).derive(password, salt)


def argon2_of_cryptography(password: bytes, salt: bytes, passes: int, memory: int, threads: int) -> bytes | None:
    """cryptography has Argon2id from 44 on, where its OpenSSL has it."""
    try:
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id as Kdf

        return Kdf(salt=salt, length=32, iterations=passes, lanes=threads, memory_cost=memory).derive(password)
    except Exception:  # absent, or not with these parameters
        return None


def argon2_of_argon2_cffi(password: bytes, salt: bytes, passes: int, memory: int, threads: int) -> bytes | None:
    """Debian: python3-argon2."""
    try:
        from argon2 import low_level

        return low_level.hash_secret_raw(password, salt, passes, memory, threads, 32, low_level.Type.ID)
    except Exception:
        return None


class Argon2id:
    """Argon2id in Python alone: right, but some thousand times slower than in C."""

    def __init__(self, passes: int, memory: int, threads: int):
        self.passes, self.memory, self.lanes = passes, memory, threads
        self.segment = memory // (4 * threads)  # blocks of a lane in one slice
        self.lane = 4 * self.segment  # q: blocks of a lane
        self.blocks = [b""] * (self.lane * threads)
        self.done, self.started, self.told = 0, time.monotonic(), 0.0

    def derive(self, password: bytes, salt: bytes) -> bytes:
        """Section 3.2."""
        h0 = self.h0(password, salt)
        for lane in range(self.lanes):
            for i in range(2):
                self.blocks[lane * self.lane + i] = argon2_hash(h0 + struct.pack("<II", i, lane), 1024)
        for n in range(self.passes):
            for part in range(4):
                for lane in range(self.lanes):
                    self.fill(n, lane, part)
        last = 0
        for lane in range(self.lanes):
            last ^= int.from_bytes(self.blocks[(lane + 1) * self.lane - 1], "little")
        return argon2_hash(last.to_bytes(1024, "little"), 32)

    def h0(self, password: bytes, salt: bytes) -> bytes:
        head = struct.pack("<6I", self.lanes, 32, self.memory, self.passes, ARGON2_VERSION, ARGON2ID)
        fields = b"".join(struct.pack("<I", len(x)) + x for x in (password, salt, b"", b""))
        return hashlib.blake2b(head + fields).digest()

    def fill(self, n: int, lane: int, part: int) -> None:
        """One segment: a slice of a lane in one pass."""
        base, start = lane * self.lane, part * self.segment
        first = 2 if n == 0 and part == 0 else 0
        random = self.addresses(n, lane, part) if n == 0 and part < 2 else None
        for i in range(first, self.segment):
            at = base + start + i
            before = self.blocks[at - 1 if start + i else base + self.lane - 1]
            word = random[i] if random else int.from_bytes(before[:8], "little")
            reference = self.blocks[self.reference(n, lane, part, i, word)]
            block = compress_blocks(before, reference)
            if n:
                block = xor(block, self.blocks[at])
            self.blocks[at] = block
            self.tell()

    def addresses(self, n: int, lane: int, part: int) -> list[int]:
        """The pseudo-random words that do not depend on the data, section 3.4.1.2."""
        words: list[int] = []
        counter = 0
        while len(words) < self.segment:
            counter += 1
            z = struct.pack("<7Q", n, lane, part, self.lane * self.lanes, self.passes, ARGON2ID, counter)
            z = z.ljust(1024, b"\x00")
            words += struct.unpack("<128Q", compress_blocks(bytes(1024), compress_blocks(bytes(1024), z)))
        return words

    def reference(self, n: int, lane: int, part: int, i: int, word: int) -> int:
        """The place of the block that goes into block i of the segment, section 3.4.2."""
        j1, j2 = word & MASK32, word >> 32
        other = lane if n == 0 and part == 0 else j2 % self.lanes
        done = part * self.segment if n == 0 else self.lane - self.segment
        area = done + i - 1 if other == lane else done - (i == 0)
        z = area - 1 - (area * (j1 * j1 >> 32) >> 32)
        start = 0 if n == 0 else (part + 1) * self.segment
        return other * self.lane + (start + z) % self.lane

    def tell(self) -> None:
        """Progress, once it takes long."""
        self.done += 1
        now = time.monotonic()
        if now - self.started < 3 or now - self.told < 1:
            return
        self.told, total = now, self.passes * self.lane * self.lanes
        left = (now - self.started) * (total - self.done) / self.done
        progress(f"deriving the key from the passphrase (python3-argon2 would be faster): "
                 f"{100 * self.done // total} %, {left:.0f} s left")


def argon2_hash(data: bytes, size: int) -> bytes:
    """The variable-length hash H', section 3.3."""
    data = struct.pack("<I", size) + data
    if size <= 64:
        return hashlib.blake2b(data, digest_size=size).digest()
    v = hashlib.blake2b(data).digest()
    out = v[:32]
    while size - len(out) > 64:
        v = hashlib.blake2b(v).digest()
        out += v[:32]
    return out + hashlib.blake2b(v, digest_size=size - len(out)).digest()


def xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")


ROWS = [list(range(16 * i, 16 * i + 16)) for i in range(8)]
COLUMNS = [[16 * j + 2 * i + k for j in range(8) for k in range(2)] for i in range(8)]
QUARTERS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
            (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
STEPS = [tuple(words[i] for i in quarter) for words in ROWS + COLUMNS for quarter in QUARTERS]


def compress_blocks(x: bytes, y: bytes) -> bytes:
    """The compression function G, sections 3.5 and 3.6: P on the rows, then on the columns."""
    r = xor(x, y)
    v = list(struct.unpack("<128Q", r))
    for i, j, k, m in STEPS:
        v[i], v[j], v[k], v[m] = mix(v[i], v[j], v[k], v[m])
    return xor(struct.pack("<128Q", *v), r)


def mix(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    """GB: the round function of BLAKE2b with multiplications added."""
    a = (a + b + 2 * (a & MASK32) * (b & MASK32)) & MASK64
    d ^= a
    d = d >> 32 | (d & MASK32) << 32
    c = (c + d + 2 * (c & MASK32) * (d & MASK32)) & MASK64
    b ^= c
    b = b >> 24 | (b << 40) & MASK64
    a = (a + b + 2 * (a & MASK32) * (b & MASK32)) & MASK64
    d ^= a
    d = d >> 16 | (d << 48) & MASK64
    c = (c + d + 2 * (c & MASK32) * (d & MASK32)) & MASK64
    b ^= c
    b = b >> 63 | (b << 1) & MASK64
    return a, b, c, d


# ---------------------------------------------------------------- Key schedule; Segments

SUITES: dict[int, Callable[[bytes], AESGCM | ChaCha20Poly1305]] = {1: AESGCM, 2: ChaCha20Poly1305}
DATA, TABLE, PADDING, TRAILER = 1, 2, 3, 4  # kinds
MAX_SEGMENTS = 1 << 32


class Opener:
    """Opens segments with the payload keys of all stages."""

    def __init__(self, header: Header, identities: Sequence[Identity]):
        """Gets every file key, then checks the MAC of the header."""
        stages = header.stages
        keys = [file_key(header, i, identities) for i in range(len(stages))]
        salt = sha256(header.raw)
        mac_key = hkdf(b"".join(keys), salt, b"efs/seal/1/header-mac" + bytes([len(stages)]))
        if not hmac.compare_digest(hmac.digest(mac_key, header.raw, "sha256"), header.mac):
            raise TamperedError("the MAC of the header does not match")
        self.ad = header.fs + header.content
        self.ciphers = [
            SUITES[stage.suite](hkdf(keys[i], salt, b"efs/seal/1/payload" + bytes([i, stage.suite])))
            for i, stage in enumerate(stages)
        ]

    def open(self, sealed: bytes, kind: int, index: int, last: bool) -> bytes | None:
        """The payload of a segment; None if it is not this one."""
        nonce = struct.pack(">BHQB", kind, 0, index, last)
        payload: bytes | None = sealed
        for cipher in reversed(self.ciphers):  # the last stage is outermost
            if (payload := aead_open(cipher, nonce, payload, self.ad)) is None:
                return None
        return payload

    def open_from(self, sealed: bytes, kind: int, index: int) -> tuple[int, bytes] | None:
        """Opens a segment that is not the last, of this kind or a higher one."""
        for k in range(kind, TRAILER + 1):
            if (payload := self.open(sealed, k, index, False)) is not None:
                return k, payload
        return None


# ---------------------------------------------------------------- Payload: suffix, padding, trailer record

SUFFIX = struct.Struct(">QQQI")


def padme(x: int) -> int:
    if x < 2:
        return x
    e = x.bit_length() - 1
    s = e.bit_length()  # floor(log2 e) + 1
    step = 1 << max(e - s, 0)
    return -(-x // step) * step


@dataclass
class Trailer:
    """The trailer record; recovery has the fields of the recovery record by their names in the test vectors."""

    size: int = -1
    sha256: bytes | None = None
    padding: int = 0
    recovery: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        digest = {"sha256": self.sha256.hex()} if self.sha256 else {}
        return {"size": self.size, **digest, "padding": self.padding, **self.recovery}


def parse_trailer(record: bytes, padding: int) -> Trailer:
    c, t = Cbor(record), Trailer(padding=padding)
    for key in c.map_keys("trailer record"):
        if key == 1:
            t.size = c.uint("length of the plaintext", 1 << 63)
        elif key == 2:
            t.sha256 = c.bytes_of("digest", 32)
        elif key == 3:
            t.recovery = parse_recovery(c)
        else:
            c.unknown(key, "trailer record")
    c.end("trailer record")
    if t.size < 0:
        raise FormatError("the trailer record does not name the length of the plaintext")
    return t


def parse_recovery(c: Cbor) -> dict[str, Any]:
    readers: dict[int, tuple[str, Callable[[str], Any]]] = {
        1: ("path", c.text),
        2: ("file", lambda what: c.bytes_of(what, 16).hex()),
        3: ("version", c.uint),
        4: ("extent", lambda what: c.uint(what, 1 << 31)),
        5: ("extents", lambda what: c.uint(what, 1 << 31)),
        6: ("seq", c.uint),
        7: ("created", c.int64),
        8: ("modified", c.int64),
        9: ("type", c.text),
        10: ("meta", c.text_map),
        11: ("owner", c.text),
        12: ("mode", lambda what: c.uint(what, 1 << 32)),
    }
    result = {}
    for key in c.map_keys("recovery record"):
        if key in readers:
            name, read = readers[key]
            result[name] = read(name)
        else:
            c.skip()
    return {name: value for name, value in result.items() if value and value != "0" * 32}


# ---------------------------------------------------------------- Payload: compression

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAX_WINDOW = 1 << 20


class Frames:
    """Turns the data stream into plaintext, frame by frame."""

    def __init__(self, frame: int):
        self.frame = frame
        self.buffer = b""
        self.count = 0
        self.plain = frame  # length of the frame before

    def feed(self, data: bytes) -> Iterator[bytes]:
        self.buffer += data
        while len(self.buffer) >= 8:
            plain, stored = struct.unpack_from(">II", self.buffer)
            self.check(plain, stored)
            if len(self.buffer) < 8 + stored:
                return
            body, self.buffer = self.buffer[8 : 8 + stored], self.buffer[8 + stored :]
            self.count, self.plain = self.count + 1, plain
            yield body if plain == stored else decompress_frame(body, plain)

    def check(self, plain: int, stored: int) -> None:
        if not 1 <= plain <= self.frame or not 1 <= stored <= plain:
            raise FormatError(f"a frame of {plain} bytes stored in {stored}; allowed are 1 to {self.frame}")
        if self.plain != self.frame:
            raise FormatError("a frame that is not the last is shorter than the others")

    def end(self) -> None:
        if self.buffer:
            raise FormatError("the data stream ends within a frame")


def decompress_frame(body: bytes, plain: int) -> bytes:
    check_zstd_header(body, plain)
    out = (zstd_by_library if libzstd() else zstd_by_command)(body, plain)
    if out is None or len(out) != plain:
        raise FormatError("a frame does not decompress to its length")
    return out


def check_zstd_header(body: bytes, plain: int) -> None:
    """What the frame header (RFC 8878, 3.1.1.1) says must be allowed: no dictionary, a bounded window."""
    if body[:4] != ZSTD_MAGIC or len(body) < 6:
        raise FormatError("a frame is not zstd")
    descriptor = body[4]
    single, id_size = descriptor >> 5 & 1, (0, 1, 2, 4)[descriptor & 3]
    size_size = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    at = 5
    window = 0
    if not single:
        exponent, mantissa = body[5] >> 3, body[5] & 7
        window = (1 << (10 + exponent)) * (8 + mantissa) // 8
        at = 6
    if any(body[at : at + id_size]):
        raise FormatError("a frame needs a dictionary")
    size = int.from_bytes(body[at + id_size : at + id_size + size_size], "little") + (256 if size_size == 2 else 0)
    if window > MAX_WINDOW or (size_size and size != plain):
        raise FormatError(f"a frame has a window of {window} and {size} bytes, not {plain}")


@functools.cache
def libzstd() -> ctypes.CDLL | None:
    """The library, which Debian's package manager needs itself; None where it is not."""
    for name in ("libzstd.so.1", "libzstd.1.dylib", ctypes.util.find_library("zstd")):
        with contextlib.suppress(OSError, AttributeError):
            if name:
                library = ctypes.CDLL(name)
                for function in (library.ZSTD_decompress, library.ZSTD_findFrameCompressedSize):
                    function.restype = ctypes.c_size_t
                return library
    return None


def zstd_by_library(body: bytes, plain: int) -> bytes | None:
    library = libzstd()
    assert library
    length = ctypes.c_size_t(len(body))
    if library.ZSTD_findFrameCompressedSize(body, length) != len(body):
        return None  # an error, or something after the frame
    out = ctypes.create_string_buffer(plain)
    n = library.ZSTD_decompress(out, ctypes.c_size_t(plain), body, length)
    return out.raw if n == plain else None


def zstd_by_command(body: bytes, plain: int) -> bytes | None:
    try:
        process = subprocess.run(["zstd", "-dcq", "--memory=1MiB"], input=body, capture_output=True, check=False)
    except FileNotFoundError:
        raise OSError("this file is compressed and needs zstd (Debian: apt-get install zstd)") from None
    return process.stdout if process.returncode == 0 else None


# ---------------------------------------------------------------- Reading


class SealedFile:
    """Reads a sealed file as a stream: plaintext(), then trailer says what it was.

    fs and content are the ids that the file must have; None takes any."""

    def __init__(self, src: BinaryIO, identities: Sequence[Identity], fs: bytes | None = None, content: bytes | None = None):
        self.src = src
        self.header = read_header(src)
        if fs not in (None, self.header.fs) or content not in (None, self.header.content):
            raise TamperedError("this is another file than the one that was asked for")
        self.opener = Opener(self.header, identities)
        self.trailer: Trailer | None = None
        self.frames = Frames(self.header.frame) if self.header.compression else None
        self.digest = hashlib.sha256()
        self.given = 0
        self.counts = [0] * (TRAILER + 1)  # segments of each kind
        self.end_block = b""

    def plaintext(self) -> Iterator[bytes]:
        """Yields what was authenticated. Only when it ends without an error was that all."""
        size, index, kind = self.header.sealed_segment, 0, DATA
        segment, following = read_full(self.src, size), b""
        while following := read_full(self.src, size):
            opened = self.opener.open_from(segment, kind, index)
            if opened is None:
                raise TamperedError(f"segment {index} was altered, moved or replaced")
            kind, payload = opened
            yield from self.take(kind, payload)
            segment, index = following, index + 1
            if index >= MAX_SEGMENTS:
                raise FormatError("the file has more segments than are allowed")
        yield from self.take_last(segment, kind, index)

    def take(self, kind: int, payload: bytes) -> Iterator[bytes]:
        """A segment that is not the last."""
        self.counts[kind] += 1
        if kind == DATA:
            yield from self.decode(payload)
        elif kind == TRAILER:
            self.end_block += payload
            if len(self.end_block) > 3 * self.header.segment + 65_564:
                raise FormatError("the end block is longer than can be")

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Data stream to plaintext."""
        for plain in self.frames.feed(data) if self.frames else (data,):
            self.given += len(plain)
            self.digest.update(plain)
            yield plain

    def take_last(self, segment: bytes, kind: int, index: int) -> Iterator[bytes]:
        if len(segment) <= TAG_SIZE * len(self.header.stages):
            raise TruncatedError(f"the file ends in or before segment {index}")
        payload = self.opener.open(segment, TRAILER, index, True)
        if payload is None:
            self.refuse_last(segment, kind, index)
        end = self.end_block + payload
        d, t, z, r = self.check_lengths(end, index * self.header.segment + len(payload))
        trailer = parse_trailer(end[-SUFFIX.size - r : -SUFFIX.size], z)
        yield from self.decode(end[: d % self.header.segment])
        self.check_plaintext(trailer, d, t)
        self.trailer = trailer

    def refuse_last(self, segment: bytes, kind: int, index: int) -> NoReturn:
        whole = len(segment) == self.header.sealed_segment
        if whole and self.opener.open_from(segment, kind, index):
            raise TruncatedError(f"the file ends after segment {index}, which was not its last")
        raise TamperedError(f"the last segment ({index}) was altered, or the file was cut within it")

    def check_lengths(self, end: bytes, payload: int) -> tuple[int, int, int, int]:
        """The suffix, compared with everything that is known of the segments."""
        if len(end) < SUFFIX.size:
            raise FormatError("the end block is shorter than its suffix")
        d, t, z, r = SUFFIX.unpack(end[-SUFFIX.size :])
        if d + t + z + r + SUFFIX.size != payload or not 1 <= r <= 65_536:
            raise FormatError("the lengths in the suffix are not those of the file")
        size = self.header.segment
        if self.counts[DATA : PADDING + 1] != [d // size, t // size, z // size]:
            raise FormatError("there are other numbers of segments than the suffix says")
        padded = padme(d + t + r + SUFFIX.size) if self.header.padding else d + t + r + SUFFIX.size
        if payload != padded:
            raise FormatError("the padding is not as long as it must be")
        return d, t, z, r

    def check_plaintext(self, trailer: Trailer, d: int, t: int) -> None:
        if self.frames:
            self.frames.end()
        if self.given != trailer.size or t != (8 * self.frames.count if self.frames else 0):
            raise FormatError(f"the plaintext has {self.given} bytes; {trailer.size} were sealed")
        if trailer.sha256 and not hmac.compare_digest(self.digest.digest(), trailer.sha256):
            raise TamperedError("the plaintext has another SHA-256 than what was sealed")


class PlaintextReader(io.RawIOBase):
    """The plaintext as a file, for the library's tar reader."""

    def __init__(self, sealed: SealedFile):
        self.chunks = sealed.plaintext()
        self.rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, out: Any) -> int:
        while not self.rest:
            chunk = next(self.chunks, None)
            if chunk is None:
                return 0
            self.rest = memoryview(chunk)
        n = min(len(out), len(self.rest))
        out[:n], self.rest = self.rest[:n], self.rest[n:]
        return n


# ---------------------------------------------------------------- Test vectors


def check_vector(path: str) -> str:
    """Opens a test vector and compares; "" or what is different."""
    with open(path, encoding="utf-8") as f:
        v = json.load(f)
    given, kind, trailer = b"", "", None
    try:
        sealed = SealedFile(io.BytesIO(bytes.fromhex(v["sealed"])), vector_identities(v),
                            bytes.fromhex(v["fs"]), bytes.fromhex(v["content"]))
        for chunk in sealed.plaintext():
            given += chunk
        trailer = sealed.trailer.as_json() if sealed.trailer else None
    except SealError as e:
        kind = e.kind
    plain = bytes.fromhex(v.get("plaintext", ""))
    if "error" in v:
        same = kind in v["error"].split(" or ") and plain.startswith(given)
        return "" if same else f"{kind or 'it opens'}, and should be: {v['error']}"
    if kind or given != plain:
        return kind or "another plaintext"
    return "" if trailer == v["trailer"] else f"another trailer: {trailer}"


def vector_identities(v: dict[str, Any]) -> list[Identity]:
    identities: list[Identity] = [KeyIdentity({bytes.fromhex(i): bytes.fromhex(k) for i, k in v.get("keys", {}).items()})]
    if "passphrase" in v:
        identities.append(PassphraseIdentity(v["passphrase"].encode()))
    if "private_key" in v:
        identities.append(parse_private_key(v["private_key"]))
    return identities


# ---------------------------------------------------------------- The command


def progress(text: str) -> None:
    on_terminal = sys.stderr.isatty()
    print(("\r\x1b[K" if on_terminal else "") + text, end="" if on_terminal else "\n", file=sys.stderr, flush=True)


def say(text: str) -> None:
    print(("\r\x1b[K" if sys.stderr.isatty() else "") + "recover.py: " + text, file=sys.stderr)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    p = argparse.ArgumentParser(prog="recover.py", description=summary, epilog=rest,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", help="the sealed file; - is standard input")
    p.add_argument("-p", "--password-file", metavar="FILE", help="a file whose first line is the passphrase; - asks for it")
    p.add_argument("-i", "--identity", metavar="FILE", action="append", default=[],
                   help="a file with a private key (EFS-SECRET-KEY-1…); may be given more than once")
    p.add_argument("--key-hex", metavar="ID=KEY", action="append", default=[],
                   help="a key-encryption key of 32 bytes and its id of 16, both in hex; may be given more than once")
    p.add_argument("--fs", metavar="HEX", help="refuse a file of another file system")
    p.add_argument("--content", metavar="HEX", help="refuse a file with another content id")
    p.add_argument("-o", "--output", metavar="FILE", help="write there; FILE.part until all of it is there")
    what = p.add_mutually_exclusive_group()
    what.add_argument("-t", "--list", action="store_true", help="list the archive instead of giving it out")
    what.add_argument("--info", action="store_true",
                      help="check the whole file and say, as JSON, what it is and where it belonged")
    what.add_argument("--vector", action="store_true", help="FILE is a test vector (JSON): open and compare it")
    return p.parse_args(argv)


def first_line(path: str) -> bytes:
    if path == "-":
        return getpass.getpass("Passphrase: ").encode()
    with open(path, "rb") as f:
        line = f.readline(1 << 16).removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise UsageError(f"{path}: the first line, which should be the passphrase, is empty")
    return line


def private_keys(path: str) -> Iterator[PrivateKeyIdentity]:
    with open(path, encoding="utf-8") as f:
        lines = [line.strip() for line in f.read(1 << 16).splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise UsageError(f"{path}: there is no private key (EFS-SECRET-KEY-1…) in it")
    yield from map(parse_private_key, keys)


def key_by_id(text: str) -> tuple[bytes, bytes]:
    key_id, _, key = text.partition("=")
    return unhex("--key-hex", key_id, 16), unhex("--key-hex", key, 32)


def unhex(what: str, text: str, size: int) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != size:
        raise UsageError(f"{what} wants {2 * size} hexadecimal digits")
    return raw


def identities(a: argparse.Namespace) -> list[Identity]:
    result: list[Identity] = [private for path in a.identity for private in private_keys(path)]
    if a.key_hex:
        result.append(KeyIdentity(dict(map(key_by_id, a.key_hex))))
    if a.password_file:
        result.append(PassphraseIdentity(first_line(a.password_file)))
    if not result:
        raise UsageError("what is to open it? Give -p FILE (a passphrase), -i FILE (a private key) or --key-hex")
    return result


@contextlib.contextmanager
def output(path: str | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that has its name only once it is whole."""
    if path is None:
        if sys.stdout.isatty():
            raise UsageError("the plaintext is not for a terminal: use > FILE or -o FILE, or -t to list")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = path + ".part"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)  # of a run before; neither its mode nor a link is kept
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # Windows would change line ends
    with open(os.open(part, flags, 0o600), "wb") as f:
        try:
            yield f
        except SealError:
            say(f"what could be authenticated up to here is in {part}")
            raise
        f.flush()
        os.fsync(f.fileno())
    os.replace(part, path)


def write_plaintext(sealed: SealedFile, path: str | None) -> None:
    with output(path) as out:
        for chunk in sealed.plaintext():
            out.write(chunk)


# ---------------------------------------------------------------- Archives (docs/archive.md)

ARCHIVE_FS = b"efs/archive" + bytes(5)
XATTR = "SCHILY.xattr.user."


def list_archive(sealed: SealedFile) -> None:
    """Prints the members as they come, and reads to the end, which says that they were all."""
    if sealed.header.fs != ARCHIVE_FS:
        raise FormatError("this sealed file is no archive; without -t it is opened all the same")
    reader = io.BufferedReader(PlaintextReader(sealed), 1 << 16)
    try:
        with tarfile.open(fileobj=reader, mode="r|", errorlevel=2) as archive:
            for number, member in enumerate(archive):
                if number == 0:
                    say(head_of_archive(member.pax_headers))
                print_member(archive, member)
                archive.members = []  # constant memory
            if not archive.pax_headers:
                raise FormatError("the archive has no head")
    except tarfile.TarError as e:
        if str(e) != "end of file header":  # what tarfile says of a head that no member follows
            raise FormatError(f"the archive is no tar: {e}") from None
        say("there is nothing in this archive")
    while reader.read(1 << 16):
        pass


def head_of_archive(records: dict[str, str]) -> str:
    try:
        head = json.loads(records["comment"])
        version = head["efs_archive"]
        since = f"what changed since change {head['since']}" if head.get("since") else "everything"
        text = f"{head['fs']}:{head['path']} after change {head['sequence']}, {since}; made {head['created']}"
    except (KeyError, TypeError, ValueError):
        raise FormatError("the head of the archive is not as it must be") from None
    if version != 1:
        raise UnsupportedError(f"version {version} of the archive; this program knows version 1")
    return printable(text)


def print_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    if XATTR + "efs.removed" in member.pax_headers:
        print_removed(archive.extractfile(member))
        return
    kind = stat.S_IFDIR if member.isdir() else stat.S_IFLNK if member.issym() else stat.S_IFREG
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(member.mtime))
    name = member.name + ("/" if member.isdir() else f" -> {member.linkname}" if member.issym() else "")
    print(f"{stat.filemode(kind | member.mode)} {member.size:>12} {when} {printable(name)}")


def print_removed(paths: IO[bytes] | None) -> None:
    """The list of what an incremental archive removes: each path ends with a NUL byte."""
    rest = b""
    while paths and (more := paths.read(1 << 16)):
        *whole, rest = (rest + more).split(b"\x00")
        for path in whole:
            print(f"{'removed':<43} {printable(path.decode('utf-8', 'surrogateescape'))}")


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def print_info(sealed: SealedFile) -> None:
    for _ in sealed.plaintext():
        pass
    h = sealed.header
    stages = [{"suite": s.suite, "slots": list(map(describe, s.slots))} for s in h.stages]
    head = {"fs": h.fs.hex(), "content": h.content.hex(), "segment": h.segment, "compression": h.compression,
            "frame": h.frame, "stages": stages}
    assert sealed.trailer
    print(json.dumps({"header": head, "trailer": sealed.trailer.as_json()}, indent=2))


def run(a: argparse.Namespace) -> int:
    if a.vector:
        difference = check_vector(a.file)
        print(f"{a.file}: {difference or 'ok'}")
        return 1 if difference else 0
    keys = identities(a)
    fs = unhex("--fs", a.fs, 16) if a.fs else None
    content = unhex("--content", a.content, 16) if a.content else None
    with contextlib.ExitStack() as stack:
        src = sys.stdin.buffer if a.file == "-" else stack.enter_context(open(a.file, "rb"))
        sealed = SealedFile(src, keys, fs, content)
        if a.list:
            list_archive(sealed)
        elif a.info:
            print_info(sealed)
        else:
            write_plaintext(sealed, a.output)
    return 0


def no_core_dump() -> None:
    """Keys are in this process's memory: they must not get into a file."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(argv: Sequence[str] | None = None) -> int:
    no_core_dump()
    a = arguments(argv)
    try:
        return run(a)
    except SealError as e:
        say(f"{a.file}: {e.kind}: {e}")
        return e.status
    except UsageError as e:
        say(str(e))
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to say at exit
        say("standard output was closed before the end")
        return 1
    except OSError as e:
        say(str(e))
        return 1
    except MemoryError:
        say("there is not enough memory, which Argon2id needs as much of as the passphrase was sealed with")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
