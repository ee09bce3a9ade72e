package loki

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/grafana/loki/pkg/push"
	promlabels "github.com/prometheus/prometheus/model/labels"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

type member struct {
	name string
	raw  json.RawMessage
}

var errReference = errors.New("reference")

// members and elements split one level of JSON, doubled names included.
func members(raw json.RawMessage) (ms []member, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errReference
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		var m member
		m.name = t.(string)
		if err := d.Decode(&m.raw); err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

func elements(raw json.RawMessage) (es []json.RawMessage, err error) {
	if len(raw) == 0 || raw[0] != '[' {
		return nil, errReference
	}
	return es, json.Unmarshal(raw, &es)
}

func text(raw json.RawMessage) (s string, err error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", errReference
	}
	return s, json.Unmarshal(raw, &s)
}

// referencePush is the plain way from JSON to the push types: encoding/json and the rules in fromJSON's comment.
func referencePush(in []byte) (p push.PushRequest, err error) {
	var doc json.RawMessage
	if err := json.Unmarshal(in, &doc); err != nil {
		return p, err
	}
	ms, err := members(doc)
	if err != nil {
		return p, err
	}
	seen := false
	for _, m := range ms {
		if !strings.EqualFold(m.name, "streams") || string(m.raw) == "null" && !seen {
			continue
		}
		if seen {
			return p, errReference
		}
		seen = true
		streams, err := elements(m.raw)
		if err != nil {
			return p, err
		}
		for _, raw := range streams {
			s, err := referenceStream(raw)
			if err != nil {
				return p, err
			}
			p.Streams = append(p.Streams, s)
		}
	}
	return p, nil
}

func referenceStream(raw json.RawMessage) (s push.Stream, err error) {
	ms, err := members(raw)
	if err != nil {
		return s, err
	}
	hasStream, hasValues := false, false
	for _, m := range ms {
		switch {
		case m.name == "stream":
			if hasStream {
				return s, errReference
			}
			hasStream = true
			if s.Labels, err = referenceLabels(m.raw); err != nil {
				return s, err
			}
		case m.name == "values" && string(m.raw) != "null":
			if hasValues {
				return s, errReference
			}
			hasValues = true
			es, err := elements(m.raw)
			if err != nil {
				return s, err
			}
			for _, e := range es {
				if string(e) == "null" {
					continue
				}
				entry, err := referenceEntry(e)
				if err != nil {
					return s, err
				}
				s.Entries = append(s.Entries, entry)
			}
		}
	}
	return s, nil
}

func referenceLabels(raw json.RawMessage) (string, error) {
	ms, err := members(raw)
	if err != nil {
		return "", err
	}
	m := map[string]string{}
	for _, l := range ms {
		v, err := text(l.raw)
		if err != nil {
			v = string(l.raw)
			if strings.Contains(v, `\`) {
				// As a string, with the quotes that would end it escaped; its own escapes are resolved.
				quoted := strings.NewReplacer(`\\`, `\\`, `\"`, `\"`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(v)
				if err := json.Unmarshal([]byte(`"`+quoted+`"`), &v); err != nil {
					return "", err
				}
			}
		}
		m[l.name] = v
	}
	for n, v := range m {
		if v == "" {
			delete(m, n)
		}
	}
	return strings.ReplaceAll(promlabels.FromMap(m).String(), "\ufffd", `\ufffd`), nil
}

func referenceEntry(raw json.RawMessage) (e push.Entry, err error) {
	es, err := elements(raw)
	if err != nil {
		return e, err
	}
	for i, v := range es {
		switch i {
		case 0:
			s, err := text(v)
			if err != nil {
				return e, err
			}
			ns, err := strconv.ParseInt(s, 10, 64)
			if err != nil || s[0] == '+' {
				return e, errReference
			}
			e.Timestamp = time.Unix(0, ns).UTC()
		case 1:
			if e.Line, err = text(v); err != nil {
				return e, err
			}
		case 2:
			ms, err := members(v)
			if err != nil {
				return e, err
			}
			for _, m := range ms {
				s, err := text(m.raw)
				if err != nil {
					return e, err
				}
				e.StructuredMetadata = append(e.StructuredMetadata, push.LabelAdapter{Name: m.name, Value: s})
			}
		}
	}
	return e, nil
}

