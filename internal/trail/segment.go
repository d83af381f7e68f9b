package trail

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
)

// Bounds of a segment: a page that needs one call of it reads all of it.
const (
	maxSpan    = int64(time.Second / time.Microsecond) // between the first and the last request
	maxSegment = 1 << 20                               // bytes before compression; a single call may have more
)

// segment is calls of an account that only read, and that came about the same time.
type segment struct {
	account     string
	id          string
	first, last int64
	calls       int
	failed      int
	data        []byte // their lines, compressed
}

// codec compresses segments. Compression is for one goroutine at a time.
type codec struct {
	enc   *zstd.Encoder
	dec   *zstd.Decoder
	plain []byte // the segment that is made
}

func newCodec() *codec {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(maxSegment))
	if err != nil {
		panic("trail: " + err.Error()) // only for wrong options
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(2*maxSegment))
	if err != nil {
		panic("trail: " + err.Error())
	}
	return &codec{enc: enc, dec: dec}
}

// reads is the lines of calls that only read.
type reads struct {
	all  []read
	text []byte
}

// read is where the line of a call is.
type read struct {
	account    string
	at         int64
	start, end int
	failed     bool
}

func (r *reads) add(e *event, line []byte) {
	start := len(r.text)
	r.text = append(r.text, line...)
	r.all = append(r.all, read{e.account, e.at, start, len(r.text), e.code != ""})
}

// empty makes room for others. What was needed in a rush is given back.
func (r *reads) empty() {
	if cap(r.text) > 2*readBatch {
		*r = reads{}
	}
	r.all, r.text = r.all[:0], r.text[:0]
}

// segments puts reads into segments.
func (c *codec) segments(r *reads) []*segment {
	left := r.all
	slices.SortFunc(left, func(a, b read) int { return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.at, b.at)) })
	var all []*segment
	for len(left) > 0 {
		first, n, size := &left[0], 0, 0
		for ; n < len(left); n++ {
			size += left[n].end - left[n].start
			if n > 0 && (left[n].account != first.account || left[n].at-first.at > maxSpan || size > maxSegment) {
				break
			}
		}
		all = append(all, c.segment(left[:n], r.text))
		left = left[n:]
	}
	return all
}

func (c *codec) segment(calls []read, text []byte) *segment {
	g := &segment{account: calls[0].account, id: uuid.NewString(), first: calls[0].at, last: calls[len(calls)-1].at, calls: len(calls)}
	c.plain = c.plain[:0]
	for i := range calls {
		if calls[i].failed {
			g.failed++
		}
		c.plain = append(c.plain, text[calls[i].start:calls[i].end]...)
		c.plain = append(c.plain, '\n')
	}
	g.data = c.enc.EncodeAll(c.plain, nil)
	return g
}

// appendLineStart appends what a line of a segment has before the record.
func appendLineStart(dst []byte, at int64, id string) []byte {
	dst = strconv.AppendInt(dst, at, 10)
	dst = append(dst, ' ')
	dst = append(dst, id...)
	return append(dst, ' ')
}

var errLine = errors.New("a line is damaged")

// rows returns the calls in a segment that a search may have to show, oldest first, and the size of the segment.
func (c *codec) rows(data []byte, q *search) (found []row, size int, err error) {
	plain, err := c.dec.DecodeAll(data, nil)
	if err != nil {
		return nil, 0, err
	}
	if !q.mentioned(plain) {
		return nil, len(plain), nil
	}
	for line := range bytes.Lines(plain) {
		at, rest, _ := bytes.Cut(line, []byte(" "))
		id, record, ok := bytes.Cut(rest, []byte(" "))
		when, err := strconv.ParseInt(string(at), 10, 64)
		if !ok || err != nil {
			return nil, 0, errLine
		}
		if r := (position{when, string(id)}); q.covers(r) && q.mentioned(record) {
			found = append(found, row{position: r, record: string(bytes.TrimSuffix(record, []byte("\n")))})
		}
	}
	return found, len(plain), nil
}

// position is a place in the order of the calls of an account.
type position struct {
	at int64
	id string
}

func (p position) compare(o position) int {
	return cmp.Or(cmp.Compare(p.at, o.at), cmp.Compare(p.id, o.id))
}

func (p position) before(o position) bool { return p.compare(o) < 0 }

// token is the position in the form in which a page token carries it.
func (p position) token() []string { return []string{strconv.FormatInt(p.at, 10), p.id} }

func parsePosition(token []string) (p position, err error) {
	if len(token) != 2 {
		return p, fmt.Errorf("position of %d parts", len(token))
	}
	p.at, err = strconv.ParseInt(token[0], 10, 64)
	p.id = token[1]
	return p, err
}
