package otlp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/telemetry-gateway/telemetry-gateway/internal/ingest"
	"github.com/telemetry-gateway/telemetry-gateway/internal/wire"
)

// TestEveryByte gives every byte of a push that has fields of all shapes every value, and cuts the push everywhere: what is
// stepped over by the look of single bytes must get the verdict of pdata, which reads all of it.
func TestEveryByte(t *testing.T) {
	for name, num := range map[string]int32{"traces": 9, "logs": 6} {
		item := slices.Concat(
			attr(num, "key", "first"),
			sub(num, sub(2, wire.AppendString(nil, 1, "value first")), wire.AppendString(nil, 1, "k")),
			sub(num, wire.AppendString(nil, 1, "int"), sub(2, wire.AppendVarint(nil, 3, 1<<40))),
			sub(num, wire.AppendString(nil, 1, "double"), sub(2, wire.AppendFixed64(nil, 4, 1))),
			sub(num, wire.AppendString(nil, 1, "two"), sub(2, wire.AppendString(nil, 1, "a"), wire.AppendVarint(nil, 2, 1))),
			sub(num, wire.AppendString(nil, 1, "tree"), sub(2, sub(5, sub(1, wire.AppendString(nil, 1, "x"))))),
			attr(num, "empty", ""),
			// Its length takes two bytes, the second of which could be a key's tag.
			attr(num, "long", strings.Repeat("0123456789", 128)),
			wire.AppendVarint(nil, 99, 300), wire.AppendString(nil, 2000, "newer"),
		)
		if name == "logs" {
			item = slices.Concat(wire.AppendFixed64(nil, 1, 1), wire.AppendVarint(nil, 2, 9), sub(5, wire.AppendString(nil, 1, "body")), item)
		} else {
			item = slices.Concat(sub(1, make([]byte, 16)), span8, wire.AppendString(nil, 5, "name"), wire.AppendVarint(nil, 6, 2), wire.AppendFixed64(nil, 7, 1), item, sub(15, wire.AppendVarint(nil, 3, 2)))
		}
		raw := sub(1, sub(1, attr(1, "service.name", "cart")), sub(2, sub(1, wire.AppendString(nil, 1, "scope")), sub(2, item)))
		taken, refused := 0, 0
		f := func(raw []byte, at int, value byte) {
			t.Helper()
			b, err := references[name].http.Decode(raw, ingest.Content{})
			_, items, pdataErr := references[name].view(raw, nil)
			switch {
			case err == nil && pdataErr == nil:
				if taken++; b.Items() != items {
					t.Errorf("%s: %d items with %#x at %d, pdata has %d", name, b.Items(), value, at, items)
				}
			case err != nil:
				refused++
				if pdataErr == nil && !slices.ContainsFunc(stricter, func(s string) bool { return strings.HasSuffix(err.Error(), s) }) {
					t.Errorf("%s: pdata takes %#x at %d, what is refused here: %v", name, value, at, err)
				}
			case !strings.Contains(pdataErr.Error(), "wireType") && !strings.Contains(pdataErr.Error(), "ID"):
				t.Errorf("%s: pdata refuses %#x at %d, what is taken here: %v", name, value, at, pdataErr)
			}
		}
		text := strings.Index(string(raw), "0123456789")
		for i, was := range raw {
			f(raw[:i], i, 0)
			if i > text && i < text+1270 {
				continue
			}
			for value := range 256 {
				raw[i] = byte(value)
				f(raw, i, raw[i])
			}
			raw[i] = was
		}
		if taken < 10000 || refused < 10000 {
			t.Errorf("%s: %d taken and %d refused mean little", name, taken, refused)
		}
	}
}

// TestLengthOfTwoBytes: a length whose first byte looks like a whole one is not taken for it, however well what follows
// would read then.
func TestLengthOfTwoBytes(t *testing.T) {
	f := func(num int32, first, second []byte) {
		t.Helper()
		content := slices.Concat(first, second) // is read if 0x85 is the length, and 0x0a or 0x12 no part of it
		if len(content) != 0x85 {
			t.Fatalf("%d bytes", len(content))
		}
		item := slices.Concat(wire.AppendTag(nil, num, wire.Bytes), []byte{0x85}, content)
		length := int(content[0])<<7 | 5
		item = append(item, wire.AppendString(nil, 14, strings.Repeat("x", length-132-3))...)
		raw := sub(1, sub(2, sub(2, item)))
		name := map[int32]string{9: "traces", 6: "logs"}[num]
		if _, _, err := references[name].view(raw, nil); err == nil {
			t.Fatal("pdata takes it")
		}
		if _, err := references[name].http.Decode(raw, ingest.Content{}); err == nil {
			t.Errorf("%s: %#x is taken for an attribute of %d bytes", name, content[0], len(content))
		}
	}
	for _, num := range []int32{9, 6} {
		f(num, wire.AppendString(nil, 1, strings.Repeat("k", 7)), sub(2, wire.AppendString(nil, 1, strings.Repeat("v", 120))))
		f(num, sub(2, wire.AppendString(nil, 1, strings.Repeat("v", 13))), wire.AppendString(nil, 1, strings.Repeat("k", 114)))
	}
}
