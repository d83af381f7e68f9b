package s3

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/lockfast/lockfast/blob"
)

var (
	// errConflict says that another conditional request for the key is under way.
	errConflict = errors.New("conflict with another request")
	// errOutside says that a range begins behind the end of an object.
	errOutside = errors.New("range not satisfiable")
	// errNoLength says that an answer is without a Content-Length.
	errNoLength = errors.New("the server does not say how long the object is")
)

// kinds says which errors the codes of S3 amount to, see
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; some codes are those of other servers.
func kinds() map[string]error {
	return map[string]error{
		"NoSuchKey": blob.ErrNotExist, "NotFound": blob.ErrNotExist, "NoSuchVersion": blob.ErrNotExist,
		"NoSuchBucket": blob.ErrUnavailable, "RequestTimeout": blob.ErrUnavailable,
		"PreconditionFailed":         blob.ErrExist,
		"ConditionalRequestConflict": errConflict, "OperationAborted": errConflict,
		"InvalidRange":  errOutside,
		"QuotaExceeded": blob.ErrNoSpace, "InsufficientStorage": blob.ErrNoSpace, "XMinioStorageFull": blob.ErrNoSpace,
		"XMinioAdminBucketQuotaExceeded": blob.ErrNoSpace,
	}
}

// statuses says the same of statuses, for answers without a code.
func statuses() map[int]error {
	return map[int]error{
		http.StatusNotFound: blob.ErrNotExist, http.StatusPreconditionFailed: blob.ErrExist,
		http.StatusConflict: errConflict, http.StatusRequestedRangeNotSatisfiable: errOutside,
		http.StatusInsufficientStorage: blob.ErrNoSpace, http.StatusUnauthorized: blob.ErrPermission,
		http.StatusForbidden: blob.ErrPermission, http.StatusTooManyRequests: blob.ErrUnavailable,
	}
}

// explain says of an error of the SDK what it amounts to, in short: the SDK's own text names host ids and more.
func explain(err error) error {
	status, code, text := describe(err)
	kind := kinds()[code]
	if kind == nil {
		kind = statuses()[status]
	}
	switch {
	case kind != nil:
	case status >= 500 && status != http.StatusNotImplemented:
		kind = blob.ErrUnavailable
	case status == 0 && errors.As(err, new(*smithyhttp.RequestSendError)):
		kind = blob.ErrUnavailable
	}
	if kind == nil {
		return errors.New(text)
	}
	return fmt.Errorf("%w: %s", kind, text)
}

// describe takes an error of the SDK apart.
func describe(err error) (status int, code, text string) {
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = r.HTTPStatusCode()
	}
	if a, ok := errors.AsType[smithy.APIError](err); ok {
		code, text = a.ErrorCode(), a.ErrorCode()
		if m := a.ErrorMessage(); m != "" && m != code {
			text += ": " + m
		}
	}
	if u, ok := errors.AsType[*url.Error](err); ok && text == "" {
		text = u.Err.Error()
	}
	switch {
	case text == "" && status != 0:
		text = fmt.Sprintf("the server answered %d %s", status, http.StatusText(status))
	case text == "":
		text = err.Error()
	}
	return status, code, text
}

func isCode(err error, codes ...string) bool {
	a, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains(codes, a.ErrorCode())
}
