package iam

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzToken offers texts as session tokens: only one that was made opens, and only with its access key.
func FuzzToken(f *testing.F) {
	const accessKeyID = "ASIAABCDEFGHIJKLMNOP"
	tokens := newTokens([32]byte{1})
	made := grant{Account: "000000000000", Role: "r", Session: "s"}
	good, _, err := tokens.seal(accessKeyID, &made) // another one in every process
	if err != nil {
		f.Fatal(err)
	}
	f.Add(accessKeyID, good)
	f.Add(accessKeyID, "")
	f.Add("AKIAABCDEFGHIJKLMNOP", good)
	f.Add(accessKeyID, good[:len(good)-4]+"AAAA")
	f.Fuzz(func(t *testing.T, id, token string) {
		g, secret, err := tokens.open(id, token)
		if err != nil {
			return
		}
		if diff := cmp.Diff(made, g); diff != "" || id != accessKeyID || secret != tokens.secretOf(token) {
			t.Errorf("token %q of %q opens as %+v", token, id, g)
		}
	})
}
