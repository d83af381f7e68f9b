// Package policy is the language of IAM policies: it parses, checks, compiles and evaluates documents, and decides what
// a set of them says about a request. The language is the one of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html.
//
// A [Document] is parsed once, by [Parse], for the place in which it is used, its [Kind]. It is compiled then, so that
// [Decide] neither parses nor, in most cases, allocates. What cannot mean anything, such as an unknown operator or a
// number that is none, is refused by Parse: a Deny that never matches is worse than an error.
//
// A [Request] is an action of a [Principal] on the ARNs of one resource, with condition keys in a [Context]. [Sets] are
// the policies that have a say. [Decide] follows
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html.
//
// The package knows no users, roles or vaults, reads no clock and stores nothing: who asks, which policies are
// attached, whether named principals exist, and the values of condition keys are the caller's knowledge. So are the
// limits that AWS sets on the size of a document, except [MaxSize].
package policy

import (
	"fmt"
	"slices"
	"strings"
)

// MaxSize is the greatest size in bytes of the text of a document, white space included. Most places allow less.
const MaxSize = 20 << 10

// Kind says where a document is used, and so what it may hold.
type Kind uint8

const (
	// Identity is for users, groups and roles, for permissions boundaries and session policies: no Principal, but
	// Resource.
	Identity Kind = iota + 1
	// Trust is for the trust policy of a role: Principal, but no Resource, and only actions of STS.
	Trust
	// Resource is for any other policy of a resource: Principal and Resource.
	Resource
	// Vault is for the access policy of a backup vault: like Resource, with actions of AWS Backup only, each in full:
	// https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html allows no wildcard.
	Vault
)

// Document is a policy. It is immutable and may be used concurrently.
type Document struct {
	text       string
	statements []statement
	principals []string
	keys       []string // condition keys and keys of variables, in lower case
}

// Error is why a text is not a policy. The text is for the user, in the words of AWS where those are known.
type Error struct {
	Text string
}

func (e *Error) Error() string { return e.Text }

// Parse reads a policy. An error is an [*Error].
func Parse(text string, kind Kind) (*Document, error) {
	if len(text) > MaxSize {
		return nil, &Error{fmt.Sprintf("Policy document must not be longer than %d bytes.", MaxSize)}
	}
	root, err := decode(text)
	if err != nil {
		return nil, err
	}
	c := compiler{kind: kind, doc: &Document{text: text}}
	if err := c.document(root); err != nil {
		return nil, err
	}
	return c.doc, nil
}

// String returns the text that the document was parsed from, byte for byte.
func (d *Document) String() string { return d.text }

// Principals returns every principal that the document names, once, in the order of the text: "AWS:", "Service:" or
// "Federated:" and the value, or "*" for everyone. They are well formed; whether they exist is for the owner to find
// out.
func (d *Document) Principals() []string { return slices.Clone(d.principals) }

// Uses reports whether a condition or a variable mentions a key that begins with prefix, such as "aws:ResourceTag/", in
// any case. It tells callers which values are not worth looking up.
func (d *Document) Uses(prefix string) bool {
	prefix = strings.ToLower(prefix)
	return slices.ContainsFunc(d.keys, func(key string) bool { return strings.HasPrefix(key, prefix) })
}

// syntaxError says what is wrong with the form of a document.
func syntaxError(format string, args ...any) *Error {
	return &Error{"Syntax errors in policy. " + fmt.Sprintf(format, args...)}
}
