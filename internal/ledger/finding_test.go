package ledger_test

import (
	"maps"
	"testing"

	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

func TestDamaged_CountsObjectsThatAreThere(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		d := ledger.New(db, ledger.Options{})
		v := vault(t, d, "v")
		vault(t, d, "sound")
		pack := draw(1)
		w := open(t, v, repo.SessionWriter)
		if err := v.Reserve(t.Context(), w.ID, pack); err != nil {
			t.Fatal(err)
		}
		if err := v.Register(t.Context(), w.ID, pack); err != nil {
			t.Fatal(err)
		}
		records := []repo.DamageRecord{
			{Object: "d/1", Pack: pack[0].ID, Slot: 1}, {Object: "d/1", Pack: pack[0].ID, Slot: 2},
			{Object: "d/2", Pack: draw(1)[0].ID, Slot: repo.WholeObject}, {Object: "c/1", Slot: repo.WholeObject},
		}
		if err := v.RecordDamage(t.Context(), records); err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{"v": 2}
		if got, err := d.Damaged(t.Context()); err != nil || !maps.Equal(got, want) {
			t.Errorf("Damaged = %v, %v, want %v", got, err, want)
		}
	})
}
