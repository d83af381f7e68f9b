"""Checks everything in a vault that can be checked without its control database."""

import state
from index import Segment
from pack import DATA, PART
from primitive import Damaged, time, whole_integer
from tree import Tree, content, printable

def verify(vault, index, points):
    """Opens every object, compares every digest and id, reads every recovery point."""
    for kind, act in (
            ("journal", vault.open), ("stream", vault.open), ("refset", vault.open), ("manifest", vault.open),
            ("vault state", lambda name: state.read(vault, name)), ("state", lambda name: state.read(vault, name)),
            ("claim", lambda name: _claim(vault, name)), ("copy map", lambda name: _copy_map(vault.open(name)))):
        for name in vault.names[kind]:
            _attempt(vault, name, act)
    described = {}
    for name in vault.names["segment"]:
        _attempt(vault, name, lambda name: _describe(described, Segment(name, vault.open(name))))
    for name in vault.names["pack"]:
        _attempt(vault, name, lambda name: _pack(vault, index.pack(name), described.get(name)))
    for point in points:
        for entry in Tree(index, point.root):
            for _, plain, problem in content(index, entry):
                if plain is None:
                    vault.report.damage("%s: entry %s" % (point.name, printable(entry.key)), problem)
            for length, chunk in entry.references:
                _attempt(vault, "%s: entry %s" % (point.name, printable(entry.key)),
                         lambda _, chunk=chunk, length=length: index.fetch(chunk, DATA, length))

def _attempt(vault, name, act):
    vault.newest([name], act)

def _claim(vault, name):
    """Compares a claim with its name and vault (section 15)."""
    values = vault.open_fields(name)
    if values[1][0] != vault.uuid or whole_integer(values[2][0]) != int(name[2:]) or len(values[3][0]) != 16:
        raise Damaged("is of another name or vault, or without an identity")
    time(values[4][0])

def _copy_map(pairs):
    """Checks the form of a copy map (section 20)."""
    first = [pairs[i:i + 16] for i in range(0, len(pairs), 32)]
    if len(pairs) % 32 or not 1 <= len(first) <= 65536 or any(a >= b for a, b in zip(first, first[1:])):
        raise Damaged("%d bytes are no pairs that ascend" % len(pairs))

def _describe(described, segment):
    for name, *facts in segment.packs:
        described.setdefault(name, []).append(facts)

def _pack(vault, pack, descriptions):
    digest = pack.digest()
    for epoch, size, salt, noted in descriptions or ():
        if (epoch, size, salt, noted) != (pack.epoch, pack.size(), pack.salt, digest):
            vault.report.damage(pack.name, "length, salt or digest is not the one in the index")
    for number, slot in enumerate(pack.slots()):
        _attempt(vault, "%s slot %d" % (pack.name, number), lambda _, n=number, s=slot: _slot(vault, pack, n, s))


def _slot(vault, pack, number, slot):
    plain, offset = pack.read(number, slot), 0
    for part, length in slot.parts:
        if vault.id(PART, plain[offset:offset + length]) != part:
            raise Damaged("part %s is not that of its id" % part.hex())
        offset += length
