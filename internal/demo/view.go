package demo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// tone is how something is meant, and so its colour.
type tone uint8

const (
	plain tone = iota
	good
	note
	bad
	dim
	bold
)

// text is a piece of a line. Its width is known apart from its colour.
type text struct {
	tone tone
	s    string
}

// say makes a piece.
func say(t tone, format string, args ...any) text { return text{t, fmt.Sprintf(format, args...)} }

// left and right fill or cut s to width.
func left(s string, width int) string {
	s = clip(s, width)
	return s + strings.Repeat(" ", width-utf8.RuneCountInString(s))
}

func right(s string, width int) string {
	s = clip(s, width)
	return strings.Repeat(" ", width-utf8.RuneCountInString(s)) + s
}

func clip(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return string([]rune(s)[:width-1]) + "…"
}

// Widths that do not depend on the screen's, and where a screen is small.
const (
	clientWidth = 10
	speakWidth  = 9
	signalWidth = 7
	countWidth  = 7
	timeWidth   = 11
	narrow      = 100 // below it the signal and the credential's name go
	roomy       = 28  // lines; below it the blank ones go
)

// frame draws a snapshot in width columns and at most height lines (0: as many as it takes).
func frame(s snapshot, width, height int) [][]text {
	out := [][]text{header(s, width), flow(s)}
	if s.admin != "" {
		out = append(out, []text{say(dim, " its status page: http://%s/", s.admin)})
	}
	out = append(out, nil, titles(width))
	env := ""
	for _, r := range s.rows {
		if r.env != env {
			env = r.env
			out = append(out, []text{say(bold, " %s", env)})
		}
		out = append(out, r.line(width))
	}
	out = append(out, nil)
	out = append(out, bookLines(s)...)
	out = append(out, nil)
	if less := lessLines(s); len(less) > 0 && (height == 0 || len(out)+len(less) < height-4) { // events go before it
		out = append(append(out, less...), nil)
	}

	if height > 0 && height < roomy {
		out = slices.DeleteFunc(out, func(l []text) bool { return l == nil })
	}
	room := len(s.events)
	if height > 0 {
		room = min(room, max(height-len(out), 0))
	} else {
		room = min(room, 6)
	}
	for _, e := range s.events[len(s.events)-room:] {
		out = append(out, []text{say(dim, " %s  ", e.at.Format("15:04:05")), {e.tone, e.text}})
	}
	if height > 0 && len(out) > height {
		out = out[:height]
	}
	for i := range out {
		out[i] = fit(out[i], width)
	}
	return out
}

// fit cuts a line to width.
func fit(l []text, width int) []text {
	for i, t := range l {
		n := utf8.RuneCountInString(t.s)
		if n > width {
			return append(slices.Clone(l[:i]), text{t.tone, clip(t.s, width)})
		}
		width -= n
	}
	return l
}

func header(s snapshot, width int) []text {
	title, up := " telemetry gateway demo ", s.up.Round(time.Second).String()
	rate := float64(s.sum.stored) / max(s.up.Seconds(), 0.001)
	state := fmt.Sprintf("%s items/s stored   up %s ", count(uint64(rate)), up)
	gap := max(width-utf8.RuneCountInString(title)-utf8.RuneCountInString(state), 1)
	return []text{{bold, title}, {plain, strings.Repeat(" ", gap)}, {dim, state}}
}

func flow(s snapshot) []text {
	return []text{say(dim, " senders ─▶ gateway :%s, gRPC :%s ─▶ pretend Grafana Cloud :%s", port(s.http), port(s.grpc), port(s.url))}
}

func titles(width int) []text {
	l := " " + left("client", clientWidth) + " " + left("speaks", speakWidth)
	if width >= narrow {
		l += " " + left("signal", signalWidth)
	}
	l += right("pushes", countWidth) + right("sent", countWidth+1) + right("stored", countWidth+1) + "  " +
		left("left as", userWidth(width)) + right("p50/p99 ms", timeWidth) + "  answers"
	return []text{{dim, l}}
}

// userWidth is the room for `prod-metrics 53715`, or for the number alone.
func userWidth(width int) int {
	if width >= narrow {
		return 19
	}
	return 7
}

func (r row) line(width int) []text {
	name := " " + left(r.client, clientWidth) + " " + left(r.protocol, speakWidth)
	if width >= narrow {
		name += " " + left(r.signal, signalWidth)
	}
	numbers := right(count(r.pushes), countWidth) + right(count(r.sent), countWidth+1)
	stored := good
	if r.stored < r.sent {
		stored = note
	}
	if r.stored == 0 {
		stored = dim
	}
	out := []text{
		{plain, name}, {plain, numbers}, {stored, right(count(r.stored), countWidth+1)},
		{plain, "  "}, r.user(width), {dim, right(r.times(), timeWidth) + "  "},
	}
	return append(out, r.codes()...)
}

