package directory

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Type is what an entry of a tree is.
type Type uint8

// Types of entries, as numbered in docs/format.md section 17. Others may appear in recovery points of later versions.
const (
	File        Type = 1
	Directory   Type = 2
	Symlink     Type = 3
	FIFO        Type = 4
	CharDevice  Type = 5
	BlockDevice Type = 6
	Socket      Type = 7
)

// String returns the type as it appears in listings: file, dir, link, fifo, char, block or socket.
func (t Type) String() string {
	switch t {
	case File:
		return "file"
	case Directory:
		return "dir"
	case Symlink:
		return "link"
	case FIFO:
		return "fifo"
	case CharDevice:
		return "char"
	case BlockDevice:
		return "block"
	case Socket:
		return "socket"
	}
	return fmt.Sprintf("type%d", uint8(t))
}

// typeOf returns the type for the type bits of st_mode, 0 for none that Linux has.
func typeOf(mode uint32) Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return File
	case unix.S_IFDIR:
		return Directory
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFIFO:
		return FIFO
	case unix.S_IFCHR:
		return CharDevice
	case unix.S_IFBLK:
		return BlockDevice
	case unix.S_IFSOCK:
		return Socket
	}
	return 0
}

// Info is what a recovery point holds about one entry beside its key and content. [DecodeMeta] makes one from
// [repo.Entry.Meta]; its byte slices are then parts of the Meta.
type Info struct {
	Type    Type
	Mode    uint32 // permissions, set-id and sticky bits: 07777
	UID     uint32
	GID     uint32
	Nlink   uint64 // number of names of the inode
	Device  uint64 // of the file system, as st_dev
	Inode   uint64
	ModTime time.Time
	// ChangeTime is when content or metadata last changed. It cannot be restored.
	ChangeTime time.Time

	Changed    bool // it changed while it was read: the content may mix states
	Incomplete bool // a part of the content could not be read and is a hole
	Racy       bool // it may have changed unnoticed and is read again by the next capture

	Major, Minor uint32 // of a device node
	LinkTarget   []byte // of a symbolic link
	Xattrs       []Xattr
	Owner, Group string    // names, when they differ from the recovery point's table; see [Owners]
	BirthTime    time.Time // zero when not known
	Flags        uint64    // inode flags, as FS_IOC_GETFLAGS returns them
}

// Xattr is an extended attribute.
type Xattr struct {
	Name  []byte
	Value []byte
	// Ref is 1 plus the number of the entry's reference that holds the value, if it is not in Value.
	Ref int
}

// core is the part of an Info that every entry has, without pointers and with times that compare fast.
type core struct {
	kind         Type
	flags        uint8
	mode         uint32
	uid, gid     uint32
	nlink        uint64
	device       uint64
	inode        uint64
	mtime, ctime stamp
}

// Flags in the head of Meta.
const (
	flagChanged    = 0x10
	flagFields     = 0x20
	flagRacy       = 0x40
	flagIncomplete = 0x80
	flagReread     = flagChanged | flagRacy | flagIncomplete // any of them: read again
)

// coreOf returns the core for what was found on the file system.
func coreOf(st *stat) core {
	return core{
		kind: typeOf(st.mode), mode: st.mode & 0o7777, uid: st.uid, gid: st.gid, nlink: uint64(st.nlink),
		device: st.dev, inode: st.ino, mtime: st.mtime, ctime: st.ctime,
	}
}

// same reports whether nothing changed since c was recorded (docs/format.md section 17, rule 6). The size is compared
// by the caller.
func (c *core) same(st *stat) bool {
	return c.ctime == st.ctime && c.mtime == st.mtime && c.inode == st.ino && c.device == st.dev &&
		c.mode == st.mode&0o7777 && c.uid == st.uid && c.gid == st.gid &&
		c.flags&flagReread == 0 && c.kind == typeOf(st.mode)
}
