// Package metrics measures what the server does, in the form of Prometheus.
//
// Names begin with flovyn_; docs/metrics.md describes each, and a test compares.
// The number of series is bounded: labels are procedures, codes, classes and
// doors, of which there are a fixed number, and, for the depth of queues, at most
// MaxQueues queues. Only the names of queues are chosen by clients.
package metrics

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// MaxQueues bounds the queues whose depth is published, and MaxDepth how far one
// is counted: counting all of a backlog of millions would cost what it warns of.
const (
	MaxQueues = 100
	MaxDepth  = 10_000
)

// Queue is how much work of a queue waits for workers.
type Queue struct {
	Class flovyn.Class
	Org   flovyn.OrgID
	Name  string
	Depth int
	// Age is how long the work that is next has waited.
	Age time.Duration
}

// Sources are what is asked at each scrape.
type Sources struct {
	// Pollers returns how many polls of a class wait for work here.
	Pollers func(flovyn.Class) int
	// Cache returns how often a history was there and was not, and the bytes kept.
	Cache func() (hits, misses, bytes int64)
	// Connections returns those to the database: in use, idle, and allowed.
	Connections func() (used, idle, most int)
}

// Metrics is everything that is measured. Methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	calls        *prometheus.CounterVec
	durations    *prometheus.HistogramVec
	inFlight     prometheus.Gauge
	dispatch     *prometheus.HistogramVec
	commits      *prometheus.CounterVec
	commitTime   prometheus.Observer
	batches      prometheus.Observer
	auth         *prometheus.CounterVec
	deleted      *prometheus.CounterVec
	sampleFailed prometheus.Counter

	mu     sync.Mutex
	queues []Queue
}

var (
	// callBuckets reach from what a call takes in memory to what a poll is held.
	callBuckets   = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	commitBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30}
	// dispatchBuckets reach from a hand-over in memory to a queue that nobody serves.
	dispatchBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 1800, 7200}
	batchBuckets    = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}
)

// New makes the metrics of a server of the given version.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "flovyn", Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "flovyn", Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.calls = counter("rpc_requests_total", "Calls that were answered, by procedure and code.", "procedure", "code")
	m.durations = histogram("rpc_request_duration_seconds", "How long calls took; polls wait for work.", callBuckets, "procedure")
	m.inFlight = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "flovyn", Name: "rpc_requests_in_flight", Help: "Calls under way, polls included."})
	m.dispatch = histogram("dispatch_latency_seconds", "From when work could be done until a worker had it.", dispatchBuckets, "class")
	m.commits = counter("commits_total", "Group commits, by result.", "result")
	m.commitTime = histogram("commit_duration_seconds", "How long a group commit took, from its first statement.", commitBuckets).WithLabelValues()
	m.batches = histogram("commit_batch_size", "Requests that shared a group commit.", batchBuckets).WithLabelValues()
	m.auth = counter("auth_requests_total", "Requests by door and what authentication made of them.", "door", "outcome")
	m.deleted = counter("retention_deleted_total", "Rows and history partitions that retention has removed.", "what")
	m.sampleFailed = counter("queue_sample_failures_total", "Looks at the queues that failed.").WithLabelValues()
	m.registry.MustRegister(
		m.inFlight, &queueCollector{m},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "flovyn", Name: "build_info", Help: "Always 1; the label says which version runs.",
			ConstLabels: prometheus.Labels{"version": version},
		}, func() float64 { return 1 }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Watch adds what is asked at each scrape. It is called once.
func (m *Metrics) Watch(s Sources) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Namespace: "flovyn", Name: name, Help: help, ConstLabels: labels}, value))
	}
	counter := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "flovyn", Name: name, Help: help}, value))
	}
	for _, class := range []flovyn.Class{flovyn.ClassWorkflow, flovyn.ClassTask} {
		gauge("pollers_waiting", "Polls that wait for work here.", prometheus.Labels{"class": string(class)},
			func() float64 { return float64(s.Pollers(class)) })
	}
	counter("history_cache_hits_total", "Histories that were there when they were needed.",
		func() float64 { hits, _, _ := s.Cache(); return float64(hits) })
	counter("history_cache_misses_total", "Histories of which something had to be read from the database.",
		func() float64 { _, misses, _ := s.Cache(); return float64(misses) })
	gauge("history_cache_bytes", "Memory of the histories that are kept.", nil,
		func() float64 { _, _, bytes := s.Cache(); return float64(bytes) })
	for state, value := range map[string]func() int{
		"used":    func() int { used, _, _ := s.Connections(); return used },
		"idle":    func() int { _, idle, _ := s.Connections(); return idle },
		"allowed": func() int { _, _, most := s.Connections(); return most },
	} {
		gauge("db_connections", "Connections to the database.", prometheus.Labels{"state": state}, func() float64 { return float64(value()) })
	}
}

// Handler serves everything in the format that Prometheus scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
}

// Call counts a call that begins; the function that it returns, its end.
func (m *Metrics) Call(procedure string) (end func(code string)) {
	begin := time.Now() //nolint:forbidigo // measures
	m.inFlight.Inc()
	return func(code string) {
		m.inFlight.Dec()
		m.calls.WithLabelValues(procedure, code).Inc()
		m.durations.WithLabelValues(procedure).Observe(time.Since(begin).Seconds())
	}
}

// Dispatched counts work that reached a worker after it had waited.
func (m *Metrics) Dispatched(class flovyn.Class, waited time.Duration) {
	m.dispatch.WithLabelValues(string(class)).Observe(max(waited, 0).Seconds())
}

// Committed counts a group commit.
func (m *Metrics) Committed(requests int, took time.Duration, err error) {
	if err != nil {
		m.commits.WithLabelValues("error").Inc()
		return
	}
	m.commits.WithLabelValues("ok").Inc()
	m.commitTime.Observe(took.Seconds())
	m.batches.Observe(float64(requests))
}

// Authenticated counts a request at a door.
func (m *Metrics) Authenticated(door, outcome string) { m.auth.WithLabelValues(door, outcome).Inc() }

// Deleted counts what retention removed.
func (m *Metrics) Deleted(what string, n int) { m.deleted.WithLabelValues(what).Add(float64(n)) }

// Sampled publishes how the queues stand; those that are not among them stand
// empty. After an error nothing is published, rather than what was.
func (m *Metrics) Sampled(queues []Queue, err error) {
	if err != nil {
		m.sampleFailed.Inc()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queues = queues[:min(len(queues), MaxQueues)]
}

// queueCollector publishes the last sample.
type queueCollector struct{ *Metrics }

var (
	queueDepth = prometheus.NewDesc("flovyn_queue_depth",
		"Work that waits for workers, counted up to 10000 a queue and for at most 100 queues.", []string{"class", "org", "queue"}, nil)
	queueAge = prometheus.NewDesc("flovyn_queue_age_seconds",
		"How long the work that is next in a queue has waited.", []string{"class", "org", "queue"}, nil)
)

// Describe names the metrics.
func (q *queueCollector) Describe(out chan<- *prometheus.Desc) {
	out <- queueDepth
	out <- queueAge
}

// Collect publishes them.
func (q *queueCollector) Collect(out chan<- prometheus.Metric) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.queues {
		labels := []string{string(s.Class), s.Org.String(), s.Name}
		out <- prometheus.MustNewConstMetric(queueDepth, prometheus.GaugeValue, float64(s.Depth), labels...)
		out <- prometheus.MustNewConstMetric(queueAge, prometheus.GaugeValue, max(s.Age, 0).Seconds(), labels...)
	}
}
