package policy_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/internal/policy"
)

// world is a request, and statements of each set of policies, small enough that they often meet. The sets without a
// statement are not there, except the session policies if they are to count.
type world struct {
	request    policy.Request
	statements [4][]string // by set: identity, boundary, session, resource
	hasSession bool
	decides    bool
}

const (
	identitySet = iota
	boundarySet
	sessionSet
	resourceSet
)

func drawWorld(t *rapid.T) world {
	who := rapid.SampledFrom([]policy.Principal{user(), roleSession(), root(), service()}).Draw(t, "who")
	w := world{
		request: policy.Request{
			Principal:   who,
			Action:      rapid.SampledFrom([]string{"backup:A", "backup:B", "s3:A"}).Draw(t, "action"),
			Resources:   rapid.SampledFrom([][]string{{pointARN}, {vaultARN}, {pointARN, vaultARN}, nil}).Draw(t, "resources"),
			Context:     drawContext(t),
			SameAccount: rapid.Bool().Draw(t, "same account"),
		},
		hasSession: rapid.Bool().Draw(t, "has session"),
		decides:    rapid.Bool().Draw(t, "resource decides"),
	}
	for set := range w.statements {
		for range rapid.IntRange(0, 3).Draw(t, "statements") {
			effect := rapid.SampledFrom([]string{"Allow", "Allow", "Allow", "Deny"}).Draw(t, "effect")
			w.statements[set] = append(w.statements[set], drawStatement(t, set, effect))
		}
	}
	return w
}

func drawContext(t *rapid.T) policy.Values {
	ctx := policy.Values{}
	for _, key := range []string{"k:a", "k:b"} {
		if values := rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y", "*"}), 0, 2).Draw(t, key); len(values) > 0 {
			ctx[key] = values
		}
	}
	return ctx
}

func drawStatement(t *rapid.T, set int, effect string) string {
	one := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	s := fmt.Sprintf(`"Effect":%q,%s:%s,%s:%s`, effect,
		one("action", `"Action"`, `"NotAction"`), one("actions", `"*"`, `"backup:*"`, `"backup:A"`, `["s3:*","backup:B"]`),
		one("resource", `"Resource"`, `"NotResource"`),
		one("resources", `"*"`, `"arn:aws:backup:*"`, fmt.Sprintf("%q", vaultARN), `"arn:aws:backup:*:*:recovery-point:*"`,
			`"arn:aws:s3:::${k:a}"`))
	if set == resourceSet {
		element := "Principal"
		if effect == "Deny" {
			element = one("element", "Principal", "NotPrincipal")
		}
		s += fmt.Sprintf(`,%q:%s`, element, one("principal", `"*"`, `{"AWS":"`+account+`"}`, `{"AWS":"`+userARN+`"}`,
			`{"AWS":"`+roleARN+`"}`, `{"AWS":"`+session+`"}`, `{"AWS":"`+other+`"}`, `{"Service":"backup.amazonaws.com"}`))
	}
	return s + one("condition", "", "", `,"Condition":{"StringEquals":{"k:a":"x"}}`,
		`,"Condition":{"ForAllValues:StringNotLike":{"k:a":["x","${k:b}"]}}`, `,"Condition":{"Null":{"k:b":true}}`)
}

func (w *world) decide(t testing.TB) policy.Decision {
	t.Helper()
	s := policy.Sets{HasSession: w.hasSession, ResourceDecides: w.decides}
	if list := w.statements[identitySet]; len(list) > 0 {
		s.Identity = []*policy.Document{mustParse(t, document(list...), policy.Identity)}
	}
	if list := w.statements[boundarySet]; len(list) > 0 {
		s.Boundary = mustParse(t, document(list...), policy.Identity)
	}
	if list := w.statements[sessionSet]; len(list) > 0 {
		s.Session = []*policy.Document{mustParse(t, document(list...), policy.Identity)}
	}
	if list := w.statements[resourceSet]; len(list) > 0 {
		s.Resource = []policy.Attached{{Document: mustParse(t, document(list...), policy.Resource)}}
	}
	return policy.Decide(&w.request, &s)
}

