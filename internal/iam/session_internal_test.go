package iam

import "testing"

// FuzzToken offers texts as session tokens: only one that was made opens, and only with its access key.
func FuzzToken(f *testing.F) {
	const accessKeyID = "ASIAABCDEFGHIJKLMNOP"
	tokens := newTokens([32]byte{1})
	good, secret, err := tokens.seal(accessKeyID, &grant{Account: "000000000000", Role: "r", Session: "s"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(accessKeyID, good)
	f.Add(accessKeyID, "")
	f.Add("AKIAABCDEFGHIJKLMNOP", good)
	f.Add(accessKeyID, good[:len(good)-4]+"AAAA")
	f.Fuzz(func(t *testing.T, id, token string) {
		g, opened, err := tokens.open(id, token)
		switch made := id == accessKeyID && token == good; {
		case err == nil && !made:
			t.Errorf("token %q of %q opens as %+v", token, id, g)
		case made && (err != nil || opened != secret || g.Session != "s"):
			t.Errorf("the token opens as %+v, %v", g, err)
		}
	})
}
