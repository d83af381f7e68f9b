package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readyTimeout bounds how long /readyz waits for the database and the store.
const readyTimeout = 5 * time.Second

// front answers the operator's questions (/healthz, /readyz, /metrics) and hands everything else to the service that
// the signature's credential scope names. It takes no path apart: the protocol packages match the raw escaped one.
type front struct {
	services map[string]http.Handler // by the service in the credential scope
	other    http.Handler            // for requests without a scope, or with an unknown one
	ready    func(ctx context.Context) error
	metrics  http.Handler
	requests *prometheus.HistogramVec
}

func newFront(services map[string]http.Handler, other http.Handler, ready func(context.Context) error,
	reg *prometheus.Registry) *front {
	f := &front{
		services: services,
		other:    other,
		ready:    ready,
		metrics:  promhttp.HandlerFor(reg, promhttp.HandlerOpts{}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "lockfast_http_request_duration_seconds",
			Help:    "Time to answer API requests, by service and status class.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"service", "status"}),
	}
	reg.MustRegister(f.requests)
	return f
}

// newRegistry returns a registry that knows the process.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// ServeHTTP implements [http.Handler].
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		fmt.Fprintln(w, "ok")
	case "/readyz":
		f.serveReady(w, r)
	case "/metrics":
		f.metrics.ServeHTTP(w, r)
	default:
		f.serveAPI(w, r)
	}
}

func (f *front) serveReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := f.ready(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (f *front) serveAPI(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	name := scope(r)
	h, known := f.services[name]
	if !known {
		h, name = f.other, "unknown"
	}
	sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	h.ServeHTTP(sw, r)
	f.requests.WithLabelValues(name, fmt.Sprintf("%dxx", sw.status/100)).Observe(time.Since(start).Seconds())
}

// scope returns the service in the credential scope of the request's signature, in the header or in the query. Nothing
// is verified here; a wrong scope fails later, with the signature.
func scope(r *http.Request) string {
	credential := ""
	if _, rest, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		credential, _, _ = strings.Cut(rest, ",")
	} else if strings.Contains(r.URL.RawQuery, "X-Amz-Credential=") {
		credential = r.URL.Query().Get("X-Amz-Credential")
	}
	parts := strings.Split(credential, "/")
	if len(parts) != 5 {
		return ""
	}
	return parts[3]
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
