package localledger

import (
	"bytes"
	"testing"

	"github.com/lockfast/lockfast/repo"
)

func FuzzReplay(f *testing.F) {
	line, err := format(change{Epoch: 3, Sessions: []repo.Session{{ID: "s", State: repo.SessionActive}}, Objects: []repo.Object{{ID: repo.ID{1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(line, line[:9]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRows()
		_ = replay(bytes.NewReader(b), r.apply) // any error is fine, a panic is not
	})
}
