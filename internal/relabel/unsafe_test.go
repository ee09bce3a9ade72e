package relabel_test

import "unsafe"

// unsafeString is a string as doors make them: over bytes that another push will use.
func unsafeString(b []byte) string { return unsafe.String(&b[0], len(b)) }
