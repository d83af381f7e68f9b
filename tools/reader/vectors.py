"""Tests the parts against published vectors and those of docs/format.md: vectors.py DIRECTORY."""

import json
import os
import sys

import aesgcm
from blake3 import blake3
from index import Segment
from pack import Pack
from primitive import Cursor, crc32c, hkdf
from store import Report, Vault
from tree import Tree

# From the repository of BLAKE3: input byte i is i modulo 251.
BLAKE3 = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
    2048: "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}
ELVISH = b"whats the Elvish word for friend", "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26"

# Test cases 13, 14 and 16 of "The Galois/Counter Mode of Operation": key, nonce, additional data, plain, sealed.
GCM = (
    ("00" * 32, "00" * 12, "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    ("00" * 32, "00" * 12, "", "00" * 16, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    ("feffe9928665731c6d6a8f9467308308" * 2, "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"),
)

def equal(what, got, want):
    if got != want:
        sys.exit("%s: got %s, want %s" % (what, got, want))

def published():
    for n, want in BLAKE3.items():
        equal("BLAKE3 of %d bytes" % n, blake3(bytes(i % 251 for i in range(n))).hex(), want)
    equal("keyed BLAKE3", blake3(b"", ELVISH[0]).hex(), ELVISH[1])
    for case in GCM:
        key, nonce, additional, plain, sealed = (bytes.fromhex(part) for part in case)
        equal("AES-256-GCM", aesgcm.open_sealed(key, nonce, sealed, additional), plain)
        changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
        equal("AES-256-GCM of a changed tag", aesgcm.open_sealed(key, nonce, changed, additional), None)
    equal("CRC32C", crc32c(b"123456789"), 0xE3069283)

class Memory(Vault):
    """A vault of vectors: its keys are given and its objects are in memory."""

    def __init__(self, inputs):
        self.report, self.objects = Report(sys.stderr), {}
        self.uuid, self.domain = bytes.fromhex(inputs["uuid"]), bytes.fromhex(inputs["domain_key"])
        self.keys = {int(inputs["epoch"]): bytes.fromhex(inputs["vault_key"])}
        labels = enumerate((b"data", b"bundle", b"node", b"list", b"data"), 1)
        self.id_keys = {kind: hkdf(self.domain, b"", b"lockfast v1 id " + label, 32) for kind, label in labels}

    def read(self, name):
        return self.objects[name]

class MemoryPack(Pack):
    def pread(self, offset, n):
        return self.vault.objects[self.name][offset:offset + n]

    def size(self):
        return len(self.vault.objects[self.name])

class Contents:
    """Gives a tree its nodes and lists."""

    def __init__(self, vault):
        self.report, self.contents, self.vault = vault.report, {}, vault

    def fetch(self, content, _kind, _length=None):
        return self.contents[content]

def stream(n):
    return bytes((i * i >> 3) & 255 for i in range(n))

def vectors(directory, name):
    """Returns the vectors of a file by name, and a vault with its inputs."""
    with open(os.path.join(directory, name + ".json"), encoding="utf-8") as file:
        values = {vector["name"]: vector["values"] for vector in json.load(file)["vectors"]}
    return values, Memory(values["inputs"]) if "inputs" in values else None

def ids(directory):
    values, vault = vectors(directory, "id")
    for name, want in values.items():
        if not name.startswith("stream("):
            continue
        plain = stream(int(name[7:-1]))
        for kind, label in enumerate(("data", "bundle", "node", "list"), 1):
            equal("id %s" % name, vault.id(kind, plain).hex(), want[label])
        boundary = blake3(plain, hkdf(vault.domain, b"", b"lockfast v1 boundary", 32))[:8]
        equal("boundary %s" % name, boundary.hex(), want["boundary"])

def objects(directory):
    values, vault = vectors(directory, "object")
    for name, want in values.items():
        if "plain" in want and "sealed" in want:
            vault.objects[name] = bytes.fromhex(want["sealed"])
            equal("object %s" % name, vault.open(name).hex(), want["plain"])

def packs(directory):
    for file in ("pack", "pack-zstd"):
        values, vault = vectors(directory, file)
        for name, want in values.items():
            if "object" not in want:
                continue
            vault.objects[name] = bytes.fromhex(want["object"])
            pack = MemoryPack(vault, name)
            plain = [pack.read(number, slot) for number, slot in enumerate(pack.slots())]
            if file == "pack":
                equal("pack", plain, [stream(1000), stream(600) + stream(700), b""])
                equal("digest", pack.digest().hex(), want["digest"])
                equal("ids", " ".join(slot.id.hex() for slot in pack.slots()), want["ids"])
            else:
                equal("pack of zstd", plain, [stream(100) * 100])

def segments(directory):
    values, _ = vectors(directory, "segment")
    (name, want), = ((n, v) for n, v in values.items() if "plain" in v)
    segment = Segment(name, bytes.fromhex(want["plain"]))
    places = [place for _, place in segment.find(bytes.fromhex("7578ebb0aad8f7a17ec721a23ee79172"))]
    equal("place of a part", [(p.number, p.offset, p.length, p.slot.offset) for p in places], [(1, 600, 700, 1112)])

def trees(directory):
    values, vault = vectors(directory, "tree")
    leaf = values["leaf"]
    node = bytes.fromhex(leaf["node"])
    equal("id of a node", vault.id(3, node).hex(), leaf["id"])
    contents = Contents(vault)
    contents.contents[bytes.fromhex(leaf["id"])] = node
    entries = list(Tree(contents, bytes.fromhex(leaf["id"])))
    equal("entries of a leaf", len(entries), Cursor(node[4:]).integer(4))

def main():
    published()
    for test in (ids, objects, packs, segments, trees):
        test(sys.argv[1])

if __name__ == "__main__":
    main()
