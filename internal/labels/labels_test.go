package labels

import (
	"slices"
	"testing"
)

func TestSorted(t *testing.T) {
	f := func(m map[string]string, want ...Label) {
		t.Helper()
		if got := Sorted(m); !slices.Equal(got, want) {
			t.Errorf("%v: got %v, want %v", m, got, want)
		}
	}
	f(nil)
	f(map[string]string{"a": "1"}, Label{"a", "1"})
	// Byte by byte: upper case before lower case, a prefix before what goes on, UTF-8 behind ASCII.
	f(map[string]string{"b": "1", "a_b": "2", "a": "3", "B": "4", "é": "5", "ab": "6", "": "7"},
		Label{"", "7"}, Label{"B", "4"}, Label{"a", "3"}, Label{"a_b", "2"}, Label{"ab", "6"}, Label{"b", "1"}, Label{"é", "5"})
}
