package s3_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob/s3"
)

// FuzzParse reads what an operator wrote: what is accepted can be written again and then says the same, and no error repeats a secret.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"s3://bucket", "s3://my.bucket-1/a/B c/d/?region=eu-north-1&credential=backup", "s3://bucket/%C3%A4/%3F%23%25?path_style=1",
		"s3://bucket/p?endpoint=https://s3.example.com:9000&path_style=f", "s3://bucket?endpoint=http%3A%2F%2F%5B::1%5D%3A7070%2F%2F",
		"s3://bucket/a//b", "s3://bucket/a/../b", "s3://bucket/%2F", "s3://bucket?region=x&region=y", "s3://id:pw@bucket", "s3://bucket:7/p", "s3:bucket",
		"s3://bucket?endpoint=https://s3.example.com/%23", "S3://bucket",
	} {
		f.Add(text, "hunter2")
	}
	f.Fuzz(func(t *testing.T, text, secret string) {
		l, err := s3.Parse(text)
		if err != nil {
			if strings.Contains(secret, "hunter") {
				_, err := s3.Parse("s3://id:" + url.QueryEscape(secret) + "@" + strings.TrimPrefix(text, s3.Scheme))
				if err == nil || strings.Contains(err.Error(), secret) {
					t.Errorf("Parse with credentials = %v", err)
				}
			}
			return
		}
		if strings.Contains(l.Prefix, "//") || strings.HasPrefix(l.Prefix, "/") || strings.HasSuffix(l.Prefix, "/") || len(l.Prefix) > 500 {
			t.Errorf("Parse(%q) has the prefix %q", text, l.Prefix)
		}
		if again, err := s3.Parse(written(l)); err != nil || again != l {
			t.Errorf("Parse(%q) = %+v, written as %q it is %+v, %v", text, l, written(l), again, err)
		}
	})
}

// written is a location as text with everything that it says.
func written(l s3.Location) string {
	query := url.Values{"path_style": {strconv.FormatBool(l.PathStyle)}}
	for name, value := range map[string]string{"endpoint": l.Endpoint, "region": l.Region, "credential": l.Credential} {
		if value != "" {
			query.Set(name, value)
		}
	}
	u := url.URL{Scheme: "s3", Host: l.Bucket, Path: "/" + l.Prefix, RawQuery: query.Encode()}
	return u.String()
}
