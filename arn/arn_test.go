package arn_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/arn"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text     string
		want     arn.ARN
		kind, id string
	}{
		{
			"arn:aws:backup:us-east-1:000000000000:recovery-point:1eb3b5e7-9eb0-435a-a80b-108b488b0d45",
			arn.ARN{"aws", "backup", "us-east-1", "000000000000", "recovery-point:1eb3b5e7-9eb0-435a-a80b-108b488b0d45"},
			"recovery-point", "1eb3b5e7-9eb0-435a-a80b-108b488b0d45",
		},
		{
			"arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/fs-0123456789abcdef0",
			arn.ARN{"aws", "elasticfilesystem", "eu-west-1", "123456789012", "file-system/fs-0123456789abcdef0"},
			"file-system", "fs-0123456789abcdef0",
		},
		{
			"arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole",
			arn.ARN{"aws", "iam", "", "123456789012", "role/service-role/AWSBackupDefaultServiceRole"},
			"role", "service-role/AWSBackupDefaultServiceRole",
		},
		{
			"arn:aws:iam::aws:policy/AdministratorAccess",
			arn.ARN{"aws", "iam", "", "aws", "policy/AdministratorAccess"},
			"policy", "AdministratorAccess",
		},
		{"arn:aws:s3:::bucket", arn.ARN{"aws", "s3", "", "", "bucket"}, "", "bucket"},
		{
			"arn:aws:s3:::bucket/a key: with ::/äü*?",
			arn.ARN{"aws", "s3", "", "", "bucket/a key: with ::/äü*?"},
			"bucket", "a key: with ::/äü*?",
		},
		{
			"arn:aws:redshift:us-east-1:123456789012:snapshot:cluster/awsbackup:job-1",
			arn.ARN{"aws", "redshift", "us-east-1", "123456789012", "snapshot:cluster/awsbackup:job-1"},
			"snapshot", "cluster/awsbackup:job-1",
		},
		{
			"arn:aws-us-gov:ec2:us-gov-west-1::image/ami-0123456789abcdef0",
			arn.ARN{"aws-us-gov", "ec2", "us-gov-west-1", "", "image/ami-0123456789abcdef0"},
			"image", "ami-0123456789abcdef0",
		},
	} {
		got, err := arn.Parse(c.text)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", c.text, diff)
		}
		if kind, id := got.Split(); kind != c.kind || id != c.id {
			t.Errorf("Split of %s = %q, %q, want %q, %q", c.text, kind, id, c.kind, c.id)
		}
		if got.String() != c.text || got.Check() != nil {
			t.Errorf("Parse(%q).String() = %q, Check() = %v", c.text, got.String(), got.Check())
		}
	}
}

func TestParse_Malformed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                `malformed ARN "": does not begin with "arn:"`,
		"vault":                           `malformed ARN "vault": does not begin with "arn:"`,
		"ARN:aws:s3:::b":                  `malformed ARN "ARN:aws:s3:::b": does not begin with "arn:"`,
		" arn:aws:s3:::b":                 `malformed ARN " arn:aws:s3:::b": does not begin with "arn:"`,
		"arn":                             `malformed ARN "arn": has 1 of 6 parts separated by colons`,
		"arn:aws:s3::b":                   `malformed ARN "arn:aws:s3::b": has 5 of 6 parts separated by colons`,
		"arn::s3:::b":                     `malformed ARN "arn::s3:::b": partition is empty`,
		"arn:aws::::b":                    `malformed ARN "arn:aws::::b": service is empty`,
		"arn:aws:s3:::":                   `malformed ARN "arn:aws:s3:::": resource is empty`,
		"arn:aws:S3:::b":                  `malformed ARN "arn:aws:S3:::b": service "S3" has characters other than a-z, 0-9 and -`,
		"arn:aws:ec2:*:*:volume/*":        `malformed ARN "arn:aws:ec2:*:*:volume/*": region "*" has characters other than a-z, 0-9 and -`,
		"arn:aws:ec2:r:12345678901:v/1":   `malformed ARN "arn:aws:ec2:r:12345678901:v/1": account "12345678901" is not 12 digits`,
		"arn:aws:ec2:r:1234567890123:v/1": `malformed ARN "arn:aws:ec2:r:1234567890123:v/1": account "1234567890123" is not 12 digits`,
		"arn:aws:ec2:r:12345678901a:v/1":  `malformed ARN "arn:aws:ec2:r:12345678901a:v/1": account "12345678901a" is not 12 digits`,
		"arn:aws:s3:::b\n":                `malformed ARN "arn:aws:s3:::b\n": resource has control characters`,
		"arn:aws:s3:::b\xff":              `malformed ARN "arn:aws:s3:::b\xff": resource is not UTF-8`,
		"arn:aws:s3:::" + repeat(2036):    `malformed ARN "arn:aws:s3:::` + repeat(115) + `"...: is longer than 2048 bytes`,
		"arn:aws:s3:::" + repeat(50<<20):  `malformed ARN "arn:aws:s3:::` + repeat(115) + `"...: is longer than 2048 bytes`,
	} {
		got, err := arn.Parse(text)
		if !errors.Is(err, arn.ErrMalformed) || fmt.Sprint(err) != want {
			t.Errorf("Parse(%.40q) = %v, %v, want %s", text, got, err, want)
		}
	}
	if _, err := arn.Parse("arn:aws:s3:::" + repeat(2035)); err != nil {
		t.Errorf("Parse of 2048 bytes: %v", err)
	}
}

func repeat(n int) string { return strings.Repeat("x", n) }

func TestCheck_OfPartsThatMakeAnotherARN(t *testing.T) {
	t.Parallel()
	good := arn.ARN{Partition: "aws", Service: "s3", Resource: "b"}
	if err := good.Check(); err != nil {
		t.Errorf("Check(%v) = %v, want nil", good, err)
	}
	for _, a := range []arn.ARN{
		{}, {"aws", "s3", "a:b", "", "c"}, {"aws", "s3", "", "", ""}, {"aws:x", "s3", "", "", "b"}, {"aws", "s3", "", "1", "b"},
	} {
		if err := a.Check(); !errors.Is(err, arn.ErrMalformed) {
			t.Errorf("Check(%v) = %v, want ErrMalformed", a, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "arn:aws:s3:::bucket/key", "arn:aws:backup:us-east-1:000000000000:recovery-point:1eb3b5e7",
		"arn:aws:iam::aws:policy/P", "arn:::::", "arn:aws:rds:r:123456789012:snapshot:awsbackup:job-1", "arn:a:b:c:d:\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := arn.Parse(s)
		if err != nil {
			if !errors.Is(err, arn.ErrMalformed) || len(err.Error()) > 4000 {
				t.Errorf("Parse(%q) = %v", s, err)
			}
			return
		}
		if a.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, a.String())
		}
		if err := a.Check(); err != nil {
			t.Errorf("Parse(%q).Check() = %v", s, err)
		}
		if kind, id := a.Split(); len(kind)+len(id) > len(a.Resource) {
			t.Errorf("Split of %q = %q, %q", s, kind, id)
		}
	})
}