// check draws worlds. The TB that the function gets is for documents that must parse.
func check(t *testing.T, f func(rt *rapid.T, w world)) {
	rapid.Check(t, func(rt *rapid.T) { f(rt, drawWorld(rt)) })
}

func TestDecide_MoreDeniesNeverAllow(t *testing.T) {
	t.Parallel()
	check(t, func(rt *rapid.T, w world) {
		before := w.decide(t)
		set := rapid.SampledFrom([]int{identitySet, boundarySet, sessionSet, resourceSet}).Draw(rt, "set")
		list := w.statements[set]
		at := rapid.IntRange(0, len(list)).Draw(rt, "at")
		w.statements[set] = slices.Insert(slices.Clone(list), at, drawStatement(rt, set, "Deny"))
		after := w.decide(t)
		if !before.Allowed && after.Allowed || before.Explicit && !after.Explicit {
			rt.Errorf("decision with one more Deny = %+v, before %+v", after, before)
		}
	})
}

func TestDecide_MoreAllowsNeverDeny(t *testing.T) {
	t.Parallel()
	check(t, func(rt *rapid.T, w world) {
		before := w.decide(t)
		set := rapid.SampledFrom([]int{identitySet, boundarySet, sessionSet, resourceSet}).Draw(rt, "set")
		if set == boundarySet && len(w.statements[set]) == 0 {
			return // a first statement makes a boundary
		}
		at := rapid.IntRange(0, len(w.statements[set])).Draw(rt, "at")
		w.statements[set] = slices.Insert(w.statements[set], at, drawStatement(rt, set, "Allow"))
		after := w.decide(t)
		if before.Allowed && !after.Allowed || before.Explicit != after.Explicit {
			rt.Errorf("decision with one more Allow = %+v, before %+v", after, before)
		}
	})
}

func TestDecide_BoundaryAndSessionOnlyShrink(t *testing.T) {
	t.Parallel()
	check(t, func(rt *rapid.T, w world) {
		with := w.decide(t)
		w.statements[boundarySet] = nil
		withoutBoundary := w.decide(t)
		w.hasSession = false
		without := w.decide(t)
		if with.Allowed && !withoutBoundary.Allowed || withoutBoundary.Allowed && !without.Allowed {
			rt.Errorf("decision = %+v, without boundary %+v, without session, too %+v", with, withoutBoundary, without)
		}
	})
}

func TestDecide_OneMoreNameOfAResourceIsOneMoreDecision(t *testing.T) {
	t.Parallel()
	check(t, func(rt *rapid.T, w world) {
		w.request.Resources = []string{pointARN, vaultARN}
		both := w.decide(t)
		w.request.Resources = []string{pointARN}
		point := w.decide(t)
		w.request.Resources = []string{vaultARN}
		vault := w.decide(t)
		explicit := point.Explicit || vault.Explicit
		if both.Explicit != explicit || both.Allowed != (!explicit && (point.Allowed || vault.Allowed)) {
			rt.Errorf("decision = %+v, for the point %+v, for the vault %+v", both, point, vault)
		}
	})
}

func TestParse_OfStringIsIdentity(t *testing.T) {
	t.Parallel()
	check(t, func(rt *rapid.T, w world) {
		text := document(append(w.statements[resourceSet], drawStatement(rt, resourceSet, "Deny"))...)
		d := mustParse(t, text, policy.Resource)
		again := mustParse(t, d.String(), policy.Resource)
		decide := func(d *policy.Document) policy.Decision {
			return policy.Decide(&w.request, &policy.Sets{Resource: []policy.Attached{{Document: d}}})
		}
		if d.String() != text || again.String() != text || decide(d) != decide(again) {
			rt.Errorf("Parse(%q) = %q, then %q", text, d, again)
		}
	})
}

