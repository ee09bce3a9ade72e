package gateway

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// ledger keeps the books: for each environment, client and signal, received = forwarded + dropped + failed. It is a
// collector of its own, because counters that are added one by one cannot be read in one moment: here a push is booked
// whole under its row's lock, and read under it, so that the books balance at every scrape.
// Rows are as many as clients were ever configured, times three; they outlive a reload.
type ledger struct {
	mu   sync.RWMutex // guards rows, not what is in them
	rows map[rowKey]*row
}

type rowKey struct {
	environment, client string
	signal              ingest.Signal
}

// row is one environment's, client's and signal's book.
type row struct {
	mu    sync.Mutex // guards total
	total entry
}

// entry is one push in the books, or the sum of many.
type entry struct {
	received, forwarded           int
	dropped                       map[string]int // by reason
	failed                        map[string]int // by code
	receivedBytes, forwardedBytes int            // as on the wire
	decodedBytes                  int            // of the body after decompression
}

// drop books n items as dropped for reason.
func (e *entry) drop(reason string, n int) {
	if n == 0 {
		return
	}
	if e.dropped == nil {
		e.dropped = make(map[string]int)
	}
	e.dropped[reason] += n
}

// fail books n items as failed with code.
func (e *entry) fail(code string, n int) {
	if n == 0 {
		return
	}
	if e.failed == nil {
		e.failed = make(map[string]int)
	}
	e.failed[code] += n
}

// open is what of the push is neither forwarded nor dropped nor failed.
func (e *entry) open() int {
	n := e.received - e.forwarded
	for _, d := range e.dropped {
		n -= d
	}
	for _, f := range e.failed {
		n -= f
	}
	return n
}

func (e *entry) add(o *entry) {
	e.received += o.received
	e.forwarded += o.forwarded
	e.receivedBytes += o.receivedBytes
	e.forwardedBytes += o.forwardedBytes
	e.decodedBytes += o.decodedBytes
	for reason, n := range o.dropped {
		e.drop(reason, n)
	}
	for code, n := range o.failed {
		e.fail(code, n)
	}
}

func newLedger() *ledger { return &ledger{rows: make(map[rowKey]*row)} }

// row returns the book of k, made at its first use.
func (l *ledger) row(k rowKey) *row {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rows[k]
	if r == nil {
		r = new(row)
		l.rows[k] = r
	}
	return r
}

// book adds one push.
func (r *row) book(e *entry) {
	r.mu.Lock()
	r.total.add(e)
	r.mu.Unlock()
}

// sum returns a copy of the book: a slow reader must not hold up a push.
func (r *row) sum() (t entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.add(&r.total)
	return t
}

var (
	bookLabels = []string{"environment", "client", "signal"}

	receivedDesc       = prometheus.NewDesc("gateway_items_received_total", "Items (samples and histograms, lines, spans) in pushes that were decoded.", bookLabels, nil)
	forwardedDesc      = prometheus.NewDesc("gateway_items_forwarded_total", "Items that upstream has acknowledged.", bookLabels, nil)
	droppedDesc        = prometheus.NewDesc("gateway_items_dropped_total", "Items that were dropped by a rule or refused by a limit, by reason.", append(bookLabels[:3:3], "reason"), nil)
	failedDesc         = prometheus.NewDesc("gateway_items_failed_total", "Items that did not reach upstream or that it refused, by upstream's HTTP status, canceled, timeout, unreachable or partial.", append(bookLabels[:3:3], "code"), nil)
	receivedBytesDesc  = prometheus.NewDesc("gateway_received_bytes_total", "Bytes of push bodies as received on the wire.", bookLabels, nil)
	decodedBytesDesc   = prometheus.NewDesc("gateway_decoded_bytes_total", "Bytes of push bodies after decompression, of pushes that were decoded: closer to what logs and traces are billed by than bytes on the wire.", bookLabels, nil)
	forwardedBytesDesc = prometheus.NewDesc("gateway_forwarded_bytes_total", "Bytes of push bodies as sent to upstream and acknowledged.", bookLabels, nil)
)

// Describe implements prometheus.Collector.
func (l *ledger) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{receivedDesc, forwardedDesc, droppedDesc, failedDesc, receivedBytesDesc, decodedBytesDesc, forwardedBytesDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (l *ledger) Collect(ch chan<- prometheus.Metric) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for k, r := range l.rows {
		r.collect(k, ch)
	}
}

func (r *row) collect(k rowKey, ch chan<- prometheus.Metric) {
	t := r.sum()
	count := func(d *prometheus.Desc, n int, more ...string) {
		values := append([]string{k.environment, k.client, string(k.signal)}, more...)
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), values...)
	}
	count(receivedDesc, t.received)
	count(forwardedDesc, t.forwarded)
	count(receivedBytesDesc, t.receivedBytes)
	count(decodedBytesDesc, t.decodedBytes)
	count(forwardedBytesDesc, t.forwardedBytes)
	for reason, n := range t.dropped {
		count(droppedDesc, n, reason)
	}
	for code, n := range t.failed {
		count(failedDesc, n, code)
	}
}
