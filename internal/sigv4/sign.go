package sigv4

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Keys are the credentials of a client.
type Keys struct {
	AccessKeyID  string
	Secret       string
	SessionToken string // empty for permanent credentials
}

// Sign signs a request with all headers that it has, and adds those of the signature. The body must be what the request sends.
func Sign(r *http.Request, body []byte, k Keys, region, service string, now time.Time) {
	r.Header.Set("X-Amz-Date", now.UTC().Format(longDate))
	r.Header.Set("X-Amz-Content-Sha256", hash(body))
	if k.SessionToken != "" {
		r.Header.Set("X-Amz-Security-Token", k.SessionToken)
	}
	headers := []string{"host"}
	for name := range r.Header {
		headers = append(headers, strings.ToLower(name))
	}
	slices.Sort(headers)
	c := Credential{AccessKeyID: k.AccessKeyID, Date: now.UTC().Format(shortDate), Region: region, Service: service}
	path, query := RawTarget(r)
	canonical := canonicalRequest(r, path, canonicalQuery(query, false), headers, hash(body))
	r.Header.Set("Authorization", algorithm+" Credential="+c.AccessKeyID+"/"+c.Date+"/"+region+"/"+service+"/"+terminator+
		", SignedHeaders="+strings.Join(headers, ";")+", Signature="+sign(k.Secret, c, stringToSign(c, now, canonical)))
}
