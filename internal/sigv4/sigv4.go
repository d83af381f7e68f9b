// Package sigv4 checks and makes AWS Signature Version 4 signatures, in the Authorization header or in the query string of a presigned URL.
//
// The signature is computed over the request exactly as it was received: over the raw, still escaped path and query. Who owns an access key
// is not known here; [Verify] asks a lookup function and returns what it found.
//
// The algorithm is described at https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
package sigv4

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Errors that a [Lookup] answers. Any other error is not the client's fault.
var (
	ErrUnknownKey = errors.New("unknown access key or session token")
	ErrInactive   = errors.New("access key is inactive")
	ErrExpired    = errors.New("session has expired")
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	longDate   = "20060102T150405Z"
	shortDate  = "20060102"
)

// Credential is the public part of a signature: whose it is and what it is valid for.
type Credential struct {
	AccessKeyID string
	Date        string // yyyymmdd
	Region      string
	Service     string
}

// Scope returns the credential that a request claims, without checking anything. It is false for a request that is not signed or whose
// credential cannot be read.
func Scope(r *http.Request) (Credential, bool) {
	s, err := parse(r)
	if err != nil || s == nil {
		return Credential{}, false
	}
	return s.Credential, true
}

// signature is everything a request says about its signature.
type signature struct {
	Credential
	headers   []string // signed headers, lower case, in the order given
	value     string   // 64 hex digits
	token     string
	time      time.Time
	presigned bool
	expires   time.Duration // presigned only
}

// parse reads the signature of a request. Both results are nil if there is none.
func parse(r *http.Request) (*signature, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		return parseHeader(r, header)
	}
	if _, raw := RawTarget(r); strings.Contains(raw, "X-Amz-Algorithm") {
		return parsePresigned(r, raw)
	}
	return nil, nil
}

func parseHeader(r *http.Request, header string) (*signature, error) {
	name, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	if name != algorithm {
		return nil, incomplete("Unsupported AWS 'algorithm': '%s'. Use %s.", printable(name), algorithm)
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[key] = value
	}
	s := &signature{value: fields["Signature"], token: r.Header.Get("X-Amz-Security-Token")}
	date := r.Header.Get("X-Amz-Date")
	if date == "" {
		date = r.Header.Get("Date")
	}
	if err := s.complete("Authorization header requires", fields["Credential"], fields["SignedHeaders"], date); err != nil {
		return nil, err
	}
	return s, nil
}

// complete fills in what header and query have in common, and names everything that is missing at once.
func (s *signature) complete(requires, credential, headers, date string) error {
	var lacks []string
	for _, field := range []struct{ name, value string }{{"Credential", credential}, {"Signature", s.value}, {"SignedHeaders", headers}} {
		if field.value == "" {
			lacks = append(lacks, requires+" '"+field.name+"' parameter.")
		}
	}
	if date == "" {
		lacks = append(lacks, requires+" existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if lacks != nil {
		return incomplete("%s", strings.Join(lacks, " "))
	}
	var err error
	if s.time, err = parseDate(date); err != nil {
		return incomplete("Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", printable(date))
	}
	s.headers = strings.Split(strings.ToLower(headers), ";")
	return s.splitCredential(credential)
}

// splitCredential splits from the right, because an access key id may hold slashes.
func (s *signature) splitCredential(credential string) error {
	parts := strings.Split(credential, "/")
	if len(parts) < 5 {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", printable(credential))
	}
	scope := parts[len(parts)-4:]
	if scope[3] != terminator {
		return incomplete("Credential should be scoped with a valid terminator: '%s', not '%s'.", terminator, printable(scope[3]))
	}
	s.Credential = Credential{
		AccessKeyID: strings.Join(parts[:len(parts)-4], "/"), Date: scope[0], Region: scope[1], Service: scope[2],
	}
	return nil
}

func parsePresigned(r *http.Request, raw string) (*signature, error) {
	fields := map[string]string{}
	for _, p := range Parameters(raw) {
		fields[p.Key] = p.Value
	}
	if name := fields["X-Amz-Algorithm"]; name != algorithm {
		return nil, incomplete("Unsupported AWS 'algorithm': '%s'. Use %s.", printable(name), algorithm)
	}
	s := &signature{value: fields["X-Amz-Signature"], token: fields["X-Amz-Security-Token"], presigned: true}
	err := s.complete("AWS query-string parameters must include", fields["X-Amz-Credential"], fields["X-Amz-SignedHeaders"], fields["X-Amz-Date"])
	if err != nil {
		return nil, err
	}
	seconds, err := strconv.Atoi(fields["X-Amz-Expires"])
	if err != nil || seconds < 1 || seconds > 7*24*3600 {
		return nil, incomplete("X-Amz-Expires must be a number of seconds from 1 to 604800.")
	}
	s.expires = time.Duration(seconds) * time.Second
	return s, nil
}

func parseDate(text string) (time.Time, error) {
	if t, err := time.Parse(longDate, text); err == nil {
		return t, nil
	}
	return http.ParseTime(text)
}

// RawTarget returns the path and the query of a request as they were received, still escaped.
func RawTarget(r *http.Request) (path, query string) {
	target := r.RequestURI
	if target == "" { // a request that no server has received
		return r.URL.EscapedPath(), r.URL.RawQuery
	}
	if _, rest, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") { // absolute form, used by proxies
		target = rest[min(strings.IndexAny(rest+"/", "/?"), len(rest)):]
	}
	path, query, _ = strings.Cut(target, "?")
	return path, query
}

// isText reports whether a string is UTF-8 without NUL.
func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// printable shortens what a client sent before it is repeated in a message.
func printable(s string) string {
	if len(s) > 100 {
		s = s[:100] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
