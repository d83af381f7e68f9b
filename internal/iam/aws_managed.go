package iam

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base32"
	"encoding/json"
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

// managed holds the managed policies of AWS in the order of their ARNs.
var managed = sync.OnceValue(readManaged)

type managedSet struct {
	list  []ManagedPolicy
	byARN map[string]*ManagedPolicy
}

func readManaged() *managedSet {
	entries, err := managedFiles.ReadDir("managed")
	if err != nil {
		panic("iam: " + err.Error())
	}
	set := &managedSet{byARN: map[string]*ManagedPolicy{}}
	for _, e := range entries {
		text, err := managedFiles.ReadFile("managed/" + e.Name())
		if err != nil {
			panic("iam: " + err.Error())
		}
		p, err := decodeManaged(strings.TrimSuffix(e.Name(), ".json"), text)
		if err != nil {
			panic("iam: " + e.Name() + ": " + err.Error())
		}
		set.list = append(set.list, p)
	}
	for i := range set.list {
		set.byARN[set.list[i].ARN] = &set.list[i]
	}
	return set
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
	p, ok := managed().byARN[arn]
	if !ok {
		return ManagedPolicy{}, false
	}
	return *p, true
}

// awsManagedAll returns the managed policies of AWS by their names. It must not be changed.
func awsManagedAll() []ManagedPolicy { return managed().list }
