package policy_test

import (
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/policy"
)

// family is an operator and its negation with values of a policy, a value of a request that matches one of them, and
// one that does not.
type family struct {
	positive, negative string
	values             []string
	hit, miss          string
}

var families = []family{
	{"StringEquals", "StringNotEquals", []string{"blue", "red"}, "red", "Red"},
	{"StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", []string{"blue", "Red"}, "rEd", "green"},
	{"StringLike", "StringNotLike", []string{"b*e", "r?d"}, "red", "read"},
	{"NumericEquals", "NumericNotEquals", []string{"7", "10"}, "10.0", "100"},
	{"NumericLessThan", "", []string{"7", "10"}, "9", "10"},
	{"NumericLessThanEquals", "", []string{"7", "10"}, "10", "10.000001"},
	{"NumericGreaterThan", "", []string{"7", "10"}, "9", "7"},
	{"NumericGreaterThanEquals", "", []string{"7", "10"}, "7", "6.9"},
	{"DateEquals", "DateNotEquals", []string{"2030-01-01T00:00:00Z"}, "1893456000", "1893456001"},
	{"DateLessThan", "", []string{"2030-01-01T00:00:00Z"}, "2029-12-31T23:59:59.9Z", "2030-01-01T00:00:00Z"},
	{"DateLessThanEquals", "", []string{"1893456000"}, "2030-01-01T02:00:00+02:00", "2030-01-01T00:00:01Z"},
	{"DateGreaterThan", "", []string{"2030-01-01"}, "2030-01-01T00:00:01Z", "2030-01-01"},
	{"DateGreaterThanEquals", "", []string{"2030-01"}, "2030", "2029"},
	{"Bool", "", []string{"true"}, "TRUE", "false"},
	{"BinaryEquals", "", []string{"QmluYXJ5VmFsdWU="}, "QmluYXJ5VmFsdWU=", "QmluYXJ5"},
	{"IpAddress", "NotIpAddress", []string{"203.0.113.0/24", "2001:db8::/32"}, "2001:db8::1", "203.0.114.1"},
	{"ArnEquals", "ArnNotEquals", []string{"arn:aws:iam::*:role/a*"}, "arn:aws:iam::1:role/ab", "arn:aws:iam::1:user/ab"},
	{"ArnLike", "ArnNotLike", []string{"arn:aws:iam::1:role/?"}, "arn:aws:iam::1:role/b", "arn:aws:iam::1:role/ab"},
}

// forms are the ways to write an operator, with what they give for the values of a request: none, one that matches, one
// that does not, both.
var forms = []struct {
	prefix, suffix string
	positive       [4]bool
	negated        [4]bool
}{
	{"", "", [4]bool{false, true, false, true}, [4]bool{true, false, true, false}},
	{"", "IfExists", [4]bool{true, true, false, true}, [4]bool{true, false, true, false}},
	{"ForAllValues:", "", [4]bool{true, true, false, false}, [4]bool{true, false, true, false}},
	{"ForAllValues:", "IfExists", [4]bool{true, true, false, false}, [4]bool{true, false, true, false}},
	{"ForAnyValue:", "", [4]bool{false, true, false, true}, [4]bool{false, false, true, true}},
	{"ForAnyValue:", "IfExists", [4]bool{true, true, false, true}, [4]bool{true, false, true, true}},
}

func TestConditions_OfEveryOperatorInEveryForm(t *testing.T) {
	t.Parallel()
	check := func(operator string, values, request []string, want bool) {
		ctx := policy.Values{}
		if request != nil {
			ctx["backup:key"] = request
		}
		if got := holds(t, operator, "Backup:Key", values, ctx); got != want {
			t.Errorf("%s %v for %v = %v, want %v", operator, values, request, got, want)
		}
	}
	for _, family := range families {
		for _, form := range forms {
			for i, request := range [][]string{nil, {family.hit}, {family.miss}, {family.miss, family.hit}} {
				check(form.prefix+family.positive+form.suffix, family.values, request, form.positive[i])
				if family.negative != "" {
					check(form.prefix+family.negative+form.suffix, family.values, request, form.negated[i])
				}
			}
			check(form.prefix+family.positive+form.suffix, family.values, []string{}, form.positive[0])
		}
	}
}

