package resourcetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Trees made here are the same for the same seed.

// MakeTree fills an existing directory with everything that a Linux tree can hold. What the file system does not support or
// the process lacks the capability for is left out and logged; any other failure is one of the test, so that nothing
// goes untested where it can be made.
func MakeTree(t testing.TB, root string) {
	t.Helper()
	m := &maker{t: t, root: root, random: rand.New(rand.NewPCG(1, 2))}
	m.files()
	m.links()
	m.names()
	m.attributes()
	m.owners()
	m.nodes()
	m.times()
}

type maker struct {
	t      testing.TB
	root   string
	random *rand.Rand
}

func (m *maker) path(name string) string { return filepath.Join(m.root, name) }

func (m *maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("make tree: %v", err)
	}
}

// may takes what can be made only by a process with the capability (none: by any) on a file system that supports it.
func (m *maker) may(what string, capability int, err error) {
	m.t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, unix.ENOTSUP), !m.capable(capability):
		m.t.Logf("tree without %s: %v", what, err)
	default:
		m.t.Errorf("make tree: %s: %v", what, err)
	}
}

// none is no capability.
const none = -1

// capable reports whether the process has the capability outside any user namespace, where it is good for everything.
func (m *maker) capable(capability int) bool {
	if capability == none {
		return true
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	m.must(err)
	if strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295" {
		return false
	}
	status, err := os.ReadFile("/proc/self/status")
	m.must(err)
	_, rest, _ := strings.Cut(string(status), "\nCapEff:\t")
	line, _, _ := strings.Cut(rest, "\n")
	effective, err := strconv.ParseUint(line, 16, 64)
	m.must(err)
	return effective&(1<<capability) != 0
}

func (m *maker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], m.random.Uint64())
	}
	return b
}

// files makes files of sizes around every limit, and sparse ones.
func (m *maker) files() {
	m.must(os.MkdirAll(m.path("files/empty directory"), 0o755))
	for _, size := range []int{0, 1, 511, 512, 513, 4096, 128<<10 - 1, 128 << 10, 128<<10 + 1, 1 << 20, 5<<20 + 3} {
		m.must(os.WriteFile(m.path(fmt.Sprintf("files/%d", size)), m.bytes(size), 0o644))
	}
	m.must(os.WriteFile(m.path("files/zeros"), make([]byte, 1<<20), 0o600))
	m.must(os.WriteFile(m.path("files/same"), bytes.Repeat([]byte("the same text again and again\n"), 3000), 0o600))
	m.sparse("files/hole only", 3<<20)
	m.sparse("files/small hole", 70<<10, 8<<10)
	m.sparse("files/holes", 64<<20+5, 0, 4<<20, 5<<20, 40<<20)
	m.sparse("files/hole at the end", 10<<20, 0)
	m.sparse("files/hole at the start", 10<<20+100, 10<<20)
	m.sparse("files/huge", 1<<40, 0, 1<<39, 1<<40-4096)
}

// sparse makes a file with 4 KiB of data at each of the offsets.
func (m *maker) sparse(name string, size int64, data ...int64) {
	f, err := os.Create(m.path(name))
	m.must(err)
	defer f.Close()
	m.must(f.Truncate(size))
	for _, off := range data {
		_, err := f.WriteAt(m.bytes(int(min(4096, size-off))), off)
		m.must(err)
	}
}

func (m *maker) links() {
	m.must(os.MkdirAll(m.path("links/dir"), 0o755))
	m.must(os.WriteFile(m.path("links/b"), m.bytes(2000), 0o640))
	m.must(os.Link(m.path("links/b"), m.path("links/a")))
	m.must(os.Link(m.path("links/b"), m.path("links/dir/c")))
	m.must(os.WriteFile(m.path("links/large"), m.bytes(300<<10), 0o640))
	m.must(os.Link(m.path("links/large"), m.path("links/dir/large too")))
	for name, target := range map[string]string{
		"to file": "a", "dangling": "no such thing", "to root": "/", "up": "../../..", "odd\n": "\xff\xfe target",
		"long": string(bytes.Repeat([]byte("x"), 4095)),
	} {
		m.must(os.Symlink(target, m.path("links/"+name)))
	}
	m.must(os.Link(m.path("links/to file"), m.path("links/dir/same link")))
}

