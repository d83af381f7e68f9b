package directory

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// names is the sorted listing of one directory. The names stand one after the other in an arena, each with a
// terminating zero. A reference to a name carries eight of its bytes, those after the prefix that all names of the
// directory share, so that most comparisons while sorting touch nothing else: a directory of a million names sorts in a
// fraction of a second and takes 16 bytes a name beside the name itself.
type names struct {
	arena  []byte
	refs   []nameRef
	odd    int // names that no file system should return
	prefix int
}

type nameRef struct {
	head uint64 // bytes [prefix, prefix+8) of the name, big endian
	off  uint64 // of the name in the arena
}

func (n *names) len() int { return len(n.refs) }

// at returns the i-th name with its terminating zero.
func (n *names) at(i int) []byte {
	rest := n.arena[n.refs[i].off:]
	return rest[:bytes.IndexByte(rest, 0)+1]
}

// reset forgets the names, and their memory if it is large.
func (n *names) reset() {
	if cap(n.arena) > 1<<20 {
		n.arena, n.refs = nil, nil
	}
	n.arena, n.refs, n.odd, n.prefix = n.arena[:0], n.refs[:0], 0, 0
}

// read lists the open directory. buf is scratch space for getdents, at least 32 KiB.
func (n *names) read(fd int, buf []byte) error {
	n.reset()
	for {
		got, err := getdents(fd, buf)
		if err != nil {
			return err
		}
		if got == 0 {
			break
		}
		n.add(buf[:got])
	}
	n.sort()
	return nil
}

func getdents(fd int, buf []byte) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_GETDENTS64, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// add takes the records of one getdents call: inode (8 bytes), offset (8), record length (2), type (1), name.
func (n *names) add(records []byte) {
	for len(records) > 19 {
		size := int(binary.NativeEndian.Uint16(records[16:]))
		if size < 20 || size > len(records) {
			n.odd++
			return
		}
		name := records[19:size]
		records = records[size:]
		end := bytes.IndexByte(name, 0)
		if end <= 0 || bytes.IndexByte(name[:end], '/') >= 0 {
			n.odd++
			continue
		}
		if name[0] == '.' && (end == 1 || end == 2 && name[1] == '.') {
			continue
		}
		n.refs = append(n.refs, nameRef{off: uint64(len(n.arena))})
		n.arena = append(n.arena, name[:end+1]...)
	}
}

func (n *names) sort() {
	if len(n.refs) < 2 {
		return
	}
	n.prefix = n.common()
	for i := range n.refs {
		n.refs[i].head = head(n.at(i)[n.prefix:])
	}
	slices.SortFunc(n.refs, func(a, b nameRef) int {
		if c := cmp.Compare(a.head, b.head); c != 0 {
			return c
		}
		return bytes.Compare(n.tail(a), n.tail(b))
	})
	n.refs = slices.CompactFunc(n.refs, func(a, b nameRef) bool {
		return a.head == b.head && bytes.Equal(n.tail(a), n.tail(b))
	})
}

// common returns the length of the prefix that all names share.
func (n *names) common() int {
	first := n.at(0)
	shared := len(first) - 1
	for i := 1; i < len(n.refs) && shared > 0; i++ {
		name := n.arena[n.refs[i].off:]
		same := 0
		for same < shared && name[same] == first[same] {
			same++
		}
		shared = same
	}
	return shared
}

// tail returns the name after the common prefix, with its terminating zero.
func (n *names) tail(r nameRef) []byte {
	rest := n.arena[r.off+uint64(n.prefix):]
	return rest[:bytes.IndexByte(rest, 0)]
}

// head returns the first eight bytes as a number that sorts like them. Names contain no zero, so that a shorter name
// sorts before one it is a prefix of.
func head(name []byte) uint64 {
	if len(name) >= 8 {
		return binary.BigEndian.Uint64(name)
	}
	var b [8]byte
	copy(b[:], name)
	return binary.BigEndian.Uint64(b[:])
}