// user is the credential that the row's items left with, as the cloud saw it.
func (r row) user(width int) text {
	switch len(r.users) {
	case 0:
		return text{dim, left("-", userWidth(width))}
	case 1:
		u := r.users[0]
		if width < narrow {
			_, u, _ = strings.Cut(u, " ")
		}
		return text{plain, left(u, userWidth(width))}
	}
	return text{bad, left(strings.Join(r.users, ","), userWidth(width))}
}

func (r row) times() string {
	if r.p50 == 0 {
		return "-"
	}
	return ms(r.p50) + "/" + ms(r.p99)
}

func ms(d time.Duration) string {
	if d < 10*time.Millisecond {
		return strconv.FormatFloat(d.Seconds()*1000, 'f', 1, 64)
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}

// codes are the answers to all tries, the most frequent first.
func (r row) codes() (out []text) {
	keys := slices.SortedFunc(maps.Keys(r.answers), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.answers[b], r.answers[a]), cmp.Compare(a, b))
	})
	for i, k := range keys {
		if i > 0 {
			out = append(out, say(plain, " "))
		}
		out = append(out, text{codeTone(k), k}, say(dim, "×%s", count(uint64(r.answers[k]))))
	}
	return out
}

func codeTone(code string) tone {
	switch {
	case code == "OK" || strings.HasPrefix(code, "2"):
		return good
	case code == "401" || code == "UNAUTH":
		return bad
	}
	return note
}

// bookLines are the sums, and whether they balance.
func bookLines(s snapshot) [][]text {
	t := s.sum
	verdict := say(good, "✓ balanced  ")
	if !s.balanced() {
		verdict = say(bad, "✗ NOT BALANCED  ")
	}
	sum := fmt.Sprintf("%s sent = %s stored + %s refused + %s waiting", count(t.sent), count(t.stored), count(t.refused+t.limited), count(t.waiting))
	if t.dropped > 0 {
		sum += fmt.Sprintf(" + %s dropped", count(t.dropped))
	}
	if t.abandoned > 0 {
		sum += fmt.Sprintf(" + %s given up", count(t.abandoned))
	}
	wrong := fmt.Sprintf("lost %d  altered %d  misplaced %d  doubled %d", t.lost+t.afterRefusal, t.altered+t.stray, t.misplaced, t.doubled)
	wrongTone := good
	if t.lost+t.afterRefusal+t.altered+t.stray+t.misplaced+t.doubled > 0 {
		wrongTone = bad
	}
	out := [][]text{
		{say(bold, " items "), verdict, {plain, sum}},
		{say(plain, "       "), {wrongTone, wrong}, {dim, fmt.Sprintf("  re-sent and stored twice %s", count(t.resent))}},
	}
	if s.added50 > 0 {
		out = append(out, []text{say(bold, " time  "), say(plain, "the gateway adds p50 %s ms, p99 %s ms", ms(s.added50), ms(s.added99)), say(dim, " to the cloud's own")})
	}
	if n := len(s.violations); n > 0 {
		out = append(out, []text{say(bad, "       %d breaches of protocol, the first: %s", n, s.violations[0])})
	}
	return out
}

// lessLines say what rules and limits did, as the cloud saw it, and where the gateway tells of it.
func lessLines(s snapshot) (out [][]text) {
	t := s.sum
	line := func(n uint64, name, where, format string, args ...any) {
		if n > 0 {
			out = append(out, []text{say(bold, " %-10s", name), say(plain, format, args...), say(dim, "  see %s", where)})
		}
	}
	line(t.dropped, "rule", "/metrics: gateway_rule_items_dropped_total", "%s samples of %s dropped", count(t.dropped), uselessMetric)
	line(t.removed, "rule", "/api/v1/explain", "%s samples arrived without the label %s", count(t.removed), uselessLabel)
	line(t.moved, "logs", "/metrics: gateway_structured_metadata_added_bytes_total", "label %s moved to the metadata of %s lines", streamLabel, count(t.moved))
	line(t.kept, "collision", "/api/v1/status/collisions", "%s samples keep the label %s, or two series would be one", count(t.kept), neededLabel)
	line(t.limited, "guard", "/api/v1/status/cardinality", "%s samples with new values of %s refused, the rest arrived", count(t.limited), carelessLabel)
	return out
}

// count writes 1234567 as 1.23M and 12345 as 12,345.
func count(n uint64) string {
	switch {
	case n < 1000:
		return strconv.FormatUint(n, 10)
	case n < 1_000_000:
		return fmt.Sprintf("%d,%03d", n/1000, n%1000)
	}
	return fmt.Sprintf("%.2fM", float64(n)/1e6)
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
