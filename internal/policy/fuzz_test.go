package policy_test

import (
	"errors"
	"testing"

	"github.com/lockfast/lockfast/internal/policy"
)

// FuzzParse parses a text for every place, and decides with what parses.
func FuzzParse(f *testing.F) {
	for _, seed := range realistic() {
		f.Add(seed, pointARN, "ann")
	}
	for _, seed := range []string{
		document(`"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"backup.amazonaws.com","AWS":["` + roleARN + `"]}`),
		document(`"Effect":"Deny","Action":"backup:DeleteRecoveryPoint","Resource":"*","NotPrincipal":{"AWS":["` + account + `","` + userID + `"]}`),
		document(`"Effect":"Allow","NotAction":"s3:?*","NotResource":"arn:aws:s3:::${aws:username, 'x'}*${*}"`),
		`{"Statement":{"Effect":"Allow","Action":"*","Resource":"${k:v}","Condition":{"NumericLessThan":{"k:v":-1.5e2}}}}`,
		document(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringLike":{"k:v":["*a?b*","${k:v}"]},
			"ArnNotLikeIfExists":{"k:v":"arn:*"},"DateGreaterThan":{"k:v":"2030-01-01T00:00:00Z"},"Null":{"k:v":false},
			"IpAddress":{"k:v":"2001:db8::/32"},"BinaryEquals":{"k:v":"QQ=="},"StringEqualsIgnoreCase":{"k:v":"${k:v}"}}`),
		"{}", "[[[[[[[[[[[[", `{"a":1,"a":2}`, "",
	} {
		f.Add(seed, vaultARN, "arn:aws:s3:::b")
	}
	f.Fuzz(func(t *testing.T, text, resource, value string) {
		if len(resource)+len(value) > 4096 {
			t.Skip()
		}
		for kind := policy.Identity; kind <= policy.Vault; kind++ {
			d, err := policy.Parse(text, kind)
			if err != nil {
				if e := (*policy.Error)(nil); !errors.As(err, &e) || e.Text == "" || d != nil {
					t.Errorf("Parse(%q, %v) = %v, %v", text, kind, d, err)
				}
				continue
			}
			if d.String() != text {
				t.Errorf("String of Parse(%q, %v) = %q", text, kind, d)
			}
			decideAll(d, resource, value)
		}
	})
}

func decideAll(d *policy.Document, resource, value string) {
	d.Principals()
	d.Uses("aws:")
	attached := policy.Attached{Document: d, IDs: map[string]string{userARN: userID}}
	for _, who := range []policy.Principal{user(), roleSession(), root(), service(), {}} {
		for _, ctx := range []policy.Context{nil, everywhere{value}, everywhere{value, value}} {
			r := &policy.Request{
				Principal: who, Action: deletes, Resources: []string{resource, vaultARN}, Context: ctx, SameAccount: true,
			}
			decision := policy.Decide(r, &policy.Sets{
				Identity: []*policy.Document{d}, Boundary: d, Session: []*policy.Document{d}, HasSession: true,
				Resource: []policy.Attached{attached},
			})
			if reason := decision.Reason(r.Action); (reason == "") != decision.Allowed {
				panic("a refusal, and nothing else, has a reason: " + reason)
			}
			policy.Trusts(attached, r)
		}
	}
}

// everywhere is a context in which every key has these values.
type everywhere []string

func (v everywhere) Values(string) ([]string, bool) { return v, true }
