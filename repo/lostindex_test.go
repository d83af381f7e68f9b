package repo_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo"
)

// TestCheck_NamesPathsWithoutTheirSegment loses a pack and the segment that says what is in it.
func TestCheck_NamesPathsWithoutTheirSegment(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	id := mustBackup(t, v, "", files{"bad": randomBytes(100_000), "empty": nil, "tiny": []byte("x")}, nil)
	v.Close()
	before := names(t, s)
	overwrite(t, s, before["d"][0], vanish)
	overwrite(t, s, before["x"][0], vanish)
	again, err := repo.Open(t.Context(), s, l, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	r, err := again.Check(t.Context(), repo.CheckOptions{Level: repo.CheckTrees})
	if err != nil {
		t.Fatal(err)
	}
	want := []repo.DamagedPoint{{ID: id, Paths: [][]byte{[]byte("bad")}}}
	if diff := cmp.Diff(want, r.DamagedPoints); diff != "" {
		t.Errorf("damaged points (-want +got):\n%s", diff)
	}
}
