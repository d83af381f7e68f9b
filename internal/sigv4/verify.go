package sigv4

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Skew is how far the clocks of client and server may be apart.
const Skew = 5 * time.Minute

// Verifier holds what is needed to check signatures. All fields must be set.
type Verifier struct {
	Service string                   // the service the signature must be made for
	Region  func(region string) bool // reports whether the server serves a region
	Now     func() time.Time
}

// Lookup finds the secret of an access key and what the caller of [Verify] wants to know of its owner. The session token is empty unless the
// request has one; the lookup must refuse a token that does not belong to the key, and a key that needs a token without it. It answers
// [ErrUnknownKey], [ErrInactive] or [ErrExpired], and may be called concurrently.
type Lookup[T any] func(ctx context.Context, accessKeyID, sessionToken string) (secret string, owner T, err error)

// Verify checks the signature of a request whose body has been read. It answers the owner of the access key and the credential, or
// [*Failure], or an error of the lookup.
func Verify[T any](ctx context.Context, v *Verifier, r *http.Request, body []byte, find Lookup[T]) (T, Credential, error) {
	var none T
	s, err := parse(r)
	switch {
	case err != nil:
		return none, Credential{}, err
	case s == nil:
		return none, Credential{}, unsigned()
	}
	payload, err := v.check(r, s, body)
	if err != nil {
		return none, s.Credential, err
	}
	if !isText(s.AccessKeyID) || !isText(s.token) {
		return none, s.Credential, badToken() // no database has such a key, and some refuse to look for it
	}
	secret, owner, lookupErr := find(ctx, s.AccessKeyID, s.token)
	// An unknown key costs as much time as a wrong secret.
	err = s.verify(r, payload, secret)
	switch {
	case errors.Is(lookupErr, ErrUnknownKey), errors.Is(lookupErr, ErrInactive):
		return none, s.Credential, badToken()
	case errors.Is(lookupErr, ErrExpired):
		return none, s.Credential, expiredToken()
	case lookupErr != nil:
		return none, s.Credential, lookupErr
	case strings.HasPrefix(s.AccessKeyID, "ASIA") && s.token == "":
		return none, s.Credential, badToken()
	case err != nil:
		return none, s.Credential, err
	}
	return owner, s.Credential, nil
}

// check verifies all that needs no secret, and returns the hash of the body as it was signed.
func (v *Verifier) check(r *http.Request, s *signature, body []byte) (string, error) {
	if s.Service != v.Service {
		return "", mismatch("Credential should be scoped to correct service: '%s'.", v.Service)
	}
	if !validRegion(s.Region) || !v.Region(s.Region) {
		return "", mismatch("Credential should be scoped to a valid region.")
	}
	if date := s.time.UTC().Format(shortDate); date != s.Date {
		return "", mismatch("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			printable(s.Date), date, s.time.UTC().Format(longDate))
	}
	if err := s.checkTime(v.Now()); err != nil {
		return "", err
	}
	if err := s.checkHeaders(r); err != nil {
		return "", err
	}
	return payloadHash(r, body)
}

func validRegion(region string) bool {
	return region != "" && len(region) <= 64 && strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func (s *signature) checkTime(now time.Time) error {
	lifetime := Skew
	if s.presigned {
		lifetime = s.expires
	}
	format := func(t time.Time) string { return t.UTC().Format(longDate) }
	if oldest := now.Add(-lifetime); s.time.Before(oldest.Truncate(time.Second)) {
		return mismatch("Signature expired: %s is now earlier than %s (%s - %d min.)", format(s.time), format(oldest), format(now), lifetime/time.Minute)
	}
	if newest := now.Add(Skew); s.time.After(newest) {
		return mismatch("Signature not yet current: %s is still later than %s (%s + %d min.)", format(s.time), format(newest), format(now), Skew/time.Minute)
	}
	return nil
}

// checkHeaders refuses a request whose meaning rests on a header that is not signed.
func (s *signature) checkHeaders(r *http.Request) error {
	if !slices.Contains(s.headers, "host") {
		return mismatch("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name := range r.Header {
		lower := strings.ToLower(name)
		relevant := strings.HasPrefix(lower, "x-amz-") || lower == "content-type" || lower == "date" && r.Header.Get("X-Amz-Date") == ""
		if relevant && !s.presigned && !slices.Contains(s.headers, lower) {
			return mismatch("'%s' must be a 'SignedHeader' in the AWS Authorization.", lower)
		}
	}
	return nil
}

// payloadHash returns the hash of the body. A hash that the client sends must agree, because the body is what will be acted on.
func payloadHash(r *http.Request, body []byte) (string, error) {
	actual := hash(body)
	claimed := r.Header.Get("X-Amz-Content-Sha256")
	switch {
	case claimed == "" || claimed == actual:
		return actual, nil
	case claimed == "UNSIGNED-PAYLOAD" || strings.HasPrefix(claimed, "STREAMING-"):
		return "", incomplete("x-amz-content-sha256 must be the hash of the body, '%s' is not supported here.", printable(claimed))
	}
	return "", mismatch("The provided 'x-amz-content-sha256' header does not match what was computed.")
}

func (s *signature) verify(r *http.Request, payload, secret string) error {
	path, rawQuery := RawTarget(r)
	query := canonicalQuery(rawQuery, s.presigned)
	canonical := canonicalRequest(r, path, query, s.headers, payload)
	if s.matches(secret, canonical) {
		return nil
	}
	if clean := normalise(path); clean != path && s.matches(secret, canonicalRequest(r, clean, query, s.headers, payload)) {
		return nil
	}
	f := mismatch("The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	f.Detail = canonical + "\n--\n" + stringToSign(s.Credential, s.time, canonical)
	if s.token != "" {
		f.Detail = strings.NewReplacer(s.token, "(token)", Escape(s.token), "(token)").Replace(f.Detail)
	}
	return f
}

func (s *signature) matches(secret, canonical string) bool {
	expected := sign(secret, s.Credential, stringToSign(s.Credential, s.time, canonical))
	return subtle.ConstantTimeCompare([]byte(expected), []byte(s.value)) == 1
}
