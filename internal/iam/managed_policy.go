package iam

import "time"

// ManagedPolicy is a managed policy with its default version.
type ManagedPolicy struct {
	ARN, Name, Path, ID, Description, Document string
	Created                                    time.Time
	Versions                                   int
}
