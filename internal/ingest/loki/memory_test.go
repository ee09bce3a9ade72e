package loki

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// uncharged is what a push may take without booking it: its batch, errors, what does not grow.
const uncharged = 16 << 10

// books are the account of one push. The failAt-th taking fails; 0: none does.
type books struct{ booked, takes, failAt int }

func (b *books) charge(n int) *fault.Error {
	if b.takes++; b.takes == b.failAt {
		return fault.New(fault.Overloaded, "no room for %d bytes", n)
	}
	b.booked += n
	return nil
}

// through sends raw through the door into a buffer as the road lends it, and returns what that allocated besides.
func through(raw []byte, c ingest.Content, e ingest.Edit, b *books) (allocated int, err error) {
	c.Charge, e.Form, e.Charge = b.charge, form, b.charge
	allocated += took(func() {
		var batch ingest.Batch
		if batch, err = Push.Decode(raw, c); err != nil {
			return
		}
		dst := make([]byte, 0, batch.Bound(e))
		allocated -= cap(dst)
		_, err = batch.Encode(dst, e)
	})
	return allocated, err
}

// took is how many bytes work allocates. Garbage counts: the collector may come too late.
func took(work func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// hostile are pushes that are made to take more memory than they bring.
func hostile() map[string]struct {
	json bool
	body string
} {
	type shape = struct {
		json bool
		body string
	}
	const large = 1 << 18
	label := func(text string) string {
		return string(msg(pushStreams, str(streamLabels, text), msg(streamEntries, str(entryLine, "x"))))
	}
	var manyJSON, manyText strings.Builder
	for i := range large / 16 {
		fmt.Fprintf(&manyJSON, `,"l%d":"v"`, i)
		fmt.Fprintf(&manyText, `,l%d="v"`, i)
	}
	growing := func(one func(n int) string) (all string) {
		for n := 1; n < large/8; n *= 2 {
			all += one(n)
		}
		return all
	}
	return map[string]shape{
		"a JSON label of control characters": {true, `{"streams":[{"stream":{"a":"` + strings.Repeat("\x7f", large) + `"}}]}`},
		"a JSON label of escapes":            {true, `{"streams":[{"stream":{"a":"` + strings.Repeat(`\n`, large/2) + `"}}]}`},
		"a JSON label that is no string":     {true, `{"streams":[{"stream":{"a":[` + strings.Repeat(`"\"",`, large/5) + `1]}}]}`},
		"a JSON label name of escapes":       {true, `{"streams":[{"stream":{"` + strings.Repeat(`\n`, large/2) + `":"a"}}]}`},
		"many JSON labels":                   {true, `{"streams":[{"stream":{` + manyJSON.String()[1:] + `}}]}`},
		"one JSON label many times":          {true, `{"streams":[{"stream":{` + strings.Repeat(`"a":"b",`, large/8) + `"a":"c"}}]}`},
		"a JSON member of escapes":           {true, `{"` + strings.Repeat(`\n`, large/2) + `":1}`},
		"JSON metadata of escapes":           {true, `{"streams":[{"values":[["1","x",{"` + strings.Repeat(`\n`, large/2) + `":"` + strings.Repeat(`\t`, large/2) + `"}]]}]}`},
		"JSON lines before 1970":             {true, `{"streams":[{"values":[` + strings.Repeat(`["-1"],`, large/8) + `null]}]}`},
		"JSON lines a little before 1970":    {true, `{"streams":[{"values":[` + strings.Repeat(`["-1"],`, 4000) + `["1","` + strings.Repeat("x", large) + `"]]}]}`},
		"JSON labels that grow": {true, `{"streams":[` + growing(func(n int) string {
			return `{"stream":{"a":"` + strings.Repeat(`\n`, n) + `"}},`
		}) + `{}]}`},
		"a label of control characters": {false, label(`{a="` + strings.Repeat("\x7f", large) + `"}`)},
		"a label of escapes":            {false, label(`{a="` + strings.Repeat(`\n`, large/2) + `"}`)},
		"many labels":                   {false, label(`{` + manyText.String()[1:] + `}`)},
		"a label string of blanks":      {false, label(strings.Repeat(" ", large) + `{a="\n"}`)},
		"labels that grow":              {false, growing(func(n int) string { return label(`{a="` + strings.Repeat(`\n`, n) + `"}`) })},
		"a metric name":                 {false, label(strings.Repeat("a", large))},
	}
}

// TestMemoryIsBooked: a push allocates no more than it has booked, whatever it looks like.
func TestMemoryIsBooked(t *testing.T) {
	for name, h := range hostile() {
		for _, e := range []ingest.Edit{{}, {Stamps: testStamps}} {
			var b books
			allocated, err := through([]byte(h.body), ingest.Content{JSON: h.json}, e, &b)
			if allocated > b.booked+b.booked/8+uncharged { // an eighth: the allocator's sizes
				t.Errorf("%s, %d stamps: %d bytes of push allocated %d and booked %d (%v)", name, len(e.Stamps), len(h.body), allocated, b.booked, err)
			}
			if most := 6*len(h.body) + 2*ahead; b.booked > most {
				t.Errorf("%s, %d stamps: %d bytes of push booked %d, over %d", name, len(e.Stamps), len(h.body), b.booked, most)
			}
		}
	}
}

// TestNoRoom: where a taking fails the push ends as Overloaded, which senders repeat, and takes nothing more.
func TestNoRoom(t *testing.T) {
	for name, h := range hostile() {
		e := ingest.Edit{Stamps: testStamps}
		var free books
		_, _ = through([]byte(h.body), ingest.Content{JSON: h.json}, e, &free)
		for n := 1; n <= free.takes; n++ {
			b := books{failAt: n}
			allocated, err := through([]byte(h.body), ingest.Content{JSON: h.json}, e, &b)
			var f *fault.Error
			if !errors.As(err, &f) || f.HTTPStatus() != http.StatusServiceUnavailable {
				t.Errorf("%s: taking %d of %d failed: %v, want 503", name, n, free.takes, err)
			}
			if b.takes > n || allocated > b.booked+b.booked/8+uncharged {
				t.Errorf("%s: taking %d of %d failed: %d takings, %d bytes allocated, %d booked", name, n, free.takes, b.takes, allocated, b.booked)
			}
		}
	}
}

// TestJSONIsBooked: a usual JSON push books one buffer of its size, and what its labels take.
func TestJSONIsBooked(t *testing.T) {
	raw := asJSON(t, logPush(20, 5000))
	var b books
	if _, err := through(raw, ingest.Content{JSON: true}, ingest.Edit{}, &b); err != nil {
		t.Fatal(err)
	}
	if most := len(raw) + 4096; b.booked > most {
		t.Errorf("%d bytes of JSON booked %d, over %d", len(raw), b.booked, most)
	}
}

// TestMaxLabels: a stream with more labels than anyone has is refused alone, as JSON with the push.
func TestMaxLabels(t *testing.T) {
	f := func(n int, ok bool) {
		t.Helper()
		var text, json strings.Builder
		for i := range n {
			fmt.Fprintf(&text, `,l%d="v"`, i)
			fmt.Fprintf(&json, `,"l%d":"v"`, i)
		}
		raw := msg(pushStreams, str(streamLabels, "{"+text.String()[1:]+"}"), msg(streamEntries, str(entryLine, "x")))
		b, err := walk(raw, ingest.Lender{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.Encode(nil, ingest.Edit{Form: form, Stamps: testStamps})
		if err != nil || (len(res.Refused) == 0) != ok || !ok && !strings.Contains(res.Refused[0].Text, "stream 1: labels: over 1024 labels at byte ") {
			t.Errorf("%d labels: %v %+v", n, err, res.Refused)
		}
		_, err = fromJSON([]byte(`{"streams":[{"stream":{`+json.String()[1:]+`},"values":[["1","x"]]}]}`), ingest.Lender{})
		if (err == nil) != ok || !ok && !strings.Contains(err.Error(), "labels: over 1024 labels at byte ") {
			t.Errorf("%d labels as JSON: %v", n, err)
		}
	}
	f(maxLabels, true)
	f(maxLabels+1, false)
}
