package ingest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fault"
)

// MediaType is the Content-Type of h without its parameters, in lower case.
func MediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// Encoding reads the header that names the compression of a body, of which a door takes those given, and none. More than
// one is none that is known. Its error is Unsupported.
func Encoding(h http.Header, name string, takes ...Codec) ([]Codec, error) {
	v := strings.Join(h.Values(name), ",")
	word := strings.ToLower(strings.TrimSpace(v))
	if word == "" || word == Identity.String() {
		return nil, nil
	}
	i := slices.IndexFunc(takes, func(c Codec) bool { return c.String() == word })
	if i < 0 {
		words := []string{Identity.String()}
		for _, c := range takes {
			words = append(words, c.String())
		}
		return nil, fault.New(fault.Unsupported, "%s %.60q: this door takes %s", name, v, strings.Join(words, ", "))
	}
	return takes[i : i+1], nil
}
