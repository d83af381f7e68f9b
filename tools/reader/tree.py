"""Recovery points and their trees (sections 9 and 11)."""

from typing import NamedTuple

import state
from pack import DATA, LIST, NODE
from primitive import Cursor, Damaged, pair, time, whole_integer

_HOLE = bytes(16)


class Entry(NamedTuple):
    """A leaf entry: extents are (length, id or None for a hole); inline replaces them."""

    key: bytes
    meta: bytes
    inline: bytes
    size: int
    extents: list
    references: list


class Point:
    """A manifest."""

    def __init__(self, vault, name):
        values = vault.open_fields(name)

        def one(tag, decode, default):
            return decode(values[tag][0]) if tag in values else default

        self.id, self.name = name[2:34], name
        if one(1, bytes, b"").hex() != self.id or one(2, bytes, b"") != vault.uuid:
            raise Damaged("is of another name or vault")
        self.created = one(3, time, 0)
        self.resource, self.driver = one(4, bytes.decode, ""), one(5, bytes.decode, "")
        self.metadata = dict(pair(value) for value in values.get(6, ()))
        self.root = one(7, bytes, None)
        self.entries, self.size = one(8, whole_integer, 0), one(9, whole_integer, 0)
        self.skipped = [pair(value) for value in values.get(15, ())]
        self.further = one(16, whole_integer, 0)
        self.warm = one(24, bytes.hex, "")
        found = state.newest(vault, self.id) or {}
        self.state, self.arn = found.get(state.STATUS, ""), found.get(state.ARN, "")


def refset(vault, point, depth=0):
    """Returns the hex ids of the packs that a recovery point needs."""
    if depth > 16:
        raise Damaged("f/%s: deltas are more than 16 deep" % point)
    plain, name = vault.newest(vault.generations("refset", point), vault.open)
    if plain is None:
        raise Damaged("f/%s: no refset can be read" % point)
    try:
        return _parse_refset(vault, Cursor(plain), depth)
    except Damaged as err:
        raise Damaged("%s: %s" % (name, err)) from err


