package series

import "fmt"

// Kind is what becomes of a series.
type Kind uint8

// The kinds. Zero is the kind of an entry that was not there.
const (
	// Counted leaves as it came and is a live series: Ref is who counts it, Value its weight.
	Counted Kind = iota + 1
	// Routed leaves as another series: Ref is the index of its Output, Value a program. Who visits it calls At(Ref), so
	// that the output lives at least as long.
	Routed
	// Suspended is Counted, of a series that would be Routed and leaves as it came for now.
	Suspended
	// Dropped does not leave; Value says why. What is refused has no entry: it may come as soon as there is room.
	Dropped
)

const (
	kindBits  = 3
	valueBits = 32 - kindBits

	// minuteBits of a stamp hold 1 + minute mod cycle, and 0 when never touched.
	minuteBits = 8
	cycle      = 240
	epoch      = 10
)

// Entry is what is known of a series.
type Entry struct {
	// Ref is as Kind says, Last the caller's.
	Ref, Last   uint32
	word, stamp uint32
}

// Kind is what becomes of the series.
func (e *Entry) Kind() Kind { return Kind(e.word >> valueBits) }

// Value is 29 bits that mean what the Kind says.
func (e *Entry) Value() uint32 { return e.word & (1<<valueBits - 1) }

// Generation is the low 24 bits of what Set was given.
func (e *Entry) Generation() uint32 { return e.stamp >> minuteBits }

// Set sets what Kind, Value and Generation return.
func (e *Entry) Set(kind Kind, value, generation uint32) {
	if kind >= 1<<kindBits || value >= 1<<valueBits {
		panic(fmt.Sprintf("BUG: kind %d with value %d does not fit in an entry", kind, value))
	}
	e.word = uint32(kind)<<valueBits | value
	e.stamp = generation<<minuteBits | e.stamp&(1<<minuteBits-1)
}

// NewEpoch says whether the last touch was in another ten minutes than now is in, or never.
func (e *Entry) NewEpoch(now Minute) bool {
	m := e.stamp & (1<<minuteBits - 1)
	return m == 0 || (m-1)/epoch != uint32(now)%cycle/epoch
}

// touched is how a stamp writes the minute now.
func touched(now Minute) uint32 { return 1 + uint32(now)%cycle }

// touch sets the minute, as touched writes it. Most entries are touched more than once a minute: those are not written to,
// for a line of memory that stays clean costs half as much.
func (e *Entry) touch(minute uint32) {
	if stamp := e.stamp&^(1<<minuteBits-1) | minute; stamp != e.stamp {
		e.stamp = stamp
	}
}

// idle says whether the last touch is more than IdleMinutes ago, if it is not as much as a cycle ago, or never was.
func (e *Entry) idle(minute uint32) bool {
	last := e.stamp & (1<<minuteBits - 1)
	age := minute - last
	if int32(age) < 0 {
		age += cycle
	}
	return age > IdleMinutes || last == 0
}
