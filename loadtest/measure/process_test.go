package measure

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

func TestCPU(t *testing.T) {
	got, err := cpu([]byte("7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16\n"))
	if err != nil || got != 3*time.Second {
		t.Errorf("%v, %v, want 3s", got, err)
	}
	if _, err := cpu([]byte("7 (a) S 1")); err == nil {
		t.Error("a short line is read")
	}
}

func TestMemory(t *testing.T) {
	rss, peak, err := memory("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
	if err != nil || rss != 1<<20 || peak != 2<<20 {
		t.Errorf("%d, %d, %v", rss, peak, err)
	}
	if _, _, err := memory("Name:\tx\nState:\tZ (zombie)\n"); err == nil {
		t.Error("a process that has ended has memory")
	}
}

func TestOfItself(t *testing.T) {
	self := Process(os.Getpid())
	if _, err := self.CPU(); err != nil {
		t.Error(err)
	}
	if rss, peak, err := self.Memory(); err != nil || rss == 0 || peak < rss/2 {
		t.Errorf("%d, %d, %v", rss, peak, err)
	}
	if n, err := self.Files(); err != nil || n < 1<<20 {
		t.Errorf("%d bytes of files, %v", n, err)
	}
	if _, err := Process(1 << 30).Files(); err == nil {
		t.Error("a process that does not exist has memory")
	}
	if _, err := Process(1 << 30).CPU(); err == nil {
		t.Error("a process that does not exist has used CPU")
	}
}

func TestHeap(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("# HELP x\ngo_memstats_alloc_bytes_total 1.5e+06\ngo_memstats_mallocs_total 77\n"))
	}))
	defer s.Close()
	h, err := ReadHeap(context.Background(), s.URL)
	if err != nil || h != (Heap{1.5e6, 77}) {
		t.Errorf("%+v, %v", h, err)
	}
	if n, err := ReadSum(t.Context(), s.URL, "go_memstats_mallocs_total", "go_memstats_alloc_bytes_total"); err != nil || n != 1.5e6+77 {
		t.Errorf("the sum is %v, %v", n, err)
	}
	if _, err := heap("nothing 1\n"); err == nil {
		t.Error("metrics without memory are read")
	}
}

func TestSum(t *testing.T) {
	f := func(text string, want float64, fails bool) {
		t.Helper()
		if n, err := sum(text, "queue_bytes"); n != want || (err != nil) != fails {
			t.Errorf("%q: %v, %v; want %v", text, n, err, want)
		}
	}
	f("# HELP queue_bytes x\nqueue_bytes 7\n", 7, false)
	f("queue_bytes{path=\"a b} 9\",url=\"1:x\"} 3\nqueue_bytes{path=\"c\"} 1e2\nqueue_bytes_total 5\n", 103, false)
	f("queue_bytes{path=\"c\"} 0", 0, false)
	f("queue_bytes_total 5\n", 0, true)
	f("queue_bytes \n", 0, true)
	f("", 0, true)
}

func TestRuntime(t *testing.T) {
	text := "go_memstats_heap_inuse_bytes 100\ngo_memstats_heap_idle_bytes 50\ngo_memstats_heap_released_bytes 20\ngo_memstats_stack_inuse_bytes 7\n" +
		"go_memstats_mspan_sys_bytes 1\ngo_memstats_mcache_sys_bytes 2\ngo_memstats_buck_hash_sys_bytes 4\ngo_memstats_gc_sys_bytes 8\n"
	for text, want := range map[string]Runtime{text + "go_memstats_other_sys_bytes 16\n": {130, 7, 31}, text: {}} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(text)) }))
		r, err := ReadRuntime(t.Context(), s.URL)
		s.Close()
		if (err != nil) != (want == Runtime{}) || err == nil && r != want {
			t.Errorf("%+v, %v; want %+v", r, err, want)
		}
	}
}
