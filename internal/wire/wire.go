// Package wire describes API operations as data: what a service is called, how each of its operations is bound to HTTP, and the shapes of
// inputs, outputs and errors. The generator (internal/gen) writes these descriptions from the models in api/; the protocol packages
// (restjson, query, json11) read them. The package also holds what every protocol shares: checking values against their shapes, the JSON form of a
// value, the forms of a timestamp, and the form in which an input may be logged.
//
// It knows nothing of HTTP servers, signatures or permissions.
package wire

import (
	"slices"
	"strings"
)

// Service names one API.
type Service struct {
	Name      string // name in the credential scope of a signature, "backup"
	Version   string // "2018-11-15"
	Protocol  string // "rest-json", "query" or "json"
	Namespace string // XML namespace of answers, query only
	Target    string // what precedes the name of an operation in X-Amz-Target, json only
	Missing   string // error code for a required member that is absent or empty
	Invalid   string // error code for a member that breaks a rule of its shape
}

// Descriptor is one operation without its Go types. It must not be changed.
type Descriptor struct {
	Service *Service
	Name    string
	Method  string   // HTTP method
	Path    string   // pattern such as /backup-vaults/{backupVaultName}, with the bare query key "?delete" where the model has one
	Status  int      // HTTP status of success
	Input   *Shape   // a structure
	Output  *Shape   // a structure
	Errors  []string // names of the modelled errors
	Token   string   // member of the input that carries the idempotency token, or empty
	Pages   *Pages   // nil if the operation does not page
}

// reading are the first words of the names of operations that change nothing.
var reading = []string{"Get", "List", "Describe", "Simulate", "Compare", "Explain", "Export", "Search", "Lookup", "BatchGet"}

// ReadOnly reports whether the operation changes nothing, as its name says: it begins with Get, List, Describe or the like.
// Two others are reads for other reasons. AssumeRole makes credentials that are kept nowhere; CloudTrail calls it a read, see
// https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html. TestResource only tries to reach a resource.
func (d *Descriptor) ReadOnly() bool {
	if d.Name == "AssumeRole" || d.Name == "TestResource" {
		return true
	}
	return slices.ContainsFunc(reading, func(word string) bool {
		rest, ok := strings.CutPrefix(d.Name, word)
		return ok && rest != "" && 'A' <= rest[0] && rest[0] <= 'Z'
	})
}

// Pages names the members by which an operation pages through a list.
type Pages struct {
	Token  string // input: token of the page wanted
	Limit  string // input: largest number of items wanted
	Next   string // output: token of the next page
	Result string // output: the list; present in every answer, empty if it has to be
}

// Operation joins a descriptor to the Go types of its input and output.
type Operation[In, Out any] struct{ *Descriptor }
