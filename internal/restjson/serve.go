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

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// exchange is one request on its way through the router.
type exchange struct {
	*Router
	w    http.ResponseWriter
	r    *http.Request
	call *operation.Call
}

// ServeHTTP answers a request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, call := r.Begin(w, req)
	x := &exchange{Router: r, w: w, r: req, call: call}
	defer func() {
		aborted := x.recovered(ctx, recover())
		r.End(ctx, call)
		if aborted {
			panic(http.ErrAbortHandler)
		}
	}()
	h, out, err := x.handle(ctx)
	if err == nil {
		err = x.writeOutput(ctx, h.Descriptor, out)
	}
	if err != nil {
		x.writeError(ctx, err)
	}
}

// operation returns the name of the operation, as far as it is known.
func (x *exchange) operation() string {
	if x.call.Operation == nil {
		return ""
	}
	return x.call.Operation.Name
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
	x.Log.ErrorContext(ctx, "operation panicked", "request_id", caller.RequestID(ctx), "operation", x.operation(),
		"cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
	if x.call.Status != 0 {
		return true
	}
	x.writeAPIError(ctx, internalFailure(ctx))
	return false
}

// handle takes a request from its signature to the output of the operation.
func (x *exchange) handle(ctx context.Context) (*operation.Handler, any, error) {
	body, err := x.readBody()
	if err != nil {
		return nil, nil, err
	}
	path, query := sigv4.RawTarget(x.r)
	m := x.routes.find(x.r.Method, path, query)
	if m != nil {
		x.call.Operation = m.handler.Descriptor
	}
	ctx, err = x.Authenticate(ctx, x.call, x.r, body)
	if err != nil {
		return nil, nil, err
	}
	if m == nil {
		return nil, nil, wire.Errorf(http.StatusNotFound, "UnknownOperationException", "no operation at %s %s", x.r.Method, path)
	}
	in, err := bind(m, x.r, query, body)
	x.call.Input = in
	if err != nil {
		return nil, nil, err
	}
	out, err := x.Do(ctx, x.call, m.handler, in)
	return m.handler, out, err
}

func (x *exchange) readBody() ([]byte, error) {
	body, err := operation.ReadBody(x.w, x.r, x.MaxBody)
	if errors.Is(err, operation.ErrBodyTooLarge) {
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
	x.send(ctx, op.Status, body)
	return nil
}

// send records the call and sends a complete answer.
func (x *exchange) send(ctx context.Context, status int, body []byte) {
	x.call.Status = status
	x.Record(ctx, x.call)
	send(x.w, status, body)
}

// send sends a complete answer. Clients that went away are not an error.
func send(w http.ResponseWriter, status int, body []byte) {
	if len(body) > 0 {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// stream sends a body as it is read. A failure on the way cuts the connection, so that the client cannot take a part for the whole.
func (x *exchange) stream(ctx context.Context, status int, body io.ReadCloser) {
	defer body.Close()
	if x.w.Header().Get("Content-Type") == "" {
		x.w.Header().Set("Content-Type", "application/octet-stream")
	}
	x.call.Status = status
	x.Record(ctx, x.call)
	x.w.WriteHeader(status)
	if _, err := io.Copy(x.w, body); err != nil {
		x.call.Error = "Interrupted"
		x.Log.WarnContext(ctx, "answer interrupted", "request_id", caller.RequestID(ctx), "operation", x.operation(), "cause", err)
		panic(http.ErrAbortHandler)
	}
}
