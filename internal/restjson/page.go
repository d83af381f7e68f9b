package restjson

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/wire"
)

// DefaultLimit is the number of items on a page for which the client names no limit.
const DefaultLimit = 1000

// Pager makes and checks page tokens. A token holds the sort key of the last item of a page, so that the next page can be found whatever has
// been added or deleted since. It is valid for the operation, account, region and filters that it was made for.
type Pager struct{ key []byte }

// NewPager returns a pager. All servers of an installation must use the same key.
func NewPager(key []byte) *Pager { return &Pager{key: key} }

// Page is the part of a list that a request asks for.
type Page struct {
	After []string // sort key of the last item of the page before; nil for the first page
	Limit int      // most items wanted, 1 to 1000
	pager *Pager
	bind  []byte // what the token is valid for
}

const macSize = 16

// OpenPage reads what page of its list the input of an operation asks for. It answers [*wire.Invalid] for a token that was not made for such
// a request.
func OpenPage[In, Out any](ctx context.Context, p *Pager, op wire.Operation[In, Out], in *In) (*Page, error) {
	page := &Page{Limit: DefaultLimit, pager: p, bind: binding(ctx, op.Descriptor, in)}
	v := reflect.ValueOf(in).Elem()
	if limit, ok := wire.Text(member(op, v, op.Pages.Limit)); ok {
		n, err := wire.ParseInteger(wire.PlainInteger, limit)
		if err != nil {
			return nil, err
		}
		page.Limit = int(n)
	}
	token, _ := wire.Text(member(op, v, op.Pages.Token))
	if token == "" {
		return page, nil
	}
	after, ok := page.open(token)
	if !ok {
		return nil, &wire.Invalid{Member: op.Pages.Token, Text: "The value of " + op.Pages.Token + " is not a token of this list with these filters."}
	}
	page.After = after
	return page, nil
}

func member[In, Out any](op wire.Operation[In, Out], v reflect.Value, name string) (*wire.Member, reflect.Value) {
	i := op.Input.Member(name)
	return &op.Input.Members[i], v.Field(i)
}

// binding is equal for all pages of a list and different for different lists.
func binding(ctx context.Context, op *wire.Descriptor, in any) []byte {
	c := caller.From(ctx)
	head, _ := json.Marshal([]string{op.Service.Name, op.Name, c.Account, c.Region})
	return append(head, wire.Canonical(op.Input, in, op.Pages.Token, op.Pages.Limit)...)
}

// Next returns the token of the page that follows the item with the given sort key.
func (p *Page) Next(key ...string) *string {
	text, _ := json.Marshal(key)
	return new(base64.RawURLEncoding.EncodeToString(append(p.mac(text), text...)))
}

func (p *Page) open(token string) ([]string, bool) {
	if strings.ContainsAny(token, "\r\n") { // which decoding would skip
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < macSize || !hmac.Equal(raw[:macSize], p.mac(raw[macSize:])) {
		return nil, false
	}
	var key []string
	err = json.Unmarshal(raw[macSize:], &key)
	return key, err == nil && key != nil
}

func (p *Page) mac(text []byte) []byte {
	h := hmac.New(sha256.New, p.pager.key)
	bound := sha256.Sum256(p.bind)
	h.Write(bound[:])
	h.Write(text)
	return h.Sum(nil)[:macSize]
}

// Fingerprint returns a text that is equal for inputs that are equal but for their idempotency token. A request that repeats a token with
// another fingerprint is a different request.
func Fingerprint[In, Out any](op wire.Operation[In, Out], in *In) string {
	sum := sha256.Sum256(wire.Canonical(op.Input, in, op.Token))
	return hex.EncodeToString(sum[:])
}
