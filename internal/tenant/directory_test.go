package tenant

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
)

func TestProblems(t *testing.T) {
	long := secret.Value(strings.Repeat("l", maxSecretBytes))
	f := func(add []Spec, want string, files ...string) {
		t.Helper()
		d, err := NewDirectory(append(specs(), add...), anonymous, nil)
		if want == "" {
			if err != nil {
				t.Errorf("unexpected: %v", err)
			}
			return
		}
		if err == nil || err.Error() != want || d != nil {
			t.Errorf("got %v, want %s", err, want)
			return
		}
		var ps Problems
		if !errors.As(err, &ps) {
			t.Fatalf("%T is not Problems", err)
		}
		var got []string
		for file, why := range ps.Refusals() {
			got = append(got, file)
			if !strings.Contains(want, why.Error()) {
				t.Errorf("%s is refused with %q", file, why)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, files) {
			t.Errorf("refuses files %q, want %q", got, files)
		}
	}
	one := &Client{Environment: "dev", Name: "one"}
	f([]Spec{{Client: one, Kind: Bearer, File: "secrets/one", Secrets: lines("fresh", payToken2)}},
		"secrets/one:3 of dev/one has the same credential as secrets/payments:3 of prod/payments, want one of its own for each client",
		"secrets/one", "secrets/payments")
	f([]Spec{{Client: one, Kind: Basic, Username: "billing", File: "secrets/one", Secrets: lines("dev-pass")}},
		"secrets/one:1 of dev/one has the same credential as secrets/dev-billing:1 of dev/billing, want one of its own for each client",
		"secrets/dev-billing", "secrets/one")
	f([]Spec{{Client: one, Kind: Cert, CertName: "edge.PROD.example.com"}},
		"client_cert of dev/one is that of prod/edge too, want one of its own for each client")
	f([]Spec{{Client: one, Kind: Cert, CertName: "SPIFFE://example.com/ns/prod/mesh"}},
		"client_cert of dev/one is that of prod/mesh too, want one of its own for each client")
	f([]Spec{{Client: one, Kind: Cert}}, "client_cert of dev/one is empty")
	f([]Spec{{Client: one, Kind: Bearer, File: "secrets/one"}}, "secrets/one of dev/one holds no secret, want one a line", "secrets/one")
	f([]Spec{{Client: one, Kind: Basic, File: "secrets/one", Secrets: lines("x")}}, "username of dev/one is empty or has a colon")
	f([]Spec{{Client: one, Kind: Basic, Username: "a:b", File: "secrets/one", Secrets: lines("x")}}, "username of dev/one is empty or has a colon")
	f([]Spec{{Client: one, Kind: Bearer, File: "secrets/one", Secrets: lines(long + "x")}},
		"secrets/one:1 of dev/one has 4097 bytes, over the 4096 of a credential", "secrets/one")
	f([]Spec{ // all at once
		{Client: one, Kind: Bearer, File: "secrets/one"},
		{Client: one, Kind: Cert},
	}, "secrets/one of dev/one holds no secret, want one a line; client_cert of dev/one is empty", "secrets/one")

	f([]Spec{{Client: one, Kind: Bearer, File: "secrets/one", Secrets: lines("same", "same")}}, "")
	f([]Spec{{Client: payments, Kind: Bearer, File: "secrets/more", Secrets: lines(payToken)}}, "") // one client, twice
	f([]Spec{{Client: edge, Kind: Cert, CertName: "edge.prod.example.com"}}, "")
	f([]Spec{{Client: one, Kind: Basic, Username: "one", File: "secrets/one", Secrets: lines(billPass)}}, "") // another pair
	f([]Spec{{Client: one, Kind: Bearer, File: "secrets/one", Secrets: lines("billing:" + billPass)}}, "")    // another kind
}

// The longest credential that a file may hold can be presented.
func TestLongestCredential(t *testing.T) {
	c := &Client{Environment: "e", Name: "c"}
	password := strings.Repeat("p", maxSecretBytes-len("user:"))
	d, err := NewDirectory([]Spec{
		{Client: c, Kind: Bearer, File: "f", Secrets: lines(secret.Value(strings.Repeat("t", maxSecretBytes)))},
		{Client: c, Kind: Basic, Username: "user", File: "g", Secrets: lines(secret.Value(password))},
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"Bearer " + strings.Repeat("t", maxSecretBytes), basic("user", password)} {
		if got, reason := d.Identify(time.Now(), Credentials{Authorization: []string{h}}); got != c {
			t.Errorf("%.20s… of %d bytes: %s", h, len(h), reason)
		}
	}
}

func TestRotation(t *testing.T) {
	build := func(previous *Directory, values ...secret.Value) *Directory {
		t.Helper()
		d, err := NewDirectory([]Spec{{Client: payments, Kind: Bearer, File: "f", Secrets: lines(values...)}}, nil, previous)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	known := func(d *Directory, token string) bool {
		c, _ := d.Identify(time.Now(), Credentials{Authorization: []string{"Bearer " + token}})
		return c != nil
	}
	var d *Directory
	for _, step := range []struct {
		file   []secret.Value
		a, b   bool
		reason string
	}{
		{[]secret.Value{"token-a"}, true, false, "before"},
		{[]secret.Value{"token-a", "token-b"}, true, true, "both are valid at once"},
		{[]secret.Value{"token-b"}, false, true, "the old line is gone"},
	} {
		d = build(d, step.file...)
		if known(d, "token-a") != step.a || known(d, "token-b") != step.b {
			t.Errorf("%s: a %v, b %v", step.reason, known(d, "token-a"), known(d, "token-b"))
		}
	}
}

func TestLastUsed(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	d := directory(t, anonymous)
	use := func(d *Directory, at time.Time, header string) {
		t.Helper()
		if c, r := d.Identify(at, Credentials{Authorization: []string{header}}); c == nil {
			t.Fatal(r)
		}
	}
	f := func(d *Directory, want ...Use) {
		t.Helper()
		var got []Use
		for _, u := range d.LastUsed() {
			if !u.At.IsZero() {
				got = append(got, u)
			}
		}
		if !slices.EqualFunc(got, want, func(a, b Use) bool { return a == b }) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
	f(d)
	if n := len(d.LastUsed()); n != 7 {
		t.Errorf("%d credentials, want 7", n)
	}
	use(d, now, "Bearer "+payToken2)
	use(d, now.Add(time.Minute), basic("billing", "dev-pass"))
	_, _ = d.Identify(now, Credentials{TLS: newAuthority(t).state("edge.prod.example.com")})
	_, _ = d.Identify(now, Credentials{Authorization: []string{"Bearer wrong"}})
	_, _ = d.Identify(now, Credentials{})
	devUse := Use{"dev", "billing", "secrets/dev-billing", 1, now.Add(time.Minute)}
	edgeUse := Use{"prod", "edge", "", 0, now}
	f(d, devUse, edgeUse, Use{"prod", "payments", "secrets/payments", 3, now})

	use(d, now.Add(time.Second), "Bearer "+payToken2)
	use(d, now, "Bearer "+payToken2) // a clock that goes back, or a push that overtakes
	f(d, devUse, edgeUse, Use{"prod", "payments", "secrets/payments", 3, now.Add(time.Second)})

	// After a reload the line has moved, one credential is another client's, and one is gone.
	next := specs()
	next[0].Secrets = []secret.Line{{Number: 9, Value: payToken2}}
	next[3].Client = &Client{Environment: "dev", Name: "heir"}
	d2, err := NewDirectory(next[:5], nil, d)
	if err != nil {
		t.Fatal(err)
	}
	f(d2, edgeUse, Use{"prod", "payments", "secrets/payments", 9, now.Add(time.Second)})
	use(d, now.Add(time.Hour), "Bearer "+payToken2) // a push that began before the reload
	f(d2, edgeUse, Use{"prod", "payments", "secrets/payments", 9, now.Add(time.Hour)})
}

func TestParallel(t *testing.T) {
	d := directory(t, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				if c, r := d.Identify(time.Unix(int64(i*j), 0), Credentials{Authorization: []string{"Bearer " + payToken}}); c != payments {
					t.Errorf("%v, %s", c, r)
				}
				d.LastUsed()
			}
		})
	}
	wg.Wait()
}

func TestNothingLeaks(t *testing.T) {
	d := directory(t, anonymous)
	next, err := NewDirectory(specs(), anonymous, d)
	if err != nil {
		t.Fatal(err)
	}
	one := &Client{Environment: "dev", Name: "one"}
	_, problem := NewDirectory(append(specs(),
		Spec{Client: one, Kind: Bearer, File: "f", Secrets: lines(payToken, "ci-token")},
		Spec{Client: one, Kind: Basic, Username: "billing", File: "g", Secrets: lines(billPass)},
		Spec{Client: one, Kind: Bearer, File: "h", Secrets: lines(secret.Value(strings.Repeat(payToken, 300)))}), nil, nil)
	if problem == nil {
		t.Fatal("doubled credentials are taken")
	}
	_, reason := d.Identify(time.Now(), Credentials{Authorization: []string{"Bearer " + payToken + "x"}})

	key := d.key()
	var hidden []string
	for _, s := range []string{payToken, payToken2, billPass, "ci-token", "dev-pass", string(key[:])} {
		hidden = append(hidden, s, hex.EncodeToString([]byte(s)), strings.Trim(fmt.Sprint([]byte(s)), "[]"),
			strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(s)), "[]byte{"), "}"))
	}
	show := func(what, s string) {
		t.Helper()
		for _, h := range hidden {
			if strings.Contains(strings.ToLower(s), strings.ToLower(h)) {
				t.Errorf("%s shows %q:\n%s", what, h, s)
			}
		}
	}
	for what, v := range map[string]any{
		"directory": d, "copy": *d, "next": next, "specs": specs(), "spec": specs()[0], "problem": problem, "fault": reason.Fault(),
		"last used": d.LastUsed(), "client": payments,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			show(what+" "+verb, fmt.Sprintf(verb, v))
		}
		if j, err := json.Marshal(v); err == nil {
			show(what+" JSON", string(j))
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		show(what+" slog", out.String())
	}
}

