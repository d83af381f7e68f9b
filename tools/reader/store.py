"""The objects of one vault: their names, the keys, the format object, sealed objects."""

import hashlib
import hmac
import os
import re

from blake3 import blake3
from primitive import MALFORMED, Cursor, Damaged, WrongKey, crc32c, fields, hkdf, open_sealed

_N = r"([1-9][0-9]*)"
_ID = r"([0-9a-f]{32})"
_NAMES = {
    "format": re.compile(r"format(?:\.%s)?" % _N),
    "key": re.compile(r"k/%s-%s" % (_N, _N)),
    "pack": re.compile(r"[dma]/([0-9a-f]{2})/(\1[0-9a-f]{30})"),
    "segment": re.compile(r"x/(0|[1-9][0-9]*)/%s" % _ID),
    "manifest": re.compile(r"r/%s(?:\.%s)?" % (_ID, _N)),
    "refset": re.compile(r"f/%s(?:\.%s)?" % (_ID, _N)),
    "stream": re.compile(r"s/%s/%s-%s" % (_ID, _N, _N)),
    "journal": re.compile(r"j/%s" % _N),
    "vault state": re.compile(r"v/%s" % _N),
    "state": re.compile(r"p/%s-%s" % (_ID, _N)),
    "claim": re.compile(r"c/%s" % _N),
    "copy map": re.compile(r"t/%s/%s" % (_ID, _ID)),
}
TYPES = {"d": 3, "m": 4, "a": 5, "x": 6, "r": 7, "f": 8, "s": 9, "j": 10, "v": 11, "p": 12, "c": 13, "t": 14}
_BLOCK, _TAG = 65536, 16
_INCOMPATIBLE = 0b111
FORMAT = "format"


class Report:
    """Collects what is wrong; every line names the object or path it is about."""

    def __init__(self, out):
        self.out, self.seen = out, set()

    def damage(self, name, reason):
        word = "not opened" if isinstance(reason, WrongKey) else "damaged"
        line = "%s: %s: %s" % (word, name, reason)
        if line not in self.seen:
            self.seen.add(line)
            print(line, file=self.out)

    def note(self, text):
        print("note: %s" % text, file=self.out)


class RootKey:
    """A root key file (section 5.5)."""

    def __init__(self, path):
        with open(path, encoding="ascii") as file:
            line = file.read().strip()
        head, _, total = line.rpartition(":")
        mark, key_id, key = (head.split(":") + ["", ""])[:3]
        if mark != "lockfast-root-key-1" or hashlib.sha256((head + ":").encode()).hexdigest()[:8] != total:
            raise Damaged("%s: not a root key file, or its sum is wrong" % path)
        self.key, self.id = bytes.fromhex(key), bytes.fromhex(key_id)
        if len(self.key) != 32 or hkdf(self.key, b"", b"lockfast/1/id", 8) != self.id:
            raise Damaged("%s: the id is not that of the key" % path)

    def unwrap(self, wrapped, binding):
        if wrapped[:1] != b"\1":
            raise Damaged("the key was not wrapped by a key file")
        if wrapped[1:9] != self.id:
            raise WrongKey("wrapped by key %s, the key file holds %s" % (wrapped[1:9].hex(), self.id.hex()))
        key = hkdf(self.key, b"", b"lockfast/1/wrap", 32)
        return open_sealed(key, wrapped[9:21], wrapped[21:], wrapped[:9] + binding)

    def unwrap_chain(self, key_id, links, wrapped, binding):
        """Opens what stands at the end of a chain of no link or of that of a KMS key (sections 5.5 and 5.6)."""
        if not links:
            return self.unwrap(wrapped, binding)
        if len(links) > 1:
            raise Damaged("the vault key is wrapped by a chain of %d links, which is not known" % len(links))
        cursor = Cursor(links[0])
        if cursor.take(1) != b"\1":
            raise Damaged("the link to the KMS key is of a version that is not known")
        version, arn = cursor.integer(4), cursor.take(cursor.integer(2))
        if arn != key_id:
            raise Damaged("the link is of %r, not of the key that wraps the vault key" % arn)
        parts = arn.split(b":", 5)
        if len(parts) != 6 or not parts[5].startswith(b"key/"):
            raise Damaged("%r is not the ARN of a KMS key" % arn)
        name = b"|".join([b"lockfast v1 kms key", parts[4], parts[5][4:], b"%d" % version])
        material = self.unwrap(links[0][7 + len(arn):], name)
        if wrapped[:5] != b"\2" + version.to_bytes(4, "little"):
            raise Damaged("the vault key was not wrapped by version %d of the KMS key" % version)
        key = hkdf(material, b"", b"lockfast v1 kms wrap", 32)
        return open_sealed(key, wrapped[5:17], wrapped[17:], wrapped[:5] + binding)


