package iam

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
)

// Forget makes the service read again what a test has changed in the tables.
func (s *Service) Forget() { s.known.expire() }

// ManagedPolicies are the managed policies of AWS.
func ManagedPolicies() []ManagedPolicy { return awsManagedAll() }

// Assumes is what AssumeRole asks for.
var Assumes = assumes

// Expired makes a session of a user that ended a second ago.
func (s *Service) Expired(c caller.Caller) (id, token string, err error) {
	out, _, err := s.issue(&grant{Account: c.Account, ID: c.UserID}, -time.Second)
	if err != nil {
		return "", "", err
	}
	return out.AccessKeyId, out.SessionToken, nil
}

// Random draws n characters.
func Random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}
