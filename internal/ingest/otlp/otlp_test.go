package otlp_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest/otlp"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

var stamps = []labels.Label{{Name: "environment", Value: "prod"}, {Name: "k8s_cluster", Value: "eu-1"}}

func TestDoors(t *testing.T) {
	f := func(p *ingest.Protocol, name, routes, method, exits, path string) {
		t.Helper()
		got := []string{p.Name, fmt.Sprint(p.Routes), p.Method, fmt.Sprint(p.Exits), p.Forms[0].Path}
		if want := []string{name, routes, method, exits, path}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if len(p.Forms) != 1 || p.Forms[0].ContentType != "application/x-protobuf" || p.Forms[0].Codec != ingest.Identity {
			t.Errorf("%s %s: forms %+v", p.Name, p.Signal, p.Forms)
		}
		if p.Open == nil || p.Decode == nil || p.Accept == nil || (p.Refuse == nil) != (p.Method != "") {
			t.Errorf("%s %s: a func is missing, or one too many", p.Name, p.Signal)
		}
	}
	const grpc = "/opentelemetry.proto.collector."
	f(otlp.TracesHTTP, "otlp_http", "[/v1/traces /otlp/v1/traces]", "", "[tempo otlp]", "/v1/traces")
	f(otlp.MetricsHTTP, "otlp_http", "[/v1/metrics /otlp/v1/metrics]", "", "[otlp]", "/v1/metrics")
	f(otlp.LogsHTTP, "otlp_http", "[/v1/logs /otlp/v1/logs]", "", "[otlp]", "/v1/logs")
	f(otlp.TracesGRPC, "otlp_grpc", "[]", grpc+"trace.v1.TraceService/Export", "[tempo otlp]", "/v1/traces")
	f(otlp.MetricsGRPC, "otlp_grpc", "[]", grpc+"metrics.v1.MetricsService/Export", "[otlp]", "/v1/metrics")
	f(otlp.LogsGRPC, "otlp_grpc", "[]", grpc+"logs.v1.LogsService/Export", "[otlp]", "/v1/logs")
}

func TestOpen(t *testing.T) {
	open := func(p *ingest.Protocol, kind string, encodings ...string) (ingest.Content, error) {
		h := http.Header{}
		if kind != "" {
			h.Set("Content-Type", kind)
		}
		name := "Content-Encoding"
		if p.Method != "" {
			name = "Grpc-Encoding"
		}
		for _, e := range encodings {
			h.Add(name, e)
		}
		return p.Open(h)
	}
	good := func(p *ingest.Protocol, kind string, json bool, want []ingest.Codec, encodings ...string) {
		t.Helper()
		c, err := open(p, kind, encodings...)
		if err != nil || c.JSON != json || !slices.Equal(c.Codecs, want) || (c.Weight > 0) != json {
			t.Errorf("%q %q: %+v, %v", kind, encodings, c, err)
		}
	}
	bad := func(p *ingest.Protocol, kind string, encodings ...string) {
		t.Helper()
		_, err := open(p, kind, encodings...)
		var e *fault.Error
		if !errors.As(err, &e) || e.HTTPStatus() != http.StatusUnsupportedMediaType || e.Code() != codes.Unimplemented {
			t.Errorf("%q %q: %v", kind, encodings, err)
		}
	}
	gzip, zstd := []ingest.Codec{ingest.Gzip}, []ingest.Codec{ingest.Zstd}

	p := otlp.TracesHTTP
	good(p, "application/x-protobuf", false, nil)
	good(p, "Application/X-Protobuf; charset=utf-8", false, nil, "identity")
	good(p, "application/json", true, gzip, "GZIP")
	good(p, "application/json;charset", true, zstd, "zstd")
	bad(p, "")
	bad(p, "text/plain")
	bad(p, "application/protobuf")
	bad(p, "application/x-protobuf", "snappy")
	bad(p, "application/x-protobuf", "gzip, gzip")
	bad(p, "application/x-protobuf", "gzip", "zstd")

	p = otlp.LogsGRPC
	good(p, "application/grpc", false, nil)
	good(p, "", false, nil, "identity")
	good(p, "application/grpc+proto", false, gzip, "gzip")
	good(p, "application/grpc", false, zstd, "zstd")
	bad(p, "application/grpc+json")
	bad(p, "application/grpc", "snappy")
}