// Time is not measured here: a busy machine would decide the test. What makes it equal is: a table of keyed digests and
// one digest over all that was presented, whoever presents what.
func TestLookupTellsNothing(t *testing.T) {
	field, _ := reflect.TypeFor[Directory]().FieldByName("secrets")
	if k := field.Type.Key(); k.Kind() != reflect.Array || k.Len() != 32 {
		t.Errorf("secrets are looked up by %s, want a digest of fixed size", k)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "identify.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	hashes, inBranch := 0, 0
	count := func(n *int) func(ast.Node) bool {
		return func(node ast.Node) bool {
			if s, ok := node.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "Sum256") {
				*n++
			}
			return true
		}
	}
	ast.Inspect(file, count(&hashes))
	ast.Inspect(file, func(node ast.Node) bool {
		switch node.(type) {
		case *ast.IfStmt, *ast.SwitchStmt, *ast.ForStmt, *ast.RangeStmt:
			ast.Inspect(node, count(&inBranch))
			return false
		}
		return true
	})
	if hashes != 1 || inBranch != 0 {
		t.Errorf("%d digests are made, %d of them in a branch; want 1 and 0", hashes, inBranch)
	}
	a, b := directory(t, nil), directory(t, nil)
	if a.key() == b.key() || a.key() == [32]byte{} {
		t.Error("the key is not random")
	}
	for k := range a.secrets {
		if b.secrets[k] != nil {
			t.Error("digests do not depend on the key")
		}
	}
}

