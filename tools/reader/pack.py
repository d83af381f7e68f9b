"""Packs: header, trailer, slots (section 7)."""

import os
from typing import NamedTuple

from blake3 import blake3
from primitive import Cursor, Damaged, crc32c, decode, open_sealed
from store import TYPES, header

DATA, BUNDLE, NODE, LIST, PART = 1, 2, 3, 4, 5
_HEADER, _FOOTER = 96, 64
_LARGEST = 4 << 20
_KINDS = {3: (DATA, BUNDLE), 4: (NODE, LIST), 5: (DATA, BUNDLE)}


class Slot(NamedTuple):
    """A slot of a pack; parts holds id and length of each part of a bundle."""

    kind: int
    codec: int
    offset: int
    stored: int
    plain: int
    id: bytes
    parts: tuple = ()


class Pack:
    """A pack whose header has been checked."""

    def __init__(self, vault, name):
        self.vault, self.name = vault, name
        self.type, self.id = TYPES[name[0]], bytes.fromhex(name[-32:])
        self.head = self.pread(0, _HEADER)
        self.epoch, self.salt, commitment = header(self.head, self.type)
        if self.head[80:] != self.id:
            raise Damaged("the id in the header is not that of the name")
        self.key = vault.derive(b"pack", self.type, self.epoch, self.salt, commitment, self.id)
        self._slots = None

    def pread(self, offset, n):
        try:
            with open(self.vault.path(self.name), "rb") as file:
                file.seek(offset)
                data = file.read(n)
        except OSError as err:
            raise Damaged("cannot be read: %s" % err.strerror) from err
        if len(data) != n:
            raise Damaged("ends early")
        return data

    def size(self):
        return os.stat(self.vault.path(self.name)).st_size

    def digest(self):
        return blake3(self.vault.read(self.name))

    def slots(self):
        """Returns the slots by the trailer, read once."""
        if self._slots is None:
            self._slots = self._read_trailer()
        return self._slots

    def _read_trailer(self):
        size = self.size()
        if size < _HEADER + _FOOTER:
            raise Damaged("ends early")
        foot = self.pread(size - _FOOTER, _FOOTER)
        cursor = Cursor(foot)
        if cursor.take(8) != b"lockfend" or crc32c(foot[:60]) != int.from_bytes(foot[60:], "little"):
            raise Damaged("the footer is damaged")
        if cursor.integer(8) != size:
            raise Damaged("its length is not the one in the footer")
        offset, length, parity, start = (cursor.integer(n) for n in (8, 4, 4, 8))
        end = start if parity else offset + length
        if end + parity + _FOOTER != size or end < offset + length or (start and not parity):
            raise Damaged("trailer, parity and footer do not join")
        plain = open_sealed(
            self.key, b"\xff" * 4 + bytes(8), self.pread(offset, length), self.head + foot[:60])
        cursor = Cursor(plain)
        codec = cursor.integer(1)
        cursor.reserved(3)
        decoded, encoded = cursor.integer(4), cursor.integer(4)
        table = decode(codec, cursor.take(encoded), decoded)
        cursor.reserved(len(plain) - cursor.pos)
        return self._parse(Cursor(table), offset)

    def _parse(self, cursor, end):
        count, at, rows = cursor.uvarint(), _HEADER, []
        for _ in range(count):
            kind, codec, stored, plain = cursor.integer(1), cursor.integer(1), cursor.uvarint(), cursor.uvarint()
            lengths = [cursor.uvarint() for _ in range(cursor.uvarint())] if kind == BUNDLE else []
            if kind not in _KINDS[self.type] or plain > _LARGEST or (kind == BUNDLE and sum(lengths) != plain):
                raise Damaged("slot %d is impossible" % len(rows))
            rows.append((kind, codec, at, stored, plain, lengths))
            at += stored
        ids = [cursor.take(16) for _ in rows]
        slots = []
        for row, chunk in zip(rows, ids):
            slots.append(Slot(*row[:5], chunk, tuple((cursor.take(16), n) for n in row[5])))
        if at != end or not cursor.done():
            raise Damaged("the table of slots does not fill the pack")
        return slots

    def read(self, number, slot):
        """Returns the plain bytes of a slot, opened, decoded and with the id compared."""
        sealed = self.pread(slot.offset, slot.stored)
        additional = (
            self.id + number.to_bytes(4, "little") + bytes([slot.kind, slot.codec, 0, 0])
            + slot.stored.to_bytes(4, "little") + slot.plain.to_bytes(4, "little") + slot.id)
        opened = open_sealed(self.key, number.to_bytes(4, "little") + bytes(8), sealed, additional)
        plain = decode(slot.codec, opened, slot.plain)
        if slot.kind != BUNDLE:
            found = self.vault.id(slot.kind, plain)
        else:
            found = self._bundle_id(number, slot)
        if found != slot.id:
            raise Damaged("the content is not that of its id %s" % slot.id.hex())
        return plain

    def _bundle_id(self, number, slot):
        """Returns the id by the table of parts. With the trailer lost, those of the parts that are used must do."""
        try:
            slots = self.slots()
        except Damaged as err:
            self.vault.report.damage(self.name, err)
            return slot.id
        if number >= len(slots):
            raise Damaged("the trailer does not list it")
        return self.vault.id(BUNDLE, b"".join(part + n.to_bytes(4, "little") for part, n in slots[number].parts))
