package directory

import (
	"os/user"
	"strconv"
)

// Owners looks names of users and groups up in a recovery point's metadata ([repo.Facts.Metadata]): keys are
// owner.<uid> and group.<gid> (docs/format.md section 17).
type Owners map[string]string

// User returns the name that the user had where the recovery point was made, or the number.
func (o Owners) User(uid uint32) string { return o.name("owner.", uid) }

// Group returns the name that the group had where the recovery point was made, or the number.
func (o Owners) Group(gid uint32) string { return o.name("group.", gid) }

func (o Owners) name(prefix string, id uint32) string {
	number := strconv.FormatUint(uint64(id), 10)
	if name := o[prefix+number]; name != "" {
		return name
	}
	return number
}

// maxOwners bounds the table of names in the metadata.
const maxOwners = 10_000

// owners collects the users and groups of a capture.
type owners struct {
	users, groups    map[uint32]struct{}
	lastUID, lastGID uint32
	any              bool
}

func (o *owners) add(uid, gid uint32) {
	if o.any && uid == o.lastUID && gid == o.lastGID {
		return
	}
	if !o.any {
		o.users, o.groups = map[uint32]struct{}{}, map[uint32]struct{}{}
	}
	o.any, o.lastUID, o.lastGID = true, uid, gid
	o.users[uid] = struct{}{}
	o.groups[gid] = struct{}{}
}

// table returns the names of those that have one here.
func (o *owners) table() map[string]string {
	t := map[string]string{}
	for uid := range o.users {
		id := strconv.FormatUint(uint64(uid), 10)
		if u, err := user.LookupId(id); err == nil && len(t) < maxOwners {
			t["owner."+id] = u.Username
		}
	}
	for gid := range o.groups {
		id := strconv.FormatUint(uint64(gid), 10)
		if g, err := user.LookupGroupId(id); err == nil && len(t) < 2*maxOwners {
			t["group."+id] = g.Name
		}
	}
	return t
}
