"""Writes a recovery point of a directory or a volume to a file system (sections 17 and 18)."""

import errno
import os
import stat
from typing import NamedTuple

from pack import DATA
from primitive import MALFORMED, Cursor, Damaged, fields, pair
from tree import Tree, content, printable

_FILE, _DIRECTORY, _LINK, _FIFO, _CHARACTER, _BLOCK, _SOCKET = range(1, 8)
_CHANGED, _FIELDS, _RACY, _INCOMPLETE = 0x10, 0x20, 0x40, 0x80
_SPECIAL = {_FIFO: stat.S_IFIFO, _CHARACTER: stat.S_IFCHR, _BLOCK: stat.S_IFBLK, _SOCKET: stat.S_IFSOCK}


class Meta(NamedTuple):
    """What the driver `directory` notes about an entry."""

    kind: int
    flags: int
    mode: int
    uid: int
    gid: int
    links: int
    inode: tuple
    mtime: int
    fields: dict


def decode_meta(data):
    cursor = Cursor(data)
    head = cursor.integer(1)
    mode, uid, gid, links, device = (cursor.uvarint() for _ in range(5))
    seconds, nanoseconds = cursor.varint(), cursor.uvarint()
    cursor.varint()
    cursor.uvarint()
    inode = device, cursor.uvarint()
    more = fields(cursor.rest()) if head & _FIELDS else {}
    if not cursor.done():
        raise Damaged("Meta: bytes follow the inode, but there is no flag for them")
    return Meta(head & 15, head & 0xF0, mode, uid, gid, links, inode, seconds * 10**9 + nanoseconds, more)


def _make_empty(path):
    os.makedirs(path, exist_ok=True)
    if os.listdir(path):
        raise OSError("%s is not empty" % os.fsdecode(path))


def _write(path, index, entry, problem):
    """Writes the content of an entry to a new file; holes and what is damaged stay holes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        try:
            for offset, plain, wrong in content(index, entry):
                if plain is None:
                    problem("content from byte %d on: %s" % (offset, wrong))
                    continue
                file.seek(offset)
                file.write(plain)
        except Damaged as err:
            problem(err)
        file.truncate(entry.size)


class Directory:
    """Restores the tree of one recovery point below a directory that is empty or new."""

    def __init__(self, index, point, target):
        self.index, self.point, self.report = index, point, index.report
        self.target = os.fsencode(target)
        self.directories, self.files, self.restored = {}, {}, 0

    def run(self):
        _make_empty(self.target)
        self.directories[b""] = None
        for entry in Tree(self.index, self.point.root):
            try:
                self._entry(entry)
                self.restored += 1
            except Damaged as err:
                self._problem(entry, err)
            except OSError as err:
                self._problem(entry, "%s" % err.strerror)
            except MALFORMED as err:
                self._problem(entry, "malformed: %r" % err)
        for key in reversed(list(self.directories)):
            if self.directories[key] is not None:
                entry, meta = self.directories[key]
                self._attributes(self._path(key), entry, meta)

    def _problem(self, entry, reason):
        self.report.damage("entry %s" % (printable(entry.key) or "."), reason)

    def _path(self, key):
        return os.path.join(self.target, *key.split(b"\0")) if key else self.target

    def _parents(self, key):
        """Makes parents whose own entries are lost; nothing is written through a link."""
        parent = key.rpartition(b"\0")[0]
        if parent in self.directories:
            return
        self._parents(parent)
        os.mkdir(self._path(parent))
        self.directories[parent] = None
        self.report.damage("entry %s" % printable(parent), "the entry of this directory is missing")

    def _entry(self, entry):
        for name in entry.key.split(b"\0") if entry.key else ():
            if name in (b"", b".", b"..") or b"/" in name:
                raise Damaged("a component of the path is not allowed")
        meta = decode_meta(entry.meta)
        if entry.size and meta.kind != _FILE:
            raise Damaged("has content, but is not a file")
        self._notes(entry, meta)
        path = self._path(entry.key)
        if meta.kind == _DIRECTORY:
            if entry.key:
                self._parents(entry.key)
                os.mkdir(path)
            self.directories[entry.key] = entry, meta
            return
        if not entry.key:
            raise Damaged("the root is not a directory")
        self._parents(entry.key)
        if meta.links > 1 and meta.inode in self.files:
            os.link(self.files[meta.inode], path, follow_symlinks=False)
            return
        self._create(path, entry, meta)
        self._attributes(path, entry, meta)
        if meta.links > 1:
            self.files[meta.inode] = path

    def _create(self, path, entry, meta):
        if meta.kind == _FILE:
            _write(path, self.index, entry, lambda reason: self._problem(entry, reason))
        elif meta.kind == _LINK:
            os.symlink(meta.fields[2][0], path)
        elif meta.kind in _SPECIAL:
            device = 0
            if 1 in meta.fields:
                cursor = Cursor(meta.fields[1][0])
                device = os.makedev(cursor.uvarint(), cursor.uvarint())
            os.mknod(path, _SPECIAL[meta.kind] | 0o600, device)
        else:
            raise Damaged("type %d is not known" % meta.kind)

    def _notes(self, entry, meta):
        name = printable(entry.key) or "."
        if meta.flags & _CHANGED:
            self.report.note("%s: changed while it was backed up" % name)
        if meta.flags & _INCOMPLETE:
            self.report.note("%s: a part could not be read when it was backed up; it is a hole" % name)

    def _attributes(self, path, entry, meta):
        """Owner, extended attributes, mode, times: each of these can undo what stands after it."""
        if os.geteuid() == 0:
            self._try(entry, "owner", os.lchown, path, meta.uid, meta.gid)
        for name, value in self._xattrs(entry, meta):
            label = "attribute %s" % printable(name)
            self._try(entry, label, os.setxattr, path, name, value, follow_symlinks=False)
        if meta.kind != _LINK:
            self._try(entry, "mode", os.chmod, path, meta.mode)
        self._try(entry, "times", os.utime, path, ns=(meta.mtime, meta.mtime), follow_symlinks=False)

    def _try(self, entry, what, act, *args, **options):
        try:
            act(*args, **options)
        except OSError as err:
            where = printable(entry.key) or "."
            self.report.note("%s: %s not restored: %s" % (where, what, err.strerror))
            if err.errno not in (errno.EPERM, errno.EACCES, errno.ENOTSUP):
                self._problem(entry, "%s: %s" % (what, err.strerror))

    def _xattrs(self, entry, meta):
        for value in meta.fields.get(3, ()):
            yield pair(value)
        for value in meta.fields.get(4, ()):
            cursor = Cursor(value)
            name, number = cursor.bytes(), cursor.uvarint()
            try:
                length, chunk = entry.references[number]
                yield name, self.index.fetch(chunk, DATA, length)
            except (Damaged, IndexError) as err:
                self._problem(entry, "attribute %s: %s" % (printable(name), err))


class Volume:
    """Restores the images of a volume as sparse files below a directory that is empty or new."""

    def __init__(self, index, point, target):
        self.index, self.point, self.report = index, point, index.report
        self.target, self.restored = os.fsencode(target), 0

    def run(self):
        _make_empty(self.target)
        for entry in Tree(self.index, self.point.root):
            name = "image %s" % printable(entry.key)
            if not entry.key or b"/" in entry.key or b"\0" in entry.key or entry.key in (b".", b".."):
                self.report.damage(name, "cannot be the name of a file")
                continue
            path = os.path.join(self.target, entry.key)
            _write(path, self.index, entry, lambda reason, name=name: self.report.damage(name, reason))
            self.restored += 1


DRIVERS = {"directory": Directory, "volume": Volume}
