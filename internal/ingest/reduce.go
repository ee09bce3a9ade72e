package ingest

import (
	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
	"github.com/telemetry-gateway/telemetry-gateway/internal/labels"
)

// Reducer decides what of one push leaves, and with which labels. The road makes one for a push, and one goroutine owns it. It
// counts what it drops and refuses itself. A func that is nil has nothing to decide. Every func is given labels with the
// stamps on them, may keep none of what it is given, and changes nothing of it: what was shown may be shown again.
type Reducer struct {
	// Stamps are Edit.Stamps, which doors put on the labels that they show.
	Stamps []labels.Label
	// Charge books what Reduce builds besides Room, before it is built; as Content.Charge.
	Charge Charge
	// Keys makes the keys of Series. Its stamps are Stamps. Nil: there is no Judge either.
	Keys *labels.Hasher
	// Judge decides about the series (metrics) or streams (logs) of the push, all at once: it sets Verdict, Change and
	// DropStale of each. For one that it does not know it calls view, which is to fill the empty set with the labels of
	// ss[i] and to Sort it. It may ask for one more than once.
	Judge func(ss []Series, view func(i int, set *labels.Set))
	// Item decides about one log record of OTLP, or one span, by its attributes. change is nil if nothing changes; it and
	// what it points to are good until the next call.
	Item func(set *labels.Set) (change *labels.Change, verdict Verdict)
	// Repeats says whether what Item said last goes for every item whose labels have the same names, and those that Reads names
	// the same values: that it passes and loses the same labels. It need not be shown then, for nothing is counted of it. Nil: it
	// never does.
	Repeats func() bool
	Reads   []string
	// Resource decides about one OTLP resource, which holds so many items, by its attributes; as Item.
	Resource func(set *labels.Set, items int) (change *labels.Change, verdict Verdict)
	// LongestLine is how many bytes a log line may have; 0: any. TooLong is told of each that has more, and says whether
	// it is refused (limits that only observe refuse nothing).
	LongestLine int
	TooLong     func(bytes int) (refused bool)
	// Metadata are names of OTLP resource attributes that move to the structured metadata of each log record, where the
	// door is OTLP. For Loki streams Judge decides about them: see labels.Change.
	Metadata []string
	// Room returns ss, which is nil or what Room returned last, with n zeroed Series behind it, booked: all of a push are for one
	// call of Judge, and good until the push ends. Where n fits into what ss has room for it takes no memory.
	Room func(ss []Series, n int) ([]Series, *fault.Error)
}

// Series is one series of a push, or one stream: the door says what it is, the Reducer what becomes of it.
type Series struct {
	// Key is what the Hasher made of its labels, and Overwritten what of that only stamps, or rules for resources, tell apart
	// from others: it is in no label that they have left.
	Key, Overwritten labels.Key
	// First and Last are the earliest and latest time of its samples in milliseconds since 1970, stale markers left out. First is
	// greater than Last if there are none. Streams have no times: zero.
	First, Last int64
	// Items is how many samples, points or lines there are, and Stale how many of those are stale markers.
	Items, Stale int32
	// Weight is how many series upstream makes of it: 1, or for an OTLP histogram its buckets and what is beside them.
	Weight int32

	// Sorted is the door's own note: the labels came sorted, none of them empty or doubled, one after the other.
	Sorted bool

	Verdict Verdict
	// DropStale: its stale markers stay here, since another series has taken its place.
	DropStale bool
	// Change is what becomes of its labels, the stamped ones. Nil: nothing else.
	Change *labels.Change
}

// Verdict is what becomes of a series or an item.
type Verdict uint8

// The verdicts.
const (
	// Pass: it leaves, with Change if there is one.
	Pass Verdict = iota
	// Drop: a rule holds it back: success for the sender.
	Drop
	// Refuse: it may not leave: the sender is told.
	Refuse
)

// Out says whether what the verdict is about leaves.
func (v Verdict) Out() bool { return v == Pass }

// Reasons why items are dropped or refused: the whole list, which README.md explains.
const (
	ReasonRelabelDrop           = "relabel_drop"
	ReasonNoLabels              = "no_labels"
	ReasonSampled               = "sampled"
	ReasonSuperseded            = "superseded"
	ReasonCollision             = "collision"
	ReasonRateLimit             = "rate_limit"
	ReasonActiveSeries          = "active_series"
	ReasonActiveSeriesPerMetric = "active_series_per_metric"
	ReasonValuesPerLabel        = "values_per_label"
	ReasonLabelsPerSeries       = "labels_per_series"
	ReasonLabelNameBytes        = "label_name_bytes"
	ReasonLabelValueBytes       = "label_value_bytes"
	ReasonLineBytes             = "line_bytes"
	ReasonInvalidID             = "invalid_id"
	ReasonInvalidItem           = "invalid_item"
	ReasonUnconvertible         = "unconvertible"
)