func FuzzIdentify(f *testing.F) {
	for _, h := range []string{
		"", "Bearer", "Bearer x", "Bearer " + payToken, "bEaReR  " + payToken2 + " ", "Basic", "Basic ????", basic("billing", billPass),
		basic("billing", "dev-pass"), basic("", ""), "Digest a=b", "Basic " + strings.Repeat("A", 5000), "\x00", "Bearer\t" + payToken,
	} {
		f.Add(h, h)
		f.Add(h, "")
	}
	d := directory(f, anonymous)
	bearers := map[string]*Client{payToken: payments, payToken2: payments, "ci-token": oldCI}
	pairs := map[[2]string]*Client{{"billing", billPass}: billing, {"billing", "dev-pass"}: devBill}
	f.Fuzz(func(t *testing.T, header, second string) {
		got, reason := d.Identify(time.Now(), Credentials{Authorization: []string{header}, Pinned: legacy})
		if (got == nil) == (reason == "") || reason != "" && !slices.Contains(Reasons(), reason) {
			t.Fatalf("%q: %v with reason %q", header, got, reason)
		}
		// The reference is the standard library's, with the same tolerance for space.
		r := http.Request{Header: http.Header{}}
		scheme, rest, _ := strings.Cut(strings.Trim(header, " \t"), " ")
		rest = strings.TrimLeft(rest, " \t")
		r.Header.Set("Authorization", scheme+" "+rest)
		var want *Client
		if strings.EqualFold(scheme, "Bearer") {
			want = bearers[rest]
		} else if user, password, ok := r.BasicAuth(); ok {
			want = pairs[[2]string{user, password}]
		}
		if len(header) > maxHeaderBytes {
			want = nil
		}
		if got != want {
			t.Fatalf("%q: got %v, want %v", header, got, want)
		}
		if c, reason := d.Identify(time.Now(), Credentials{Authorization: []string{header, second}}); c != nil || reason != SeveralHeaders {
			t.Fatalf("%q and %q: %v", header, second, c)
		}
	})
}

func cases(t testing.TB) map[string]Credentials {
	a := newAuthority(t)
	return map[string]Credentials{
		"bearer":    {Authorization: []string{"Bearer " + payToken}},
		"near miss": {Authorization: []string{"Bearer " + payToken[:len(payToken)-1] + "x"}},
		"unknown":   {Authorization: []string{"Bearer " + strings.Repeat("x", len(payToken))}},
		"basic":     {Authorization: []string{basic("billing", billPass)}},
		"dns":       {TLS: a.state("edge.prod.example.com")},
		"uri":       {TLS: a.state("spiffe://example.com/ns/prod/mesh")},
		"pinned":    {Pinned: legacy},
	}
}

func TestAllocations(t *testing.T) {
	d, now := directory(t, nil), time.Now()
	for name, c := range cases(t) {
		want := 0.0
		if name == "uri" {
			want = 1 // net/url builds the text
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = d.Identify(now, c) }); n > want {
			t.Errorf("%s: %v allocations, want at most %v", name, n, want)
		}
	}
}

func BenchmarkIdentify(b *testing.B) {
	d, now := directory(b, nil), time.Now()
	for name, c := range cases(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = d.Identify(now, c)
			}
		})
	}
}
