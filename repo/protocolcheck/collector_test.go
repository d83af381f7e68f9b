package protocolcheck_test

// Steps of a collector, which follow reclaim.run.
const (
	cOpen = iota
	cMark
	cCondemn
	cAwait
	cMarkAgain
	cMove
	cRetire
	cSnapshot
	cRewrite
	cAwaitRetired
	cRemove
	cForget
	cClose
)

// collector is one reclaim. What it moves goes into the pack given.
func (m *model) collector(s state, who int, copies int) {
	p := &s.process[who]
	name := sessionNames[who]
	switch p.at {
	case cOpen: // a second active collector is refused with ErrBusy, and tries again
		for _, other := range []int{collector, collector2} {
			if s.session[other].status == active {
				return
			}
		}
		m.open(&s, who, false)
		p.at = cMark
		m.emit(s, "", "%s opens", name)
	case cMark:
		m.choose(s, who)
	case cCondemn: // Collector.Condemn
		if m.demand(&s, who) {
			s.epoch++
			p.epoch = s.epoch
			for i := range s.rows {
				if r := &s.rows[i]; p.victims.has(i) && r.status == live {
					r.status = condemned
				}
			}
			p.at = cAwait
		}
		m.emit(s, "", "%s condemns %b", name, p.victims)
	case cAwait:
		if m.ack && m.waiting(&s, p.epoch) {
			return
		}
		p.at = cMarkAgain
		m.emit(s, "", "%s has waited for epoch %d", name, p.epoch)
	case cMarkAgain:
		m.markAgain(s, who)
	case cMove: // reclaim.move, and publishSegment in reclaim.retire
		if m.demand(&s, who) {
			s.rows[copies] = row{status: live, object: true, remap: nobody, owner: uint8(who)}
			p.at = cRetire
		}
		m.emit(s, "", "%s copies what is needed of %b to pack %d", name, p.moving, copies)
	case cRetire:
		m.retire(s, who, copies)
	case cSnapshot: // the snapshot of reclaim.rewriteRefsets, and which packs are outlived by it
		for i, r := range s.rows {
			if r.status == retired && m.outlived(&s, who, r.epoch) {
				p.kept = p.kept.with(i)
			}
		}
		p.at = cRewrite
		m.emit(s, "", "%s notes which sessions are active", name)
	case cRewrite: // reclaim.rewriteRefset, of points that are there or may become
		for point := range s.refset {
			if to := s.current(s.refset[point]); to != nobody {
				s.refset[point] = to
			}
		}
		p.at = cAwaitRetired
		m.emit(s, "", "%s rewrites refsets", name)
	case cAwaitRetired:
		if m.ack && m.waiting(&s, s.retiredAt()) {
			return
		}
		p.epoch, p.victims = 0, 0 // what is left to retire stands in rest
		for i, r := range s.rows {
			if r.status == retired {
				p.victims = p.victims.with(i)
			}
		}
		p.at = cRemove
		m.emit(s, "", "%s has waited until nobody looks for retired packs", name)
	case cRemove: // reclaim.removePacks; the ledger is not asked
		for i := range s.rows {
			if p.victims.has(i) {
				s.rows[i].object = false
			}
		}
		p.at = cForget
		m.emit(s, "", "%s removes %b", name, p.victims)
	case cForget:
		if m.demand(&s, who) {
			for i := range s.rows {
				if r := &s.rows[i]; p.victims.has(i) && r.status == retired && !p.kept.has(i) {
					*r = row{status: forgotten, remap: nobody, owner: nobody}
				}
			}
			p.at = cClose
			if p.rest != 0 {
				p.at, p.victims, p.rest, p.kept = cRetire, p.rest, 0, 0
			}
		}
		m.emit(s, "", "%s forgets what it may of %b", name, p.victims)
	case cClose:
		s.end(who)
		m.emit(s, "", "%s closes", name)
	}
}

// live is mark: what refsets of committed points name, and what active sessions pin. lost is true when a refset is missing
// that counts.
func (m *model) live(s *state) (out packSet, lost bool) {
	add := func(pack uint8) {
		to := s.current(pack)
		if to == nobody {
			lost = true
			return
		}
		out = out.with(int(to))
	}
	for point, st := range s.point {
		if st == committed {
			add(s.refset[point])
		}
	}
	if m.pinned(s) {
		add(s.refset[pointOld])
	}
	for _, r := range s.session {
		for i := range s.rows {
			if r.status == active && r.pins.has(i) {
				add(uint8(i))
			}
		}
	}
	return out, lost
}

