package plan

import (
	"fmt"
	"strings"

	"github.com/lockfast/lockfast/internal/backupapi"
)

// Candidate is a resource that a selection is asked about.
type Candidate struct {
	ARN  string
	Type string // such as "EFS"
	Tags map[string]string
}

// Verdict is what a selection says about a resource.
type Verdict struct {
	Selected bool
	Reason   string // a sentence for people
}

// testTag marks resources that restore testing made, which no plan selects.
const testTag = "awsbackup-restore-test"

// tagPrefix comes before the key of a tag in Conditions.
const tagPrefix = "aws:ResourceTag/"

// Judge says whether a selection selects a resource, and why. optedIn says for which types of resources the account has
// opted in.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_BackupSelection.html.
func Judge(sel *backupapi.BackupSelection, r Candidate, optedIn func(resourceType string) bool) Verdict {
	if _, test := r.Tags[testTag]; test {
		return Verdict{Reason: "It was made by restore testing."}
	}
	reason, named, found := base(sel, r)
	if !found {
		return Verdict{Reason: reason}
	}
	if !named && !optedIn(r.Type) {
		return Verdict{Reason: fmt.Sprintf("%s The Region settings have not opted in for %s.", reason, r.Type)}
	}
	for _, pattern := range sel.NotResources {
		if likeARN(pattern, r.ARN) {
			return Verdict{Reason: fmt.Sprintf("NotResources excludes it by %s.", pattern)}
		}
	}
	if sel.Conditions != nil {
		if broken := brokenCondition(sel.Conditions, r.Tags); broken != "" {
			return Verdict{Reason: fmt.Sprintf("The condition %s does not hold.", broken)}
		}
	}
	return Verdict{Selected: true, Reason: reason}
}

// base applies Resources and ListOfTags, of which one is enough. named says that a pattern names the type, so that opting in
// does not matter.
func base(sel *backupapi.BackupSelection, r Candidate) (reason string, named, found bool) {
	if len(sel.Resources) == 0 && len(sel.ListOfTags) == 0 {
		return "The selection is for all resources.", false, true
	}
	reason = "Neither Resources nor ListOfTags matches it."
	for _, t := range sel.ListOfTags {
		if value, ok := r.Tags[t.ConditionKey]; ok && value == t.ConditionValue {
			reason, found = fmt.Sprintf("ListOfTags matches its tag %s=%s.", t.ConditionKey, t.ConditionValue), true
		}
	}
	for _, pattern := range sel.Resources {
		if pattern != "*" && !likeARN(pattern, r.ARN) {
			continue
		}
		reason, found = fmt.Sprintf("Resources matches it by %s.", pattern), true
		if namesType(pattern) {
			return reason, true, true
		}
	}
	return reason, false, found
}

// brokenCondition returns the first condition that does not hold; empty if all do. The negative ones hold without the tag.
func brokenCondition(c *backupapi.Conditions, tags map[string]string) string {
	for _, kind := range []struct {
		name  string
		list  []backupapi.ConditionParameter
		not   bool
		holds func(pattern, value string) bool
	}{
		{"StringEquals", c.StringEquals, false, func(p, v string) bool { return p == v }},
		{"StringLike", c.StringLike, false, like},
		{"StringNotEquals", c.StringNotEquals, true, func(p, v string) bool { return p == v }},
		{"StringNotLike", c.StringNotLike, true, like},
	} {
		for _, p := range kind.list {
			value, ok := tags[strings.TrimPrefix(*p.ConditionKey, tagPrefix)]
			if (ok && kind.holds(*p.ConditionValue, value)) == kind.not {
				return fmt.Sprintf("%s %s=%s", kind.name, *p.ConditionKey, *p.ConditionValue)
			}
		}
	}
	return ""
}
