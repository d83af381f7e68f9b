package sigv4

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// canonicalRequest is the text whose hash is signed.
func canonicalRequest(r *http.Request, path, query string, headers []string, payload string) string {
	var b strings.Builder
	b.WriteString(r.Method)
	b.WriteByte('\n')
	b.WriteString(escape(cmp.Or(path, "/"), true))
	b.WriteByte('\n')
	b.WriteString(query)
	b.WriteByte('\n')
	for _, name := range headers {
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(headerValue(r, name))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(headers, ";"))
	b.WriteByte('\n')
	b.WriteString(payload)
	return b.String()
}

func stringToSign(c Credential, at time.Time, canonical string) string {
	return strings.Join([]string{
		algorithm, at.UTC().Format(longDate), c.Date + "/" + c.Region + "/" + c.Service + "/" + terminator, hash([]byte(canonical)),
	}, "\n")
}

// sign returns the signature of a text. Deriving the key costs four more hashes than signing; that is too little to keep keys in memory.
func sign(secret string, c Credential, text string) string {
	key := mac([]byte("AWS4"+secret), c.Date)
	key = mac(key, c.Region)
	key = mac(key, c.Service)
	key = mac(key, terminator)
	return hex.EncodeToString(mac(key, text))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// headerValue returns a signed header in canonical form. The three that a Go server keeps elsewhere are put back.
func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		if r.Host == "" && r.URL != nil { // a request that is being signed
			return r.URL.Host
		}
		return r.Host
	case "content-length":
		return strconv.FormatInt(max(r.ContentLength, 0), 10)
	case "transfer-encoding":
		return strings.Join(r.TransferEncoding, ",")
	}
	values := r.Header.Values(name)
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = strings.Join(strings.FieldsFunc(v, func(c rune) bool { return c == ' ' }), " ")
	}
	return strings.Join(trimmed, ",")
}

// Parameter is one parameter of a query string.
type Parameter struct{ Key, Value string }

// Parameters splits a raw query string and unescapes keys and values, in the order of the query.
func Parameters(raw string) []Parameter {
	var ps []Parameter
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		ps = append(ps, Parameter{Unescape(key), Unescape(value)})
	}
	return ps
}

// canonicalQuery escapes and sorts the parameters of a raw query, without the signature of a presigned request.
func canonicalQuery(raw string, presigned bool) string {
	var ps []Parameter
	for _, p := range Parameters(raw) {
		if presigned && p.Key == "X-Amz-Signature" {
			continue
		}
		ps = append(ps, Parameter{escape(p.Key, false), escape(p.Value, false)})
	}
	slices.SortFunc(ps, func(a, b Parameter) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value)) })
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.Key)
		b.WriteByte('=')
		b.WriteString(p.Value)
	}
	return b.String()
}

// normalise removes dot segments and empty segments, as botocore and the JavaScript SDK do before they sign.
func normalise(path string) string {
	var out []string
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "", ".":
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, segment)
		}
	}
	clean := "/" + strings.Join(out, "/")
	if strings.HasSuffix(path, "/") && len(out) > 0 {
		clean += "/"
	}
	return clean
}

const upperHex = "0123456789ABCDEF"

// escape percent-encodes every byte but the unreserved ones and, in a path, the slash.
func escape(s string, path bool) string {
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		if c := s[i]; unreserved(c) || path && c == '/' {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}

// Escape percent-encodes every byte but the unreserved ones of RFC 3986, as all clients do with labels and query parameters.
func Escape(s string) string { return escape(s, false) }

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~'
}

// Unescape decodes percent-encoding once. A plus stays a plus, and a percent sign that starts no escape stays as it is.
func Unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b = append(b, c[0])
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