def _parse_refset(vault, cursor, depth):
    if cursor.take(8) != b"lfrefset":
        raise Damaged("not a refset")
    flags = cursor.integer(1)
    cursor.reserved(3)
    count, packs = cursor.integer(4), set()
    if flags & ~3:
        raise Damaged("flags are not known")
    if flags & 2:
        packs = refset(vault, cursor.take(16).hex(), depth + 1)
    for _ in range(count):
        pack, slots, form = cursor.take(16).hex(), cursor.integer(2), cursor.integer(1)
        if form == 2:
            cursor.take((slots + 7) // 8)
        elif form != 1 and not (form == 3 and flags & 2):
            raise Damaged("form %d is not known" % form)
        (packs.discard if form == 3 else packs.add)(pack)
    if not cursor.done():
        raise Damaged("bytes follow the last pack")
    return packs


class Tree:
    """Walks the entries of a recovery point in order; nodes that cannot be read are reported."""

    def __init__(self, index, root):
        self.index, self.report, self.root = index, index.report, root
        self.lost = 0

    def __iter__(self):
        return iter(()) if self.root is None else self._walk(self.root, None, None)

    def _walk(self, node, level, first):
        try:
            found, items = self._read(node, level)
            if first not in (None, items[0][0] if found else items[0].key):
                raise Damaged("its first key is not the one its parent says")
        except (Damaged, IndexError) as err:
            self.lost += 1
            where = "" if first is None else ", from %s on" % printable(first)
            self.report.damage("node %s%s" % (node.hex(), where), err)
            return
        for item in items:
            if found:
                yield from self._walk(item[1], found - 1, item[0])
            else:
                yield item

    def _read(self, node, level):
        cursor = Cursor(self.index.fetch(node, NODE))
        found = cursor.integer(1)
        cursor.reserved(3)
        count, ids, lists = (cursor.integer(4) for _ in range(3))
        if level not in (None, found) or count > 2048 or not count:
            raise Damaged("level or number of entries is impossible")
        ids = iter([cursor.take(16) for _ in range(ids)])
        lists = iter([cursor.take(16) for _ in range(lists)])
        try:
            items = self._items(cursor, found, count, ids, lists)
        except StopIteration:
            raise Damaged("ids do not suffice") from None
        if not cursor.done() or next(ids, None) or next(lists, None):
            raise Damaged("bytes or ids follow the last entry")
        return found, items

    def _items(self, cursor, level, count, ids, lists):
        items, key, meta = [], None, b""
        for _ in range(count):
            before, key = key, _shared(cursor, key or b"")
            if before is not None and key <= before:
                raise Damaged("keys do not ascend")
            if level:
                cursor.uvarint()
                cursor.uvarint()
                items.append((key, next(ids)))
                continue
            meta = _shared(cursor, meta)
            items.append(self._leaf(cursor, key, meta, ids, lists))
        return items

    def _leaf(self, cursor, key, meta, ids, lists):
        form = cursor.integer(1)
        inline, size, extents, references = b"", 0, [], []
        if form & 127 == 1:
            inline = cursor.bytes()
            size = len(inline)
        elif form & 127 == 2:
            size = cursor.uvarint()
            extents = [(size, next(ids))]
        elif form & 127 == 3:
            extents = [_extent(cursor.uvarint(), ids) for _ in range(cursor.uvarint())]
            size = sum(length for length, _ in extents)
        elif form & 127 == 4:
            size = cursor.uvarint()
            extents = _List(self.index, size, next(lists))
        elif form & 127:
            raise Damaged("content %d is not known" % form)
        if form & 128:
            references = [(cursor.uvarint(), next(ids)) for _ in range(cursor.uvarint())]
        return Entry(key, meta, inline, size, extents, references)


def _extent(value, ids):
    return value >> 1, None if value & 1 else next(ids)


def _shared(cursor, before):
    same = cursor.uvarint()
    if same > len(before):
        raise Damaged("shares more bytes than there are")
    return before[:same] + cursor.bytes()


class _List:
    """The extents of a long content, read when they are asked for."""

    def __init__(self, index, size, chunk):
        self.index, self.size, self.chunk = index, size, chunk

    def __iter__(self):
        total = 0
        for length, content in self._walk(self.chunk, None, self.size):
            total += length
            yield length, content
        if total != self.size:
            raise Damaged("list %s: extents do not add up to the size" % self.chunk.hex())

    def _walk(self, chunk, level, size):
        try:
            found, items = self._read(chunk, level)
        except (Damaged, StopIteration) as err:
            self.index.report.damage("list %s" % chunk.hex(), err)
            yield size, _HOLE
            return
        for length, content in items:
            if found:
                yield from self._walk(content, found - 1, length)
            else:
                yield length, content

    def _read(self, chunk, level):
        cursor = Cursor(self.index.fetch(chunk, LIST))
        found = cursor.integer(1)
        cursor.reserved(3)
        count = cursor.integer(4)
        if level not in (None, found) or count > 4096:
            raise Damaged("level or number of items is impossible")
        values = [cursor.uvarint() for _ in range(count)]
        rest = cursor.rest()
        ids = iter([rest[i:i + 16] for i in range(0, len(rest), 16)])
        items = [(value, next(ids)) if found else _extent(value, ids) for value in values]
        return found, items


def content(index, entry):
    """Yields (offset, bytes or None, problem) for every extent that is not a hole, in order."""
    if entry.inline:
        yield 0, entry.inline, None
    offset = 0
    for length, chunk in entry.extents:
        if chunk == _HOLE:
            yield offset, None, "a list of its extents cannot be read"
        elif chunk is not None:
            try:
                yield offset, index.fetch(chunk, DATA, length), None
            except Damaged as err:
                yield offset, None, err
        offset += length


def printable(name):
    """Returns bytes as one line of text; what is not UTF-8 or printable is escaped."""
    text = name.replace(b"\0", b"/").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
