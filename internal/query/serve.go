package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// ServeHTTP answers a request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, call := r.Begin(w, req)
	defer r.End(ctx, call)
	body := r.answer(ctx, call, w, req)
	r.Record(ctx, call)
	w.Header().Set("Content-Type", "text/xml")
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
			body = r.fail(call, id, internalFailure(id))
		}
	}()
	op, out, err := r.handle(ctx, call, w, req)
	if err != nil {
		e := r.translate(ctx, err)
		if e.HTTPStatus() >= http.StatusInternalServerError {
			r.Log.ErrorContext(ctx, "request failed", "request_id", id, "cause", err)
		}
		return r.fail(call, id, e)
	}
	call.Status = op.Status
	return output(op, out, id)
}

// handle takes a request from its signature to the output of the operation.
func (r *Router) handle(ctx context.Context, call *operation.Call, w http.ResponseWriter, req *http.Request) (*wire.Descriptor, any, error) {
	body, err := operation.ReadBody(w, req, r.MaxBody)
	if errors.Is(err, operation.ErrBodyTooLarge) {
		return nil, nil, wire.Errorf(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The body of a request can have %d bytes at most.", r.MaxBody)
	}
	if err != nil {
		return nil, nil, wire.Errorf(http.StatusBadRequest, "IncompleteBody", "The body of the request ended early.")
	}
	values, malformed := parameters(req, body)
	if h := r.Find(values.Get("Action")); h != nil {
		call.Operation = h.Descriptor
	}
	ctx, err = r.Authenticate(ctx, call, req, body)
	if err == nil {
		err = malformed
	}
	if err != nil {
		return nil, nil, err
	}
	h, err := r.find(values)
	if err != nil {
		return nil, nil, err
	}
	in, err := bind(h.Descriptor, values)
	call.Input = in
	if err != nil {
		return nil, nil, err
	}
	out, err := r.Do(ctx, call, h, in)
	return h.Descriptor, out, err
}

// parameters reads the form from the body or, as presigned requests send it, from the query string.
func parameters(req *http.Request, body []byte) (url.Values, error) {
	text := string(body)
	if req.Method == http.MethodGet || len(body) == 0 {
		_, text = sigv4.RawTarget(req)
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, wire.Errorf(http.StatusBadRequest, "MalformedQueryString", "The parameters cannot be read: %v.", err)
	}
	return values, nil
}

// find finds the operation.
func (r *Router) find(values url.Values) (*operation.Handler, error) {
	action, version := values.Get("Action"), values.Get("Version")
	h := r.Find(action)
	switch {
	case action == "":
		return nil, wire.Errorf(http.StatusBadRequest, "MissingAction", "The parameter Action is missing.")
	case h == nil || version != "" && version != r.Service.Version:
		return nil, invalidAction("Could not find operation %s for version %s", action, version)
	}
	return h, nil
}

// bind makes the input of an operation, and checks it.
func bind(op *wire.Descriptor, values url.Values) (any, error) {
	in := reflect.New(op.Input.Type)
	if err := newForm(values).structure(op.Input, in.Elem(), ""); err != nil {
		return nil, err
	}
	return in.Interface(), wire.Validate(op.Input, in.Interface())
}

func invalidAction(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusBadRequest, "InvalidAction", format, args...)
}

func (r *Router) fail(call *operation.Call, requestID string, e wire.APIError) []byte {
	call.Fail(e)
	fault := "Sender"
	if e.HTTPStatus() >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	return failure(r.Service, fault, e.ErrorName(), operation.Message(e), requestID)
}

// translate finds the error that a client gets to see.
func (r *Router) translate(ctx context.Context, err error) wire.APIError {
	if api, ok := errors.AsType[wire.APIError](err); ok {
		return api
	}
	if denied, ok := errors.AsType[*wire.Denied](err); ok {
		return wire.Errorf(http.StatusForbidden, "AccessDenied", "%s", denied.Message)
	}
	if bad, ok := errors.AsType[*wire.Invalid](err); ok {
		name := r.Service.Invalid
		if bad.Missing {
			name = r.Service.Missing
		}
		return wire.Errorf(http.StatusBadRequest, name, "%s", violation(bad))
	}
	if bad, ok := errors.AsType[*wire.Malformed](err); ok {
		return wire.Errorf(http.StatusBadRequest, "MalformedInput", "%s", bad.Error())
	}
	if f, ok := errors.AsType[*sigv4.Failure](err); ok {
		if f.Detail != "" {
			r.Log.DebugContext(ctx, "signature refused", "request_id", caller.RequestID(ctx), "canonical_request", f.Detail)
		}
		return wire.Errorf(f.Status, f.QueryName, "%s", f.Message)
	}
	if none, ok := errors.AsType[*operation.NotImplemented](err); ok {
		return invalidAction("%s", none.Error())
	}
	if errors.Is(err, meta.ErrUnavailable) {
		return wire.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable", "The server cannot reach its database. Try again later.")
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return wire.Errorf(http.StatusServiceUnavailable, "ServiceUnavailable", "The request took too long. Try again.")
	}
	return internalFailure(caller.RequestID(ctx))
}

func internalFailure(requestID string) *wire.Error {
	return wire.Errorf(http.StatusInternalServerError, "InternalFailure", "The request failed inside the server. Its request id is %s.", requestID)
}

// violation words a broken rule as the services of this protocol do: with a count, and the member as "tags.1.member.key".
func violation(bad *wire.Invalid) string {
	const counted = "1 validation error detected: Value "
	name := place(bad.Member)
	if bad.Missing {
		return counted + "null at '" + name + "' failed to satisfy constraint: Member must not be null"
	}
	at := "at '" + bad.Member + "' failed"
	value, rule, ok := strings.Cut(strings.TrimPrefix(bad.Text, "Value "), at)
	if !ok || !strings.HasPrefix(bad.Text, "Value ") {
		return bad.Text
	}
	return counted + value + "at '" + name + "' failed" + rule
}

// Places of an entry in a list: as shapes count it, and as forms do.
var (
	index     = regexp.MustCompile(`\[(\d+)\]`)
	formIndex = regexp.MustCompile(`\.member\.(\d+)`)
)

// place writes the path of a member, "Tags[0].Key" or "Tags.member.1.Key", with lower-case names and counting from 1.
func place(member string) string {
	member = index.ReplaceAllStringFunc(member, func(i string) string {
		n, _ := strconv.Atoi(i[1 : len(i)-1])
		return "." + strconv.Itoa(n+1) + ".member"
	})
	member = formIndex.ReplaceAllString(member, ".$1.member")
	names := strings.Split(member, ".")
	for i, name := range names {
		names[i] = strings.ToLower(name[:min(1, len(name))]) + name[min(1, len(name)):]
	}
	return strings.Join(names, ".")
}
