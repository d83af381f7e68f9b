package localledger

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// journal is the file of a ledger. A record is a line: CRC32C of the JSON in hex, a space, the JSON of a change. The
// last line may be torn by a crash; it was never acknowledged and is dropped.
type journal struct {
	file   *os.File
	broken error // an error of write or sync is final: what reached the disk is unknown
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Open opens the ledger in the file path, making it if there is none. Every session is fenced.
func Open(path string, o Options) (*Ledger, error) {
	l := newLedger(o)
	if err := l.load(path); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	if l.rows.identity == [16]byte{} {
		l.rows.apply(change{Identity: new(draw16()), Epoch: 1})
	}
	l.rows.apply(l.fenceAll())
	j, err := rewrite(path, l.rows)
	if err != nil {
		return nil, fmt.Errorf("write ledger %s: %w", path, err)
	}
	l.journal = j
	return l, nil
}

// CloseFile closes the file of the ledger; one in memory needs none. Every later change fails.
func (l *Ledger) CloseFile() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.journal == nil {
		return nil
	}
	if l.journal.broken == nil {
		l.journal.broken = os.ErrClosed
	}
	return l.journal.file.Close()
}

func (l *Ledger) load(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return replay(f, l.rows.apply)
}

// replay calls apply with each whole record of r. A damaged record that is not the last is an error.
func replay(r io.Reader, apply func(change)) error {
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // a line without an end was torn
		}
		if err != nil {
			return err
		}
		c, err := parse(line[:len(line)-1])
		if err != nil {
			if _, peek := in.Peek(1); peek == io.EOF {
				return nil
			}
			return fmt.Errorf("record %d: %w", n, err)
		}
		apply(c)
	}
}

func parse(line []byte) (change, error) {
	var c change
	if len(line) < 9 || line[8] != ' ' {
		return c, errors.New("no checksum")
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(line[9:], castagnoli) {
		return c, errors.New("checksum differs")
	}
	return c, json.Unmarshal(line[9:], &c)
}

func format(c change) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(body, castagnoli), body), nil
}

func (j *journal) append(c change) error {
	if j.broken != nil {
		return j.broken
	}
	line, err := format(c)
	if err != nil {
		return err
	}
	if _, err = j.file.Write(line); err == nil {
		err = j.file.Sync()
	}
	j.broken = err
	return err
}

// rewrite replaces the file by one that holds the rows in one record, and opens it for appending.
func rewrite(path string, r rows) (*journal, error) {
	line, err := format(r.asChange())
	if err != nil {
		return nil, err
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(line); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journal{file: f}, nil
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// asChange returns the change that makes these rows from none.
func (r *rows) asChange() change {
	c := change{Identity: &r.identity, Claim: &r.claim, Epoch: r.epoch}
	for _, id := range sortedKeys(r.sessions) {
		c.Sessions = append(c.Sessions, r.sessions[id])
	}
	for _, o := range r.objects {
		c.Objects = append(c.Objects, o.Object)
	}
	for _, id := range sortedKeys(r.points) {
		c.Points = append(c.Points, r.points[id])
	}
	c.Ended, c.History = sortedKeys(r.ended), r.history
	for _, d := range r.damages {
		c.Damages = append(c.Damages, d)
	}
	for _, v := range r.verified {
		c.Verified = append(c.Verified, v)
	}
	c.Round = &r.round
	return c
}
