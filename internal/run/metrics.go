package run

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockfast/lockfast/internal/job"
)

// Metrics counts what jobs did, for /metrics.
type Metrics struct {
	jobs    *prometheus.CounterVec // by kind and outcome
	running *prometheus.GaugeVec   // by kind
	bytes   *prometheus.CounterVec // by kind and direction
	active  atomic.Int64           // jobs that run now
}

// Busy reports whether a job runs on this server.
func (m *Metrics) Busy() bool { return m.active.Load() > 0 }

// NewMetrics registers the metrics of jobs.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lockfast_jobs_total",
			Help: "Jobs that ended, by kind and outcome."}, []string{"kind", "outcome"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "lockfast_jobs_running",
			Help: "Jobs that run now, by kind."}, []string{"kind"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lockfast_job_bytes_total",
			Help: "Bytes that completed jobs read from resources (read), stored in vaults (stored), stored there by copies (copied) or restored " +
				"(restored)."},
			[]string{"direction"}),
	}
	reg.MustRegister(m.jobs, m.running, m.bytes)
	return m
}

// started counts a job that runs; the result is called with its end, nil for success.
func (m *Metrics) started(k job.Kind) (ended func(err error, stopping bool)) {
	m.running.WithLabelValues(string(k)).Inc()
	m.active.Add(1)
	return func(err error, stopping bool) {
		m.running.WithLabelValues(string(k)).Dec()
		m.active.Add(-1)
		m.jobs.WithLabelValues(string(k), outcome(err, stopping)).Inc()
	}
}

func outcome(err error, stopping bool) string {
	switch {
	case err == nil:
		return "completed"
	case stopping, errors.Is(err, job.ErrLost):
		return "interrupted"
	case errors.Is(err, errStopped), errors.Is(err, job.ErrAborting):
		return "aborted"
	case errors.Is(err, errExpired):
		return "expired"
	}
	return "failed"
}

func (m *Metrics) moved(direction string, n int64) {
	m.bytes.WithLabelValues(direction).Add(float64(n))
}