// check decodes raw and compares everything about it with pdata.
func check(t testing.TB, ref reference, raw []byte, c ingest.Content) {
	t.Helper()
	source := raw
	if c.JSON {
		var err error
		if source, _, err = ref.viewJSON(raw); err != nil {
			t.Fatal(err)
		}
	}
	plain, items, err := ref.view(source, nil)
	if err != nil {
		t.Fatal(err)
	}
	stamped, _, err := ref.view(source, stamps)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*ingest.Protocol{ref.http, ref.grpc} {
		before := bytes.Clone(raw)
		b, err := p.Decode(raw, c)
		if err != nil {
			t.Fatal(err)
		}
		if b.Items() != items {
			t.Fatalf("%d items, pdata has %d", b.Items(), items)
		}
		if got := encode(t, p, b, nil, raw, c); !bytes.Equal(viewOf(t, ref, got), plain) {
			t.Fatal("without stamps, pdata sees another push")
		}
		if got := encode(t, p, b, stamps, raw, c); !bytes.Equal(viewOf(t, ref, got), stamped) {
			t.Fatal("with stamps, pdata sees another push than one that it stamped itself")
		}
		if !bytes.Equal(raw, before) {
			t.Fatal("what was received was written to")
		}
	}
}

// encode returns what leaves, and checks what Batch promises of it.
func encode(t testing.TB, p *ingest.Protocol, b ingest.Batch, stamps []labels.Label, raw []byte, c ingest.Content) []byte {
	t.Helper()
	out, r := encodeEdit(t, p, b, ingest.Edit{Form: p.Forms[0], Stamps: stamps}, raw, c)
	if len(r.Dropped) > 0 {
		t.Fatalf("result %+v", r)
	}
	return out
}

// encodeEdit is encode for any edit.
func encodeEdit(t testing.TB, p *ingest.Protocol, b ingest.Batch, e ingest.Edit, raw []byte, c ingest.Content) ([]byte, ingest.Result) {
	t.Helper()
	bound := b.Bound(e)
	dst := make([]byte, 3, 3+bound)
	copy(dst, "pre")
	r, err := b.Encode(dst, e)
	if err != nil {
		t.Fatal(err)
	}
	if sum := r.Sent.Items + itemsOf(r.Refused) + itemsOf(r.Dropped); r.Form != e.Form || sum != b.Items() || len(r.Lost) > 0 {
		t.Fatalf("of %d items: result %+v", b.Items(), r)
	}
	if p.Signal != ingest.Traces && len(r.Refused)+len(r.Dropped)+r.Unnamed > 0 {
		t.Fatalf("%s: result %+v", p.Signal, r)
	}
	if r.Unchanged != (bound == 0) && len(r.Body) > 3 {
		t.Fatalf("unchanged %t with a bound of %d", r.Unchanged, bound)
	}
	if r.Unchanged {
		if c.JSON {
			t.Fatal("JSON left as it was received")
		}
		return raw, r
	}
	if !bytes.HasPrefix(r.Body, []byte("pre")) || len(r.Body)-3 > bound {
		t.Fatalf("%d bytes appended, bound %d", len(r.Body)-3, bound)
	}
	if bound > 0 && &r.Body[0] != &dst[0] {
		t.Fatalf("the buffer of the bound, %d, was not enough", bound)
	}
	return r.Body[3:], r
}

func itemsOf(refused []ingest.Refusal) (n int) {
	for _, r := range refused {
		n += r.Items
	}
	return n
}

