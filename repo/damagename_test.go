package repo_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo"
)

// TestCheck_NamesEachObjectOnce damages every kind of object in several ways: where the name stands before the error, as all who show it
// have it, it stands once, and no other name of the same object does.
func TestCheck_NamesEachObjectOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"d", "m", "x", "r", "f", "k", "format", "c"} {
		for name, change := range map[string]func([]byte) []byte{"missing": vanish, "ruined": ruin, "cut": cut, "epoch": flip(13), "salt": flip(20),
			"body": flip(200)} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				v, s, l := newVault(t)
				mustBackup(t, v, "", newGenerator(71).files(40), nil)
				object := objectOf(t, s, kind)
				v.Close()
				if kind == "k" || kind == "c" || kind == "format" { // these open the vault
					v = reopen(t, s, l)
					overwrite(t, s, object, change)
				} else {
					overwrite(t, s, object, change)
					v = reopen(t, s, l)
				}
				for level := repo.CheckNames; level <= repo.CheckBytes; level++ {
					r := mustCheck(t, v, repo.CheckOptions{Level: level})
					found := 0
					for _, d := range append(r.Damages, r.Healed...) {
						says := d.Object + ": " + d.Err.Error()
						if d.Object != "format" && strings.Count(says, d.Object) != 1 || strings.HasPrefix(d.Err.Error(), d.Object) || strings.Contains(says, ": :") || strings.HasSuffix(says, ": ") {
							t.Errorf("Check at level %d says %q", level, says)
						}
						if kind == "x" && d.Object == string(object) && strings.Contains(says, "x/1/") {
							t.Errorf("Check at level %d says %q", level, says)
						}
						if d.Object == string(object) {
							found++
						}
					}
					if found > 1 || found == 0 && level == repo.CheckBytes {
						t.Errorf("Check at level %d names %s %d times", level, object, found)
					}
				}
				records, err := l.Damages(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range records {
					if d.Object != "format" && strings.Contains(d.Reason, d.Object) || strings.HasPrefix(d.Reason, d.Object) {
						t.Errorf("the ledger has %s: %s", d.Object, d.Reason)
					}
				}
			})
		}
	}
}

// TestOpen_NamesTheKeyObjectOnce: there are two format objects, and the key object fits neither.
func TestOpen_NamesTheKeyObjectOnce(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func([]byte) []byte{"ruined": ruin, "flipped": flip(60), "missing": vanish} {
		v, s, _ := newVault(t)
		v.Close()
		for _, name := range []blob.Name{"k/1-1", "k/1-2"} {
			overwrite(t, s, name, change)
		}
		_, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
		if !errors.Is(err, repo.ErrDamaged) || strings.Count(err.Error(), "k/") != 1 {
			t.Errorf("OpenReadOnly with a key object that is %s = %q, want it named once", name, err)
		}
	}
}
