package ledgertest

import (
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lockfast/lockfast/repo"
)

func (k *kit) wantDamages(want ...repo.DamageRecord) {
	k.Helper()
	got, err := k.Damages(k.ctx)
	k.must(err)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(repo.DamageRecord{}, "Found", "Seen"), cmpopts.EquateEmpty()); diff != "" {
		k.Errorf("damages (-want +got):\n%s", diff)
	}
	for _, d := range got {
		if d.Found.IsZero() {
			k.Errorf("damage of %s has no time", d.Object)
		}
	}
}

func (k *kit) revision() uint64 {
	k.Helper()
	_, n, err := k.Changes(k.ctx, 0)
	k.must(err)
	return n
}

func testDamage(k *kit) {
	a := repo.DamageRecord{Object: "d/aa", Pack: repo.ID{7}, Slot: 3, Reason: "flipped"}
	b := repo.DamageRecord{Object: "r/bb", Slot: repo.WholeObject, Reason: "missing"}
	before := k.revision()
	k.must(k.RecordDamage(k.ctx, []repo.DamageRecord{b, a}))
	k.wantDamages(a, b)
	after := k.revision()
	if after == before {
		k.Error("RecordDamage left the revision as it was")
	}
	first, err := k.Damages(k.ctx)
	k.must(err)
	k.Advance(time.Hour)
	again := a
	again.Reason = "another"
	k.must(k.RecordDamage(k.ctx, []repo.DamageRecord{again}))
	k.wantDamages(a, b)
	second, err := k.Damages(k.ctx)
	if err != nil || !second[0].Found.Equal(first[0].Found) || second[0].Seen.Sub(first[0].Seen) < time.Hour ||
		!second[1].Seen.Equal(first[1].Seen) || !first[1].Seen.Equal(first[1].Found) {
		k.Errorf("Damages = %v, after a repetition of the first %v, %v, want it to be found when it was and seen later", first, second, err)
	}
	if k.revision() != after {
		k.Error("a repetition raised the revision")
	}
	k.must(k.ClearDamage(k.ctx, []repo.DamageRecord{{Object: "d/aa", Slot: 3}, {Object: "d/aa", Slot: 4}}))
	k.wantDamages(b)
	if k.Reopen != nil {
		k.Ledger = k.Reopen()
		k.wantDamages(b)
	}
}

func testDamageForgotten(k *kit) {
	w := k.writer()
	packs := k.live(w, repo.ObjectData, 2)
	k.must(k.Close(k.ctx, w.ID))
	gone := repo.DamageRecord{Object: "d/1", Pack: packs[0], Slot: 1, Reason: "bad"}
	stays := repo.DamageRecord{Object: "d/2", Pack: packs[1], Slot: repo.WholeObject, Reason: "bad"}
	k.must(k.RecordDamage(k.ctx, []repo.DamageRecord{gone, stays}))
	k.must(k.RecordVerified(k.ctx, 1, packs))
	c := k.collector()
	_, err := k.Condemn(k.ctx, c.ID, packs[:1])
	k.must(err)
	k.must(k.Retire(k.ctx, c.ID, []repo.Retirement{{ID: packs[0]}}))
	k.must(k.Forget(k.ctx, c.ID, packs[:1], nil))
	k.wantDamages(stays)
	all, _, err := k.Verifications(k.ctx)
	k.must(err)
	if len(all) != 1 || all[0].Pack != packs[1] {
		k.Errorf("Verifications after Forget = %v, want those of %s", all, packs[1])
	}
}

func testVerified(k *kit) {
	w := k.writer()
	packs := k.live(w, repo.ObjectData, 1)
	k.must(k.RecordVerified(k.ctx, 3, append(packs, repo.ID{9})))
	first, t0, err := k.Verifications(k.ctx)
	k.must(err)
	k.Advance(time.Hour)
	k.must(k.RecordVerified(k.ctx, 1, packs))
	all, t1, err := k.Verifications(k.ctx)
	k.must(err)
	if len(first) != 1 || len(all) != 2 || all[0].Level != 1 || all[1] != first[0] || !all[0].At.After(first[0].At) || t1.Sub(t0) < time.Hour {
		k.Errorf("Verifications = %v at %v, then %v at %v; want a note per level", first, t0, all, t1)
	}
	k.must(k.RecordVerified(k.ctx, 3, packs))
	all, _, err = k.Verifications(k.ctx)
	k.must(err)
	if len(all) != 2 || !all[1].At.After(first[0].At) {
		k.Errorf("Verifications after a repetition = %v, want a later note", all)
	}
}
