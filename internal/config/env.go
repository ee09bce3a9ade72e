package config

import (
	"fmt"
	"regexp"
	"strings"
)

const envOpen = "${env:"

var envName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// expand replaces every ${env:NAME} in s. $${env: stands for a literal ${env:, and no other use of $ means anything.
// What lookup returns is not looked at again. used says whether a variable was read, also one that is missing.
func expand(s string, lookup func(string) (string, bool)) (out string, used bool, err error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, envOpen)
		if !found {
			b.WriteString(s)
			return b.String(), used, nil
		}
		if literal, escaped := strings.CutSuffix(before, "$"); escaped {
			b.WriteString(literal + envOpen)
			s = after
			continue
		}
		used = true
		name, rest, closed := strings.Cut(after, "}")
		switch {
		case !closed:
			return "", used, fmt.Errorf("%s without a closing }; write $%s for the characters themselves", envOpen, envOpen)
		case !envName.MatchString(name):
			return "", used, fmt.Errorf("%sNAME} needs a NAME of letters, digits and _; write $%s for the characters themselves", envOpen, envOpen)
		}
		value, ok := lookup(name)
		if !ok {
			return "", used, fmt.Errorf("environment variable %s is not set; set it, if need be to an empty value", name)
		}
		b.WriteString(before + value)
		s = rest
	}
}