func TestConditions_Values(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		operator string
		policy   string
		request  string
		want     bool
	}{
		{"StringEquals", "a*", "ab", false},
		{"StringEquals", "a*", "a*", true},
		{"StringEquals", "${*}", "*", true},
		{"StringLike", "", "", true},
		{"StringLike", "*", "", true},
		{"StringLike", "?", "ü", true},
		{"StringLike", "??", "ü", false},
		{"StringLike", "a${*}", "ab", false},
		{"StringLike", "a${*}${?}${$}", "a*?$", true},
		{"StringLike", "*ab*ab", "abab", true},
		{"StringLike", "*ab*ab", "ab", false},
		{"StringLike", "*abc", "ababc", true},
		{"StringLike", "a*?c", "ac", false},
		{"StringLike", "a*?c", "abbc", true},
		{"stringequalsignorecase", "ÄB", "äb", true},
		{"NumericEquals", "0", "-0.00", true},
		{"NumericEquals", "1e3", "1000", true},
		{"NumericEquals", "0.1", "0.10000000000000000000000000001", false},
		{"NumericEquals", "9007199254740993", "9007199254740992", false},
		{"NumericLessThan", "9", "10", false},
		{"NumericLessThan", "-9", "-10", true},
		{"NumericLessThan", "1", "-1", true},
		{"NumericLessThan", "-1", "1", false},
		{"NumericGreaterThan", "0.05", "0.049", false},
		{"NumericLessThan", "1", "0." + strings.Repeat("0", 127), false},
		{"NumericLessThan", "0.12", "0.1199", true},
		{"NumericLessThan", "10", "ten", false},
		{"NumericLessThan", "10", "", false},
		{"NumericLessThan", "10", ".", false},
		{"NumericLessThan", "10", "1e999999999", false},
		{"NumericGreaterThan", "+1.5", "015e-1", false},
		{"NumericGreaterThan", ".5", "1.", true},
		{"NumericNotEquals", "10", "ten", true},
		{"DateEquals", "2030-01-01T00:00Z", "1893456000", true},
		{"DateEquals", "-1", "1969-12-31T23:59:59Z", true},
		{"DateLessThan", "2030-01-01T00:00:00Z", "yesterday", false},
		{"Bool", "false", "no", false},
		{"BinaryEquals", "QQ==", "QQ", false},
		{"IpAddress", "203.0.113.7", "203.0.113.7", true},
		{"IpAddress", "203.0.113.7", "::ffff:203.0.113.7", true},
		{"IpAddress", "::ffff:203.0.113.0/120", "203.0.113.7", true},
		{"IpAddress", "203.0.113.7/24", "203.0.113.8", true},
		{"IpAddress", "0.0.0.0/0", "::1", false},
		{"IpAddress", "2001:db8::1", "2001:db8::1%eth0", true},
		{"IpAddress", "0.0.0.0/0", "localhost", false},
		{"NotIpAddress", "0.0.0.0/0", "localhost", true},
		{"ArnLike", "*", "anything", true},
		{"ArnLike", "arn:aws:iam:*", "arn:aws:iam::1:role/x:y", true},
		{"ArnLike", "arn:*:role/a*", "arn:aws:iam::1:role/a", false},
		{"ArnLike", "arn:aws:s3:*:b*", "arn:aws:s3:::b", false},
		{"ArnLike", "arn:aws:x:r:*:a:*:c", "arn:aws:x:r:1:a:b:b:c", true},
		{"ArnLike", "arn:*", "word", false},
	} {
		if got := holds(t, c.operator, "backup:key", []string{c.policy}, policy.Values{"backup:key": {c.request}}); got != c.want {
			t.Errorf("%s %q for %q = %v, want %v", c.operator, c.policy, c.request, got, c.want)
		}
	}
}

func TestConditions_Null(t *testing.T) {
	t.Parallel()
	present, absent := policy.Values{"backup:key": {""}}, policy.Values{"backup:key": {}}
	for _, c := range []struct {
		values          []string
		present, absent bool
	}{
		{[]string{"true"}, false, true},
		{[]string{"False"}, true, false},
		{[]string{"true", "false"}, true, true},
		{[]string{}, false, false},
	} {
		if got := holds(t, "Null", "backup:key", c.values, present); got != c.present {
			t.Errorf("Null %v of a key that is present = %v, want %v", c.values, got, c.present)
		}
		if got := holds(t, "Null", "backup:key", c.values, absent); got != c.absent {
			t.Errorf("Null %v of a key that is absent = %v, want %v", c.values, got, c.absent)
		}
	}
}

