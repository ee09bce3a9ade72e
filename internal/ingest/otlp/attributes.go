package otlp

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// What rules see besides the attributes of the message itself. These they can only read, but for metricName.
const (
	metricName     = "__name__" // of a span, its name
	resourcePrefix = "resource."
	scopeName      = "scope.name"
	scopeVersion   = "scope.version"
)

// whose says whose attributes rules look at, and so which of the labels that they see are none.
type whose uint8

const (
	ofResource whose = iota // all are attributes
	ofRecord                // but for resource.*, scope.name and scope.version
	ofPoint                 // and __name__; so it is with spans
)

// reserved says whether a label of that name is no attribute. An attribute that happens to be called so stays as it is.
func (v whose) reserved(name string) bool {
	switch {
	case v == ofResource || name == "":
		return false
	case name[0] == '_':
		return v == ofPoint && name == metricName
	case name[0] == 'r':
		return strings.HasPrefix(name, resourcePrefix)
	}
	return name == scopeName || name == scopeVersion
}

// attributes reads attributes as labels, and writes what a labels.Change makes of them. One push has one, or a few.
type attributes struct {
	lender ingest.Lender
	// text holds what labels say that does not stand so in the push: numbers, JSON, names with a prefix.
	text []byte
	// gone are the names of attributes that the change at hand removes or writes anew, added those that it writes.
	gone, added []labels.Label
}

// maxShared is how many attributes of a resource are shown with each of its items, the first by name. All are copied, and
// rules for resources see all of them; but shown with every item, a hundred thousand attributes times as many items in one
// push would take hours.
const maxShared = 256

// reset forgets all texts: strings that were made before are not to be read any more.
func (a *attributes) reset() { a.text = a.text[:0] }

// add adds the attributes of msg, its fields num, to set. key, if there is one, says what each adds to a series' key. A
// name that set has already stays as it is once set is sorted: stamps and what is reserved are to be added first.
func (a *attributes) add(set *labels.Set, msg []byte, num int32, prefix string, v whose, key func(at *attribute) labels.Key) error {
	var f wire.Field
	var at attribute
	for len(msg) > 0 {
		var err error
		if msg, err = wire.Next(msg, &f); err != nil {
			return err
		}
		if f.Num != num {
			continue
		}
		if err = at.read(f.Data); err != nil {
			return err
		}
		if v == ofPoint && string(at.name) == metricName {
			continue
		}
		l := labels.Label{Name: textOf(at.name)}
		if l.Value, err = a.value(&at); err != nil {
			return err
		}
		if l.Value == "" {
			continue
		}
		if prefix != "" {
			if l.Name, err = a.join(prefix, l.Name); err != nil {
				return err
			}
		}
		var k labels.Key
		if key != nil {
			k = key(&at)
		}
		if err = reserve(&set.All, a.lender, 1); err == nil {
			err = reserve(&set.Keys, a.lender, 1)
		}
		if err != nil {
			return err
		}
		set.Add(l, k)
	}
	return nil
}

// join returns prefix+name.
func (a *attributes) join(prefix, name string) (string, error) {
	if err := a.room(len(prefix) + len(name)); err != nil {
		return "", err
	}
	start := len(a.text)
	a.text = append(append(a.text, prefix...), name...)
	return textOf(a.text[start:]), nil
}

// room makes room for n bytes of text. What was there before stays where it is: strings point to it.
func (a *attributes) room(n int) error {
	if cap(a.text)-len(a.text) >= n {
		return nil
	}
	text, err := ingest.Lend[byte](max(2*cap(a.text), n, 256), a.lender)
	if err == nil {
		a.text = text
	}
	return err
}

// use makes a ready to write what c makes of a message that is seen as set. It may keep none of them beyond that message.
func (a *attributes) use(set *labels.Set, c *labels.Change, v whose) error {
	a.gone, a.added = a.gone[:0], a.added[:0]
	err := reserve(&a.added, a.lender, len(c.Add))
	if err == nil {
		err = reserve(&a.gone, a.lender, len(set.All)+len(c.Add))
	}
	if err != nil {
		return err
	}
	for i, l := range set.All {
		if !c.Keeps(i) && !v.reserved(l.Name) {
			a.gone = append(a.gone, l)
		}
	}
	for _, l := range c.Add {
		if !v.reserved(l.Name) {
			a.added = append(a.added, l)
		}
	}
	// One that is written anew may have stood there without a value, which no rule sees.
	a.gone = append(a.gone, a.added...)
	a.sortGone()
	return nil
}

// sortGone makes gone ready to be searched.
func (a *attributes) sortGone() {
	if len(a.gone) > fewGone {
		slices.SortFunc(a.gone, func(x, y labels.Label) int { return strings.Compare(x.Name, y.Name) })
	}
}

// fewGone are found by looking at each: lengths differ, mostly.
const fewGone = 8

func (a *attributes) goes(name string) bool {
	if len(a.gone) > fewGone {
		_, ok := slices.BinarySearchFunc(a.gone, name, func(l labels.Label, name string) int { return strings.Compare(l.Name, name) })
		return ok
	}
	for i := range a.gone {
		if a.gone[i].Name == name {
			return true
		}
	}
	return false
}

// growth is how many bytes added takes.
func (a *attributes) growth() int { return stampsLen(a.added) }

// appendLeft appends msg without the attributes that go, which are its fields num. All else is copied as it stands.
func (a *attributes) appendLeft(dst, msg []byte, num int32) ([]byte, error) {
	var f wire.Field
	run := msg
	for rest := msg; len(rest) > 0; {
		before := len(rest)
		var err error
		if rest, err = next(rest, &f); err != nil {
			return nil, err
		}
		if f.Num != num {
			continue
		}
		name, err := keyOf(f.Data)
		if err != nil {
			return nil, err
		}
		if !a.goes(textOf(name)) {
			continue
		}
		dst = append(dst, run[:len(run)-before]...)
		run = rest
	}
	return append(dst, run...), nil
}

// appendAdded appends the attributes that come, as fields num.
func (a *attributes) appendAdded(dst []byte, num int32) []byte {
	for _, l := range a.added {
		dst = appendStamp(dst, num, l)
	}
	return dst
}

// appendChanged appends what c leaves of msg, whose attributes are its fields num and which rules saw as set. Attributes
// that stay, stay as they stand; those that come are strings, behind everything else.
func (a *attributes) appendChanged(dst, msg []byte, num int32, set *labels.Set, c *labels.Change, v whose) ([]byte, error) {
	if err := a.use(set, c, v); err != nil {
		return nil, err
	}
	dst, err := a.appendLeft(dst, msg, num)
	if err != nil {
		return nil, err
	}
	return a.appendAdded(dst, num), nil
}

// textOf is b as a string that is good for as long as b does not change.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// reserve makes room in s for n more, as ingest.Grow.
func reserve[T any](s *[]T, l ingest.Lender, n int) (err error) {
	if cap(*s)-len(*s) < n {
		*s, err = ingest.Grow(*s, n, l)
	}
	return err
}
