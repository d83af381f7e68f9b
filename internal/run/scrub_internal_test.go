package run

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockfast/lockfast/internal/job"
)

// TestScrubber_ReadsBesideJobs asks whether to read packs on a server on which a job runs for ever.
func TestScrubber_ReadsBesideJobs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics(prometheus.NewRegistry())
		s := &Scrubber{Metrics: m}
		ask := func(end func() bool) (ends bool, waited time.Duration) {
			start := time.Now()
			return end(), time.Since(start)
		}
		if ends, waited := ask(s.pace(t.Context())); ends || waited > 0 {
			t.Errorf("without a job a pack waits %s, ends %t", waited, ends)
		}
		ended := m.started(job.Backups)
		end := s.pace(t.Context())
		for range scrubTurn {
			if ends, waited := ask(end); ends || waited != scrubPause {
				t.Fatalf("beside a job a pack waits %s, ends %t, want %s and not", waited, ends, scrubPause)
			}
		}
		if ends, _ := ask(end); !ends {
			t.Error("a vault has more than its turn")
		}
		end = s.pace(t.Context())
		time.AfterFunc(scrubPause/2-time.Second/2, func() { ended(nil, false) }) // between two looks
		if ends, waited := ask(end); ends || waited != scrubPause/2 {
			t.Errorf("when the job ends, a pack has waited %s, ends %t", waited, ends)
		}
	})
}
