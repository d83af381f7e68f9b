package mem_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/blobtest"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
)

func TestConforms(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(*testing.T) blob.Store { return mem.New() })
}

func TestConforms_WithSums(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(*testing.T) blob.Store {
		s := mem.New()
		s.KeepSums()
		return blob.Prefix(fault.New(s), "a/prefix")
	})
}

func TestClone_GoesItsOwnWay(t *testing.T) {
	t.Parallel()
	s := mem.New()
	if err := s.Put(t.Context(), "a", bytes.NewReader([]byte("one")), 3); err != nil {
		t.Fatal(err)
	}
	c := s.Clone()
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	c.Overwrite("b", []byte("damaged"))
	if got := s.Bytes(""); got != 0 {
		t.Errorf("original holds %d bytes, want 0", got)
	}
	if got := c.Bytes(""); got != 10 {
		t.Errorf("clone holds %d bytes, want 10", got)
	}
	r, err := c.Get(t.Context(), "b", 3, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "aged" {
		t.Errorf("Get(b, 3, -1) = %q, %v, want aged", got, err)
	}
}
