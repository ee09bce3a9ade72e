package otlp

import "bytes"

// Bounds of a tracestate. The reference takes 1024 bytes where W3C asks for 512 at least: that much is read, and nothing
// is made longer than 512.
const (
	maxStateRead    = 1024
	maxStateWritten = 512
	maxStateMembers = 32
	maxOTBytes      = 256 // and of every other value
	maxKeyBytes     = 256
	maxTenantBytes  = 241
	maxSystemBytes  = 14
)

// randomBits is how many bits of randomness a trace has, randomDigits how many that is in hexadecimal.
const (
	randomBits   = 56
	randomDigits = randomBits / 4
)

// traceState is a tracestate, as much of it as sampling is about: the member `ot`, whose value is fields like
// th:8;rv:d29d6a7215ced0. What counts as malformed is what the reference takes for it.
//
// Source: https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/, https://www.w3.org/TR/trace-context-2/
type traceState struct {
	all []byte
	// ot is the value of the last member `ot`.
	ot []byte
	// members is how many others there are.
	members int
	// th and rv are the texts of those fields, nil if there is none.
	th, rv []byte
	// threshold and randomness are their values.
	threshold, randomness uint64
}

// parse reads s. Not ok: it is malformed, and nothing in it is to be used.
func (t *traceState) parse(s []byte) (ok bool) {
	t.all = s
	if len(s) > maxStateRead {
		return false
	}
	for n := 1; len(s) > 0; n++ {
		var member []byte
		member, s = cutMember(s)
		if n > maxStateMembers {
			return false
		}
		if len(member) == 0 {
			continue // as W3C has it
		}
		i := bytes.IndexByte(member, '=')
		if i < 0 {
			return false
		}
		key, value := member[:i], member[i+1:]
		if !stateKey(key) || !stateValue(value) {
			return false
		}
		if string(key) != "ot" {
			t.members++
			continue
		}
		if !t.parseOT(value) {
			return false
		}
	}
	return true
}

// parseOT reads the value of `ot`. Where there are two members of that name the last one counts.
func (t *traceState) parseOT(value []byte) (ok bool) {
	t.ot, t.th, t.rv = value, nil, nil
	for more := true; more; {
		var field []byte
		more = bytes.IndexByte(value, ';') >= 0
		field, value = cut(value, ';')
		i := bytes.IndexByte(field, ':')
		if i < 0 {
			return false
		}
		key, v := field[:i], field[i+1:]
		if !otKey(key) || !otValue(v) {
			return false
		}
		switch string(key) {
		case "th":
			if t.threshold, ok = digits(v); !ok {
				return false
			}
			t.th = v
			t.threshold <<= 4 * (randomDigits - len(v)) // zeros at its end are left out
		case "rv":
			if t.randomness, ok = digits(v); !ok || len(v) != randomDigits {
				return false
			}
			t.rv = v
		}
	}
	return true
}

// appendWith appends t with th in place of its own; with none if th is empty. Who changes a member moves it to the
// front; the others keep their order, and so does what `ot` has besides rv and th. Not ok: th does not fit.
func (t *traceState) appendWith(dst, th []byte) (out []byte, ok bool) {
	start := len(dst)
	dst = append(dst, "ot="...)
	if len(t.rv) > 0 {
		dst = append(append(dst, "rv:"...), t.rv...)
	}
	if len(th) > 0 {
		dst = append(append(separated(dst, start+3, ';'), "th:"...), th...)
	}
	for rest := t.ot; len(rest) > 0; {
		var field []byte
		field, rest = cut(rest, ';')
		if !bytes.HasPrefix(field, []byte("th:")) && !bytes.HasPrefix(field, []byte("rv:")) {
			dst = append(separated(dst, start+3, ';'), field...)
		}
	}
	ot := len(dst) - start - 3
	if ot == 0 {
		dst = dst[:start]
	}
	for rest := t.all; len(rest) > 0; {
		var member []byte
		member, rest = cutMember(rest)
		if len(member) > 0 && !bytes.HasPrefix(member, []byte("ot=")) {
			dst = append(separated(dst, start, ','), member...)
		}
	}
	n := len(dst) - start
	ok = ot <= maxOTBytes && t.members < maxStateMembers && (n <= maxStateWritten || n <= len(t.all))
	return dst, ok || len(th) == 0
}

// separated appends sep unless nothing stands since start.
func separated(dst []byte, start int, sep byte) []byte {
	if len(dst) > start {
		return append(dst, sep)
	}
	return dst
}

// cut returns what stands before the first sep, and after it.
func cut(s []byte, sep byte) (before, after []byte) {
	if i := bytes.IndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, nil
}

// cutMember returns the first member of the list s without the blanks around it, and what follows.
func cutMember(s []byte) (member, rest []byte) {
	member, rest = cut(s, ',')
	for len(member) > 0 && (member[0] == ' ' || member[0] == '\t') {
		member = member[1:]
	}
	for n := len(member); n > 0 && (member[n-1] == ' ' || member[n-1] == '\t'); n-- {
		member = member[:n-1]
	}
	return member, rest
}

// stateKey says whether a member may be called key: simple, or tenant@system.
func stateKey(key []byte) bool {
	if len(key) > maxKeyBytes {
		return false
	}
	system := key
	if i := bytes.IndexByte(key, '@'); i >= 0 {
		tenant := key[:i]
		system = key[i+1:]
		if i == 0 || i > maxTenantBytes || len(system) > maxSystemBytes || !lower(tenant[0]) && !digit(tenant[0]) || !keyChars(tenant) {
			return false
		}
	}
	return len(system) > 0 && lower(system[0]) && keyChars(system)
}

func keyChars(s []byte) bool {
	for _, c := range s {
		if !lower(c) && !digit(c) && c != '_' && c != '-' && c != '*' && c != '/' {
			return false
		}
	}
	return true
}

// stateValue says whether value, with no blanks around it, may be that of a member.
func stateValue(value []byte) bool {
	for _, c := range value {
		if c < ' ' || c > '~' || c == ',' || c == '=' {
			return false
		}
	}
	return 0 < len(value) && len(value) <= maxOTBytes
}

func otKey(key []byte) bool {
	for _, c := range key {
		if !lower(c) && !digit(c) {
			return false
		}
	}
	return len(key) > 0 && lower(key[0])
}

func otValue(value []byte) bool {
	for _, c := range value {
		if !lower(c) && !digit(c) && !('A' <= c && c <= 'Z') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func lower(c byte) bool { return 'a' <= c && c <= 'z' }
func digit(c byte) bool { return '0' <= c && c <= '9' }

// digits reads 1 to 14 hexadecimal digits of either case.
func digits(s []byte) (v uint64, ok bool) {
	for _, c := range s {
		switch {
		case digit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, 0 < len(s) && len(s) <= randomDigits
}

// appendHex appends threshold as th has it: its zeros at the end left out, but for one if it is nothing else.
func appendHex(dst []byte, threshold uint64) []byte {
	for first := true; first || threshold != 0; first = false {
		dst = append(dst, "0123456789abcdef"[threshold>>(randomBits-4)&0xf])
		threshold = threshold << 4 & (1<<randomBits - 1)
	}
	return dst
}