def covered(size):
    """Returns how many bytes of a sealed object of that size stand before its parity (section 5.7)."""
    def whole(n):
        length = 4096 * max(1, -(-n // 131072))
        return n + 2 * length + 8 * (max(1, -(-n // length)) + 3)

    low, high = 1, size
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if whole(middle) >= size else (middle + 1, high)
    if size < 1 or whole(low) != size:
        raise Damaged("no object with parity has %d bytes" % size)
    return low


def header(data, kind, flags=0):
    """Checks the start which sealed objects and packs share; returns epoch, salt, commitment."""
    cursor = Cursor(data)
    if cursor.take(8) != b"lockfast" or cursor.take(4) != bytes([kind, 1, 1, flags]):
        raise Damaged("magic, type, version, suite or flags are not those of type %d" % kind)
    return cursor.integer(4), cursor.take(32), cursor.take(32)


class Vault:
    """A directory with the objects of one vault, opened with a root key."""

    def __init__(self, root, root_key, report, cold=None):
        self.root, self.report, self.cold = root, report, cold
        self.names = {kind: {} for kind in _NAMES}
        self._list()
        form, self.format_name = self._format()
        self.uuid = form[16:32]
        self.keys, self.domain = {}, None
        self._open_keys(root_key)
        if not self.keys:
            raise Damaged("%s: no vault key opens" % root)
        epoch = int.from_bytes(form[96:100], "little")
        mac = blake3(form[:224], hkdf(self.vault_key(epoch), self.uuid, b"lockfast v1 format", 32))
        if not hmac.compare_digest(mac, form[224:]):
            raise Damaged("%s: the MAC is wrong" % self.format_name)
        self.id_keys = {
            kind: hkdf(self.domain, b"", b"lockfast v1 id " + label, 32)
            for kind, label in ((1, b"data"), (2, b"bundle"), (3, b"node"), (4, b"list"), (5, b"data"))
        }

    def _list(self):
        self._list_in(self.root)
        if self.cold:
            self._list_in(os.path.join(self.cold, "a"))

    def _list_in(self, top):
        base = self.cold if top != self.root else self.root
        for folder, _, files in os.walk(top):
            for file in files:
                name = os.path.relpath(os.path.join(folder, file), base).replace(os.sep, "/")
                for kind, pattern in _NAMES.items():
                    match = pattern.fullmatch(name)
                    if match:
                        self.names[kind][name] = match.groups()

    def path(self, name):
        """Returns where an object is: cold packs may be in a place of their own."""
        parts = name.split("/")
        if self.cold and parts[0] == "a" and os.path.exists(os.path.join(self.cold, *parts)):
            return os.path.join(self.cold, *parts)
        return os.path.join(self.root, *parts)

    def read(self, name):
        try:
            with open(self.path(name), "rb") as file:
                return file.read()
        except OSError as err:
            raise Damaged("cannot be read: %s" % err.strerror) from err

    def generations(self, kind, key=None):
        """Names of a family of objects, the highest generation first."""
        found = [(int(g[-1] or 1), n) for n, g in self.names[kind].items() if key is None or g[0] == key]
        return [name for _, name in sorted(found, reverse=True)]

    def newest(self, names, read):
        """Returns the first of names that can be read, with its name; reports the others."""
        for name in names:
            try:
                return read(name), name
            except Damaged as err:
                self.report.damage(name, err)
            except MALFORMED as err:
                self.report.damage(name, "malformed: %r" % err)
        return None, None

    def _format(self):
        form, name = self.newest(self.generations(FORMAT), self._read_format)
        if form is None:
            raise Damaged("%s: no format object can be read" % self.root)
        if int.from_bytes(form[32:40], "little") & ~_INCOMPATIBLE:
            raise Damaged("%s: the vault has features that this reader does not know" % name)
        return form, name

    def _read_format(self, name):
        data = self.read(name)
        if len(data) != 256 or data[:8] != b"lockfast" or data[8] != 1:
            raise Damaged("not a format object of 256 bytes")
        if crc32c(data[:220]) != int.from_bytes(data[220:224], "little"):
            raise Damaged("the CRC is wrong")
        if data[9] != 1 or data[11] != 1 or data[65] != 16:
            raise Damaged("version, suite or length of ids is not known")
        if any(data[66:68]) or any(data[94:96]) or any(data[100:220]):
            raise Damaged("reserved bytes are not zero")
        if int.from_bytes(data[12:16], "little") != int(self.names[FORMAT][name][0] or 1):
            raise Damaged("the generation is not that of the name")
        return data

    def vault_key(self, epoch):
        if epoch not in self.keys:
            raise Damaged("no key of epoch %d is open" % epoch)
        return self.keys[epoch]

    def _open_keys(self, root_key):
        for epoch in sorted({int(groups[0]) for groups in self.names["key"].values()}):
            opened, name = self.newest(
                self.generations("key", str(epoch)), lambda name: self._open_key(name, root_key))
            if opened is None:
                continue
            self.keys[epoch], domain = opened
            if self.domain not in (None, domain):
                self.report.damage(name, "holds another domain key than the epochs before")
            self.domain = self.domain or domain

    def _open_key(self, name, root_key):
        data = self.read(name)
        if crc32c(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise Damaged("the CRC is wrong")
        cursor = Cursor(data[:-4])
        if cursor.take(12) != b"lockfast\x02\x01\x01\x00":
            raise Damaged("not a key object of version 1 and suite 1")
        epoch, generation = cursor.integer(4), cursor.integer(4)
        if ("%d" % epoch, "%d" % generation) != self.names["key"][name] or cursor.take(16) != self.uuid:
            raise Damaged("epoch, generation or vault is another")
        values = fields(cursor.take(cursor.integer(4)))
        if not cursor.done():
            raise Damaged("bytes follow the fields")
        place = self.uuid + epoch.to_bytes(4, "little")
        binding = b"lockfast v1 key" + place + values[1][0]
        key = root_key.unwrap_chain(values[1][0], values.get(3, []), values[2][0], binding)
        salt, sealed = values[4][0][:32], values[4][0][32:]
        domain = open_sealed(hkdf(key, salt, b"lockfast v1 domain" + place, 32), bytes(12), sealed, b"")
        if len(key) != 32 or len(domain) != 32:
            raise Damaged("a key is not of 32 bytes")
        return key, domain

    def derive(self, label, kind, epoch, salt, commitment, tail=b""):
        """Returns the key of a pack or object after comparing its commitment."""
        root = hkdf(self.vault_key(epoch), self.uuid, b"lockfast v1 %s root" % label, 32)
        info = b"lockfast v1 %s" % label + bytes([kind]) + epoch.to_bytes(4, "little") + tail
        both = hkdf(root, salt, info, 64)
        if not hmac.compare_digest(both[32:], commitment):
            raise Damaged("the commitment is wrong")
        return both[:32]

    def open(self, name):
        """Returns the plain text of a sealed object (section 5.3)."""
        data, kind = self.read(name), TYPES[name[0]]
        parity = data[11:12] == b"\1"
        key = self.derive(b"object", kind, *header(data, kind, int(parity)))
        if parity:
            data = data[:covered(len(data))]
        plain, at, i = [], 80, 0
        while True:
            block = data[at:at + _BLOCK + _TAG]
            at, last = at + len(block), at + len(block) == len(data)
            nonce = i.to_bytes(8, "little") + bytes([last, 0, 0, 0])
            plain.append(open_sealed(key, nonce, block, data[:80] + name.encode()))
            i += 1
            if last:
                return b"".join(plain)

    def open_fields(self, name):
        return fields(self.open(name))

    def id(self, kind, plain):
        return blake3(plain, self.id_keys[kind])[:16]
