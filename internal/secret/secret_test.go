package secret

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestSecretsNeverPrint(t *testing.T) {
	const plain = "hunter2-hunter2"
	type holder struct {
		V Value
		C Content
		P *Value
		L []Line
		M map[string]Value
		A any
	}
	v := Value(plain)
	h := holder{v, Content(plain), &v, []Line{{1, v}}, map[string]Value{"k": v}, v}
	show := func(how, s string) {
		t.Helper()
		for _, leak := range []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain), fmt.Sprint([]byte(plain)), "104 117 110"} {
			if strings.Contains(s, leak) {
				t.Errorf("%s shows the secret: %s", how, s)
			}
		}
		if !strings.Contains(s, "secret") {
			t.Errorf("%s says %q, want <secret> in it", how, s)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%b", "%c", "%10.3s", "%t", "%e", "%U"} {
		show(verb, fmt.Sprintf(verb, v))
		show(verb, fmt.Sprintf(verb, Content(plain)))
		show(verb+" in a struct", fmt.Sprintf(verb, holder{V: v, C: Content(plain), L: h.L, M: h.M, A: v}))
	}
	show("Println", fmt.Sprintln(v, h.C))
	show("Errorf", fmt.Errorf("token %w", fmt.Errorf("%s", v)).Error())

	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	show("JSON", string(j))
	y, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	show("YAML", string(y))
	x, err := xml.Marshal([]any{v, h.C})
	if err != nil {
		t.Fatal(err)
	}
	show("XML", string(x))

	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v, "c", h.C, "h", holder{V: v, C: h.C, L: h.L})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v, "c", h.C, "h", h, slog.Group("g", "v", v))
	show("slog", out.String())

	if v.Reveal() != plain {
		t.Errorf("Reveal() = %q", v.Reveal())
	}
}

func TestLines(t *testing.T) {
	f := func(content string, want ...Line) {
		t.Helper()
		got := Lines(Content(content))
		if len(got) != len(want) {
			t.Fatalf("%q: %d secrets, want %d", content, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%q: secret %d is %q in line %d, want %q in line %d",
					content, i, got[i].Value.Reveal(), got[i].Number, want[i].Value.Reveal(), want[i].Number)
			}
		}
	}
	f("")
	f("\n \n# only words\r\n")
	f("one", Line{1, "one"})
	f("one\n", Line{1, "one"})
	f("\xef\xbb\xbfone\r\ntwo\r\n", Line{1, "one"}, Line{2, "two"})
	f("# new\n\n  one \t\n#old\ntwo # not a comment\n", Line{3, "one"}, Line{5, "two # not a comment"})
	f("a b\nc:d:e\n", Line{1, "a b"}, Line{2, "c:d:e"})
	f("one\rtwo", Line{1, "one\rtwo"})
}

func TestOne(t *testing.T) {
	f := func(content, want, wantErr string) {
		t.Helper()
		got, err := One(Content(content))
		if got.Reveal() != want {
			t.Errorf("%q: got %q, want %q", content, got.Reveal(), want)
		}
		if wantErr == "" && err != nil || wantErr != "" && (err == nil || err.Error() != wantErr) {
			t.Errorf("%q: error %v, want %q", content, err, wantErr)
		}
	}
	f("glc_one", "glc_one", "")
	f("\xef\xbb\xbf \n glc_one\r\n\n", "glc_one", "")
	f("#starts-so", "#starts-so", "")
	f("with space", "with space", "")
	f("", "", "is empty")
	f(" \r\n", "", "is empty")
	f("one\ntwo\n", "", "holds 2 lines, want exactly 1 secret")
	f("# words\none", "", "holds 2 lines, want exactly 1 secret")
	f("o\x00n\x00e\x00", "", "holds control characters, want plain text")
}
