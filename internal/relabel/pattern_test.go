package relabel

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"

	prom "github.com/prometheus/prometheus/model/relabel"
)

// TestPatternKinds: what people write runs without the regexp machine. That the results are right is shown elsewhere.
func TestPatternKinds(t *testing.T) {
	f := func(regex, want string) {
		t.Helper()
		p, ok := newPattern(prom.MustNewRegexp(regex).Regexp.String())
		got := "machine"
		if ok {
			got = fmt.Sprintf("%d words, %d globs", len(p.words.list()), len(p.globs))
			if p.all {
				got = "all"
			}
			for i, g := range p.groups {
				if !g.known {
					got += fmt.Sprintf(", not group %d", i)
				}
			}
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", regex, got, want)
		}
	}
	f("", "1 words, 0 globs")
	f("up", "1 words, 0 globs")
	f("^up$", "1 words, 0 globs")
	f("a|b|c|foo|foobar|", "6 words, 0 globs")
	f("(a|b)(c|d)?", "6 words, 0 globs, not group 1, not group 2")
	f("(pod|uid)", "2 words, 0 globs")
	f(`http\.url|user\.id`, "2 words, 0 globs")
	f(strings.Repeat("x|y|", 20)+strings.Join(numbers(3000), "|"), "3002 words, 0 globs")
	f("[a-c][0-9]", "30 words, 0 globs")
	f(".*", "all")
	f("(.*)", "all")
	f("((?:.*))", "all")
	f("go_.*|a|.*", "all")
	f(".+", "0 words, 1 globs")
	f("go_.*|process_.+|.*_bucket|up", "1 words, 3 globs")
	f("kube_.*_(created|info)", "0 words, 2 globs, not group 1")
	f("a(.*)b", "0 words, 1 globs")
	f("(a)(?P<name>.+)(b)", "0 words, 1 globs")
	f("(.*):(.*)", "0 words, 1 globs, not group 1, not group 2")
	f("((.*):(.*))", "0 words, 1 globs, not group 2, not group 3")
	f("user.id", "0 words, 1 globs")
	f("http.request.*", "0 words, 1 globs")
	f("(.)b", "0 words, 1 globs, not group 1")
	f(".*.x", "machine")
	f(".+.+", "machine")
	f("[^:]+:.*", "machine")
	f(`\d+`, "machine")
	f("(?i)up", "machine")
	f("a{3}", "machine")
	f("(?-s:.*)", "machine")
	f(`\x{fffd}`, "machine")
	f(`[\x{fffc}-\x{fffe}]`, "machine")
	f("a)|(b", "machine")
	f("a$|b", "machine")
	f("(a|b|c|d|e|f|g|h|i|j){5}", "machine")
	f(strings.Repeat("(a|b|c|d|e|f|g|h|i|j)", 5), "machine")
	f(strings.Join(numbers(17), ".*|")+".*", "machine")
}

func numbers(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = "m" + strconv.Itoa(i) + "e"
	}
	return list
}

// TestPatternWithoutAnchors: what may begin or end anywhere is no pattern.
func TestPatternWithoutAnchors(t *testing.T) {
	for _, expr := range []string{"", "up", "^up", "up$", "^", "$", "^a$|^b$", "("} {
		if _, ok := newPattern(expr); ok {
			t.Errorf("%q is taken for a pattern", expr)
		}
	}
}

