package operation

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// RequestIDHeader carries the request id of every answer. AWS's documents spell it x-amzn-RequestId.
const RequestIDHeader = "X-Amzn-Requestid"

// Call is one request and what became of it. Its fields are filled in on the way and are zero where it did not get so far.
type Call struct {
	Service      *wire.Service
	Operation    *wire.Descriptor // nil if the request names none
	Method, Path string           // of the HTTP request; the path as it was received, without the query
	Claimed      sigv4.Credential // what the signature claims to be, right or wrong
	Verified     bool             // whether the signature is right
	Caller       caller.Caller    // zero unless it is
	Input        any              // pointer to a value of Operation.Input.Type; it may break rules if the call failed
	Asked        []caller.Access  // what the caller had to be allowed
	Output       any              // pointer to a value of Operation.Output.Type; nil on failure
	Status       int
	Error        string // name of the error, empty on success
	Message      string // of the error
	Start        time.Time
	recorded     bool
}

// Begin gives a request its id. The context carries what is known of the request.
func (t *Table) Begin(w http.ResponseWriter, r *http.Request) (context.Context, *Call) {
	id := uuid.NewString()
	w.Header().Set(RequestIDHeader, id)
	path, _ := sigv4.RawTarget(r)
	c := &Call{Service: t.Service, Method: r.Method, Path: path, Start: t.Now()}
	return caller.WithRequest(r.Context(), caller.RequestOf(r, id)), c
}

// Authenticate verifies the signature of a request whose body has been read. The context that it returns carries the caller.
func (t *Table) Authenticate(ctx context.Context, c *Call, r *http.Request, body []byte) (context.Context, error) {
	who, credential, err := sigv4.Verify(ctx, t.verifier, r, body, t.Credentials.Lookup)
	c.Claimed = credential
	if err != nil {
		return ctx, err
	}
	who.Region = credential.Region
	c.Verified, c.Caller = true, who
	return caller.With(ctx, who), nil
}

// NotImplemented is the error of an operation without behaviour.
type NotImplemented struct{ Operation string }

func (e *NotImplemented) Error() string { return "Lockfast does not implement " + e.Operation + "." }

// Do authorises and carries out an operation on an input that has been checked.
func (t *Table) Do(ctx context.Context, c *Call, h *Handler, in any) (any, error) {
	c.Operation, c.Input = h.Descriptor, in
	asked, err := h.Access(ctx, in)
	if err != nil {
		return nil, err
	}
	c.Asked = asked
	switch {
	case len(asked) > 0:
		if err := t.Authorizer.Authorize(ctx, c.Caller, asked); err != nil {
			return nil, err
		}
	case !t.free:
		return nil, fmt.Errorf("operation %s asks for no permission", h.Descriptor.Name)
	}
	if h.call == nil {
		return nil, &NotImplemented{h.Descriptor.Name}
	}
	out, err := h.call(ctx, in)
	if err != nil {
		return nil, err
	}
	c.Output = out
	return out, nil
}

// Fail notes the error that a client is answered with.
func (c *Call) Fail(err wire.APIError) {
	c.Status, c.Error, c.Message, c.Output = err.HTTPStatus(), err.ErrorName(), Message(err), nil
}

// Record hands a call to the recorder. It must come before the answer is sent; what comes after the first is ignored.
func (t *Table) Record(ctx context.Context, c *Call) {
	if c.recorded {
		return
	}
	c.recorded = true
	if t.Recorder != nil {
		t.Recorder.Record(ctx, c)
	}
}

// End notes that a request has been answered.
func (t *Table) End(ctx context.Context, c *Call) {
	o := Outcome{Status: c.Status, Error: c.Error, Duration: t.Now().Sub(c.Start)}
	if c.Verified && c.Operation != nil {
		o.Operation = c.Operation.Name
	}
	t.Log.DebugContext(ctx, "request answered", "request_id", caller.RequestID(ctx), "service", t.Service.Name,
		"operation", o.Operation, "status", o.Status, "error", o.Error, "duration", o.Duration)
	if t.Observe != nil {
		t.Observe(ctx, o)
	}
}

// Message returns the text of an error without its name.
func Message(e wire.APIError) string {
	if plain, ok := e.(*wire.Error); ok {
		return plain.Message
	}
	if m, ok := e.(wire.Modelled); ok {
		if i := m.ErrorShape().Member("Message"); i >= 0 {
			return reflect.ValueOf(m).Elem().Field(i).String()
		}
	}
	return e.Error()
}