// checkJSON compares fromJSON with the reference and with walk.
func checkJSON(t *testing.T, in []byte) {
	t.Helper()
	if !utf8.Valid(in) || bytes.Contains(in, []byte("ſ")) { // encoding/json repairs the one and folds the other to an s
		_, _ = fromJSON(in, ingest.Lender{})
		return
	}
	want, wantErr := referencePush(in)
	stock := stocks.Stock()
	defer stocks.Restock(stock)
	b, err := fromJSON(in, ingest.Lender{Stock: stock})
	if err != nil {
		if wantErr == nil && !strings.Contains(err.Error(), "nested over") && !strings.Contains(err.Error(), "bytes of JSON") {
			t.Fatalf("%q: %v, the reference takes it", in, err)
		}
		return
	}
	if wantErr != nil {
		t.Fatalf("%q: taken, reference: %v", in, wantErr)
	}
	walked, err := walk(b.raw, ingest.Lender{})
	if err != nil {
		t.Fatalf("%q: wrote what is not well formed: %v", in, err)
	}
	if b.lines != walked.lines || !slices.Equal(b.counts, walked.counts) || b.longest != walked.longest || b.others != walked.others || b.slack != walked.slack || b.metadata != walked.metadata || b.regular != walked.regular {
		t.Fatalf("%q: counted %+v, walked %+v", in, b, walked)
	}
	edit := ingest.Edit{Form: form}
	res, err := b.Encode(nil, edit)
	if err != nil || res.Unchanged || b.Bound(edit) == 0 || len(res.Body) > b.Bound(edit) || res.Sent.Items != b.lines {
		t.Fatalf("%q: %v, %+v, bound %d", in, err, res, b.Bound(edit))
	}
	var got push.PushRequest
	if err := got.Unmarshal(res.Body); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(marshal(t, want), marshal(t, got)) {
		t.Fatalf("%q (-want +got):\n%s", in, cmp.Diff(want, got, cmpopts.EquateEmpty()))
	}
	checkStamped(t, b, got)
}

