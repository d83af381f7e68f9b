package operation

import (
	"errors"
	"io"
	"net/http"
)

// ErrBodyTooLarge says that the body of a request has more bytes than it may.
var ErrBodyTooLarge = errors.New("the body of the request is too large")

// maxDiscarded bounds what [discard] reads.
const maxDiscarded = 32 << 20

// ReadBody reads the body of a request, of at most limit bytes. It returns [ErrBodyTooLarge] for a larger one, which it
// discards; any other error means that the body ended early.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		discard(w, r)
		return nil, ErrBodyTooLarge
	}
	return body, nil
}

// discard reads what is left of a body that nobody looks at, up to 32 MiB and for as long as the server lets a
// request take, and has the answer end the connection. Most clients read no answer before all of their request is
// sent; to close the connection meanwhile would lose it.
func discard(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	_, _ = io.CopyN(io.Discard, r.Body, maxDiscarded)
}
