// Package measure reads what a process has used from /proc, and what a Go program says of its memory and CPU by its metrics and
// profiles. It needs Linux, and changes nothing of the program that it measures. The runner calls it.
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
	"syscall"
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
		if *into, err = kilobytes(rest); err != nil {
			return 0, 0, err
		}
	}
	if rss == 0 {
		return 0, 0, fmt.Errorf("the process has no memory: it has ended")
	}
	return rss, peak, nil
}

// Files is what of the resident set is the program itself, and other files that it maps.
func (p Process) Files() (uint64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssFile:"); ok {
			return kilobytes(rest)
		}
	}
	return 0, fmt.Errorf("the process has no memory: it has ended")
}

// kilobytes reads what /proc writes as "1234 kB".
func kilobytes(text string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
	return n << 10, err
}

// ResetPeak lets the peak begin anew, at what is resident now. Where that is not allowed the peak stays that of its life.
func (p Process) ResetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p), []byte("5"), 0)
}

// Runtime is the memory that a Go runtime holds and has not given back to the kernel, in bytes.
type Runtime struct {
	// Heap is all of the heap: in use, garbage, and free. Stacks are those of goroutines. Own is what it needs itself.
	Heap, Stacks, Own float64
}

// ReadRuntime reads go_memstats_* at a Prometheus metrics URL.
func ReadRuntime(ctx context.Context, url string) (r Runtime, err error) {
	text, err := read(ctx, url)
	if err != nil {
		return r, err
	}
	for name, add := range map[string]func(n float64){
		"heap_inuse": func(n float64) { r.Heap += n }, "heap_idle": func(n float64) { r.Heap += n }, "heap_released": func(n float64) { r.Heap -= n },
		"stack_inuse": func(n float64) { r.Stacks += n },
		"mspan_sys":   func(n float64) { r.Own += n }, "mcache_sys": func(n float64) { r.Own += n }, "buck_hash_sys": func(n float64) { r.Own += n },
		"gc_sys": func(n float64) { r.Own += n }, "other_sys": func(n float64) { r.Own += n },
	} {
		n, err := value(text, "go_memstats_"+name+"_bytes")
		if err != nil {
			return r, err
		}
		add(n)
	}
	return r, nil
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

// OwnCPU is what this process has used so far, of user and system time. On a machine that others use too it says more than the
// clock. For floors and benchmarks, in whose process nothing else happens.
func OwnCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
