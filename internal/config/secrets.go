package config

import "strings"

// maxSecretBytes bounds a secret file. A token is some hundred bytes; a thousand of them fit.
const maxSecretBytes = 1 << 20

// ParseSecretLines returns the secrets of a secret file: one a line, trimmed; blank lines and lines that start with #
// are left out. Everything that reads secret files reads them through here, so that all agree what a secret is.
func ParseSecretLines(content []byte) []string {
	var secrets []string
	for line := range strings.Lines(strings.TrimPrefix(string(content), "\ufeff")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			secrets = append(secrets, line)
		}
	}
	return secrets
}
