package protocolcheck_test

// Everything in a state is a small number, so that a state is a key of a map.
type (
	packSet uint8 // a bit for each pack
	status  uint8 // of a pack, in the ledger or in somebody's catalog
)

const (
	none      status = iota // no row, or not known
	live                    // repo.ObjectLive
	condemned               // repo.ObjectCondemned
	retired                 // repo.ObjectRetired
	forgotten               // repo.ObjectForgotten
)

// The packs. Each has one slot, and all hold the same content, which is all that there is to back up.
const (
	packOld   = iota // named by the old recovery point
	packNew          // stored by writer B if it finds no other
	packCopy         // of the first collector
	packCopy2        // of the second collector
	packs
)

// The sessions. Writer A has the old recovery point as its parent and keeps its content; writer B looks the content up.
const (
	writerA = iota
	writerB
	reader
	collector
	collector2
	sessions
	nobody = 0xff
)

// The recovery points.
const (
	pointOld = iota
	pointA
	pointB
	points
)

type pointStatus uint8

const (
	absent pointStatus = iota
	committed
	deleted
)

type sessionStatus uint8

const (
	unopened sessionStatus = iota
	active
	fenced
	ended // closed or committed, and forgotten
)

// row is a pack in the ledger, and its object in the store.
type row struct {
	status status
	remap  uint8 // where its slot went; nobody = nowhere
	owner  uint8 // session that stored it
	epoch  uint8 // at which it was retired
	object bool  // the bytes are there
}

// sessionRow is a session in the ledger.
type sessionRow struct {
	status        sessionStatus
	opened, acked uint8
	pinsOld       bool    // Session.Pin is the old recovery point
	pins          packSet // as acknowledged
}

// process is what the owner of a session has in memory. Its steps are counted by at; see model_test.go.
type process struct {
	at      uint8
	catalog [packs]status // writer: as last refreshed
	relies  uint8         // writer: the pack that its recovery point will name; reader: the one that it looked up
	acking  bool          // writer: between Acknowledge and the refresh of the catalog; the gate is held

	victims, moving, rest, kept packSet // collector
	epoch                       uint8
}

// state is one state of everything.
type state struct {
	epoch   uint8
	rows    [packs]row
	session [sessions]sessionRow
	process [sessions]process
	point   [points]pointStatus
	refset  [points]uint8 // the pack that its refset in the store names; nobody = there is no refset
}

func start() state {
	s := state{epoch: 1}
	for i := range s.rows {
		s.rows[i].remap, s.rows[i].owner = nobody, nobody
	}
	for i := range s.refset {
		s.refset[i] = nobody
	}
	for i := range s.process {
		s.process[i].relies = nobody
	}
	s.rows[packOld] = row{status: live, object: true, remap: nobody, owner: nobody}
	s.point[pointOld], s.refset[pointOld] = committed, packOld
	return s
}

func (p packSet) has(i int) bool { return p>>i&1 == 1 }

func (p packSet) with(i int) packSet { return p | 1<<i }

// readable is the function of the same name of package repo.
func (s status) readable() bool { return s == live || s == condemned }

// current follows remaps, as Vault.addMoved does. It returns nobody when the slot is lost.
func (s *state) current(pack uint8) uint8 {
	for range packs {
		if pack == nobody {
			return nobody
		}
		switch r := s.rows[pack]; r.status {
		case live, condemned:
			return pack
		case retired:
			pack = r.remap
		default:
			return nobody
		}
	}
	return nobody
}

// refresh is catalog.refresh: one reading of what the ledger says.
func (s *state) refresh(who int) {
	for i := range s.rows {
		s.process[who].catalog[i] = s.rows[i].status
	}
}
