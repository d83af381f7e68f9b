package json11

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

const contentType = "application/x-amz-json-1.1"

// ServeHTTP answers a request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, call := r.Begin(w, req)
	defer r.End(ctx, call)
	body := r.answer(ctx, call, w, req)
	r.Record(ctx, call)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(call.Status)
	_, _ = w.Write(body)
}

// answer carries out a request. A panic becomes an error like any other.
func (r *Router) answer(ctx context.Context, call *operation.Call, w http.ResponseWriter, req *http.Request) (body []byte) {
	id := caller.RequestID(ctx)
	defer func() {
		if cause := recover(); cause != nil {
			r.Log.ErrorContext(ctx, "operation panicked", "request_id", id, "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
			body = fail(call, internalFailure(id))
		}
	}()
	op, out, err := r.handle(ctx, call, w, req)
	if err != nil {
		e := r.translate(ctx, err)
		if e.HTTPStatus() >= http.StatusInternalServerError {
			r.Log.ErrorContext(ctx, "request failed", "request_id", id, "cause", err)
		}
		return fail(call, e)
	}
	call.Status = op.Status
	if !op.Output.HasBody() {
		return nil
	}
	return wire.AppendJSON(nil, op.Output, out)
}

// handle takes a request from its signature to the output of the operation.
func (r *Router) handle(ctx context.Context, call *operation.Call, w http.ResponseWriter, req *http.Request) (*wire.Descriptor, any, error) {
	body, err := operation.ReadBody(w, req, r.MaxBody)
	if errors.Is(err, operation.ErrBodyTooLarge) {
		return nil, nil, wire.Errorf(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException",
			"The body of a request can have %d bytes at most.", r.MaxBody)
	}
	if err != nil {
		return nil, nil, badRequest("IncompleteBodyException", "The body of the request ended early.")
	}
	h := r.find(req)
	if h != nil {
		call.Operation = h.Descriptor
	}
	if ctx, err = r.Authenticate(ctx, call, req, body); err != nil {
		return nil, nil, err
	}
	if h == nil {
		return nil, nil, badRequest("UnknownOperationException", "The header X-Amz-Target of a POST to / must name an operation of %s.",
			r.Service.Name)
	}
	in, err := bind(h.Descriptor, body)
	call.Input = in
	if err != nil {
		return nil, nil, err
	}
	out, err := r.Do(ctx, call, h, in)
	return h.Descriptor, out, err
}

// find finds the operation; nil if the request names none.
func (r *Router) find(req *http.Request) *operation.Handler {
	name, ok := strings.CutPrefix(req.Header.Get("X-Amz-Target"), r.Service.Target+".")
	if path, _ := sigv4.RawTarget(req); !ok || req.Method != http.MethodPost || path != "/" {
		return nil
	}
	return r.Find(name)
}

// bind makes the input of an operation, and checks it.
func bind(op *wire.Descriptor, body []byte) (any, error) {
	in := reflect.New(op.Input.Type).Interface()
	if err := wire.ReadJSON(body, op.Input, in); err != nil {
		return nil, err
	}
	return in, wire.Validate(op.Input, in)
}

// fail notes an error and returns the document that tells of it.
func fail(call *operation.Call, e wire.APIError) []byte {
	call.Fail(e)
	body, err := json.Marshal(struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}{e.ErrorName(), operation.Message(e)})
	if err != nil {
		panic("json11: " + err.Error()) // two strings
	}
	return body
}

// translate finds the error that a client gets to see.
func (r *Router) translate(ctx context.Context, err error) wire.APIError {
	if api, ok := errors.AsType[wire.APIError](err); ok {
		return api
	}
	if denied, ok := errors.AsType[*wire.Denied](err); ok {
		return badRequest("AccessDeniedException", "%s", denied.Message)
	}
	if bad, ok := errors.AsType[*wire.Invalid](err); ok {
		name := r.Service.Invalid
		if bad.Missing {
			name = r.Service.Missing
		}
		return badRequest(name, "%s", bad.Text)
	}
	if bad, ok := errors.AsType[*wire.Malformed](err); ok {
		return badRequest("SerializationException", "%s", bad.Error())
	}
	if f, ok := errors.AsType[*sigv4.Failure](err); ok {
		if f.Detail != "" {
			r.Log.DebugContext(ctx, "signature refused", "request_id", caller.RequestID(ctx), "canonical_request", f.Detail)
		}
		return badRequest(f.Name, "%s", f.Message)
	}
	if none, ok := errors.AsType[*operation.NotImplemented](err); ok {
		return badRequest("UnknownOperationException", "%s", none.Error())
	}
	if errors.Is(err, meta.ErrUnavailable) {
		return wire.Errorf(http.StatusInternalServerError, "ServiceUnavailableException", "The server cannot reach its database. Try again later.")
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return wire.Errorf(http.StatusInternalServerError, "ServiceUnavailableException", "The request took too long. Try again.")
	}
	return internalFailure(caller.RequestID(ctx))
}

func badRequest(name, format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusBadRequest, name, format, args...)
}

func internalFailure(requestID string) *wire.Error {
	return wire.Errorf(http.StatusInternalServerError, "InternalFailure", "The request failed inside the server. Its request id is %s.", requestID)
}