// choose is the first mark and reclaim.choose. In place of packs that are partly dead stands the choice to remove all packs
// that no active session owns, and not only the dead ones.
func (m *model) choose(s state, who int) {
	marked, lost := m.live(&s)
	why := ""
	if lost && s.session[who].status == active {
		why = "a refset is gone that counts"
	}
	var dead, every packSet
	for i, r := range s.rows {
		if !r.status.readable() || r.owner != nobody && s.session[r.owner].status == active {
			continue
		}
		every = every.with(i)
		if !marked.has(i) {
			dead = dead.with(i)
		}
	}
	for _, victims := range []packSet{dead, every} {
		t := s
		p := &t.process[who]
		p.victims, p.at = victims, cCondemn
		if !m.remark {
			p.moving = victims & marked
		}
		if victims == 0 {
			p.at = cSnapshot
		}
		m.emit(t, why, "%s chooses %b", sessionNames[who], victims)
		if dead == every {
			return
		}
	}
}

// waiting is Collector.Waiting.
func (m *model) waiting(s *state, epoch uint8) bool {
	for who, r := range s.session {
		if r.status == active && who != collector && who != collector2 && r.acked < epoch {
			return true
		}
	}
	return false
}

// markAgain is the rest of reclaim.condemn: what is needed is moved, or rescued.
func (m *model) markAgain(s state, who int) {
	marked, lost := m.live(&s)
	why := ""
	if lost && s.session[who].status == active {
		why = "a refset is gone that counts"
	}
	p := &s.process[who]
	if m.remark {
		p.moving = p.victims & marked
	}
	p.at = cRetire
	if p.moving == 0 {
		m.emit(s, why, "%s marks again: nothing is needed", sessionNames[who])
		return
	}
	t := s
	t.process[who].at = cMove
	m.emit(t, why, "%s marks again: %b is to move", sessionNames[who], p.moving)
	if m.demand(&s, who) { // reclaim.rescue
		for i := range s.rows {
			if r := &s.rows[i]; p.moving.has(i) && r.status == condemned {
				r.status = live
			}
		}
		p.victims &^= p.moving
		p.moving = 0
	}
	m.emit(s, why, "%s marks again and rescues", sessionNames[who])
}

// retire is the retirement of all victims, or of some while others are still moved, as settler does; those come later.
func (m *model) retire(s state, who, copies int) {
	all := s.process[who].victims
	for some := packSet(1); some < all; some++ {
		if some&^all == 0 {
			t := s
			t.process[who].victims, t.process[who].rest = some, all&^some
			m.retireAll(t, who, copies)
		}
	}
	m.retireAll(s, who, copies)
}

// retireAll is Collector.Retire: all victims are condemned, or retired already.
func (m *model) retireAll(s state, who, copies int) {
	p := &s.process[who]
	victims, moving := p.victims, p.moving
	if m.demand(&s, who) {
		for i, r := range s.rows {
			if victims.has(i) && r.status != condemned && r.status != retired {
				s.end(who)
				m.emit(s, "", "%s is refused to retire %b", sessionNames[who], victims)
				return
			}
		}
		s.epoch++
		for i := range s.rows {
			r := &s.rows[i]
			if !victims.has(i) || r.status != condemned {
				continue
			}
			r.status, r.epoch = retired, s.epoch
			if moving.has(i) {
				r.remap = uint8(copies)
			}
		}
		p.at, p.victims, p.moving, p.epoch = cSnapshot, 0, moving&p.rest, 0
	}
	m.emit(s, "", "%s retires %b", sessionNames[who], victims)
}

// retiredAt is the highest epoch of a retired pack.
func (s *state) retiredAt() (epoch uint8) {
	for _, r := range s.rows {
		if r.status == retired {
			epoch = max(epoch, r.epoch)
		}
	}
	return epoch
}

// outlived is reclaim.outlived: a session that is active was opened before the epoch.
func (m *model) outlived(s *state, who int, epoch uint8) bool {
	for w, r := range s.session {
		if r.status == active && w != who && r.opened < epoch && m.outlive {
			return true
		}
	}
	return false
}
