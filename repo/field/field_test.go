package field_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lockfast/lockfast/repo/field"
)

func TestReader_ReadsWhatWasAppended(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 123).UTC()
	var b []byte
	b = field.Append(b, 1, "text")
	b = field.AppendUint(b, 2, 300)
	b = field.AppendTime(b, 3, now)
	b = field.AppendTime(b, 4, time.Time{})
	b = field.AppendPair(b, 900, "key", make([]byte, 200))
	b = field.AppendPair(b, 900, "", "")
	r := field.Reader{Data: b}
	var tags []uint64
	for r.Next() {
		tags = append(tags, r.Tag)
		switch r.Tag {
		case 1:
			if string(r.Value) != "text" {
				t.Errorf("text = %q", r.Value)
			}
		case 2:
			if r.Uint() != 300 {
				t.Errorf("integer = %d", r.Uint())
			}
		case 3:
			if !r.Time().Equal(now) {
				t.Errorf("time = %v", r.Time())
			}
		case 900:
			if k, v := r.Pair(); len(tags) == 4 && (string(k) != "key" || len(v) != 200) {
				t.Errorf("pair = %q, %d bytes", k, len(v))
			}
		}
	}
	if r.Err() != nil || len(tags) != 5 {
		t.Errorf("tags %v, %v", tags, r.Err())
	}
}

func TestReader_RefusesMalformedLists(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"no length":       {1},
		"too short":       {1, 5, 0},
		"descending tags": {2, 0, 1, 0},
		"long uvarint":    {0x81, 0x00, 0},
		"endless uvarint": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"huge length":     {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		r := field.Reader{Data: b}
		for r.Next() {
		}
		if !errors.Is(r.Err(), field.ErrMalformed) {
			t.Errorf("%s: Err() = %v, want ErrMalformed", name, r.Err())
		}
	}
}

func TestReader_PlaceHasOneSize(t *testing.T) {
	t.Parallel()
	b := append([]byte{1, 2, 0, 0, 0, 0, 0, 0}, make([]byte, 32)...)
	b[39] = 7
	for size := range len(b) + 2 {
		r := field.Reader{Value: append(b, 0)[:size]}
		n, hash := r.Place()
		if whole := size == len(b); whole != (r.Err() == nil) || whole && (n != 0x201 || hash != [32]byte{31: 7}) {
			t.Errorf("Place of %d bytes = %d, %x, %v", size, n, hash, r.Err())
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(field.AppendPair(field.AppendUint(nil, 2, 300), 3, "a", "b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := field.Reader{Data: b}
		for r.Next() {
			c := r
			c.Uint()
			c = r
			c.Pair()
			c = r
			c.Time()
			c = r
			c.ID()
			c = r
			c.Place()
		}
	})
}
