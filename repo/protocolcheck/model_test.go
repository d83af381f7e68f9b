package protocolcheck_test

import "fmt"

// rules are those that the search can take out.
type rules struct {
	fence     bool // a session that was fenced changes nothing: demand in internal/ledger
	ack       bool // the collector waits for acknowledgements: reclaim.await after Condemn
	parentPin bool // the refset of a session's Pin counts in marks: Snapshot.needed
	remark    bool // condemned packs are marked again: reclaim.condemn
	outlive   bool // rows of retired packs stay while a session may name them: reclaim.outlived
}

var all = rules{fence: true, ack: true, parentPin: true, remark: true, outlive: true}

// edge is a step, with the state that it leads to. lost, if not empty, says what the step shows to be wrong.
type edge struct {
	label string
	to    state
	lost  string
}

// model takes steps. two says that a second collector is there instead of writer A and the reader.
type model struct {
	rules
	two   bool
	names bool // give labels to edges
	out   []edge
}

func (m *model) emit(s state, lost, format string, args ...any) {
	m.tidy(&s)
	e := edge{to: s, lost: lost}
	if m.names {
		e.label = fmt.Sprintf(format, args...)
	}
	m.out = append(m.out, e)
}

// next returns every step that is possible in a state. The result is valid until the next call.
func (m *model) next(s state) []edge {
	m.out = m.out[:0]
	m.environment(s)
	m.writerB(s)
	m.collector(s, collector, packCopy)
	if m.two {
		m.collector(s, collector2, packCopy2)
	} else {
		m.writerA(s)
		m.reader(s)
	}
	return m.out
}

var sessionNames = [sessions]string{"writer A", "writer B", "reader", "collector", "second collector"}

// environment deletes the old recovery point, and takes leases away: fenceLate in internal/ledger, at any moment, since
// nothing is assumed of clocks. The owner of a fenced session is not told.
func (m *model) environment(s state) {
	if s.point[pointOld] == committed { // Points.Delete, and what Vault.DeletePoint does after it
		t := s
		t.point[pointOld] = deleted
		m.emit(t, "", "the old recovery point is deleted")
	}
	for who := range s.session {
		if s.session[who].status == active {
			t := s
			t.session[who] = sessionRow{status: fenced}
			if who == reader { // it changes nothing, and nothing is promised to it any more
				t.end(who)
			}
			m.emit(t, "", "%s loses its lease", sessionNames[who])
		}
	}
}

// tidy forgets what can have no effect any more, so that states that behave alike are one.
func (m *model) tidy(s *state) {
	if s.point[pointOld] == deleted && !m.pinned(s) {
		s.refset[pointOld] = nobody // reclaim.sweep or Vault.DeletePoint removes it; nobody can pin the point any more
	}
	for who, point := range [...]int{writerA: pointA, writerB: pointB} {
		if s.process[who].at == over && s.point[point] != committed {
			s.refset[point] = nobody
		}
	}
	for i := range s.rows {
		if r := &s.rows[i]; r.owner != nobody && s.session[r.owner].status != active {
			r.owner = nobody
		}
		if r := &s.rows[i]; r.status != retired {
			r.epoch = 0
		}
	}
}

// pinned reports whether an active session pins the old recovery point.
func (m *model) pinned(s *state) bool {
	for _, r := range s.session {
		if r.status == active && r.pinsOld && m.parentPin {
			return true
		}
	}
	return false
}

// open is Sessions.Open, followed by a refresh in Vault.openSession, which is a step of its own. ok is false when the ledger
// refuses: then the process is over.
func (m *model) open(s *state, who int, pin bool) (ok bool) {
	if pin && s.point[pointOld] != committed {
		s.end(who)
		return false
	}
	s.session[who] = sessionRow{status: active, opened: s.epoch, acked: s.epoch, pinsOld: pin}
	return true
}

// demand is the check of the ledger that comes first in every transaction of a session. A process that is refused ends.
func (m *model) demand(s *state, who int) bool {
	if s.session[who].status == active || !m.fence && s.session[who].status == fenced {
		return true
	}
	s.end(who)
	return false
}

// end forgets what a process had in memory.
func (s *state) end(who int) {
	s.process[who] = process{at: over, relies: nobody}
	s.session[who] = sessionRow{status: ended}
}

// over is the step of a process that has ended.
const over = 0xff

// keep is session.keep of a writer: Writer.acknowledge, in two steps, between which the gate is held. When nothing is to be
// looked up any more, the gate does not matter, and the two are one.
func (m *model) keep(s state, who int) {
	p := &s.process[who]
	if p.acking {
		s.refresh(who)
		p.acking = false
		m.emit(s, "", "%s reads what is condemned", sessionNames[who])
		return
	}
	if s.session[who].acked == s.epoch {
		return
	}
	if m.demand(&s, who) {
		r := &s.session[who]
		r.acked, r.pins = s.epoch, 0
		if p.relies != nobody {
			r.pins = r.pins.with(int(p.relies))
		}
		p.acking = p.at <= wCapture
		m.remember(&s, who)
	}
	m.emit(s, "", "%s acknowledges epoch %d", sessionNames[who], s.epoch)
}

// remember refreshes the catalog of a writer that has looked everything up: only the pack that it relies on matters.
func (m *model) remember(s *state, who int) {
	p := &s.process[who]
	if p.at <= wCapture {
		return
	}
	p.catalog = [packs]status{}
	if p.at == wPrepare && p.relies != nobody {
		p.catalog[p.relies] = s.rows[p.relies].status
	}
}

// Steps of writers.
const (
	wOpen = iota
	wRefresh
	wCapture
	wRegister
	wPrepare
	wCommit
)

