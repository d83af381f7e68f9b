package iam

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base32"
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// The managed policies of AWS, under their names, in our own words: they grant what the policies of AWS grant as far as it
// exists here, see https://docs.aws.amazon.com/aws-managed-policy/latest/reference/about-managed-policy-reference.html. A
// file is named after its policy.
//
//go:embed managed/*.json
var managedFiles embed.FS

// managed holds the managed policies of AWS by name. Each is decoded when it is needed first: who starts a server for one command
// needs one or two.
var managed = sync.OnceValue(readManaged)

func readManaged() map[string]func() ManagedPolicy {
	entries, err := managedFiles.ReadDir("managed")
	if err != nil {
		panic("iam: " + err.Error())
	}
	set := map[string]func() ManagedPolicy{}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".json")
		set[name] = sync.OnceValue(func() ManagedPolicy { return mustManaged(name) })
	}
	return set
}

func mustManaged(name string) ManagedPolicy {
	text, err := managedFiles.ReadFile("managed/" + name + ".json")
	if err != nil {
		panic("iam: " + err.Error())
	}
	p, err := decodeManaged(name, text)
	if err != nil {
		panic("iam: " + name + ": " + err.Error())
	}
	return p
}

func decodeManaged(name string, text []byte) (ManagedPolicy, error) {
	var file struct {
		Path, Description string
		Created           time.Time
		Document          json.RawMessage
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return ManagedPolicy{}, err
	}
	var document bytes.Buffer
	if err := json.Compact(&document, file.Document); err != nil {
		return ManagedPolicy{}, err
	}
	arn := strings.TrimSuffix(awsPolicyPrefix, "/") + file.Path + name
	sum := sha256.Sum256([]byte(arn))
	return ManagedPolicy{
		ARN: arn, Name: name, Path: file.Path, ID: "ANPA" + base32.StdEncoding.EncodeToString(sum[:])[:17],
		Description: file.Description, Document: document.String(), Created: file.Created, Versions: 1,
	}, nil
}

// awsManaged finds a managed policy of AWS.
func awsManaged(arn string) (ManagedPolicy, bool) {
	decode, ok := managed()[path.Base(arn)]
	if !ok {
		return ManagedPolicy{}, false
	}
	p := decode()
	return p, p.ARN == arn
}

// awsManagedAll returns the managed policies of AWS by their names.
func awsManagedAll() (all []ManagedPolicy) {
	set := managed()
	for _, name := range slices.Sorted(maps.Keys(set)) {
		all = append(all, set[name]())
	}
	return all
}
