// Package arn reads and writes Amazon Resource Names, the names that AWS gives to everything:
//
//	arn:aws:backup:us-east-1:000000000000:recovery-point:1eb3b5e7-9eb0-435a-a80b-108b488b0d45
//	arn:partition:service:region:account:resource
//
// The resource is the rest, whatever colons and slashes it holds; most begin with a type that either of the two ends, and
// [ARN.Split] separates it. An ARN here names one thing: patterns, such as the ones of policies with "*" as a region, are
// not ARNs.
package arn

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrMalformed is the error, wrapped, of all that is not an ARN.
var ErrMalformed = errors.New("malformed ARN")

// MaxLength is the greatest length of an ARN in bytes. S3 keys alone may have 1,024.
const MaxLength = 2048

// ARN is a name in its parts. ARNs compare with ==. The zero value is not a valid ARN.
type ARN struct {
	Partition string // "aws", "aws-cn", ...
	Service   string // "backup", "s3", ...
	Region    string // empty for what is global, and for buckets
	Account   string // 12 digits; a word for what belongs to AWS, such as "aws"; may be empty
	Resource  string // the rest, "recovery-point:..." or "role/service-role/Name"
}

// Parse takes an ARN apart. The error names the text, shortened if it is long, and the rule that it breaks.
func Parse(s string) (ARN, error) {
	parts := strings.SplitN(s[:min(len(s), MaxLength+1)], ":", 6)
	if parts[0] != "arn" {
		return ARN{}, malformed(s, errors.New(`does not begin with "arn:"`))
	}
	if len(parts) < 6 {
		return ARN{}, malformed(s, fmt.Errorf("has %d of 6 parts separated by colons", len(parts)))
	}
	a := ARN{Partition: parts[1], Service: parts[2], Region: parts[3], Account: parts[4], Resource: parts[5]}
	if err := a.check(); err != nil {
		return ARN{}, malformed(s, err)
	}
	return a, nil
}

// Check returns nil if [Parse] of the ARN's text gives the same ARN, and else what Parse would say.
func (a ARN) Check() error {
	if err := a.check(); err != nil {
		return malformed(a.String(), err)
	}
	return nil
}

// CheckAll returns the error of the first that is no ARN. Nil ones are passed over: they are what a request leaves out.
func CheckAll(texts ...*string) error {
	for _, text := range texts {
		if text == nil {
			continue
		}
		if _, err := Parse(*text); err != nil {
			return err
		}
	}
	return nil
}

func malformed(s string, err error) error {
	return fmt.Errorf("%w %s: %w", ErrMalformed, quote(s), err)
}

// quote quotes a text, of which it shows the beginning if it is long.
func quote(s string) string {
	const shown = 128
	if len(s) > shown {
		return fmt.Sprintf("%q...", strings.ToValidUTF8(s[:shown], "\uFFFD"))
	}
	return fmt.Sprintf("%q", s)
}

func (a ARN) check() error {
	if len(a.String()) > MaxLength {
		return fmt.Errorf("is longer than %d bytes", MaxLength)
	}
	for _, part := range []struct {
		name, text string
		required   bool
	}{
		{"partition", a.Partition, true}, {"service", a.Service, true}, {"region", a.Region, false},
		{"account", a.Account, false},
	} {
		if part.text == "" && part.required {
			return fmt.Errorf("%s is empty", part.name)
		}
		if i := strings.IndexFunc(part.text, notWord); i >= 0 {
			return fmt.Errorf("%s %s has characters other than a-z, 0-9 and -", part.name, quote(part.text))
		}
	}
	if a.Account != "" && isDigit(rune(a.Account[0])) && !isAccount(a.Account) {
		return fmt.Errorf("account %s is not 12 digits", quote(a.Account))
	}
	return checkResource(a.Resource)
}

func checkResource(s string) error {
	if s == "" {
		return errors.New("resource is empty")
	}
	if !utf8.ValidString(s) {
		return errors.New("resource is not UTF-8")
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return errors.New("resource has control characters")
	}
	return nil
}

func notWord(r rune) bool { return (r < 'a' || r > 'z') && !isDigit(r) && r != '-' }

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isAccount(s string) bool {
	return len(s) == 12 && !strings.ContainsFunc(s, func(r rune) bool { return !isDigit(r) })
}

// String returns the ARN as text.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// Split separates the resource at its first colon or slash into its type and the rest: "recovery-point:1eb3" and
// "recovery-point/1eb3" give "recovery-point" and "1eb3", "role/service-role/Name" gives "role" and "service-role/Name". A
// resource without either, such as a bucket or a queue, has no type.
func (a ARN) Split() (kind, id string) {
	i := strings.IndexAny(a.Resource, ":/")
	if i < 0 {
		return "", a.Resource
	}
	return a.Resource[:i], a.Resource[i+1:]
}

// Vault is the ARN of a backup vault.
func Vault(account, region, name string) string {
	return ARN{Partition: "aws", Service: "backup", Region: region, Account: account, Resource: "backup-vault:" + name}.String()
}