// TestPatternSameAsMachine tries short texts, all of them, on many small expressions.
func TestPatternSameAsMachine(t *testing.T) {
	texts := []string{""}
	for from := 0; len(texts) < 1000; {
		end := len(texts)
		for _, s := range texts[from:end] {
			for _, c := range []string{"a", "b", "é", "\xc3"} {
				texts = append(texts, s+c)
			}
		}
		from = end
	}
	r := rand.New(rand.NewPCG(7, 8))
	parts := []string{"a", "b", "ab", ".*", ".+", ".", "é", "(a|b)", "(.*)", "(?:ab)?", "(.+)|", "|", "[ab]"}
	patterns := 0
	for range 2000 {
		var expr string
		for range r.IntN(7) {
			expr += parts[r.IntN(len(parts))]
		}
		re := prom.MustNewRegexp(expr)
		p, ok := newPattern(re.Regexp.String())
		if !ok {
			continue
		}
		patterns++
		for range 60 {
			text := texts[r.IntN(len(texts))]
			at := re.FindStringSubmatchIndex(text)
			if p.match(text) != (at != nil) {
				t.Fatalf("%s matches %q: %v, want %v", expr, text, p.match(text), at != nil)
			}
			for i, g := range p.groups {
				if at != nil && g.known && p.group(i, text) != text[at[2*i]:at[2*i+1]] {
					t.Fatalf("%s on %q: group %d is %q, want %q", expr, text, i, p.group(i, text), text[at[2*i]:at[2*i+1]])
				}
			}
		}
	}
	if patterns < 1000 {
		t.Errorf("only %d of 2000 expressions are patterns", patterns)
	}
}

// TestMemoKeepsTwo: two texts that share a place are both remembered, in texts of their own.
func TestMemoKeepsTwo(t *testing.T) {
	asked := 0
	m := newMemo(func(string) answer { asked++; return answer{} })
	place := func(text string) uint64 { return maphash.String(m.seed, text) % memoSets }
	first, second := "0", ""
	for i := 1; second == ""; i++ {
		if text := strconv.Itoa(i); place(text) == place(first) {
			second = text
		}
	}
	buffer := []byte(first)
	for range 2 {
		m.answer(unsafe.String(&buffer[0], len(buffer)))
	}
	buffer[0] = 'x'
	m.answer(second)
	m.answer(second)
	asked = 0
	m.answer(first)
	m.answer(second)
	if asked != 0 {
		t.Errorf("asked %d times about two texts that should be remembered", asked)
	}
}

// TestMemo: what comes again is not asked for again, what comes once sweeps nothing out, and all of it stays bounded.
func TestMemo(t *testing.T) {
	asked := 0
	m := newMemo(func(text string) answer {
		asked++
		return answer{true, "t" + text, "v" + text}
	})
	get := func(text string) {
		t.Helper()
		if a := m.answer(text); !a.matched || a.target != "t"+text || a.value != "v"+text {
			t.Fatalf("%q: %+v", text, a)
		}
	}
	for range 10 {
		get("hot")
	}
	if asked != 2 {
		t.Errorf("asked %d times about one text, want 2", asked)
	}
	for i := range 100_000 {
		get(strconv.Itoa(i))
	}
	asked = 0
	get("hot")
	if asked != 0 {
		t.Error("texts that came once swept out one in use")
	}
	for range 2 {
		for i := range 3000 {
			get(strconv.Itoa(i))
			get(strconv.Itoa(i))
		}
	}
	long := strings.Repeat("x", memoBytes+1)
	long2 := long[:memoBytes]
	asked = 0
	for range 3 {
		get(long)
		get(long2)
	}
	if asked != 6 {
		t.Errorf("asked %d times about texts that are too long to be kept, or have such answers; want 6", asked)
	}
	kept := 0
	for i := range m.sets {
		for _, p := range []*remembered{m.sets[i].last.Load(), m.sets[i].old.Load()} {
			if p != nil {
				kept += len(p.text) + len(p.target) + len(p.value)
			}
		}
	}
	if limit := len(m.sets) * 2 * 2 * memoBytes; kept == 0 || kept > limit {
		t.Errorf("%d bytes are kept, over %d", kept, limit)
	}
}

func TestMemoConcurrent(t *testing.T) {
	m := newMemo(func(text string) answer { return answer{matched: true, target: text} })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 20_000 {
				if text := strconv.Itoa(i % 700 / 2); m.answer(text).target != text {
					t.Errorf("%s has another's answer", text)
					return
				}
			}
		})
	}
	wg.Wait()
}
