// Package trail keeps the log of API calls: one record per request, in the form of AWS CloudTrail's, of every service
// that is served. It implements the recorder of the wire protocols.
//
// Three kinds of calls are kept with different care:
//
//   - A call of an operation that may change something is on disk before it is answered. Calls that come at the same time
//     share a transaction. If it cannot be written, the call has been carried out all the same and is answered as such;
//     the loss is logged and counted.
//   - Calls that only read are collected for up to a second and written together, compressed, in few rows (segments).
//     They never wait; those of the last moment are lost in a crash, and what comes faster than it can be written is
//     counted and not kept. A search for them goes through the segments of the time in question.
//   - Of requests of callers that could not be identified, no more than one a second is kept in the long run: the others
//     are counted, and the next one that is kept names their number.
//
// Members of inputs and outputs that models mark as sensitive are not in a record, nor are secrets of any kind.
//
// The form of a record is described at
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html.
package trail

import (
	"embed"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "trail", Files: migrations}
}

// Options says what a trail works with.
type Options struct {
	DB    *meta.DB
	Pager *restjson.Pager
	// Account is shown the requests of callers that could not be identified.
	Account string
	Days    int                   // how long calls are kept; 0 = for ever
	Metrics prometheus.Registerer // may be nil
	Log     *slog.Logger
	Now     func() time.Time // time.Now if nil; the trail counts in real time
}

// Service is the trail. Its methods may be called concurrently.
type Service struct {
	Options
	metrics  *metrics
	strange  limiter
	codec    *codec
	encoders sync.Pool // of *encoder
	maxScan  int

	mu      sync.Mutex // guards what follows
	queue   queue
	closed  bool
	wake    chan struct{} // holds one token if the writer has something to do
	stopped chan struct{} // closed when the writer has ended
}

// New returns a trail and starts its writer, which [Service.Close] ends.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Service{Options: o, metrics: newMetrics(o.Metrics), codec: newCodec(), maxScan: maxScan,
		encoders: sync.Pool{New: func() any { return &encoder{} }},
		wake:     make(chan struct{}, 1), stopped: make(chan struct{})}
	go s.write()
	return s
}

// Close writes what is still to be written. Calls that are recorded later are lost.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed, s.queue.due = true, true
	s.mu.Unlock()
	s.poke()
	<-s.stopped
	return nil
}

type metrics struct {
	events     *prometheus.CounterVec
	lost       *prometheus.CounterVec
	suppressed prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lockfast_trail_events_total",
			Help: "API calls written to the log of calls, by kind (read, write)."}, []string{"kind"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lockfast_trail_lost_total",
			Help: "API calls that could not be written to the log of calls, by kind (read, write)."}, []string{"kind"}),
		suppressed: prometheus.NewCounter(prometheus.CounterOpts{Name: "lockfast_trail_suppressed_total",
			Help: "Requests of unknown callers that were left out of the log of calls because there were too many."}),
	}
	for _, kind := range []string{kindRead, kindWrite} { // so that the first loss is an increase
		m.events.WithLabelValues(kind)
		m.lost.WithLabelValues(kind)
	}
	if reg != nil {
		reg.MustRegister(m.events, m.lost, m.suppressed)
	}
	return m
}
