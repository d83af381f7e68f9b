package directory

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/lockfast/lockfast/repo/field"
)

// Encoding of [repo.Entry.Meta]: docs/format.md section 17.

// errMeta says that the metadata of an entry does not follow the format.
var errMeta = errors.New("malformed metadata of an entry")

// Limits of the format and of Linux.
const (
	maxMeta      = 1 << 20
	maxTarget    = 4095
	maxXattrName = 255
	maxNsec      = 999_999_999
	maxRefs      = 1024
)

// Tags of the fields at the end of Meta.
const (
	tagDevice     = 1
	tagTarget     = 2
	tagXattr      = 3
	tagXattrByRef = 4
	tagOwner      = 5
	tagGroup      = 6
	tagBirth      = 7
	tagFlags      = 8
)

// AppendMeta appends the encoding of i to dst. The attributes must be sorted by name.
func (i *Info) AppendMeta(dst []byte) []byte {
	c := i.core()
	start := len(dst)
	dst = c.append(dst)
	body := len(dst)
	if i.Type == CharDevice || i.Type == BlockDevice {
		var b [2 * binary.MaxVarintLen64]byte
		n := binary.PutUvarint(b[:], uint64(i.Major))
		n += binary.PutUvarint(b[n:], uint64(i.Minor))
		dst = field.Append(dst, tagDevice, b[:n])
	}
	if len(i.LinkTarget) > 0 {
		dst = field.Append(dst, tagTarget, i.LinkTarget)
	}
	for _, x := range i.Xattrs {
		if x.Ref == 0 {
			dst = field.AppendPair(dst, tagXattr, x.Name, x.Value)
		}
	}
	for _, x := range i.Xattrs {
		if x.Ref > 0 {
			value := binary.AppendUvarint(nil, uint64(len(x.Name)))
			value = append(value, x.Name...)
			dst = field.Append(dst, tagXattrByRef, binary.AppendUvarint(value, uint64(x.Ref-1)))
		}
	}
	if i.Owner != "" {
		dst = field.Append(dst, tagOwner, i.Owner)
	}
	if i.Group != "" {
		dst = field.Append(dst, tagGroup, i.Group)
	}
	dst = field.AppendTime(dst, tagBirth, i.BirthTime)
	if i.Flags != 0 {
		dst = field.AppendUint(dst, tagFlags, i.Flags)
	}
	if len(dst) > body {
		dst[start] |= flagFields
	}
	return dst
}

// DecodeMeta decodes the metadata of an entry. It accepts only what [Info.AppendMeta] writes, with one exception:
// fields with tags that are not known yet are skipped.
func DecodeMeta(meta []byte) (Info, error) {
	if len(meta) > maxMeta {
		return Info{}, fmt.Errorf("%w: %d bytes", errMeta, len(meta))
	}
	var c core
	rest, ok := c.decode(meta)
	if !ok || (len(rest) > 0) != (c.flags&flagFields != 0) {
		return Info{}, errMeta
	}
	i := c.info()
	r := field.Reader{Data: rest}
	for seen := uint64(0); r.Next(); seen = r.Tag {
		if r.Tag == seen && r.Tag != tagXattr && r.Tag != tagXattrByRef && r.Tag <= tagFlags {
			return Info{}, fmt.Errorf("%w: field %d twice", errMeta, r.Tag)
		}
		if !i.decodeField(&r) {
			return Info{}, fmt.Errorf("%w: field %d", errMeta, r.Tag)
		}
	}
	if r.Err() != nil {
		return Info{}, errMeta
	}
	return i, i.check()
}

func (i *Info) decodeField(r *field.Reader) bool {
	switch r.Tag {
	case tagDevice:
		major, rest, ok := number(r.Value, math.MaxUint32)
		minor, rest, ok2 := number(rest, math.MaxUint32)
		i.Major, i.Minor = uint32(major), uint32(minor)
		return ok && ok2 && len(rest) == 0
	case tagTarget:
		i.LinkTarget = r.Value
		return len(r.Value) > 0 && len(r.Value) <= maxTarget && bytes.IndexByte(r.Value, 0) < 0
	case tagXattr:
		name, value := r.Pair()
		return i.addXattr(Xattr{Name: name, Value: value})
	case tagXattrByRef:
		name, rest, ok := field.Bytes(r.Value)
		ref, rest, ok2 := number(rest, maxRefs-1)
		return ok && ok2 && len(rest) == 0 && i.addXattr(Xattr{Name: name, Ref: int(ref) + 1})
	case tagOwner:
		i.Owner = string(r.Value)
		return len(r.Value) > 0
	case tagGroup:
		i.Group = string(r.Value)
		return len(r.Value) > 0
	case tagBirth:
		i.BirthTime = r.Time()
	case tagFlags:
		i.Flags = r.Uint()
		return i.Flags != 0
	}
	return r.Err() == nil
}

