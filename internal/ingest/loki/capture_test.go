package loki

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

var update = flag.Bool("update", false, "write testdata anew")

// captures are pushes in the shape in which agents send them, on disk as on the wire.
var captures = []struct {
	file    string
	lines   int
	stamped []string // the labels once env="prod" is stamped on them
	build   func() push.PushRequest
}{
	{"promtail.snappy", 3, []string{
		`{env="prod", filename="/var/log/pods/shop_checkout-0_1/server/0.log", job="shop/checkout", stream="stderr"}`,
		`{env="prod", filename="/var/log/syslog", job="node"}`,
	}, func() push.PushRequest {
		return push.PushRequest{Streams: []push.Stream{
			{Labels: `{filename="/var/log/pods/shop_checkout-0_1/server/0.log", job="shop/checkout", stream="stderr"}`, Entries: []push.Entry{
				{Timestamp: time.Unix(1700000000, 123456789), Line: `level=error msg="payment declined" order=1042`},
				{Timestamp: time.Unix(1700000001, 0), Line: "panic: \x00\xff\tnot UTF-8"},
			}},
			{Labels: `{filename="/var/log/syslog", job="node"}`, Entries: []push.Entry{{Timestamp: time.Unix(1700000002, 5), Line: ""}}},
		}}
	}},
	{"alloy.snappy", 2, []string{`{env="prod", namespace="shop", service_name="checkout"}`}, func() push.PushRequest {
		md := push.LabelsAdapter{{Name: "pod", Value: "checkout-0"}, {Name: "trace_id", Value: "0242ac120002"}}
		return push.PushRequest{Streams: []push.Stream{{Labels: `{env="dev", namespace="shop", service_name="checkout"}`, Entries: []push.Entry{
			{Timestamp: time.Unix(1700000000, 1), Line: `{"msg":"ok"}`, StructuredMetadata: md},
			{Timestamp: time.Unix(1700000000, 2), Line: `{"msg":"ok"}`, StructuredMetadata: md[:1]},
		}}}}
	}},
	{"curl.json", 2, []string{`{attempt="3", env="prod", job="curl", level="info"}`}, nil},
}

func TestCaptures(t *testing.T) {
	for _, c := range captures {
		path := filepath.Join("testdata", c.file)
		if *update && c.build != nil {
			if err := os.WriteFile(path, snappy.Encode(nil, marshal(t, c.build())), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content := ingest.Content{JSON: c.build == nil}
		if !content.JSON {
			if raw, err = snappy.Decode(nil, raw); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(raw, marshal(t, c.build())) {
				t.Errorf("%s is not what its build func says; run with -update", c.file)
			}
		}
		b, err := Push.Decode(raw, content)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.Encode(nil, ingest.Edit{Form: form, Stamps: testStamps[:1]})
		if err != nil || b.Items() != c.lines || res.Sent.Items != c.lines {
			t.Fatalf("%s: %d lines, sent %d, want %d: %v", c.file, b.Items(), res.Sent.Items, c.lines, err)
		}
		var got push.PushRequest
		if err := got.Unmarshal(res.Body); err != nil {
			t.Fatal(err)
		}
		for i, s := range got.Streams {
			if s.Labels != c.stamped[i] {
				t.Errorf("%s: stream %d has %s, want %s", c.file, i, s.Labels, c.stamped[i])
			}
		}
		if content.JSON {
			e := got.Streams[0].Entries[1]
			if e.Line != `{"msg":"café 😀","path":"C:\\tmp"}` || len(e.StructuredMetadata) != 2 || e.StructuredMetadata[1].Value != "a\nb" {
				t.Errorf("%s: %+v", c.file, e)
			}
		}
	}
}