func TestDecide_NotElementsAreComplements(t *testing.T) {
	t.Parallel()
	check(t, func(rt *rapid.T, w world) {
		w.request.Resources = w.request.Resources[:min(1, len(w.request.Resources))]
		w.request.SameAccount, w.request.Principal = true, user()
		for _, c := range [][2]string{
			{`"Action":["backup:A","s3:*"],"Resource":"*"`, `"Action"`},
			{`"Action":"*","Resource":["arn:aws:backup:*:*:backup-vault:*","arn:aws:s3:::x"]`, `"Resource"`},
		} {
			not := `"Not` + c[1][1:]
			positive := allows(t, document(`"Effect":"Allow",`+c[0]), &w.request)
			negative := allows(t, document(`"Effect":"Allow",`+strings.Replace(c[0], c[1], not, 1)), &w.request)
			if positive == negative {
				rt.Errorf("%s and its complement allow %+v = %v, both", c[0], w.request, positive)
			}
		}
	})
}

// drawCondition draws a family, values of its policy and of a request, which may be of another family.
func drawCondition(t *rapid.T, negatable bool) (positive, negative string, want []string, ctx policy.Values) {
	known := slices.Clone(families)
	if negatable {
		known = slices.DeleteFunc(known, func(f family) bool { return f.negative == "" })
	}
	f := rapid.SampledFrom(known).Draw(t, "family")
	want = rapid.SliceOfN(rapid.SampledFrom(append(slices.Clone(f.values), f.hit)), 0, 3).Draw(t, "want")
	stranger := rapid.SampledFrom(families).Draw(t, "stranger")
	values := rapid.SliceOfN(rapid.SampledFrom([]string{f.hit, f.miss, stranger.hit, ""}), 0, 3).Draw(t, "values")
	ctx = policy.Values{}
	if len(values) > 0 || rapid.Bool().Draw(t, "empty") {
		ctx["k:a"] = values
	}
	return f.positive, f.negative, want, ctx
}

func TestConditions_NumbersAreExact(t *testing.T) {
	t.Parallel()
	number := rapid.StringMatching(`[+-]?(0{0,2}[0-9]{1,3}(\.[0-9]{0,3})?|\.[0-9]{1,3})([eE][+-]?[0-3])?`)
	rapid.Check(t, func(rt *rapid.T) {
		a, b := number.Draw(rt, "a"), number.Draw(rt, "b")
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		for operator, want := range map[string]bool{
			"NumericEquals": x.Cmp(y) == 0, "NumericLessThan": x.Cmp(y) < 0, "NumericLessThanEquals": x.Cmp(y) <= 0,
			"NumericGreaterThan": x.Cmp(y) > 0, "NumericGreaterThanEquals": x.Cmp(y) >= 0, "NumericNotEquals": x.Cmp(y) != 0,
		} {
			if got := holds(t, operator, "k:a", []string{b}, policy.Values{"k:a": {a}}); got != want {
				rt.Errorf("%s %s for %s = %v, want %v", operator, b, a, got, want)
			}
		}
	})
}

func TestConditions_NegationIsTheComplement(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		positive, negative, want, ctx := drawCondition(rt, true)
		if holds(t, positive, "k:a", want, ctx) == holds(t, negative, "k:a", want, ctx) {
			rt.Errorf("%s %q and %s for %q are the same", positive, want, negative, ctx["k:a"])
		}
		if len(ctx["k:a"]) == 0 {
			return
		}
		every, some := holds(t, "ForAllValues:"+negative, "k:a", want, ctx), holds(t, "ForAnyValue:"+positive, "k:a", want, ctx)
		if every == some {
			rt.Errorf("ForAllValues:%s %q and ForAnyValue:%s for %q are the same", negative, want, positive, ctx["k:a"])
		}
	})
}

func TestConditions_IfExistsHoldsWhereverPlainDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		positive, negative, want, ctx := drawCondition(rt, false)
		for _, operator := range []string{positive, negative} {
			if operator == "" {
				continue
			}
			operator = rapid.SampledFrom([]string{"", "ForAllValues:", "ForAnyValue:"}).Draw(rt, "quantifier") + operator
			plain, ifExists := holds(t, operator, "k:a", want, ctx), holds(t, operator+"IfExists", "k:a", want, ctx)
			if plain && !ifExists || len(ctx["k:a"]) > 0 && plain != ifExists || len(ctx["k:a"]) == 0 && !ifExists {
				rt.Errorf("%s %q for %q = %v, with IfExists %v", operator, want, ctx["k:a"], plain, ifExists)
			}
		}
	})
}