// names makes names that are no text, and names whose order differs between bytes and paths.
func (m *maker) names() {
	m.must(os.MkdirAll(m.path("names/a/b"), 0o755))
	for _, name := range []string{
		"\xff\xfe\x80", "new\nline", "a.txt", "a-", "a b", "a\x01", "\\", "*", "ä", "...", "..a", " ", "-rf", string(bytes.Repeat([]byte("n"), 255)),
		"a/z", "a/b/y", "a0",
	} {
		m.must(os.WriteFile(m.path("names/"+name), []byte(name), 0o644))
	}
}

// attributes makes extended attributes of every kind, as raw bytes.
func (m *maker) attributes() {
	m.must(os.MkdirAll(m.path("attributes/dir"), 0o750))
	file := m.path("attributes/file")
	m.must(os.WriteFile(file, m.bytes(100), 0o640))
	large := m.path("attributes/large")
	m.must(os.WriteFile(large, nil, 0o640))
	link := m.path("attributes/link")
	m.must(os.Symlink("file", link))
	m.may("user attributes", none, unix.Setxattr(file, "user.empty", nil, 0))
	m.may("user attributes", none, unix.Setxattr(file, "user.raw", []byte{0, 1, 2, 0xff, 0}, 0))
	m.may("user attributes", none, unix.Setxattr(file, "user.n\xffame", []byte("x"), 0))
	m.may("user attributes", none, unix.Setxattr(m.path("attributes/dir"), "user.dir", []byte("on a directory"), 0))
	m.may("large attributes", none, unix.Setxattr(large, "user.large", m.bytes(3900), 0))
	err := unix.Setxattr(large, "user.larger", m.bytes(20_000), 0)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.E2BIG) {
		err = unix.ENOTSUP // ext4 has a block for all attributes of a file
	}
	m.may("larger attributes", none, err)
	m.may("ACLs", none, unix.Setxattr(file, "system.posix_acl_access", acl(), 0))
	m.may("default ACLs", none, unix.Setxattr(m.path("attributes/dir"), "system.posix_acl_default", acl(), 0))
	m.may("capabilities", unix.CAP_SETFCAP, unix.Setxattr(file, "security.capability", capability(), 0))
	m.may("trusted attributes", unix.CAP_SYS_ADMIN, unix.Setxattr(file, "trusted.t", []byte("root"), 0))
	m.may("trusted attributes of links", unix.CAP_SYS_ADMIN, unix.Lsetxattr(link, "trusted.link", []byte("on a link"), 0))
}

// acl is rw for the owner, r-x for user 1234, r for the group, mask r, none for others.
func acl() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, 0xffffffff}, {2, 5, 1234}, {4, 4, 0xffffffff}, {0x10, 4, 0xffffffff}, {0x20, 0, 0xffffffff}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// capability is cap_net_raw=ep, revision 2.
func capability() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x02000001)
	b = binary.LittleEndian.AppendUint32(b, 1<<13)
	return append(b, make([]byte, 12)...)
}

func (m *maker) owners() {
	m.must(os.MkdirAll(m.path("owners/dir"), 0o755))
	for i, mode := range []uint32{0, 0o400, 0o777, 0o4755, 0o2755, 0o6711, 0o1644} {
		if mode == 0 && os.Geteuid() != 0 {
			continue // could not be read
		}
		path := m.path(fmt.Sprintf("owners/%d", i))
		m.must(os.WriteFile(path, []byte(path), 0o600))
		m.may("other owners", unix.CAP_CHOWN, os.Lchown(path, 1000+i, 2000+i))
		m.must(unix.Chmod(path, mode))
	}
	m.may("other owners", unix.CAP_CHOWN, os.Lchown(m.path("owners/dir"), 4_000_000_000, 3_999_999_999))
	m.must(unix.Chmod(m.path("owners/dir"), 0o3770))
}

func (m *maker) nodes() {
	m.must(os.MkdirAll(m.path("nodes"), 0o755))
	m.must(unix.Mkfifo(m.path("nodes/fifo"), 0o620))
	m.must(os.Link(m.path("nodes/fifo"), m.path("nodes/fifo too")))
	m.may("devices", unix.CAP_MKNOD, unix.Mknod(m.path("nodes/char"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	m.may("devices", unix.CAP_MKNOD, unix.Mknod(m.path("nodes/block"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 300_000))))
}

// times gives odd times, directories last.
func (m *maker) times() {
	for i, name := range []string{"files/empty directory", "files/1", "links/dangling", "nodes/fifo", "files/512", "files", "names/a/b", "names", ""} {
		when := time.Date(1969+17*i, 7, 20, 20, 17, 40, 123_456_789+i, time.UTC)
		ts := unix.NsecToTimespec(when.UnixNano())
		m.must(unix.UtimesNanoAt(unix.AT_FDCWD, m.path(name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}
}
