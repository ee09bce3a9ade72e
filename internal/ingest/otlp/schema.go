package otlp

// kind is a message of OTLP. Tables refer to each other by kind, since values refer to themselves.
type kind uint8

const (
	scalar   kind = iota // not a message
	leaf                 // a message that holds no messages
	identity             // bytes that walker.span looks at

	tracesRequest
	resourceSpans
	scopeSpans
	span
	spanEvent
	spanLink

	metricsRequest
	resourceMetrics
	scopeMetrics
	metric
	gauge
	sum
	histogram
	expHistogram
	summary
	numberPoint
	histogramPoint
	expHistogramPoint
	summaryPoint
	exemplar

	logsRequest
	resourceLogs
	scopeLogs
	logRecord

	resource
	scope
	keyValue
	anyValue
	arrayValue
	kvList
)

// message says what of a message matters here: the messages in it, what is an item, and where stamps go.
type message struct {
	// sub is what the field of that number holds. No field has number 0: index 0 stands for 1000, the old name of field 2.
	sub [16]kind
	// item: the push is measured in these.
	item bool
	// oneof: of the fields that hold items, the last one counts.
	oneof bool
	// down are the fields to go down to reach what is stamped, as bits.
	down uint16
	// stamped: stamps go to field attrs of this message.
	stamped bool
	attrs   int32
	// owner: field 1 is a message that is stamped. It is made where there is none, and doubled ones are one.
	owner bool
}

// oldScope is the number that scope_spans, scope_metrics and scope_logs had as instrumentation_library_*.
// It is reserved today, and pdata still reads it.
const oldScope = 1000

// index is where field num stands in sub, and as a bit in down; ok is false if nothing is known of it.
func index(num int32) (i int, ok bool) {
	if num < int32(len(message{}.sub)) {
		return int(num), true
	}
	return 0, num == oldScope
}

// messages describes every kind.
//
// Source: https://github.com/open-telemetry/opentelemetry-proto (opentelemetry/proto)
var messages = [...]message{
	leaf: {},

	tracesRequest: {sub: [16]kind{1: resourceSpans}, down: 1 << 1},
	resourceSpans: {sub: [16]kind{0: scopeSpans, 1: resource, 2: scopeSpans}, down: 1 << 1, owner: true},
	scopeSpans:    {sub: [16]kind{1: scope, 2: span}},
	span:          {sub: [16]kind{1: identity, 2: identity, 4: identity, 9: keyValue, 11: spanEvent, 13: spanLink, 15: leaf}, item: true},
	spanEvent:     {sub: [16]kind{3: keyValue}},
	spanLink:      {sub: [16]kind{4: keyValue}},

	metricsRequest:  {sub: [16]kind{1: resourceMetrics}, down: 1 << 1},
	resourceMetrics: {sub: [16]kind{0: scopeMetrics, 1: resource, 2: scopeMetrics}, down: 1<<0 | 1<<2},
	scopeMetrics:    {sub: [16]kind{1: scope, 2: metric}, down: 1 << 2},
	metric: {
		sub:   [16]kind{5: gauge, 7: sum, 9: histogram, 10: expHistogram, 11: summary, 12: keyValue},
		down:  1<<5 | 1<<7 | 1<<9 | 1<<10 | 1<<11,
		oneof: true,
	},
	gauge:             {sub: [16]kind{1: numberPoint}, down: 1 << 1},
	sum:               {sub: [16]kind{1: numberPoint}, down: 1 << 1},
	histogram:         {sub: [16]kind{1: histogramPoint}, down: 1 << 1},
	expHistogram:      {sub: [16]kind{1: expHistogramPoint}, down: 1 << 1},
	summary:           {sub: [16]kind{1: summaryPoint}, down: 1 << 1},
	numberPoint:       {sub: [16]kind{5: exemplar, 7: keyValue}, item: true, stamped: true, attrs: 7},
	histogramPoint:    {sub: [16]kind{8: exemplar, 9: keyValue}, item: true, stamped: true, attrs: 9},
	expHistogramPoint: {sub: [16]kind{1: keyValue, 8: leaf, 9: leaf, 11: exemplar}, item: true, stamped: true, attrs: 1},
	summaryPoint:      {sub: [16]kind{6: leaf, 7: keyValue}, item: true, stamped: true, attrs: 7},
	exemplar:          {sub: [16]kind{7: keyValue}},

	logsRequest:  {sub: [16]kind{1: resourceLogs}, down: 1 << 1},
	resourceLogs: {sub: [16]kind{0: scopeLogs, 1: resource, 2: scopeLogs}, down: 1 << 1, owner: true},
	scopeLogs:    {sub: [16]kind{1: scope, 2: logRecord}},
	logRecord:    {sub: [16]kind{5: anyValue, 6: keyValue}, item: true},

	// Metrics' resources are described here too; what is stamped is decided by the way down, which does not lead there.
	resource:   {sub: [16]kind{1: keyValue, 3: leaf}, stamped: true, attrs: 1},
	scope:      {sub: [16]kind{3: keyValue}},
	keyValue:   {sub: [16]kind{2: anyValue}},
	anyValue:   {sub: [16]kind{5: arrayValue, 6: kvList}},
	arrayValue: {sub: [16]kind{1: anyValue}},
	kvList:     {sub: [16]kind{1: keyValue}},
}