func viewOf(t testing.TB, ref reference, proto []byte) []byte {
	t.Helper()
	v, _, err := ref.view(proto, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLikePdata(t *testing.T) {
	for name, ref := range references {
		t.Run(name, func(t *testing.T) {
			check(t, ref, nil, ingest.Content{})
			check(t, ref, []byte("{}"), ingest.Content{JSON: true})
			for _, n := range []int{0, 1, 2, 7, 100} {
				check(t, ref, ref.example(n), ingest.Content{})
			}
			r := rand.New(rand.NewPCG(1, 2))
			for range 150 {
				proto, json := ref.random(r, r.IntN(40))
				check(t, ref, proto, ingest.Content{})
				check(t, ref, json, ingest.Content{JSON: true})
			}
		})
	}
}

// sub is field num with a message made of parts.
func sub(num int32, parts ...[]byte) []byte {
	return wire.AppendBytes(nil, num, bytes.Join(parts, nil))
}

// spanIDs are the ids of a span.
var spanIDs = slices.Concat(wire.AppendString(nil, 1, "0123456789abcdef"), wire.AppendString(nil, 2, "01234567"))

// attr is field num with an attribute.
func attr(num int32, key, value string) []byte {
	return sub(num, wire.AppendString(nil, 1, key), sub(2, wire.AppendString(nil, 1, value)))
}

// unknown is a field that no message of OTLP has.
func unknown(n uint64) []byte {
	return slices.Concat(wire.AppendVarint(nil, 99, n), wire.AppendString(nil, 2000, "newer"), wire.AppendFixed64(nil, 14, n))
}

// encoded is what leaves of raw with stamps.
func encoded(t *testing.T, p *ingest.Protocol, raw []byte, stamps []labels.Label) []byte {
	t.Helper()
	b, err := p.Decode(raw, ingest.Content{})
	if err != nil {
		t.Fatal(err)
	}
	return encode(t, p, b, stamps, raw, ingest.Content{})
}

// TestStamps compares bytes: what is not stamped stays as it came, fields that nobody knows too.
func TestStamps(t *testing.T) {
	env, cluster := stamps[0], stamps[1]
	f := func(what string, p *ingest.Protocol, raw, want []byte) {
		t.Helper()
		if got := encoded(t, p, raw, stamps); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", what, got, want)
		}
		if got := encoded(t, p, want, stamps); !bytes.Equal(got, want) {
			t.Errorf("%s: stamped twice it is another:\n got %q\nwant %q", what, got, want)
		}
	}
	for _, p := range []*ingest.Protocol{otlp.TracesHTTP, otlp.LogsGRPC} {
		// A log record's fields 1 and 2 are other things, but nobody looks at them.
		item := sub(2, sub(1, unknown(1)), sub(2, spanIDs, sub(9), unknown(2)), unknown(3))
		push := func(resources ...[]byte) []byte {
			return slices.Concat(sub(1, unknown(4), bytes.Join(resources, nil), item, unknown(5)), unknown(6))
		}
		both := slices.Concat(attr(1, env.Name, env.Value), attr(1, cluster.Name, cluster.Value))
		f("appended", p,
			push(sub(1, attr(1, "a", "b"), unknown(7))),
			push(sub(1, attr(1, "a", "b"), unknown(7), both)))
		f("replaced where it stands", p,
			push(sub(1, attr(1, cluster.Name, ""), unknown(7), attr(1, "a", "b"), attr(1, env.Name, "dev"), unknown(8))),
			push(sub(1, attr(1, cluster.Name, cluster.Value), unknown(7), attr(1, "a", "b"), attr(1, env.Name, env.Value), unknown(8))))
		f("all of that key", p,
			push(sub(1, attr(1, env.Name, "dev"), attr(1, "a", "b"), attr(1, env.Name, "test"), attr(1, env.Name, "prod"))),
			push(sub(1, attr(1, env.Name, env.Value), attr(1, "a", "b"), attr(1, cluster.Name, cluster.Value))))
		f("the last key of an attribute is its key", p,
			push(sub(1, sub(1, wire.AppendString(nil, 1, "a"), wire.AppendString(nil, 1, env.Name)), sub(1, wire.AppendString(nil, 1, env.Name), wire.AppendString(nil, 1, "a")))),
			push(sub(1, attr(1, env.Name, env.Value), sub(1, wire.AppendString(nil, 1, env.Name), wire.AppendString(nil, 1, "a")), attr(1, cluster.Name, cluster.Value))))
		f("empty resource", p, push(sub(1)), push(sub(1, both)))
		f("doubled resource", p,
			push(sub(1, attr(1, env.Name, "dev")), sub(1, attr(1, env.Name, "test"), unknown(1))),
			push(sub(1, attr(1, env.Name, env.Value)), sub(1, unknown(1), attr(1, cluster.Name, cluster.Value))))
		if got, want := encoded(t, p, push(), stamps), slices.Concat(sub(1, sub(1, both), unknown(4), item, unknown(5)), unknown(6)); !bytes.Equal(got, want) {
			t.Errorf("no resource:\n got %q\nwant %q", got, want)
		}
	}

	for data, attrs := range map[int32]int32{5: 7, 7: 7, 9: 9, 10: 1, 11: 7} {
		push := func(points ...[]byte) []byte {
			metric := sub(2, wire.AppendString(nil, 1, "m"), unknown(1), sub(data, bytes.Join(points, nil), unknown(2)), sub(12, unknown(3)))
			return slices.Concat(sub(1, unknown(4), sub(1, attr(1, "environment", "not a point's")), sub(2, unknown(5), metric)), unknown(6))
		}
		both := slices.Concat(attr(attrs, env.Name, env.Value), attr(attrs, cluster.Name, cluster.Value))
		what := fmt.Sprintf("data %d", data)
		f(what, otlp.MetricsHTTP,
			push(sub(1, unknown(7)), sub(1, attr(attrs, env.Name, "dev"), unknown(8), attr(attrs, env.Name, "dev")), sub(1)),
			push(sub(1, unknown(7), both), sub(1, attr(attrs, env.Name, env.Value), unknown(8), attr(attrs, cluster.Name, cluster.Value)), sub(1, both)))
	}
}

// TestStampsOfManySizes has every message pass the sizes at which its length takes another byte.
func TestStampsOfManySizes(t *testing.T) {
	for name, ref := range references {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{0, 1, 30, 60, 100, 110, 120, 127, 128, 200, 16200, 16383, 16384, 1 << 21} {
				for _, value := range []string{"", "x", string(make([]byte, 120)), string(make([]byte, 17000))} {
					stamps := []labels.Label{{Name: "environment", Value: value}}
					at := attr(1, "environment", string(bytes.Repeat([]byte("v"), size)))
					raw := sub(1, sub(1, at), sub(2, sub(2, sub(10, sub(1, at), sub(1)))), sub(2))
					want, _, err := ref.view(raw, stamps)
					if err != nil {
						// A log record's or a span's field 10 is no message; only metrics look into it.
						raw = sub(1, sub(1, at), sub(2, sub(2)), sub(2))
						if want, _, err = ref.view(raw, stamps); err != nil {
							t.Fatal(err)
						}
					}
					if got := viewOf(t, ref, encoded(t, ref.http, raw, stamps)); !bytes.Equal(got, want) {
						t.Fatalf("size %d, stamp of %d bytes: pdata sees another push", size, len(value))
					}
				}
			}
		})
	}
}

