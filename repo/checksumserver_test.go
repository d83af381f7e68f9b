package repo_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// TestCheck_ChecksumsOfAServer asks a real server, of objects that are in order, locked, copied, replaced and damaged.
func TestCheck_ChecksumsOfAServer(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	location, l := g.Location(t), localledger.New(localledger.Options{})
	s := s3test.Open(t, location, s3.Options{})
	v := create(t, s, l, small())
	mustBackup(t, v, "", files{"a": randomBytes(900_000)}, nil)
	packs := names(t, s)
	n := count(t, s)
	wantSound(t, v, l, repo.CheckHeads, coverage{n, n, 0})

	// An object that was copied onto itself, as when its class is changed, is as it was.
	g.CopyOntoItself(t, location, packs["d"][0])
	if r := mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads}); r.Damages != nil || r.PacksSummed < n-1 {
		t.Errorf("Check after a copy = %+v", r)
	}
	// Put again by another tool, without a checksum of the kind: unknown.
	g.PutOtherwise(t, location, packs["d"][0], raw(t, s, packs["d"][0]))
	if r := mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads}); r.Damages != nil || r.PacksSummed != n-1 || r.PacksRead != 0 {
		t.Errorf("Check of an object without a checksum = %+v", r)
	}
	// A bit that flips beneath the server is not found so, and is by reading.
	file := filepath.Join(g.Dir, location.Bucket, location.Prefix, string(packs["d"][1]))
	change(t, file)
	wantSound(t, v, l, repo.CheckHeads, coverage{n, n - 1, 0})
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes})); !slices.Equal(got, []string{string(packs["d"][1])}) {
		t.Errorf("Check of all bytes = %v, want %s", got, packs["d"][1])
	}
	change(t, file) // back
	wantSound(t, v, l, repo.CheckBytes, coverage{n, 0, n})
	// One that is replaced through the server is found, and a short one is by its size.
	overwrite(t, s, packs["d"][1], flip(5000))
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads})); !slices.Equal(got, []string{string(packs["d"][1])}) {
		t.Errorf("Check of headers and checksums = %v, want %s", got, packs["d"][1])
	}
	if err := os.Truncate(filepath.Join(g.Dir, location.Bucket, location.Prefix, string(packs["d"][0])), 1000); err != nil {
		t.Fatal(err)
	}
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckNames})); !slices.Contains(got, string(packs["d"][0])) {
		t.Errorf("Check of names = %v, want %s", got, packs["d"][0])
	}
}

func TestCheck_ChecksumsOfLockedPacks(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := localledger.New(localledger.Options{})
	s := s3test.Open(t, g.Locked(t), s3.Options{Retain: func(blob.Name) time.Time { return time.Now().Add(time.Hour) }})
	v := create(t, s, l, small())
	mustBackup(t, v, "", files{"a": randomBytes(900_000)}, nil)
	wantSound(t, v, l, repo.CheckHeads, coverage{count(t, s), count(t, s), 0})
}

// change flips a bit in the middle of a file, in place.
func change(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, flip(len(b)/2)(b), 0o600); err != nil {
		t.Fatal(err)
	}
}