// writerA makes a recovery point of what its parent holds: TreeWriter.Keep looks nothing up.
func (m *model) writerA(s state) {
	p := &s.process[writerA]
	switch p.at {
	case wOpen: // Vault.NewWriter
		if m.open(&s, writerA, true) {
			p.at = wCapture
		}
		m.emit(s, "", "writer A opens")
		return
	case wCapture: // what the parent's refset names, translated, is what the tree refers to
		t, lost := s, ""
		q := &t.process[writerA]
		q.relies, q.at = t.current(t.refset[pointOld]), wPrepare
		if q.relies == nobody {
			if t.session[writerA].status == active {
				lost = "the content of the parent of an open writer is gone"
			}
			t.end(writerA)
		} else {
			m.remember(&t, writerA)
		}
		m.emit(t, lost, "writer A keeps what its parent holds")
	}
	m.finish(s, writerA, pointA)
}

// writerB makes a recovery point of content that it looks up.
func (m *model) writerB(s state) {
	p := &s.process[writerB]
	switch p.at {
	case wOpen:
		if m.open(&s, writerB, false) {
			p.at = wRefresh
		}
		m.emit(s, "", "writer B opens")
		return
	case wRefresh: // of Vault.openSession
		s.refresh(writerB)
		p.at = wCapture
		m.emit(s, "", "writer B reads the ledger")
		return
	case wCapture:
		m.find(s)
	case wRegister: // packer.upload: the pack is durable before it is registered
		t := s
		if m.demand(&t, writerB) {
			q := &t.process[writerB]
			t.rows[packNew] = row{status: live, object: true, remap: nobody, owner: writerB}
			q.relies, q.at = packNew, wPrepare
			m.remember(&t, writerB)
		}
		m.emit(t, "", "writer B registers its pack")
	}
	m.finish(s, writerB, pointB)
}

// find is Writer.has: a lookup under the gate, with the note that the slot is relied on.
func (m *model) find(s state) {
	p := &s.process[writerB]
	if p.acking {
		return // the gate is held
	}
	found := false
	for i, known := range p.catalog {
		if known == live {
			found = true
			t := s
			q := &t.process[writerB]
			q.relies, q.at, q.catalog = uint8(i), wPrepare, [packs]status{}
			q.catalog[i] = live
			m.emit(t, "", "writer B finds the content in pack %d", i)
		}
	}
	if !found {
		p.at, p.catalog = wRegister, [packs]status{}
		m.emit(s, "", "writer B finds nothing and stores the content")
	}
}

// finish is the end of both writers, beside which the session is kept.
func (m *model) finish(s state, who, point int) {
	p := &s.process[who]
	if p.at == over {
		return
	}
	m.keep(s, who)
	switch p.at {
	case wPrepare: // Writer.prepare: the refset, with packs replaced that the catalog knows to be retired
		pack := p.relies
		if to := s.current(pack); p.catalog[pack] == retired && to != nobody {
			pack = to
		}
		s.refset[point] = pack
		p.at, p.catalog = wCommit, [packs]status{}
		m.emit(s, "", "%s writes its refset, which names pack %d", sessionNames[who], pack)
	case wCommit:
		m.commit(s, who, point)
	}
}

// commit is Points.Commit: the session is active, and checkPacks.
func (m *model) commit(s state, who, point int) {
	if !m.demand(&s, who) {
		m.emit(s, "", "%s is refused to commit", sessionNames[who])
		return
	}
	if s.current(s.refset[point]) == nobody {
		lost := ""
		if s.session[who].status == active {
			lost = "a writer that is not fenced cannot commit"
		}
		s.end(who)
		m.emit(s, lost, "%s is refused to commit, its packs are gone", sessionNames[who])
		return
	}
	s.point[point] = committed
	s.end(who)
	m.emit(s, "", "%s commits", sessionNames[who])
}

// Steps of the reader.
const (
	rOpen = iota
	rLookup
	rGet
)

// reader restores the old recovery point: Vault.chunk.
func (m *model) reader(s state) {
	p := &s.process[reader]
	switch p.at {
	case over:
		return
	case rOpen: // Vault.OpenPoint
		if m.open(&s, reader, true) {
			p.at = rLookup
		}
		m.emit(s, "", "the reader opens")
		return
	case rLookup:
		m.lookup(s)
	case rGet:
		m.get(s)
	}
	if s.session[reader].acked != s.epoch { // session.acknowledgeReader
		if m.demand(&s, reader) {
			s.session[reader].acked = s.epoch
		}
		m.emit(s, "", "the reader acknowledges epoch %d", s.epoch)
	}
}

// lookup is catalog.refresh and catalog.findReadable: live packs first. Whatever happens between the two happens after both
// as well, for a lookup asks nothing but the catalog.
func (m *model) lookup(s state) {
	for _, want := range []status{live, condemned} {
		found := false
		for i := range s.rows {
			if s.rows[i].status == want {
				found = true
				t := s
				q := &t.process[reader]
				q.relies, q.at = uint8(i), rGet
				m.emit(t, "", "the reader finds the content in pack %d", i)
			}
		}
		if found {
			return
		}
	}
	lost := ""
	if s.session[reader].status == active {
		lost = "the reader of an open session finds its content nowhere"
	}
	s.end(reader)
	m.emit(s, lost, "the reader finds nothing")
}

// get reads the object. If it is gone, the ledger must know.
func (m *model) get(s state) {
	p := &s.process[reader]
	r := s.rows[p.relies]
	if r.object {
		s.end(reader)
		m.emit(s, "", "the reader reads and closes")
		return
	}
	lost := ""
	if r.status.readable() {
		lost = "an object is gone that the ledger knows"
	}
	p.at, p.relies = rLookup, nobody
	m.emit(s, lost, "the reader does not get the object")
}
