package s3

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Scheme begins every location.
const Scheme = "s3://"

// Location says where a store is. It holds no secret.
type Location struct {
	Bucket     string
	Prefix     string // what keys begin with, without slashes at the ends; empty for the whole bucket
	Endpoint   string // URL of the server; empty for AWS
	Region     string // empty for what the environment says, and else us-east-1
	PathStyle  bool   // the bucket goes into the path of requests and not into the host's name
	Credential string // profile in the shared files; empty for what the SDK finds by itself
}

var bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// Parse reads a location of the form
//
//	s3://BUCKET/PREFIX?endpoint=URL&region=NAME&path_style=true&credential=PROFILE
//
// in which all but the bucket is optional. With an endpoint, path_style is true unless said otherwise. Errors do not
// repeat the text, in which someone may have written a secret.
func Parse(text string) (Location, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "s3" || u.Opaque != "" {
		return Location{}, errors.New("not of the form s3://BUCKET/PREFIX?endpoint=URL")
	}
	if u.User != nil {
		return Location{}, errors.New("a location holds no credentials; name a profile with credential=PROFILE")
	}
	l := Location{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	switch {
	case !bucketPattern.MatchString(l.Bucket):
		return Location{}, fmt.Errorf("%q is not the name of a bucket", l.Bucket)
	case u.Fragment != "":
		return Location{}, errors.New("a location has no fragment")
	}
	if err := checkPrefix(l.Prefix); err != nil {
		return Location{}, err
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Location{}, errors.New("the part after ? is malformed")
	}
	if err := l.set(query); err != nil {
		return Location{}, err
	}
	return l, nil
}

func (l *Location) set(query url.Values) (err error) {
	l.PathStyle = query.Has("endpoint")
	for name, values := range query {
		if len(values) != 1 {
			return fmt.Errorf("%s is given twice", name)
		}
		switch value := values[0]; name {
		case "endpoint":
			l.Endpoint, err = endpoint(value)
		case "region":
			l.Region = value
		case "credential":
			l.Credential = value
		case "path_style":
			if l.PathStyle, err = strconv.ParseBool(value); err != nil {
				err = errors.New("path_style is neither true nor false")
			}
		default:
			err = fmt.Errorf("%q is not one of endpoint, region, path_style and credential", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func endpoint(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		return "", errors.New("endpoint is not of the form https://HOST:PORT")
	}
	return strings.TrimRight(text, "/"), nil
}

// checkPrefix leaves room for the longest name in a key of 1024 bytes.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if len(prefix) > 500 || !utf8.ValidString(prefix) {
		return errors.New("the prefix is longer than 500 bytes or not UTF-8")
	}
	for element := range strings.SplitSeq(prefix, "/") {
		if element == "" || element == "." || element == ".." || strings.ContainsFunc(element, func(r rune) bool { return r < ' ' }) {
			return fmt.Errorf("the prefix has an element %q", element)
		}
	}
	return nil
}

// String returns the bucket and the prefix, for messages.
func (l Location) String() string {
	if l.Prefix == "" {
		return Scheme + l.Bucket
	}
	return Scheme + l.Bucket + "/" + l.Prefix
}
