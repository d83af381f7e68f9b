package restjson

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// Client says where a server is and as whom to call it. It may be used concurrently.
type Client struct {
	URL          string // "http://127.0.0.1:1975", without a path
	Region       string
	AccessKeyID  string
	Secret       string
	SessionToken string
	HTTP         *http.Client // http.DefaultClient if nil
}

// maxAnswer limits the answer that is read into memory; a page of 1000 items is far smaller.
const maxAnswer = 64 << 20

// Call carries out an operation on a server. An idempotency token is made up if the input lacks it. The error is [*wire.Error] if the server
// refused, [*wire.Invalid] if the input cannot be sent, and otherwise tells why there is no answer. The caller closes a streamed body.
func Call[In, Out any](ctx context.Context, c *Client, op wire.Operation[In, Out], in *In) (*Out, error) {
	filled := *in
	fillToken(op.Descriptor, &filled)
	if err := wire.Validate(op.Input, &filled); err != nil {
		return nil, err
	}
	req, err := c.request(ctx, op.Descriptor, &filled)
	if err != nil {
		return nil, err
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", op.Name, err)
	}
	out := new(Out)
	if err := readAnswer(op.Descriptor, resp, out); err != nil {
		return nil, err
	}
	return out, nil
}

func fillToken(op *wire.Descriptor, in any) {
	if op.Token == "" {
		return
	}
	if f := reflect.ValueOf(in).Elem().Field(op.Input.Member(op.Token)); f.IsNil() {
		f.Set(reflect.ValueOf(new(uuid.NewString())))
	}
}

// request builds and signs the request of an operation.
func (c *Client) request(ctx context.Context, op *wire.Descriptor, in any) (*http.Request, error) {
	path, query, _ := strings.Cut(op.Path, "?")
	parameters := []string{}
	if query != "" {
		parameters = append(parameters, query)
	}
	headers := http.Header{}
	v := reflect.ValueOf(in).Elem()
	for i := range op.Input.Members {
		m := &op.Input.Members[i]
		switch m.In {
		case wire.Label:
			text, _ := wire.Text(m, v.Field(i))
			path = strings.Replace(path, "{"+m.WireName()+"}", sigv4.Escape(text), 1)
		case wire.Query:
			if text, ok := wire.Text(m, v.Field(i)); ok {
				parameters = append(parameters, sigv4.Escape(m.WireName())+"="+sigv4.Escape(text))
			}
		case wire.Header:
			if text, ok := wire.Text(m, v.Field(i)); ok {
				headers.Set(m.WireName(), text)
			}
		}
	}
	var body []byte
	if op.Input.HasBody() {
		body = wire.AppendJSON(nil, op.Input, in)
		headers.Set("Content-Type", "application/json")
	}
	target := strings.TrimSuffix(c.URL, "/") + path
	if len(parameters) > 0 {
		target += "?" + strings.Join(parameters, "&")
	}
	req, err := http.NewRequestWithContext(ctx, op.Method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", op.Name, err)
	}
	req.Header = headers
	keys := sigv4.Keys{AccessKeyID: c.AccessKeyID, Secret: c.Secret, SessionToken: c.SessionToken}
	sigv4.Sign(req, body, keys, c.Region, op.Service.Name, time.Now())
	return req, nil
}

// do sends a request. Redirects are not followed, because their signature would be wrong.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	h := http.DefaultClient
	if c.HTTP != nil {
		h = c.HTTP
	}
	direct := *h
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return direct.Do(req)
}

// readAnswer reads an answer into out, and closes it unless its body is handed on.
func readAnswer(op *wire.Descriptor, resp *http.Response, out any) error {
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return readError(resp)
	}
	v := reflect.ValueOf(out).Elem()
	for i := range op.Output.Members {
		m := &op.Output.Members[i]
		if text := resp.Header.Get(m.WireName()); m.In == wire.Header && text != "" {
			if err := wire.SetText(m, v.Field(i), text); err != nil {
				resp.Body.Close()
				return fmt.Errorf("read answer of %s: %w", op.Name, err)
			}
		}
	}
	if i := op.Output.Stream(); i >= 0 {
		v.Field(i).Set(reflect.ValueOf(resp.Body))
		return nil
	}
	defer resp.Body.Close()
	text, err := readLimited(resp.Body)
	if err == nil && op.Output.HasBody() {
		err = wire.ReadJSONLoosely(text, op.Output, out)
	}
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", op.Name, err)
	}
	return nil
}

func readLimited(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fmt.Errorf("answer is larger than %d bytes", maxAnswer)
	}
	return text, err
}

// readError makes an error from an answer that is not a success, also from one that no API server wrote.
func readError(resp *http.Response) error {
	name, _, _ := strings.Cut(resp.Header.Get(errorTypeHeader), ":")
	if name == "" {
		name = "HTTP " + resp.Status
	}
	e := &wire.Error{Name: name, Status: resp.StatusCode, RequestID: resp.Header.Get(operation.RequestIDHeader)}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var body struct{ Message string }
	if err == nil && json.Unmarshal(text, &body) == nil {
		e.Message = body.Message
	}
	return e
}
