// Package remotewrite is the two doors for Prometheus remote_write, 1.0 and 2.0. It walks the protobuf without building
// structs, stamps labels, and writes one version as the other where upstream wants that. It never reads a body, never
// compresses and never speaks to an upstream; internal/gateway drives it through the two values V1 and V2.
//
// Every field that either version knows is checked when a push is decoded, labels and buckets included, so that encoding
// cannot fail. What is stricter than protobuf libraries, all of it answered 400: varints over 64 bits, field numbers
// over 29 bits, groups that end with another's number, packed fields that end inside a value, more than maxLabels labels
// in one series or exemplar, and fields of the other version (a v2 body read as v1 would otherwise be an empty push that
// is acknowledged). UTF-8 and the rules for names are upstream's to judge.
//
// A push leaves byte for byte as it came unless it has to change. What changes it: stamps, Mimir's private fields 1000 and
// 1001, which are removed, and in v2 series that come before symbols or labels, which are put into the order that Mimir
// demands. A series that is rewritten comes out with labels sorted by name, without empty values, and with one of each
// stamp; a series that carries all stamps already is copied as it is. Unknown fields are kept, but not across versions:
// what a conversion leaves behind it counts.
//
// What a Reducer drops or refuses is left out, and stale markers where it says so; a series whose labels it changes leaves
// with the canonical list, of doubled names the first, and with all else that it holds. In 2.0 symbols that nothing uses any
// more leave as empty strings: refs stay what they are, and what a rule took away does not leave by the table. Where a rule
// gives a metric another name, what the push says of it follows, but for 1.0 to 1.0, where metadata is no part of a series.
//
// Where a Reducer will be asked, one walk checks a push, measures its series and makes their keys. A 1.0 series whose labels came
// before in the very same bytes is not even walked: what is remembered of those bytes says that they are well formed and sorted. Of
// a 2.0 push each label is hashed once, however many series have it.
//
// Whatever it builds besides the push itself it books before it builds it.
package remotewrite

import (
	"net/http"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
)

// V1 is the door for remote_write 1.0, prometheus.WriteRequest.
var V1 = &ingest.Protocol{
	Name:   "remote_write_v1",
	Signal: ingest.Metrics,
	Routes: routes,
	Exits:  exits,
	Forms:  []*ingest.Form{formV1, formV2},
	Claims: func(h http.Header) bool { return !saysV2(h) },
	Open:   open,
	Decode: decodeV1,
	Accept: acceptV1,
	Refuse: refuseV1,
}

// V2 is the door for remote_write 2.0, io.prometheus.write.v2.Request.
var V2 = &ingest.Protocol{
	Name:   "remote_write_v2",
	Signal: ingest.Metrics,
	Routes: routes,
	Exits:  exits,
	Forms:  []*ingest.Form{formV2, formV1},
	Claims: saysV2,
	Open:   open,
	Decode: decodeV2,
	Accept: acceptV2,
	Refuse: refuseV2,
}

// formV1 is how a push leaves as remote_write 1.0.
var formV1 = &ingest.Form{
	Name:        "remote_write_v1",
	ContentType: mediaType,
	Version:     1,
	Header:      []ingest.HeaderField{{Name: versionHeader, Value: "0.1.0"}},
	Codec:       ingest.Snappy,
	Read:        readV1,
}

// formV2 is how a push leaves as remote_write 2.0.
var formV2 = &ingest.Form{
	Name: "remote_write_v2",
	// No space and no quotes: Mimir and the reference receiver compare the parameter without trimming it, and take
	// what they do not find for v1.
	ContentType: mediaType + ";proto=" + protoV2,
	Version:     2,
	Header:      []ingest.HeaderField{{Name: versionHeader, Value: "2.0.0"}},
	Codec:       ingest.Snappy,
	Read:        readV2,
}

// routes are the conventional paths: Mimir and Grafana Cloud, Prometheus, Cortex, Alloy, Thanos.
var routes = []string{"/api/v1/push", "/api/v1/write", "/api/prom/push", "/api/v1/metrics/write", "/api/v1/receive"}

var exits = []string{"prometheus"}

const (
	mediaType     = "application/x-protobuf"
	protoV1       = "prometheus.WriteRequest"
	protoV2       = "io.prometheus.write.v2.Request"
	versionHeader = "X-Prometheus-Remote-Write-Version"
)