// addXattr takes an attribute. Names ascend within those that stand in Meta, and within those by reference.
func (i *Info) addXattr(x Xattr) bool {
	if len(x.Name) == 0 || len(x.Name) > maxXattrName || bytes.IndexByte(x.Name, 0) >= 0 {
		return false
	}
	if n := len(i.Xattrs); n > 0 {
		last := i.Xattrs[n-1]
		if (last.Ref > 0) == (x.Ref > 0) && bytes.Compare(last.Name, x.Name) >= 0 {
			return false
		}
	}
	i.Xattrs = append(i.Xattrs, x)
	return true
}

// check looks at what no single field shows.
func (i *Info) check() error {
	device := i.Type == CharDevice || i.Type == BlockDevice
	if (i.Type == Symlink) != (len(i.LinkTarget) > 0) {
		return fmt.Errorf("%w: a %s with a link target of %d bytes", errMeta, i.Type, len(i.LinkTarget))
	}
	if !device && (i.Major != 0 || i.Minor != 0) {
		return fmt.Errorf("%w: device number of a %s", errMeta, i.Type)
	}
	return nil
}

func (i *Info) core() core {
	c := core{
		kind: i.Type, mode: i.Mode, uid: i.UID, gid: i.GID, nlink: i.Nlink, device: i.Device, inode: i.Inode,
		mtime: stampOf(i.ModTime), ctime: stampOf(i.ChangeTime),
	}
	for _, f := range []struct {
		set  bool
		flag uint8
	}{{i.Changed, flagChanged}, {i.Racy, flagRacy}, {i.Incomplete, flagIncomplete}} {
		if f.set {
			c.flags |= f.flag
		}
	}
	return c
}

func (c *core) info() Info {
	return Info{
		Type: c.kind, Mode: c.mode, UID: c.uid, GID: c.gid, Nlink: c.nlink, Device: c.device, Inode: c.inode,
		ModTime: c.mtime.time(), ChangeTime: c.ctime.time(),
		Changed: c.flags&flagChanged != 0, Racy: c.flags&flagRacy != 0, Incomplete: c.flags&flagIncomplete != 0,
	}
}

func (c *core) append(dst []byte) []byte {
	dst = append(dst, uint8(c.kind)&0x0f|c.flags)
	dst = binary.AppendUvarint(dst, uint64(c.mode))
	dst = binary.AppendUvarint(dst, uint64(c.uid))
	dst = binary.AppendUvarint(dst, uint64(c.gid))
	dst = binary.AppendUvarint(dst, c.nlink)
	dst = binary.AppendUvarint(dst, c.device)
	dst = binary.AppendVarint(dst, c.mtime.sec)
	dst = binary.AppendUvarint(dst, uint64(c.mtime.nsec))
	dst = binary.AppendVarint(dst, c.ctime.sec-c.mtime.sec)
	dst = binary.AppendUvarint(dst, uint64(c.ctime.nsec))
	return binary.AppendUvarint(dst, c.inode)
}

// decode fills c from the start of meta and returns the fields after it. It allocates nothing.
func (c *core) decode(meta []byte) (rest []byte, ok bool) {
	if len(meta) == 0 {
		return nil, false
	}
	c.kind, c.flags = Type(meta[0]&0x0f), meta[0]&0xf0
	r := numbers{rest: meta[1:]}
	c.mode = uint32(r.next(0o7777))
	c.uid = uint32(r.next(math.MaxUint32))
	c.gid = uint32(r.next(math.MaxUint32))
	c.nlink = r.next(math.MaxUint64)
	c.device = r.next(math.MaxUint64)
	c.mtime.sec = r.signed()
	c.mtime.nsec = uint32(r.next(maxNsec))
	c.ctime.sec = c.mtime.sec + r.signed()
	c.ctime.nsec = uint32(r.next(maxNsec))
	c.inode = r.next(math.MaxUint64)
	return r.rest, !r.bad
}

// numbers reads uvarints one after the other and remembers whether one was malformed or too large.
type numbers struct {
	rest []byte
	bad  bool
}

func (n *numbers) next(limit uint64) uint64 {
	v, rest, ok := number(n.rest, limit)
	n.rest, n.bad = rest, n.bad || !ok
	return v
}

func (n *numbers) signed() int64 {
	v := n.next(math.MaxUint64)
	return int64(v>>1) ^ -int64(v&1)
}

func number(b []byte, limit uint64) (v uint64, rest []byte, ok bool) {
	v, rest, ok = field.Uvarint(b)
	return v, rest, ok && v <= limit
}
