"""Finding contents by id: index segments (section 8), or the trailers of packs."""

from typing import NamedTuple

from pack import BUNDLE, DATA, PART, Pack, Slot
from primitive import Cursor, Damaged


class Place(NamedTuple):
    """Where a content stands; offset is within the plain bytes of a bundle for a part."""

    pack: str
    number: int
    slot: Slot
    offset: int
    length: int


def _int(data, start, end):
    return int.from_bytes(data[start:end], "little")


class Segment:
    """An opened segment. Tables stay as bytes and are searched in place."""

    def __init__(self, name, plain):
        cursor = Cursor(plain)
        if cursor.take(8) != b"lfindex1":
            raise Damaged("not an index segment")
        packs, self.count, bundles, superseded = (cursor.integer(4) for _ in range(4))
        cursor.take(16)
        fingerprints = cursor.integer(4)
        cursor.reserved(4)
        if cursor.take(16).hex() != name[-32:]:
            raise Damaged("the id is not that of the name")
        self.packs = [self._pack(cursor.take(96)) for _ in range(packs)]
        self.entries, self.bundles = cursor.take(32 * self.count), cursor.take(32 * bundles)
        self.superseded = {cursor.take(16).hex() for _ in range(superseded)}
        cursor.take(fingerprints)
        if not cursor.done():
            raise Damaged("bytes follow the last section")

    @staticmethod
    def _pack(row):
        if row[16] not in (3, 4, 5) or row[17]:
            raise Damaged("a row of the pack table is impossible")
        packet = row[:16].hex()
        name = "%s/%s/%s" % ("dma"[row[16] - 3], packet[:2], packet)
        return name, _int(row, 20, 24), _int(row, 24, 32), row[32:64], row[64:96]

    @staticmethod
    def _search(table, key, order):
        low, high = 0, len(table) // 32
        while low < high:
            middle = (low + high) // 2
            if order(table[32 * middle:32 * middle + 32]) < key:
                low = middle + 1
            else:
                high = middle
        return low

    @staticmethod
    def _slot(entry):
        return Slot(entry[31] >> 4, entry[31] & 15, _int(entry, 21, 25), _int(entry, 25, 28), _int(entry, 28, 31),
                    entry[:16])

    def _name(self, entry):
        row = _int(entry, 16, 19)
        if row >= len(self.packs):
            raise Damaged("an entry names a row beyond the pack table")
        return self.packs[row][0]

    def _bundle(self, entry):
        key = _int(entry, 16, 19), _int(entry, 19, 21)
        at = 32 * self._search(self.bundles, key, lambda e: (_int(e, 16, 19), _int(e, 19, 21)))
        found = self.bundles[at:at + 32]
        if found[16:21] != entry[16:21]:
            raise Damaged("the bundle of part %s is missing" % entry[:16].hex())
        return self._slot(found)

    def find(self, content):
        at = self._search(self.entries, content, lambda e: e[:16])
        while self.entries[32 * at:32 * at + 16] == content:
            entry = self.entries[32 * at:32 * at + 32]
            slot, number = self._slot(entry), _int(entry, 19, 21)
            if slot.kind == PART:
                yield PART, Place(self._name(entry), number, self._bundle(entry), slot.offset, slot.plain)
            else:
                yield slot.kind, Place(self._name(entry), number, slot, 0, slot.plain)
            at += 1


class Trailers:
    """The same from the trailers of packs, for when a segment is lost."""

    def __init__(self):
        self.places = {}

    def add(self, pack):
        for number, slot in enumerate(pack.slots()):
            if slot.kind != BUNDLE:
                place = Place(pack.name, number, slot, 0, slot.plain)
                self.places.setdefault(slot.id, []).append((slot.kind, place))
            offset = 0
            for part, length in slot.parts:
                self.places.setdefault(part, []).append((PART, Place(pack.name, number, slot, offset, length)))
                offset += length

    def find(self, content):
        return self.places.get(content, [])


class Index:
    """Every content of a vault.

    Packs that no segment describes are read by their trailers; the other packs too, once a content is in no table.
    """

    def __init__(self, vault):
        self.vault, self.report = vault, vault.report
        self.packs, self.tables, self._recent = {}, self._open_segments(), (None, None)
        described = {pack[0] for segment in self.tables for pack in segment.packs}
        self._described = described.intersection(vault.names["pack"])
        self._read_trailers(set(vault.names["pack"]) - described)

    def _open_segments(self):
        """Opens segments from the highest level down; one that is superseded may be damaged."""
        names, opened, superseded, damaged = self.vault.names["segment"], {}, set(), {}
        for name in sorted(names, key=lambda n: -int(names[n][0])):
            try:
                opened[name] = Segment(name, self.vault.open(name))
                superseded |= opened[name].superseded
            except Damaged as err:
                damaged[name] = err
        for name, err in damaged.items():
            if name[-32:] not in superseded:
                self.report.damage(name, err)
        return [segment for name, segment in opened.items() if name[-32:] not in superseded]

    def _read_trailers(self, names):
        trailers = Trailers()
        for name in sorted(names):
            try:
                trailers.add(self.pack(name))
            except Damaged as err:
                self.report.damage(name, err)
        self.tables.append(trailers)

    def pack(self, name):
        if name not in self.packs:
            self.packs[name] = Pack(self.vault, name)
        return self.packs[name]

    def fetch(self, content, kind, length=None):
        """Returns a content from the first place where it can be read; damage on the way is reported."""
        plain, problem = self._search(self.tables, content, kind, length)
        if plain is None and self._described:
            self._read_trailers(self._described)
            self._described = set()
            plain, again = self._search(self.tables[-1:], content, kind, length)
            problem = problem or again
        if plain is None:
            raise Damaged(problem or "content %s is in no pack" % content.hex())
        return plain

    def _search(self, tables, content, kind, length):
        problem = None
        kinds = (DATA, PART) if kind == DATA else (kind,)
        for table in tables:
            for found, place in table.find(content):
                if found not in kinds or length not in (None, place.length):
                    continue
                if place.pack not in self.vault.names["pack"]:
                    problem = "%s, with content %s, is missing" % (place.pack, content.hex())
                    continue
                try:
                    return self._read(content, found, place), None
                except Damaged as err:
                    problem = "%s slot %d: %s" % (place.pack, place.number, err)
                    self.report.damage("%s slot %d" % (place.pack, place.number), err)
        return None, problem

    def _read(self, content, kind, place):
        if self._recent[0] != (place.pack, place.number):
            self._recent = (place.pack, place.number), self.pack(place.pack).read(place.number, place.slot)
        plain = self._recent[1]
        if kind == PART:
            plain = plain[place.offset:place.offset + place.length]
            if len(plain) != place.length or self.vault.id(PART, plain) != content:
                raise Damaged("the part is not that of its id %s" % content.hex())
        return plain
