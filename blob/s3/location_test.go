package s3_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob/s3"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]s3.Location{
		"s3://bucket":              {Bucket: "bucket"},
		"s3://bucket/":             {Bucket: "bucket"},
		"s3://my.bucket-1/a/B c/d": {Bucket: "my.bucket-1", Prefix: "a/B c/d"},
		"s3://bucket/p/?region=eu-north-1&credential=backup": {Bucket: "bucket", Prefix: "p", Region: "eu-north-1",
			Credential: "backup"},
		"s3://bucket/p?endpoint=https://s3.example.com:9000": {Bucket: "bucket", Prefix: "p",
			Endpoint: "https://s3.example.com:9000", PathStyle: true},
		"s3://bucket?endpoint=http%3A%2F%2F127.0.0.1%3A7070%2F&path_style=false": {Bucket: "bucket",
			Endpoint: "http://127.0.0.1:7070"},
		"s3://bucket?path_style=true": {Bucket: "bucket", PathStyle: true},
	} {
		got, err := s3.Parse(text)
		if err != nil {
			t.Errorf("Parse(%s): %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Parse(%s) (-want +got):\n%s", text, diff)
		}
	}
}

func TestParse_OfMalformedText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                       "not of the form",
		"/srv/store":                             "not of the form",
		"https://bucket/p":                       "not of the form",
		"s3:bucket":                              "not of the form",
		"s3://bucket:7a/p":                       "not of the form",
		"s3://":                                  "bucket",
		"s3:///p":                                "bucket",
		"s3://Bucket/p":                          "bucket",
		"s3://b/p":                               "bucket",
		"s3://bucket/a//b":                       "prefix",
		"s3://bucket/a/../b":                     "prefix",
		"s3://bucket/a%00b":                      "prefix",
		"s3://bucket/p#f":                        "fragment",
		"s3://bucket/p?%zz":                      "malformed",
		"s3://bucket?regoin=x":                   "regoin",
		"s3://bucket?region=x&region=y":          "twice",
		"s3://bucket?path_style=yes please":      "path_style",
		"s3://bucket?endpoint=s3.example.com":    "endpoint",
		"s3://bucket?endpoint=ftp://example.com": "endpoint",
		"s3://bucket?endpoint=":                  "endpoint",
		"s3://AKIDEXAMPLE:hunter2@bucket/p":      "credential=PROFILE",
		"s3://AKIDEXAMPLE:hunter2%zz@bucket/p":   "not of the form",
		"s3://bucket?endpoint=https://id:hunter2@example.com": "endpoint",
		"s3://bucket?endpoint=https://id:hunter2%@x":          "malformed",
		"s3://bucket/" + strings.Repeat("p", 501):             "prefix",
	} {
		_, err := s3.Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%s) = %v, want an error about %q", text, err, want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Parse(%s) = %v, which shows a secret", text, err)
		}
	}
}
