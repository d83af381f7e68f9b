package restjson

import (
	"context"
	"errors"
	"net/http"
	"reflect"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/repo"
)

const errorTypeHeader = "X-Amzn-Errortype" // spelled x-amzn-ErrorType in AWS's documents

// writeError answers with an error. What is not meant for clients goes to the log, and the client gets the request id to ask with.
func (x *exchange) writeError(ctx context.Context, err error) {
	api := x.translate(ctx, err)
	if api.HTTPStatus() >= http.StatusInternalServerError {
		x.Log.ErrorContext(ctx, "request failed", "request_id", caller.RequestID(ctx), "operation", x.operation(), "cause", err)
	}
	x.writeAPIError(ctx, api)
}

func (x *exchange) writeAPIError(ctx context.Context, err wire.APIError) {
	x.call.Fail(err)
	x.w.Header().Set(errorTypeHeader, err.ErrorName())
	x.send(ctx, err.HTTPStatus(), errorBody(err))
}

// errorBody returns {"Message": ...} with the other members of the error. The message has a capital letter only: botocore would prefer a
// lower-case one.
func errorBody(err wire.APIError) []byte {
	switch e := err.(type) {
	case wire.Modelled:
		return wire.AppendJSON(nil, e.ErrorShape(), e)
	case *wire.Error:
		return wire.AppendJSON(nil, plainError, &plain{Message: e.Message})
	}
	return []byte("{}")
}

// translate finds the error that a client gets to see.
func (x *exchange) translate(ctx context.Context, err error) wire.APIError {
	if api, ok := errors.AsType[wire.APIError](err); ok {
		return api
	}
	if denied, ok := errors.AsType[*wire.Denied](err); ok {
		return wire.Errorf(http.StatusForbidden, "AccessDeniedException", "%s", denied.Message)
	}
	if bad, ok := errors.AsType[*wire.Invalid](err); ok {
		name := x.Service.Invalid
		if bad.Missing {
			name = x.Service.Missing
		}
		return wire.Errorf(http.StatusBadRequest, name, "%s", bad.Text)
	}
	if bad, ok := errors.AsType[*wire.Malformed](err); ok {
		return wire.Errorf(http.StatusBadRequest, "SerializationException", "%s", bad.Error())
	}
	if f, ok := errors.AsType[*sigv4.Failure](err); ok {
		if f.Detail != "" {
			x.Log.DebugContext(ctx, "signature refused", "request_id", caller.RequestID(ctx), "canonical_request", f.Detail)
		}
		return wire.Errorf(f.Status, f.Name, "%s", f.Message)
	}
	if none, ok := errors.AsType[*operation.NotImplemented](err); ok {
		return wire.Errorf(http.StatusBadRequest, "UnknownOperationException", "%s", none.Error())
	}
	if errors.Is(err, meta.ErrUnavailable) || errors.Is(err, blob.ErrUnavailable) {
		return wire.Errorf(http.StatusInternalServerError, "ServiceUnavailableException",
			"The request could not be served because the server cannot reach its database or store. Try again later.")
	}
	if errors.Is(err, repo.ErrClaimed) {
		return wire.Errorf(http.StatusInternalServerError, "ServiceUnavailableException",
			"Another server has taken over this vault in the store (lockfast store rebuild), and this server can no longer change it. "+
				"Send the request to that server, and stop this one.")
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return wire.Errorf(http.StatusInternalServerError, "ServiceUnavailableException", "The request took too long. Try again.")
	}
	return internalFailure(ctx)
}

func internalFailure(ctx context.Context) *wire.Error {
	return wire.Errorf(http.StatusInternalServerError, "InternalFailure", "The request failed inside the server. Its request id is %s.",
		caller.RequestID(ctx))
}

// plain is the body of an error that no model describes.
type plain struct{ Message string }

var plainError = &wire.Shape{
	Name: "Error", Kind: wire.Structure, Type: reflect.TypeFor[plain](), Members: []wire.Member{{Name: "Message", Shape: wire.PlainString}},
}

// Refuse returns a handler that answers every request with an error, for requests that belong to no router.
func Refuse(err *wire.Error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(operation.RequestIDHeader, uuid.NewString())
		w.Header().Set(errorTypeHeader, err.ErrorName())
		send(w, err.HTTPStatus(), errorBody(err))
	})
}