// TestBound has one point push every message around it over the next size at once: encode compares with the bound.
func TestBound(t *testing.T) {
	for _, around := range []int{128, 16384} {
		for size := around - 60; size < around; size++ {
			point := sub(1, wire.AppendString(nil, 99, string(make([]byte, size))))
			encoded(t, otlp.MetricsHTTP, sub(1, sub(2, sub(2, sub(5, point)))), stamps[:1])
		}
	}
}

// TestOddPushes are counted as upstream counts them.
func TestOddPushes(t *testing.T) {
	f := func(name string, items int, raw []byte) {
		t.Helper()
		ref := references[name]
		check(t, ref, raw, ingest.Content{})
		if _, n, err := ref.view(raw, nil); n != items || err != nil {
			t.Errorf("pdata has %d items (%v), this test says %d", n, err, items)
		}
	}
	point := sub(1, sub(7))
	rm := func(metrics ...[]byte) []byte { return sub(1, sub(2, metrics...)) }
	f("metrics", 1, rm(sub(2, sub(5, point, point), sub(7, point))))
	f("metrics", 3, rm(sub(2, sub(5, point)), sub(2, sub(7, point), sub(5, point, point), sub(12, sub(1)))))
	f("metrics", 1, rm(sub(2, sub(5, point, point), sub(5, point))))
	f("metrics", 0, rm(sub(2, sub(5, point, point), sub(11))))
	f("metrics", 1, sub(1, sub(1000, sub(2, sub(5, point)))))
	f("metrics", 0, sub(1, sub(1000, sub(2, sub(5, point))), sub(2)))
	f("traces", 2, sub(1, sub(1000, sub(2), sub(2))))
	f("traces", 0, sub(1, sub(1000, sub(2, spanIDs)), sub(2)))
	f("traces", 2, sub(1, sub(1000, sub(2, spanIDs), sub(2, spanIDs))))
	f("traces", 1, sub(1, sub(2, sub(2)), sub(1000, sub(2), sub(2))))
	f("logs", 3, slices.Concat(sub(1, sub(2, sub(2)), sub(2, sub(2))), sub(1, sub(1000, sub(2)))))
}

func TestMalformed(t *testing.T) {
	f := func(ok bool, p *ingest.Protocol, raw []byte) {
		t.Helper()
		_, err := p.Decode(raw, ingest.Content{})
		var e *fault.Error
		if ok && err != nil || !ok && (!errors.As(err, &e) || e.Kind != fault.Malformed) {
			t.Errorf("%q: %v", raw, err)
		}
	}
	nested := func(n int) []byte {
		v := wire.AppendString(nil, 1, "x")
		for i := range n - 1 {
			if i%2 == 0 {
				v = sub(5, sub(1, v))
			} else {
				v = sub(6, sub(1, sub(2, v)))
			}
		}
		return sub(1, sub(1, sub(1, sub(2, v))))
	}
	for _, ref := range references {
		p := ref.http
		f(true, p, nested(64))
		f(false, p, nested(65))
		f(false, p, nested(3000))
		f(false, p, []byte{0x0a})
		f(false, p, []byte{0x0a, 0x05, 0x00})
		f(false, p, []byte{0x00})
		f(false, p, wire.AppendVarint(nil, 1, 1))
		f(false, p, sub(1, wire.AppendFixed64(nil, 1, 1)))
		f(false, p, sub(1, sub(2, wire.AppendVarint(nil, 2, 1))))
		f(false, p, []byte{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
		f(false, p, append(ref.example(3), 0x0a))
		f(true, p, unknown(1))
		// pdata would find a second push inside this group, which would be neither counted nor stamped.
		group := slices.Concat([]byte{0x7b, 0x08, 0x01}, sub(1, sub(2, sub(2))), []byte{0x7c})
		f(false, p, group)
		f(false, p, sub(1, sub(1, sub(1, group))))
	}
}
