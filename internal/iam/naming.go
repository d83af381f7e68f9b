package iam

import (
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// Limits of AWS, see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html. Sizes of documents are in
// characters; white space is not counted.
const (
	maxKeys           = 2 // access keys of a user
	maxGroups         = 10
	maxVersions       = 5
	maxAttached       = 10
	maxTags           = 50
	maxManagedSize    = 6144
	maxTrustSize      = 2048
	maxUserInline     = 2048 // of all inline policies together
	maxGroupInline    = 5120
	maxRoleInline     = 10240
	maxSession        = 3600 // seconds, unless a role says otherwise
	defaultPage       = 100
	boundaryType      = "Policy"
	serviceRolePath   = "/aws-service-role/"
	awsPolicyPrefix   = "arn:aws:iam::aws:policy/"
	assumedRolePrefix = "assumed-role/"
)

// kind is one of the kinds of things that have a name of their own in an account.
type kind struct {
	name      string // in ARNs, and in tables
	title     string // in messages
	table, id string // where it is kept, and the column of its unique id
	prefix    string // of unique ids
	extra     string // columns for boundary and service, or constants
	plural    string // in names of quotas
	max       int    // in an account
	inline    int    // size of all inline policies
}

var (
	userKind = &kind{name: "user", title: "user", table: "iam_user", id: "user_id", prefix: "AIDA", extra: "boundary, ''",
		plural: "Users", max: 5000, inline: maxUserInline}
	groupKind = &kind{name: "group", title: "group", table: "iam_group", id: "group_id", prefix: "AGPA", extra: "'', ''",
		plural: "Groups", max: 300, inline: maxGroupInline}
	roleKind = &kind{name: "role", title: "role", table: "iam_role", id: "role_id", prefix: "AROA", extra: "boundary, service",
		plural: "Roles", max: 1000, inline: maxRoleInline}
	profileKind = &kind{name: "instance-profile", title: "instance profile", table: "iam_instance_profile", id: "profile_id",
		prefix: "AIPA", extra: "'', ''", plural: "InstanceProfiles", max: 1000}
	policyKind = &kind{name: "policy", title: "policy", table: "iam_policy", id: "policy_id", prefix: "ANPA", extra: "'', ''",
		plural: "Policies", max: 1500}
)

// arn names a thing of a kind. The path begins and ends with a slash.
func (k *kind) arn(account, path, name string) string {
	return "arn:aws:iam::" + account + ":" + k.name + path + name
}

// newID draws a unique id.
func (k *kind) newID() string { return k.prefix + letters(17) }

// notFound says that a name is not in use.
func (k *kind) notFound(name string) error {
	if k == profileKind {
		return iamapi.NoSuchEntityExceptionf("Instance Profile %s cannot be found.", name)
	}
	return iamapi.NoSuchEntityExceptionf("The %s with name %s cannot be found.", k.title, name)
}

// exists says that a name is in use.
func (k *kind) exists(name string) error {
	switch k {
	case policyKind:
		return iamapi.EntityAlreadyExistsExceptionf("A policy called %s already exists. Duplicate names are not allowed.", name)
	case profileKind:
		return iamapi.EntityAlreadyExistsExceptionf("Instance Profile %s already exists.", name)
	}
	return iamapi.EntityAlreadyExistsExceptionf("%s with name %s already exists.", capital(k.title), name)
}

// quota says that a limit is reached.
func quota(name string, limit int) error {
	return iamapi.LimitExceededExceptionf("Cannot exceed quota for %s: %d", name, limit)
}

func capital(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// now is the time for records. AWS counts in seconds.
func now() int64 { return meta.Micros(time.Now().Truncate(time.Second)) }

// orRoot is a path, "/" by default.
func orRoot(path *string) string {
	if path == nil {
		return "/"
	}
	return *path
}

// deref is an optional text, empty by default.
func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// size counts the characters of a document as its limits do.
func size(document string) (n int) {
	for _, r := range document {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// encode writes a document as answers carry it: percent-encoded by RFC 3986.
func encode(document string) string { return strings.ReplaceAll(url.QueryEscape(document), "+", "%20") }