func TestConditions_AllMustHold(t *testing.T) {
	t.Parallel()
	text := document(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{
		"StringEquals":{"a:x":["1","2"],"A:Y":3},"Bool":{"a:z":true},"NumericLessThan":{"a:n":4.5}}`)
	for _, c := range []struct {
		ctx  policy.Values
		want bool
	}{
		{policy.Values{"a:x": {"2"}, "a:y": {"3"}, "a:z": {"true"}, "a:n": {"4"}}, true},
		{policy.Values{"a:x": {"2"}, "a:y": {"2"}, "a:z": {"true"}, "a:n": {"4"}}, false},
		{policy.Values{"a:x": {"2"}, "a:y": {"3"}, "a:z": {"false"}, "a:n": {"4"}}, false},
		{policy.Values{"a:x": {"2"}, "a:y": {"3"}, "a:z": {"true"}, "a:n": {"5"}}, false},
		{nil, false},
	} {
		got := allows(t, text, &policy.Request{Principal: user(), Action: deletes, Context: c.ctx, SameAccount: true})
		if got != c.want {
			t.Errorf("decision with %v = %v, want %v", c.ctx, got, c.want)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	ctx := policy.Values{
		"aws:username": {"ann"}, "aws:principaltag/a b": {"x"}, "tag:star": {"*"}, "tag:many": {"a", "b"}, "tag:none": {},
		"tag:colon": {"us-east-1:999"}, "aws:principalarn": {userARN}, "k:v": {"ann"}, "k:arn": {userARN},
	}
	for _, c := range []struct {
		statement string // after Effect and Action
		resource  string
		want      bool
	}{
		{`"Resource":"arn:aws:s3:::b/${aws:UserName}/*"`, "arn:aws:s3:::b/ann/1", true},
		{`"Resource":"arn:aws:s3:::b/${aws:UserName}/*"`, "arn:aws:s3:::b/bob/1", false},
		{`"Resource":"arn:aws:s3:::*-${ aws:username }"`, "arn:aws:s3:::x-ann", true},
		{`"Resource":"arn:aws:s3:::*${aws:username}*"`, "arn:aws:s3:::annan", true},
		{`"Resource":"arn:aws:s3:::${aws:PrincipalTag/A b}"`, "arn:aws:s3:::x", true},
		{`"Resource":"arn:aws:s3:::${tag:star}"`, "arn:aws:s3:::b", false},
		{`"Resource":"arn:aws:s3:::${tag:star}"`, "arn:aws:s3:::*", true},
		{`"Resource":"arn:aws:s3:${tag:colon}:1:b"`, "arn:aws:s3:us-east-1:999:1:b", false},
		{`"Resource":"${aws:PrincipalArn}"`, userARN, true},
		{`"Resource":"${tag:star}"`, "*", false},
		{`"Resource":"arn:aws:s3:::${tag:absent}*"`, "arn:aws:s3:::b", false},
		{`"Resource":["*","arn:aws:s3:::${tag:absent}"]`, "arn:aws:s3:::b", false},
		{`"NotResource":"arn:aws:s3:::${tag:absent}"`, "arn:aws:s3:::b", false},
		{`"Resource":"arn:aws:s3:::${tag:absent, 'b'}"`, "arn:aws:s3:::b", true},
		{`"Resource":"arn:aws:s3:::${tag:none,'b'}"`, "arn:aws:s3:::b", true},
		{`"Resource":"arn:aws:s3:::x${tag:absent,''}"`, "arn:aws:s3:::x", true},
		{`"Resource":"arn:aws:s3:::x*${tag:absent,''}"`, "arn:aws:s3:::x", true},
		{`"Resource":"arn:aws:s3:::${tag:absent, 'a, :}*'}"`, "arn:aws:s3:::a, :}*", true},
		{`"Resource":"arn:aws:s3:::${tag:absent, 'a*'}"`, "arn:aws:s3:::ab", false},
		{`"Resource":"arn:aws:s3:::${tag:many, 'a'}"`, "arn:aws:s3:::a", false},
		{`"Resource":"arn:aws:s3:::${*}${?}${$}"`, "arn:aws:s3:::*?$", true},
		{`"Resource":"*","Condition":{"StringEquals":{"k:v":"${aws:username}"}}`, "*", true},
		{`"Resource":"*","Condition":{"StringEqualsIgnoreCase":{"k:v":"A${aws:none,'N'}N"}}`, "*", true},
		{`"Resource":"*","Condition":{"StringLike":{"k:v":"?${tag:absent,'n'}*"}}`, "*", true},
		{`"Resource":"*","Condition":{"StringNotEquals":{"k:v":"${tag:absent}"}}`, "*", false},
		{`"Resource":"*","Condition":{"ArnEquals":{"k:arn":"${aws:PrincipalArn}"}}`, "*", true},
		{`"Resource":"*","Condition":{"ArnLike":{"k:arn":"arn:aws:iam::*:user/*/${aws:username}"}}`, "*", true},
	} {
		r := &policy.Request{
			Principal: user(), Action: deletes, Resources: []string{c.resource}, Context: ctx, SameAccount: true,
		}
		if got := allows(t, document(`"Effect":"Allow","Action":"*",`+c.statement), r); got != c.want {
			t.Errorf("%s allows %s = %v, want %v", c.statement, c.resource, got, c.want)
		}
	}
}

func TestVariables_AreTextInTheOldVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", `"Version":"2008-10-17",`} {
		text := `{` + version + `"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:username}"}}`
		for resource, want := range map[string]bool{"arn:aws:s3:::ann": false, "arn:aws:s3:::${aws:username}": true} {
			r := &policy.Request{
				Principal: user(), Action: deletes, Resources: []string{resource}, SameAccount: true,
				Context: policy.Values{"aws:username": {"ann"}},
			}
			if got := allows(t, text, r); got != want {
				t.Errorf("%s allows %s = %v, want %v", text, resource, got, want)
			}
		}
	}
}

func TestGlobs_NeverTryAgain(t *testing.T) {
	t.Parallel()
	pattern := strings.Repeat("a*", 1000) + "b"
	for range 10 {
		if holds(t, "StringLike", "k:v", []string{pattern}, policy.Values{"k:v": {strings.Repeat("a", 2000)}}) {
			t.Error("a pattern that ends in b matches a text that does not")
		}
	}
}
