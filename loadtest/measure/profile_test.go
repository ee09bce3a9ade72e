package measure

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// field appends a field with a length.
func field(b []byte, num protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), data)
}

// number appends a varint field.
func number(b []byte, num protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), n)
}

func packed(list ...uint64) (b []byte) {
	for _, n := range list {
		b = protowire.AppendVarint(b, n)
	}
	return b
}

func zipped(tb testing.TB, raw []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// small is a profile of two stacks. Location 2 has an inlined function.
func small() (raw []byte) {
	raw = field(raw, 2, field(field(nil, 1, packed(1, 2)), 2, packed(3, 30_000_000)))
	raw = field(raw, 2, number(number(number(nil, 1, 2), 2, 1), 2, 10_000_000)) // not packed
	raw = field(raw, 4, field(number(nil, 1, 1), 4, number(nil, 1, 7)))
	raw = field(raw, 4, field(field(number(nil, 1, 2), 4, number(nil, 1, 8)), 4, number(nil, 1, 9)))
	for id, name := range map[uint64]uint64{7: 1, 8: 2, 9: 3} {
		raw = field(raw, 5, number(number(number(nil, 1, id), 2, name), 5, 77))
	}
	for _, s := range []string{"", "leaf", "inlined", "root"} {
		raw = field(raw, 6, []byte(s))
	}
	return number(raw, 12, 10_000_000)
}

func TestStacks(t *testing.T) {
	list, err := Stacks(zipped(t, small()))
	want := []Stack{{[]string{"leaf", "inlined", "root"}, 3, 30_000_000}, {[]string{"inlined", "root"}, 1, 10_000_000}}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%v, %v; want %v", list, err, want)
	}
	if list, err = Stacks(zipped(t, field(nil, 2, field(nil, 2, packed(1, 2, 3, 4))))); err != nil || len(list) != 1 || list[0].Count != 3 || list[0].Amount != 4 {
		t.Errorf("of a heap: %v, %v", list, err)
	}
	f := func(file []byte, want string) {
		t.Helper()
		if _, err := Stacks(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	f([]byte("none"), "read profile")
	f(zipped(t, small()[:20]), "EOF")
	f(zipped(t, field(nil, 2, field(nil, 2, packed(1)))), "1 values, want 2 of")
	f(zipped(t, field(nil, 2, field(nil, 2, []byte{0x80}))), "within a number")
	f(zipped(t, field(field(field(nil, 2, field(field(nil, 1, packed(1)), 2, packed(1, 1))), 4, field(number(nil, 1, 1), 4, number(nil, 1, 7))), 5, number(number(nil, 1, 7), 2, 5))), "string 5 of 0")
}

// FuzzStacks: what is no profile is an error and nothing worse.
func FuzzStacks(f *testing.F) {
	f.Add(small())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<16 {
			return
		}
		_, _ = Stacks(zipped(t, raw))
	})
}

// burn keeps a core busy until it is told to stop.
//
//go:noinline
func burn(stop <-chan struct{}) (n uint64) {
	for {
		select {
		case <-stop:
			return n
		default:
			for range 1000 {
				n = n*25214903917 + 11
			}
		}
	}
}

// TestOwnCPUProfile reads what this runtime writes.
func TestOwnCPUProfile(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/p/profile?seconds=2" {
			t.Errorf("%s was asked for", r.URL)
		}
		if err := pprof.StartCPUProfile(w); err != nil {
			_, _ = io.WriteString(w, err.Error())
			return
		}
		stop := make(chan struct{})
		time.AfterFunc(500*time.Millisecond, func() { close(stop) })
		burn(stop)
		pprof.StopCPUProfile()
	}))
	defer s.Close()
	stacks, file, err := CPUProfile(t.Context(), s.URL+"/p", 2)
	if err != nil || len(file) == 0 {
		t.Fatal(err)
	}
	burned := int64(0)
	for _, one := range stacks {
		if slices.ContainsFunc(one.Frames, func(f string) bool { return strings.HasSuffix(f, "measure.burn") }) {
			burned += one.Count
		}
	}
	if burned == 0 {
		t.Errorf("no sample is in burn: %v", stacks)
	}
}

// TestOwnHeapProfile finds what this test holds.
func TestOwnHeapProfile(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/p/heap?gc=1" {
			t.Errorf("%s was asked for", r.URL)
		}
		runtime.GC()
		if err := pprof.WriteHeapProfile(w); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	held := make([]byte, 32<<20)
	stacks, err := HeapProfile(t.Context(), s.URL+"/p")
	if err != nil {
		t.Fatal(err)
	}
	here := int64(0)
	for _, one := range stacks {
		if slices.ContainsFunc(one.Frames, func(f string) bool { return strings.HasSuffix(f, "TestOwnHeapProfile") }) {
			here += one.Amount
		}
	}
	if here < int64(len(held)) {
		t.Errorf("%d bytes are in use here, want %d at least", here, len(held))
	}
	runtime.KeepAlive(held)
}
