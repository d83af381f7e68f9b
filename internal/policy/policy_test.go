package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/policy"
)

const inFirst = "Syntax errors in policy. Statement 1: "

func TestParse_Refuses(t *testing.T) {
	t.Parallel()
	statement := func(text string) string { return document(text) }
	identity := func(more string) string { return document(`"Effect":"Allow","Action":"a:b","Resource":"*",` + more) }
	action := func(text string) string { return document(`"Effect":"Allow","Resource":"*","Action":` + text) }
	resource := func(text string) string { return document(`"Effect":"Allow","Action":"*","Resource":` + text) }
	condition := func(text string) string { return identity(`"Condition":` + text) }
	for _, c := range []struct{ text, want string }{
		{"", "This policy contains invalid Json: unexpected end of JSON input"},
		{"{", "This policy contains invalid Json: unexpected end of JSON input"},
		{"\xef\xbb\xbf{}", "This policy contains invalid Json: invalid character 'ï' looking for beginning of value"},
		{"{}{}", "This policy contains invalid Json: invalid character '{' after top-level value"},
		{`{"Id":"` + "\xff" + `"}`, "This policy contains invalid Json: it is not UTF-8"},
		{`{"Version":"2012-10-17","Version":"2008-10-17"}`, `This policy contains invalid Json: duplicate key "Version"`},
		{identity(`"Action":"*"`), `This policy contains invalid Json: duplicate key "Action"`},
		{strings.Repeat("[", 11) + strings.Repeat("]", 11), "Syntax errors in policy. It is nested deeper than 10 levels."},
		{strings.Repeat(" ", policy.MaxSize+1), "Policy document must not be longer than 20480 bytes."},
		{"[]", "Syntax errors in policy. It must be an object."},
		{`"text"`, "Syntax errors in policy. It must be an object."},
		{`{"statement":[]}`, `Syntax errors in policy. Unknown element "statement".`},
		{`{"Id":1}`, "Syntax errors in policy. Id must be a string."},
		{`{"Version":"2012-10-18"}`, "The policy must contain a valid version string"},
		{`{"Version":20121017}`, "The policy must contain a valid version string"},
		{`{}`, "Syntax errors in policy. It has no statement."},
		{`{"Statement":[]}`, "Syntax errors in policy. It has no statement."},
		{`{"Statement":null}`, "Syntax errors in policy. It has no statement."},
		{`{"Statement":"Allow"}`, inFirst + "it must be an object."},
		{`{"Statement":[[]]}`, inFirst + "it must be an object."},
		{identity(`"Resources":"*"`), inFirst + `unknown element "Resources".`},
		{statement(`"Action":"*","Resource":"*"`), "Missing required field Effect"},
		{statement(`"Effect":"allow","Action":"*","Resource":"*"`), inFirst + `Effect must be "Allow" or "Deny".`},
		{statement(`"Effect":["Allow"],"Action":"*","Resource":"*"`), inFirst + `Effect must be "Allow" or "Deny".`},
		{identity(`"Principal":"*"`), "Policy document should not specify a principal."},
		{identity(`"NotPrincipal":"*"`), "Policy document should not specify a principal."},
		{identity(`"Sid":1`), inFirst + "Sid must be a string."},
		{identity(`"Sid":"a b"`), "Statement IDs (SID) must be alpha-numeric. " +
			"Check that your input satisfies the regular expression [0-9A-Za-z]*"},
		{
			document(`"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"`, `"Sid":"a","Effect":"Deny","Action":"*","Resource":"*"`),
			"Statement IDs (SID) in a single policy must be unique.",
		},
		{identity(`"NotAction":"*"`), inFirst + "it must not have both Action and NotAction."},
		{identity(`"NotResource":"*"`), inFirst + "it must not have both Resource and NotResource."},
		{statement(`"Effect":"Allow","Resource":"*"`), "Policy statement must contain actions."},
		{action(`[]`), "Policy statement must contain actions."},
		{action(`null`), inFirst + "Action must be a string or an array of strings."},
		{action(`["a:b",1]`), inFirst + "Action must be a string or an array of strings."},
		{action(`"backup"`), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."},
		{action(`"**"`), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."},
		{action(`"a:b:c"`), "Actions/Condition can contain only one colon."},
		{action(`"b*:c"`), "Vendor b* is not valid"},
		{action(`":c"`), "Vendor  is not valid"},
		{action(`"a:"`), inFirst + `"a:" is not an action.`},
		{action(`"a:${aws}"`), inFirst + `"a:${aws}" is not an action.`},
		{statement(`"Effect":"Allow","Action":"*"`), "Policy statement must contain resources."},
		{resource(`[]`), "Policy statement must contain resources."},
		{resource(`{}`), inFirst + "Resource must be a string or an array of strings."},
		{resource(`""`), `Resource  must be in ARN format or "*".`},
		{resource(`"gold"`), `Resource gold must be in ARN format or "*".`},
		{resource(`"*gold*"`), `Resource *gold* must be in ARN format or "*".`},
		{resource(`"arn:aws:s3:b"`), `Resource arn:aws:s3:b must be in ARN format or "*".`},
		{resource(`"ARN:aws:s3:::b"`), `Resource ARN:aws:s3:::b must be in ARN format or "*".`},
		{resource(`"${aws:a}:aws:s3:::b"`), `Resource ${aws:a}:aws:s3:::b must be in ARN format or "*".`},
		{resource(`"arn:aws:s3:::${aws:a"`), inFirst + `"arn:aws:s3:::${aws:a" holds a malformed variable.`},
		{resource(`"arn:aws:s3:::${a}"`), inFirst + `"arn:aws:s3:::${a}" holds a malformed variable.`},
		{resource(`"arn:aws:s3:::${a:b,c}"`), inFirst + `"arn:aws:s3:::${a:b,c}" holds a malformed variable.`},
		{resource(`"arn:aws:s3:::${a:b,'c}"`), inFirst + `"arn:aws:s3:::${a:b,'c}" holds a malformed variable.`},
		{resource(`"arn:aws:s3:::${a:b'c'}"`), inFirst + `"arn:aws:s3:::${a:b'c'}" holds a malformed variable.`},
		{resource(`"arn:aws:s3:::${a:b,'c'"`), inFirst + `"arn:aws:s3:::${a:b,'c'" holds a malformed variable.`},
		{condition(`[]`), inFirst + "Condition must be an object."},
		{condition(`{"StringEqual":{}}`), inFirst + `unknown condition operator "StringEqual".`},
		{condition(`{"NumericNotLessThan":{}}`), inFirst + `unknown condition operator "NumericNotLessThan".`},
		{condition(`{"NotBool":{}}`), inFirst + `unknown condition operator "NotBool".`},
		{condition(`{"":{}}`), inFirst + `unknown condition operator "".`},
		{condition(`{"NullIfExists":{}}`), inFirst + `unknown condition operator "NullIfExists".`},
		{condition(`{"ForAnyValue:Null":{}}`), inFirst + `unknown condition operator "ForAnyValue:Null".`},
		{condition(`{"ForAnyValue:ForAllValues:Bool":{}}`), inFirst + `unknown condition operator "ForAnyValue:ForAllValues:Bool".`},
		{condition(`{"Bool":"a:b"}`), inFirst + "the value of Bool must be an object."},
		{condition(`{"Bool":{"b":true}}`), inFirst + `condition key "b" has no prefix such as aws:.`},
		{condition(`{"Bool":{"a:b":null}}`), inFirst + "the values of a:b must be strings, numbers or booleans."},
		{condition(`{"Bool":{"a:b":[["true"]]}}`), inFirst + "the values of a:b must be strings, numbers or booleans."},
		{condition(`{"Bool":{"a:b":"yes"}}`), inFirst + `in Bool of a:b, "yes" is not a boolean.`},
		{condition(`{"Null":{"a:b":"yes"}}`), inFirst + `in Null of a:b, "yes" is not a boolean.`},
		{condition(`{"NumericEquals":{"a:b":"7d"}}`), inFirst + `in NumericEquals of a:b, "7d" is not a number.`},
		{condition(`{"NumericEquals":{"a:b":1e1001}}`), inFirst + `in NumericEquals of a:b, "1e1001" is not a number.`},
		{condition(`{"NumericEquals":{"a:b":"${a:b}"}}`), inFirst + `in NumericEquals of a:b, "${a:b}" is not a number.`},
		{condition(`{"DateEquals":{"a:b":"2030-13-01"}}`), inFirst + `in DateEquals of a:b, "2030-13-01" is not a date.`},
		{condition(`{"DateEquals":{"a:b":1893456000000}}`), inFirst + `in DateEquals of a:b, "1893456000000" is not a date.`},
		{condition(`{"IpAddress":{"a:b":"10.0.0.0/33"}}`), inFirst + `in IpAddress of a:b, "10.0.0.0/33" is not an IP address or range.`},
		{condition(`{"IpAddress":{"a:b":"fe80::1%eth0"}}`), inFirst + `in IpAddress of a:b, "fe80::1%eth0" is not an IP address or range.`},
		{condition(`{"BinaryEquals":{"a:b":"?"}}`), inFirst + `in BinaryEquals of a:b, "?" is not base64.`},
		{condition(`{"ArnLike":{"a:b":"word"}}`), inFirst + `in ArnLike of a:b, "word" must be in ARN format or "*".`},
		{condition(`{"StringLike":{"a:b":"${"}}`), inFirst + `in StringLike of a:b, "${" holds a malformed variable.`},
		{condition(`{"StringEqualsIgnoreCase":{"a:b":"${}"}}`), inFirst + `in StringEqualsIgnoreCase of a:b, "${}" holds a malformed variable.`},
	} {
		wantError(t, c.text, policy.Identity, c.want)
	}
}

func wantError(t *testing.T, text string, kind policy.Kind, want string) {
	t.Helper()
	d, err := policy.Parse(text, kind)
	var e *policy.Error
	if !errors.As(err, &e) || e.Text != want || d != nil {
		t.Errorf("Parse(%.300s, %v) = %v, want %s", text, kind, err, want)
	}
}

func TestParse_RefusesByKind(t *testing.T) {
	t.Parallel()
	const wildcard = "A wildcard is not supported in the actions of a vault access policy: "
	for _, c := range []struct {
		kind      policy.Kind
		statement string
		want      string
	}{
		{policy.Trust, `"Action":"sts:AssumeRole","Principal":"*","Resource":"*"`, "Has prohibited field Resource"},
		{policy.Trust, `"Action":"sts:AssumeRole","Principal":"*","NotResource":"*"`, "Has prohibited field NotResource"},
		{policy.Trust, `"Action":"sts:AssumeRole"`, "Missing required field Principal"},
		{policy.Trust, `"NotAction":"sts:AssumeRole","Principal":"*"`, "Has prohibited field NotAction"},
		{policy.Trust, `"Action":"*","Principal":"*"`, "AssumeRole policy may only specify STS AssumeRole actions."},
		{policy.Trust, `"Action":"iam:PassRole","Principal":"*"`, "AssumeRole policy may only specify STS AssumeRole actions."},
		{policy.Trust, `"Action":"sts:AssumeRole","NotPrincipal":"*"`, inFirst + "NotPrincipal goes with Deny only."},
		{policy.Resource, `"Action":"*","Principal":"*"`, "Missing required field Resource"},
		{policy.Resource, `"Action":"*","Resource":"*"`, "Missing required field Principal"},
		{policy.Resource, `"Action":"*","Resource":"*","Principal":"*","NotPrincipal":"*"`,
			inFirst + "it must not have both Principal and NotPrincipal."},
		{policy.Vault, `"Action":"backup:StartBackupJob","Resource":"*"`, "Missing required field Principal"},
		{policy.Vault, `"Action":"backup:StartBackupJob","Principal":"*"`, "Missing required field Resource"},
		{policy.Vault, `"Action":"backup:StartBackupJob","Principal":"*","Resource":[]`, "Missing required field Resource"},
		{policy.Vault, `"Action":"*","Resource":"*","Principal":"*"`, wildcard + `"*"`},
		{policy.Vault, `"Action":["backup:*"],"Resource":"*","Principal":"*"`, wildcard + `"backup:*"`},
		{policy.Vault, `"Action":"backup:Delete*","Resource":"*","Principal":"*"`, wildcard + `"backup:Delete*"`},
		{policy.Vault, `"Action":"backup:Start?ackupJob","Resource":"*","Principal":"*"`, wildcard + `"backup:Start?ackupJob"`},
		{policy.Vault, `"Action":"s3:GetObject","Resource":"*","Principal":"*"`,
			`A vault access policy can hold actions of backup only: "s3:GetObject"`},
		{policy.Vault, `"NotAction":"backup:StartBackupJob","Resource":"*","Principal":"*"`, "Has prohibited field NotAction"},
	} {
		wantError(t, document(`"Effect":"Allow",`+c.statement), c.kind, c.want)
	}
}

func TestParse_RefusesMalformedPrincipals(t *testing.T) {
	t.Parallel()
	for principal, want := range map[string]string{
		`"111111111111"`:        `"111111111111"`,
		`null`:                  `it must be "*" or an object`,
		`["*"]`:                 `it must be "*" or an object`,
		`{}`:                    `it must be "*" or an object`,
		`{"AWS":[]}`:            `"AWS"`,
		`{"AWS":{}}`:            `"AWS"`,
		`{"aws":"*"}`:           `"AWS":"*"`,
		`{"AWS":""}`:            `"AWS":""`,
		`{"AWS":"11111111111"}`: `"AWS":"11111111111"`,
		`{"AWS":"AIDA1"}`:       `"AWS":"AIDA1"`,
		`{"AWS":["*","x"]}`:     `"AWS":"x"`,
		`{"AWS":"arn:aws:iam::111111111111:user/*"}`:            `"AWS":"arn:aws:iam::111111111111:user/*"`,
		`{"AWS":"arn:aws:iam::111111111111:user/${aws:x}"}`:     `"AWS":"arn:aws:iam::111111111111:user/${aws:x}"`,
		`{"AWS":"arn:aws:iam::*:root"}`:                         `"AWS":"arn:aws:iam::*:root"`,
		`{"AWS":"arn:aws:iam::aws:root"}`:                       `"AWS":"arn:aws:iam::aws:root"`,
		`{"AWS":"arn:aws:iam:us-east-1:111111111111:user/a"}`:   `"AWS":"arn:aws:iam:us-east-1:111111111111:user/a"`,
		`{"AWS":"arn:aws:iam::111111111111:user/"}`:             `"AWS":"arn:aws:iam::111111111111:user/"`,
		`{"AWS":"arn:aws:iam::111111111111:group/a"}`:           `"AWS":"arn:aws:iam::111111111111:group/a"`,
		`{"AWS":"arn:aws:sts::111111111111:assumed-role/a"}`:    `"AWS":"arn:aws:sts::111111111111:assumed-role/a"`,
		`{"AWS":"arn:aws:sts::111111111111:assumed-role/a/b/"}`: `"AWS":"arn:aws:sts::111111111111:assumed-role/a/b/"`,
		`{"Service":"*"}`:       `"SERVICE":"*"`,
		`{"Service":"backup"}`:  `"SERVICE":"backup"`,
		`{"Federated":"*"}`:     `"FEDERATED":"*"`,
		`{"CanonicalUser":"a"}`: `"CANONICALUSER":"a"`,
	} {
		text := document(`"Effect":"Deny","Action":"sts:AssumeRole","Principal":` + principal)
		wantError(t, text, policy.Trust, "Invalid principal in policy: "+want)
	}
}

func TestParse_TakesWhatIsUnusual(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind policy.Kind
		text string
	}{
		{policy.Identity, ` {"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}} `},
		{policy.Identity, `{"Id":"x","Statement":[{"Sid":"","Effect":"Allow","NotAction":["s3:*"],"NotResource":["arn:*"]},` +
			`{"Sid":"","Effect":"Deny","Action":"*:*","Resource":"*"}]}`},
		{policy.Identity, document(`"Effect":"Allow","Action":"execute-api:Invoke","Resource":"*","Condition":{}`)},
		{policy.Identity, document(`"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"StringEquals":{},"Bool":{"a:b":[]}}`)},
		{policy.Resource, document(`"Sid":"Enable IAM User Permissions","Effect":"Allow","Action":"kms:*","Resource":"*","Principal":"*"`)},
		{policy.Trust, document(`"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession"],"Principal":{"Service":["backup.amazonaws.com"]}`)},
		{policy.Vault, document(`"Effect":"Deny","Action":"Backup:deleterecoverypoint","Resource":"arn:aws:ec2:*:*:snapshot/*","NotPrincipal":{"AWS":"` + roleARN + `"}`)},
	} {
		d, err := policy.Parse(c.text, c.kind)
		if err != nil {
			t.Errorf("Parse(%s): %v", c.text, err)
			continue
		}
		if d.String() != c.text {
			t.Errorf("String of Parse(%q) = %q", c.text, d.String())
		}
	}
}

func TestPrincipals(t *testing.T) {
	t.Parallel()
	d := mustParse(t, document(
		fmt.Sprintf(`"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":[%q,%q,"*"],"Service":"backup.amazonaws.com"}`, userARN, account),
		fmt.Sprintf(`"Effect":"Deny","Action":"sts:AssumeRole","NotPrincipal":{"AWS":%q,"Federated":"accounts.google.com"}`, userARN),
		`"Effect":"Deny","Action":"sts:AssumeRole","Principal":"*"`), policy.Trust)
	want := []string{"AWS:" + userARN, "AWS:" + account, "*", "Service:backup.amazonaws.com", "Federated:accounts.google.com"}
	if diff := cmp.Diff(want, d.Principals()); diff != "" {
		t.Errorf("Principals (-want +got):\n%s", diff)
	}
}

func TestUses(t *testing.T) {
	t.Parallel()
	d := mustParse(t, document(`"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:PrincipalTag/team}",
		"Condition":{"StringEquals":{"aws:ResourceTag/env":"${aws:RequestTag/env, 'x'}"}}`), policy.Identity)
	for prefix, want := range map[string]bool{
		"aws:resourcetag/": true, "AWS:PrincipalTag/Team": true, "aws:RequestTag/": true, "aws:TagKeys": false, "": true,
	} {
		if got := d.Uses(prefix); got != want {
			t.Errorf("Uses(%q) = %v, want %v", prefix, got, want)
		}
	}
	old := mustParse(t, `{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:username}"}}`, policy.Identity)
	if old.Uses("aws:") {
		t.Error("a document of the version without variables uses one")
	}
}