var jsonSeeds = []string{
	``, ` `, `null`, `[]`, `{}`, `{"streams":[]}`, `{"streams":null}`, `{"streams":{}}`, `{"streams":[null]}`, `{"streams":[{}]}`, `{"Streams":[{}]}`, `{"streams":[],"streams":[]}`, `{"streams":null,"streams":[{}]}`,
	`{"streams":[{"stream":{"a":"b"},"values":[["1700000000000000001","line"]]}]}`,
	` { "streams" : [ { "stream" : { "a" : "b" } , "values" : [ [ "1" , "x" , { "t" : "1" } ] , null , [ "2" , "y" ] ] } ] } `,
	`{"streams":[{"values":[["1","x"]],"stream":{"b":"1","a":"2"}}]}`, `{"streams":[{"values":[["1","x"]]}]}`, `{"streams":[{"stream":{},"values":null}]}`,
	`{"streams":[{"stream":null}]}`, `{"streams":[{"stream":[]}]}`, `{"streams":[{"stream":{"a":"b"},"values":{}}]}`, `{"streams":[{"stream":{"a":"b"},"stream":{}}]}`, `{"streams":[{"values":[],"values":[]}]}`, `{"streams":[{"values":null,"values":[["1",""]]}]}`,
	`{"streams":[{"stream":{"n":123,"t":true,"f":false,"z":null,"o":{ "a": "b\n\"" },"l":[1, "x"],"x":-1.5e+3}}]}`, `{"streams":[{"stream":{"a":None}}]}`, `{"streams":[{"stream":{"a":01}}]}`, `{"streams":[{"stream":{"a":1.}}]}`,
	`{"streams":[{"stream":{"a":"1","a":"2","b":"","c":"x","c":""}}]}`, `{"streams":[{"stream":{"a-b":"1","":"2","é":"3","a\"b":"4","a=\"1\", b":"5","__name__":"n"}}]}`,
	`{"streams":[{"stream":{"a":"\ud83d\ude00\u00e9\ud83d\ud83dx\ude00\/\b\f\n\r\t\"\\\u0000\ufffd"},"values":[["1","\ud83d\ude00\u00e9\ud83d\ud83dx\ude00\/\b\f\n\r\t\"\\\u0000"]]}]}`,
	`{"streams":[{"values":[["1","\x"]]}]}`, `{"streams":[{"values":[["1","\u12"]]}]}`, `{"streams":[{"values":[["1","\ud83d\u12"]]}]}`, `{"streams":[{"values":[["1","a`, `{"streams":[{"values":[["1","a\`, `{"streams":[{"values":[["1","\ud83d`, "{\"streams\":[{\"values\":[[\"1\",\"a\tb\"]]}]}", "{\"streams\":[{\"values\":[[\"1\",\"0123456789\x1f\"]]}]}",
	`{"streams":[{"values":[[]]}]}`, `{"streams":[{"values":[["5"]]}]}`, `{"streams":[{"values":[["5","l",{},4,{"a":[]}]]}]}`, `{"streams":[{"values":[[5,"l"]]}]}`, `{"streams":[{"values":[["5",6]]}]}`, `{"streams":[{"values":[["5",null]]}]}`, `{"streams":[{"values":[["5","l",null]]}]}`, `{"streams":[{"values":[["5","l",{"a":1}]]}]}`, `{"streams":[{"values":[["5","l",{"a":"1","a":"2","\u0062":""}]]}]}`,
	`{"streams":[{"values":[["0",""],["-1",""],["-1000000000",""],["9223372036854775807",""],["-9223372036854775808",""],["\u0031",""],["007",""]]}]}`,
	`{"streams":[{"values":[["9223372036854775808",""]]}]}`, `{"streams":[{"values":[["-9223372036854775809",""]]}]}`, `{"streams":[{"values":[["99999999999999999999",""]]}]}`, `{"streams":[{"values":[["",""]]}]}`, `{"streams":[{"values":[["-",""]]}]}`, `{"streams":[{"values":[["+1",""]]}]}`, `{"streams":[{"values":[[" 1",""]]}]}`, `{"streams":[{"values":[["1.5",""]]}]}`,
	`{"streams":[]}x`, `{"streams":[]} {}`, `{"streams":[],}`, `{"streams":[,]}`, `{"streams":[{},]}`, `{"streams" []}`, `{streams:[]}`, `{"streams":[{"values":[["1","a",]]}]}`, `{"streams":[{"values":[["1" "a"]]}]}`, `{"streams":[{"values":[nullx]}]}`,
	`{"x":{"a":[1,2.5e-3,"\u00e9",true,false,null,{}],"b":-0},"streams":[{"y":[[]],"values":[["1","z"]],"stream":{"a":"b"}}]}`, `{"x":tru}`, `{"x":-}`, `{"x":1e}`, `{"x":"\q"}`, `{"x":{1:2}}`, `{"x":{"a" 1}}`, `{"x":[1 2]}`,
	`{"x":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`, `{"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, `{"x":` + strings.Repeat("[", 100_000),
	`{"streams":[{"values":[["1","` + strings.Repeat("x", 200) + `"],["1","` + strings.Repeat(`\"`, 200) + `"]]}]}`,
}

func TestJSONSeeds(t *testing.T) {
	for _, in := range jsonSeeds {
		checkJSON(t, []byte(in))
	}
}

func TestJSONRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 3_000 {
		p := randomPush(r)
		in := randomJSON(r, p)
		checkJSON(t, in)
		i := r.IntN(len(in))
		checkJSON(t, in[:i])
		in[i] = "\"\\{}[],:0nu \x01"[r.IntN(13)]
		checkJSON(t, in)
	}
}

// randomJSON writes the lines of p, with labels, spacing and order as they fall.
func randomJSON(r *rand.Rand, p push.PushRequest) []byte {
	quoted := func(s string) string {
		b, _ := json.Marshal(strings.ToValidUTF8(s, "\u00a0"))
		return string(b)
	}
	space := func() string { return []string{"", "", " ", "\n\t"}[r.IntN(4)] }
	var streams []string
	for _, s := range p.Streams {
		var entries, ls []string
		for _, e := range s.Entries {
			entry := fmt.Sprintf(`["%d",%s%s`, e.Timestamp.UnixNano(), space(), quoted(e.Line))
			if r.IntN(2) == 0 {
				var sm []string
				for _, l := range e.StructuredMetadata {
					sm = append(sm, quoted(l.Name)+space()+":"+quoted(l.Value))
				}
				entry += ",{" + strings.Join(sm, ",") + "}"
			}
			entries = append(entries, entry+space()+"]")
		}
		for range r.IntN(5) {
			values := []string{`"x"`, `""`, `1`, `true`, `null`, `{"a":"\n"}`, `"\u00e9\ud800"`, quoted(s.Labels)}
			ls = append(ls, quoted([]string{"a", "b", "app", "a.b", ""}[r.IntN(5)])+":"+values[r.IntN(len(values))])
		}
		parts := []string{`"stream":{` + strings.Join(ls, ",") + `}`, `"values":[` + strings.Join(entries, space()+","+space()) + `]`, `"z":[{}]`}
		r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		streams = append(streams, "{"+strings.Join(parts[:1+r.IntN(3)], ",")+"}")
	}
	return []byte(`{"streams":` + space() + `[` + strings.Join(streams, ",") + `]}`)
}

func FuzzJSON(f *testing.F) {
	for _, in := range jsonSeeds {
		if len(in) < 10_000 {
			f.Add([]byte(in))
		}
	}
	f.Fuzz(checkJSON)
}

// TestJSONAsLoki pins rules that the reference shares with fromJSON to what the source and the tests of Loki 3.7.8 say, but for
// the quoted name: there it spoils the push.
func TestJSONAsLoki(t *testing.T) {
	f := func(in, labels string, lines ...string) {
		t.Helper()
		b, err := fromJSON([]byte(in), ingest.Lender{})
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		var got push.PushRequest
		if err := got.Unmarshal(b.raw); err != nil {
			t.Fatal(err)
		}
		var l []string
		for _, e := range got.Streams[0].Entries {
			l = append(l, e.Line)
		}
		if got.Streams[0].Labels != labels || !slices.Equal(l, lines) {
			t.Errorf("%s: got %s %q, want %s %q", in, got.Streams[0].Labels, l, labels, lines)
		}
	}
	f(`{"streams":[{"stream":{"test":"test","number":123},"values":[["1","super line"]]}]}`, `{number="123", test="test"}`, "super line")
	f(`{"streams":[{"stream":{"text":{ "a": "b" }},"values":[["1","x"],null]}]}`, `{text="{ \"a\": \"b\" }"}`, "x")
	f(`{"streams":[{"stream":{"a":null,"b":""},"values":null}]}`, `{a="null"}`)
	f(`{"streams":[{"stream":{"a-b":"x"}}]}`, `{"a-b"="x"}`)
	f("{\"streams\":[{\"stream\":{\"a\":\"\xff\"},\"values\":[[\"1\",\"\xfe\xff\"]]}]}", `{a="\xff"}`, "\xfe\xff")
}

func TestJSONAhead(t *testing.T) {
	f := func(entry string, n int, ok bool) {
		t.Helper()
		in := []byte(`{"streams":[{"values":[` + strings.Repeat(entry+",", n) + `null]}]}`)
		b, err := fromJSON(in, ingest.Lender{})
		if (err == nil) != ok {
			t.Fatalf("%s: %v", entry, err)
		}
		if ok && (b.lines != n || cap(b.raw) > len(in)+2*ahead) {
			t.Errorf("%s: %d lines, %d bytes for %d", entry, b.lines, cap(b.raw), len(in))
		}
	}
	f(`["1700000000000000000",""]`, 100_000, true)
	f(`["-1"]`, 100, true)
	f(`["-1"]`, 100_000, false)
	in := []byte(`{"streams":[{"stream":{"a":"` + strings.Repeat("\x7f", 100_000) + `"}}]}`)
	if _, err := fromJSON(in, ingest.Lender{}); err == nil {
		t.Error("a label of control characters got four times its memory")
	}
	// What is lent may have more room than was asked for, which is not to matter.
	in = []byte(`{"streams":[{"values":[` + strings.Repeat(`["-1"],`, 8000) + `["1","` + strings.Repeat("x", 80_000) + `"]]}]}`)
	for _, stock := range []*ingest.Stock{nil, new(ingest.Pool).Stock()} {
		if b, err := fromJSON(in, ingest.Lender{Stock: stock}); err == nil {
			t.Errorf("%d bytes of JSON made %d", len(in), len(b.raw))
		}
	}
}

// TestEscapesAnywhere: an escape sequence is resolved wherever in a word it stands, with and without room past the content.
func TestEscapesAnywhere(t *testing.T) {
	for _, escape := range []string{`\"`, `\\`, `\n`, `\u00e9`, `\ud83d\ude00`, `\"\"`, `\"a\\\t`} {
		for before := range 20 {
			for after := range 20 {
				in := `"` + strings.Repeat("b", before) + escape + strings.Repeat("a", after) + `" `
				var want string
				if err := json.Unmarshal([]byte(in), &want); err != nil {
					t.Fatal(err)
				}
				for _, room := range []int{0, 8, len(want), 100} {
					s := scanner{in: []byte(in)}
					got, err := s.appendString(make([]byte, 0, room))
					if err != nil || string(got) != want || s.pos != len(in)-1 {
						t.Fatalf("%s, room %d: %q up to %d, %v, want %q", in, room, got, s.pos, err, want)
					}
				}
			}
		}
	}
}
