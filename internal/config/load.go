package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds the file: far over what people write, and what the watcher of files reads at the most.
const maxFileBytes = 1 << 20

// Load reads and validates the file at path. What is wrong with its content comes as *Faults.
func Load(path string) (*Config, error) {
	content, err := readFile(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read config file %s: %w", path, err)
	}
	return Parse(path, content)
}

// Parse is Load with the content already read. Files that the content names are looked for beside path.
func Parse(path string, content []byte) (*Config, error) {
	return parse(path, content, os.LookupEnv)
}

func parse(path string, content []byte, lookup func(string) (string, bool)) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("config file %s: %w", path, err)
	}
	sum := sha256.Sum256(content)
	c := &Config{Path: path, Hash: hex.EncodeToString(sum[:8])}
	c.setDefaults()
	d := newDecoder(path, lookup)
	if root := d.document(content); root != nil {
		d.value(root, reflect.ValueOf(c).Elem(), "")
		if !d.spent {
			v := &validator{decoder: d, c: c, dir: filepath.Dir(abs)}
			v.config()
			for _, w := range sorted(v.warnings) {
				c.warnings = append(c.warnings, Warning(w))
			}
		}
	}
	if len(d.faults) > 0 {
		return nil, &Faults{List: sorted(d.faults)}
	}
	return c, nil
}

// What errors of the YAML parser say only in their text.
var (
	yamlLine      = regexp.MustCompile(`^line (\d+): `)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// document returns the root of the only YAML document of content, or nil after a fault.
func (d *decoder) document(content []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if err == nil {
		if err = dec.Decode(&second); err == nil {
			d.add(Fault{File: d.file, Line: second.Line, Text: "a second YAML document begins here; the configuration is one document"})
			return nil
		}
	}
	switch {
	case errors.Is(err, io.EOF) && doc.Kind == 0:
		// An empty file. It lacks what every file lacks that has no environments.
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}
	case errors.Is(err, io.EOF):
		return doc.Content[0]
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	f := Fault{File: d.file}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		f.Line, _ = strconv.Atoi(m[1]) // digits by the pattern; a number past int would leave 0, "not known"
		text = text[len(m[0]):]
	}
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		// The parser quotes the name, which is a secret where a password that starts with * stands without quotes.
		if i := bytes.Index(content, []byte("*"+m[1])); i >= 0 {
			f.Line = 1 + bytes.Count(content[:i], []byte("\n"))
		}
		text = "a value that starts with * is an alias of an anchor, and this one is not defined; quote the value if it is none"
	}
	f.Text = "not valid YAML: " + text
	d.add(f)
	return nil
}

// readFile reads a regular file of at most limit bytes: a pipe or a device would block or never end.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, cause(err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("over %d bytes", limit)
	}
	return content, nil
}

// cause strips the path from err: the caller decides whether the path may be shown.
func cause(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}
