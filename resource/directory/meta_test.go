package directory_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lockfast/lockfast/resource/directory"
	"pgregory.net/rapid"
)

// vectors are the encodings of docs/format.md section 17, by name of the line in testdata/meta-v1.
func vectors() map[string]directory.Info {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.UTC)
	base := directory.Info{
		Type: directory.File, Mode: 0o644, UID: 1000, GID: 1000, Nlink: 1, Device: 0x10302, Inode: 131_075,
		ModTime: at, ChangeTime: at,
	}
	with := func(change func(*directory.Info)) directory.Info {
		i := base
		change(&i)
		return i
	}
	return map[string]directory.Info{
		"file": base,
		"directory": with(func(i *directory.Info) {
			i.Type, i.Mode, i.Nlink = directory.Directory, 0o3755, 7
			i.ChangeTime = at.Add(48 * time.Hour)
		}),
		"link":   with(func(i *directory.Info) { i.Type, i.Mode, i.LinkTarget = directory.Symlink, 0o777, []byte("../\xff") }),
		"fifo":   with(func(i *directory.Info) { i.Type = directory.FIFO }),
		"char":   with(func(i *directory.Info) { i.Type, i.Major, i.Minor = directory.CharDevice, 1, 3 }),
		"block":  with(func(i *directory.Info) { i.Type, i.Major, i.Minor = directory.BlockDevice, 259, 1<<19 }),
		"socket": with(func(i *directory.Info) { i.Type = directory.Socket }),
		"flags":  with(func(i *directory.Info) { i.Changed, i.Racy, i.Incomplete = true, true, true }),
		"old": with(func(i *directory.Info) {
			i.ModTime = time.Date(1901, 12, 13, 20, 45, 52, 1, time.UTC)
			i.UID, i.GID, i.Inode = 1<<32-1, 0, 1<<64-1
		}),
		"everything": with(func(i *directory.Info) {
			i.Xattrs = []directory.Xattr{
				{Name: []byte("security.capability"), Value: []byte{1, 0, 0, 2}},
				{Name: []byte("user.empty"), Value: []byte{}},
				{Name: []byte("user.large"), Ref: 1},
			}
			i.Owner, i.Group, i.BirthTime, i.Flags = "alice", "users", at.Add(-time.Hour), 0x50
		}),
	}
}

// TestDecodeMeta_Vectors holds the encoding still: the file is frozen.
func TestDecodeMeta_Vectors(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(filepath.Join("testdata", "meta-v1"))
	if err != nil {
		t.Fatal(err)
	}
	want := vectors()
	for line := range strings.Lines(string(file)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		meta, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		got, err := directory.DecodeMeta(meta)
		if err != nil {
			t.Errorf("DecodeMeta(%s) = %v", name, err)
		}
		info := want[name]
		if diff := cmp.Diff(info, got); diff != "" {
			t.Errorf("DecodeMeta(%s) differs (-want +got):\n%s", name, diff)
		}
		if encoded := info.AppendMeta(nil); !bytes.Equal(encoded, meta) {
			t.Errorf("AppendMeta(%s) = %x, want %x", name, encoded, meta)
		}
		delete(want, name)
	}
	for name, info := range want {
		t.Errorf("no vector for %s, it would be\n%s %x", name, name, info.AppendMeta(nil))
	}
}

// TestDecodeMeta_Malformed changes single things in a good encoding.
func TestDecodeMeta_Malformed(t *testing.T) {
	t.Parallel()
	info := vectors()["file"]
	good := info.AppendMeta(nil)
	for name, meta := range map[string][]byte{
		"empty":                   {},
		"head only":               good[:1],
		"cut":                     good[:len(good)-1],
		"bytes after the end":     append(bytes.Clone(good), 1),
		"fields announced":        append([]byte{good[0] | 0x20}, good[1:]...),
		"mode too large":          append([]byte{good[0], 0x80, 0x20}, good[3:]...),
		"mode not shortest":       append([]byte{good[0], 0x81, 0x00}, good[3:]...),
		"link without a target":   append([]byte{3}, good[1:]...),
		"too long":                make([]byte, 2<<20),
		"target of a file":        field(good, 2, "a"),
		"target with a zero":      field(good, 2, "a\x00b"),
		"empty target":            field(good, 2, ""),
		"target twice":            field(field(good, 2, "a"), 2, "b"),
		"device on a file":        field(good, 1, "\x01\x01"),
		"attribute without name":  field(good, 3, "\x00\x01x"),
		"attribute cut":           field(good, 3, "\x04abcd\x05xyz"),
		"attributes out of order": field(field(good, 3, "\x01b\x00"), 3, "\x01a\x00"),
		"reference too high":      field(good, 4, "\x01b\x80\x80\x01"),
		"fields descending":       field(field(good, 6, "g"), 5, "o"),
		"no flags":                field(good, 8, "\x00"),
	} {
		if got, err := directory.DecodeMeta(meta); err == nil {
			t.Errorf("DecodeMeta(%s) = %+v, want an error", name, got)
		}
	}
	if _, err := directory.DecodeMeta(field(good, 99, "from the future")); err != nil {
		t.Errorf("DecodeMeta(unknown field) = %v", err)
	}
}

// field adds a field to an encoded Meta.
func field(meta []byte, tag byte, value string) []byte {
	meta = append(bytes.Clone(meta), tag, byte(len(value)))
	meta[0] |= 0x20
	return append(meta, value...)
}

// TestMeta_RoundTrip encodes random metadata.
func TestMeta_RoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		stamp := func(name string) time.Time {
			sec := rapid.Int64Range(-1<<40, 1<<40).Draw(t, name)
			return time.Unix(sec, rapid.Int64Range(0, 999_999_999).Draw(t, name+" ns")).UTC()
		}
		want := directory.Info{
			Type: directory.Type(rapid.IntRange(4, 15).Draw(t, "type")), Mode: rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
			UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"), Nlink: rapid.Uint64().Draw(t, "nlink"),
			Device: rapid.Uint64().Draw(t, "device"), Inode: rapid.Uint64().Draw(t, "inode"),
			ModTime: stamp("mtime"), ChangeTime: stamp("ctime"), Racy: rapid.Bool().Draw(t, "racy"),
			Flags: rapid.Uint64().Draw(t, "flags"), Owner: rapid.String().Draw(t, "owner"),
		}
		got, err := directory.DecodeMeta(want.AppendMeta(nil))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("DecodeMeta = %v (-want +got):\n%s", err, diff)
		}
	})
}

// FuzzDecodeMeta feeds the decoder anything. What it accepts and has no unknown fields must encode to the same bytes.
func FuzzDecodeMeta(f *testing.F) {
	for _, info := range vectors() {
		f.Add(info.AppendMeta(nil))
	}
	f.Add(field(field([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 7, "12345678"), 9, "x"))
	f.Fuzz(func(t *testing.T, meta []byte) {
		info, err := directory.DecodeMeta(meta)
		if err != nil {
			return
		}
		again, err := directory.DecodeMeta(info.AppendMeta(nil))
		if err != nil {
			t.Fatalf("DecodeMeta of an accepted Meta encoded again: %v", err)
		}
		if diff := cmp.Diff(info, again); diff != "" {
			t.Fatalf("encoded again it differs:\n%s", diff)
		}
	})
}
