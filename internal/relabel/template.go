package relabel

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// template is a text with groups of a regular expression in it, as regexp.Expand understands it.
type template []fragment

// fragment is a text or, if group is 0 or more, a group.
type fragment struct {
	text  string
	group int
}

// newTemplate parses text. names are those of the groups.
func newTemplate(text string, names []string) template {
	var t template
	for {
		before, after, found := strings.Cut(text, "$")
		t = t.literal(before)
		if !found {
			return t
		}
		text = after
		if strings.HasPrefix(text, "$") {
			t, text = t.literal("$"), text[1:]
			continue
		}
		name, rest, ok := cutName(text)
		if !ok {
			t = t.literal("$")
			continue
		}
		text = rest
		if group := groupOf(name, names); group >= 0 {
			t = append(t, fragment{group: group})
		}
	}
}

func (t template) literal(text string) template {
	if text == "" {
		return t
	}
	if n := len(t); n > 0 && t[n-1].group < 0 {
		t[n-1].text += text
		return t
	}
	return append(t, fragment{text: text, group: -1})
}

// cutName cuts a leading name or {name} off text, which stood behind a dollar sign.
func cutName(text string) (name, rest string, ok bool) {
	inner, braced := strings.CutPrefix(text, "{")
	n := 0
	for n < len(inner) {
		r, size := utf8.DecodeRuneInString(inner[n:])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' {
			break
		}
		n += size
	}
	name, rest = inner[:n], inner[n:]
	if braced {
		rest, braced = strings.CutPrefix(rest, "}")
		return name, rest, braced && n > 0
	}
	return name, rest, n > 0
}

// groupOf returns the group that name is, -1 if it is none: then it stands for nothing.
func groupOf(name string, names []string) int {
	number := 0
	for i := 0; i < len(name) && number >= 0; i++ {
		if name[i] < '0' || name[i] > '9' || number >= 1e8 || i == 1 && name[0] == '0' {
			number = -1
			break
		}
		number = number*10 + int(name[i]-'0')
	}
	if number >= len(names) {
		return -1
	}
	if number >= 0 {
		return number
	}
	for i, n := range names {
		if n == name {
			return i
		}
	}
	return -1
}

// fixed returns the text of t if it has no groups.
func (t template) fixed() (text string, ok bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) == 1 && t[0].group < 0:
		return t[0].text, true
	}
	return "", false
}

// known says whether p knows all groups of t.
func (t template) known(p *pattern) bool {
	for _, f := range t {
		if f.group >= 0 && !p.groups[f.group].known {
			return false
		}
	}
	return true
}

// expand returns t with the groups of val, which matches p. p knows them.
func (t template) expand(s *Scratch, p *pattern, val string) string {
	if len(t) == 1 {
		if t[0].group < 0 {
			return t[0].text
		}
		return p.group(t[0].group, val)
	}
	start := len(s.text)
	for _, f := range t {
		if f.group < 0 {
			s.text = append(s.text, f.text...)
		} else {
			s.text = append(s.text, p.group(f.group, val)...)
		}
	}
	return s.since(start)
}
