// Package measure reads what a process has used from /proc, and what a Go program says of its memory from its metrics. It
// needs Linux, and nothing of the program that it measures. The runner calls it.
package measure

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Process is a running process, known by its id.
type Process int

// clockTick is the unit of CPU time in /proc. It is 100 a second on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// CPU is user and system time so far, of all its threads.
//
// Source: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func (p Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
	if err != nil {
		return 0, err
	}
	return cpu(stat)
}

// cpu reads fields 14 and 15. The name in field 2 may hold spaces and parentheses.
func cpu(stat []byte) (time.Duration, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%d fields in stat, want 52", len(fields)+2)
	}
	var ticks time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += time.Duration(n)
	}
	return ticks * clockTick, nil
}

// Memory is the resident set now, and its peak since ResetPeak, in bytes.
func (p Process) Memory() (rss, peak uint64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
	if err != nil {
		return 0, 0, err
	}
	return memory(string(status))
}

func memory(status string) (rss, peak uint64, err error) {
	for line := range strings.Lines(status) {
		name, rest, _ := strings.Cut(line, ":")
		var into *uint64
		switch name {
		case "VmRSS":
			into = &rss
		case "VmHWM":
			into = &peak
		default:
			continue
		}
		kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		*into = kb << 10
	}
	if rss == 0 {
		return 0, 0, fmt.Errorf("the process has no memory: it has ended")
	}
	return rss, peak, nil
}

// ResetPeak lets the peak begin anew, at what is resident now. Where that is not allowed the peak stays that of its life.
func (p Process) ResetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p), []byte("5"), 0)
}

// Heap is what a Go program has allocated so far.
type Heap struct{ Bytes, Objects float64 }

// ReadHeap reads go_memstats_* at a Prometheus metrics URL.
func ReadHeap(ctx context.Context, url string) (h Heap, err error) {
	text, err := read(ctx, url)
	if err != nil {
		return h, err
	}
	return heap(text)
}

// ReadGauge reads a metric without labels at a Prometheus metrics URL.
func ReadGauge(ctx context.Context, url, name string) (float64, error) {
	text, err := read(ctx, url)
	if err != nil {
		return 0, err
	}
	return value(text, name)
}

// ReadSum reads metrics at a Prometheus metrics URL, and adds up what each has of any labels. All of them must be there.
func ReadSum(ctx context.Context, url string, names ...string) (float64, error) {
	text, err := read(ctx, url)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, name := range names {
		n, err := sum(text, name)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// sum adds up the lines of one metric. What labels hold may look like anything but a line's end.
func sum(text, name string) (total float64, err error) {
	found := false
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || !strings.HasPrefix(rest, "{") && !strings.HasPrefix(rest, " ") {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, '}')+1:]), 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		total, found = total+n, true
	}
	if !found {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return total, nil
}

func read(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

func heap(text string) (h Heap, err error) {
	if h.Bytes, err = value(text, "go_memstats_alloc_bytes_total"); err != nil {
		return h, err
	}
	h.Objects, err = value(text, "go_memstats_mallocs_total")
	return h, err
}

// value is that of a metric without labels.
func value(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}
