"""Checks everything in a vault that can be checked without its control database."""

from index import Segment
from pack import DATA, PART
from primitive import Damaged
from tree import Tree, content, printable

def verify(vault, index, points):
    """Opens every object, compares every digest and id, reads every recovery point."""
    for kind in ("journal", "vault state", "state", "claim", "copy map", "stream", "refset", "manifest"):
        for name in vault.names[kind]:
            _attempt(vault, name, vault.open)
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
    try:
        act(name)
    except Damaged as err:
        vault.report.damage(name, err)

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
