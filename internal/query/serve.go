package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// ServeHTTP answers a request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	id := uuid.NewString()
	w.Header().Set("X-Amzn-Requestid", id)
	ctx := caller.WithRequest(req.Context(), caller.RequestOf(req, id))
	status, body := r.answer(ctx, w, req)
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// answer carries out a request. A panic becomes an error like any other.
func (r *Router) answer(ctx context.Context, w http.ResponseWriter, req *http.Request) (status int, body []byte) {
	id := caller.RequestID(ctx)
	defer func() {
		if cause := recover(); cause != nil {
			r.Log.ErrorContext(ctx, "operation panicked", "request_id", id, "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
			status, body = r.fail(id, internalFailure(id))
		}
	}()
	op, out, err := r.handle(ctx, w, req)
	if err != nil {
		e := r.translate(ctx, err)
		if e.HTTPStatus() >= http.StatusInternalServerError {
			r.Log.ErrorContext(ctx, "request failed", "request_id", id, "cause", err)
		}
		return r.fail(id, e)
	}
	return op.Status, output(op, out, id)
}

// handle takes a request from its signature to the output of the operation.
func (r *Router) handle(ctx context.Context, w http.ResponseWriter, req *http.Request) (*wire.Descriptor, any, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, r.MaxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, nil, wire.Errorf(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The body of a request can have %d bytes at most.", r.MaxBody)
	}
	if err != nil {
		return nil, nil, wire.Errorf(http.StatusBadRequest, "IncompleteBody", "The body of the request ended early.")
	}
	c, credential, err := sigv4.Verify(ctx, r.verifier, req, body, r.Credentials.Lookup)
	if err != nil {
		return nil, nil, err
	}
	c.Region = credential.Region
	values, err := parameters(req, body)
	if err != nil {
		return nil, nil, err
	}
	h, in, err := r.bind(values)
	if err != nil {
		return nil, nil, err
	}
	out, err := h.run(caller.With(ctx, c), r.Authorizer, c, in)
	return h.op, out, err
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

// bind finds the operation and makes its input.
func (r *Router) bind(values url.Values) (*handler, any, error) {
	action, version := values.Get("Action"), values.Get("Version")
	h := r.handlers[action]
	switch {
	case action == "":
		return nil, nil, wire.Errorf(http.StatusBadRequest, "MissingAction", "The parameter Action is missing.")
	case h == nil || version != "" && version != r.Service.Version:
		return nil, nil, invalidAction("Could not find operation %s for version %s", action, version)
	}
	in := reflect.New(h.op.Input.Type)
	if err := newForm(values).structure(h.op.Input, in.Elem(), ""); err != nil {
		return nil, nil, err
	}
	return h, in.Interface(), wire.Validate(h.op.Input, in.Interface())
}

func invalidAction(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusBadRequest, "InvalidAction", format, args...)
}

// run authorises and carries out an operation.
func (h *handler) run(ctx context.Context, a Authorizer, c caller.Caller, in any) (any, error) {
	asked, err := h.access(ctx, in)
	if err == nil && len(asked) > 0 {
		err = a.Authorize(ctx, c, asked)
	}
	if err != nil {
		return nil, err
	}
	if h.call == nil {
		return nil, invalidAction("Lockfast does not implement %s.", h.op.Name)
	}
	return h.call(ctx, in)
}

func (r *Router) fail(requestID string, e wire.APIError) (int, []byte) {
	fault := "Sender"
	if e.HTTPStatus() >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	return e.HTTPStatus(), failure(r.Service, fault, e.ErrorName(), message(e), requestID)
}

// message returns the text of an error without its name.
func message(e wire.APIError) string {
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
