package restjson

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime/debug"
	"strconv"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

const requestIDHeader = "X-Amzn-Requestid" // spelled x-amzn-RequestId in AWS's documents

// exchange is one request on its way through the router.
type exchange struct {
	*Router
	w       http.ResponseWriter
	r       *http.Request
	outcome Outcome
}

// ServeHTTP answers a request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	start := r.Now()
	id := uuid.NewString()
	w.Header().Set(requestIDHeader, id)
	ctx := caller.WithRequest(req.Context(), caller.RequestOf(req, id))
	x := &exchange{Router: r, w: w, r: req}
	defer func() {
		aborted := x.recovered(ctx, recover())
		x.outcome.Duration = r.Now().Sub(start)
		r.Log.DebugContext(ctx, "request answered", "request_id", id, "service", r.Service.Name, "operation", x.outcome.Operation,
			"status", x.outcome.Status, "error", x.outcome.Error, "duration", x.outcome.Duration)
		if r.Observe != nil {
			r.Observe(ctx, x.outcome)
		}
		if aborted {
			panic(http.ErrAbortHandler)
		}
	}()
	h, out, err := x.handle(ctx)
	if err == nil {
		err = x.writeOutput(ctx, h.op, out)
	}
	if err != nil {
		x.writeError(ctx, err)
	}
}

// recovered answers for an operation that panicked. If its answer is already under way, all that is left is to cut the connection, and the
// result is true.
func (x *exchange) recovered(ctx context.Context, cause any) (abort bool) {
	switch cause {
	case nil:
		return false
	case http.ErrAbortHandler:
		return true
	}
	x.Log.ErrorContext(ctx, "operation panicked", "request_id", caller.RequestID(ctx), "operation", x.outcome.Operation,
		"cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
	if x.outcome.Status != 0 {
		return true
	}
	x.writeAPIError(internalFailure(ctx))
	return false
}

// handle takes a request from its signature to the output of the operation.
func (x *exchange) handle(ctx context.Context) (*handler, any, error) {
	body, err := x.readBody()
	if err != nil {
		return nil, nil, err
	}
	c, credential, err := sigv4.Verify(ctx, x.verifier, x.r, body, x.Credentials.Lookup)
	if err != nil {
		return nil, nil, err
	}
	c.Region = credential.Region
	ctx = caller.With(ctx, c)
	path, query := sigv4.RawTarget(x.r)
	m := x.routes.find(x.r.Method, path, query)
	if m == nil {
		return nil, nil, wire.Errorf(http.StatusNotFound, "UnknownOperationException", "no operation at %s %s", x.r.Method, path)
	}
	x.outcome.Operation = m.handler.op.Name
	in, err := bind(m, x.r, query, body)
	if err != nil {
		return nil, nil, err
	}
	out, err := m.handler.run(ctx, x.Authorizer, c, in)
	return m.handler, out, err
}

// run authorises and carries out an operation.
func (h *handler) run(ctx context.Context, a Authorizer, c caller.Caller, in any) (any, error) {
	asked := h.access(c, in)
	if len(asked) == 0 {
		return nil, fmt.Errorf("operation %s asks for no permission", h.op.Name)
	}
	if err := a.Authorize(ctx, c, asked); err != nil {
		return nil, err
	}
	if h.call == nil {
		return nil, wire.Errorf(http.StatusBadRequest, "UnknownOperationException", "Lockfast does not implement %s.", h.op.Name)
	}
	return h.call(ctx, in)
}

func (x *exchange) readBody() ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, x.MaxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, wire.Errorf(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException",
			"The body of a request can have %d bytes at most.", x.MaxBody)
	}
	if err != nil {
		return nil, wire.Errorf(http.StatusBadRequest, "IncompleteBodyException", "The body of the request ended early.")
	}
	return body, nil
}

// writeOutput sends what an operation answered. It fails only before anything has been sent.
func (x *exchange) writeOutput(ctx context.Context, op *wire.Descriptor, out any) error {
	v := reflect.ValueOf(out).Elem()
	for i := range op.Output.Members {
		m := &op.Output.Members[i]
		if m.In != wire.Header {
			continue
		}
		if text, ok := wire.Text(m, v.Field(i)); ok {
			x.w.Header().Set(m.WireName(), text)
		}
	}
	if i := op.Output.Stream(); i >= 0 {
		body, ok := v.Field(i).Interface().(io.ReadCloser)
		if !ok {
			return fmt.Errorf("operation %s answered no body", op.Name)
		}
		x.stream(ctx, op.Status, body)
		return nil
	}
	var body []byte
	if op.Output.HasBody() {
		body = wire.AppendJSON(nil, op.Output, out)
	}
	x.send(op.Status, body)
	return nil
}

// send sends a complete answer. Clients that went away are not an error.
func (x *exchange) send(status int, body []byte) {
	x.outcome.Status = status
	if len(body) > 0 {
		x.w.Header().Set("Content-Type", "application/json")
		x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body)
}

// stream sends a body as it is read. A failure on the way cuts the connection, so that the client cannot take a part for the whole.
func (x *exchange) stream(ctx context.Context, status int, body io.ReadCloser) {
	defer body.Close()
	if x.w.Header().Get("Content-Type") == "" {
		x.w.Header().Set("Content-Type", "application/octet-stream")
	}
	x.outcome.Status = status
	x.w.WriteHeader(status)
	if _, err := io.Copy(x.w, body); err != nil {
		x.outcome.Error = "Interrupted"
		x.Log.WarnContext(ctx, "answer interrupted", "request_id", caller.RequestID(ctx), "operation", x.outcome.Operation, "cause", err)
		panic(http.ErrAbortHandler)
	}
}
