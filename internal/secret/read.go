package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxBytes bounds one file. A bundle of certificate authorities has some 250 kB; a secret has less than one.
const maxBytes = 1 << 20

var errEmpty = errors.New("is empty")

// read returns what a file holds. Its errors say what is wrong with the file and never what is in it.
func read(path string) (Content, error) {
	// Without O_NONBLOCK the open of a named pipe would wait for its writer, and every other file with it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, unreadable(err)
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	content, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case len(content) > maxBytes:
		return nil, fmt.Errorf("has more than %d bytes", maxBytes)
	case len(bytes.TrimSpace(content)) == 0:
		return nil, errEmpty
	}
	return content, nil
}

// unreadable drops the path from err: whoever reports it names the path already.
func unreadable(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("cannot be read: %w", err)
}

// maxLinks is how many symbolic links are followed, as the kernel does.
const maxLinks = 40

// dirs returns the directories whose entries decide what path means: that of the file, and that of every symbolic link
// on the way. Kubernetes changes a secret by renaming the link ..data, which for the key a/b of a volume lies a
// directory above; a link to elsewhere is written to elsewhere. All are real directories, so that none moves unseen.
func dirs(path string) []string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	const slash = string(filepath.Separator)
	root := filepath.VolumeName(abs) + slash
	at, todo, links := root, strings.Split(abs[len(root):], slash), 0
	var found []string
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if name == "" || name == "." || name == ".." {
			at = filepath.Join(at, name)
			continue
		}
		next := filepath.Join(at, name)
		target, err := os.Readlink(next)
		switch {
		case err == nil:
			found = append(found, at)
			if links++; links > maxLinks {
				return found
			}
			if filepath.IsAbs(target) {
				at = root
			}
			todo = append(strings.Split(target, slash), todo...)
		case len(todo) == 0 || errors.Is(err, fs.ErrNotExist):
			return append(found, at) // the file, or where what is missing would appear
		default:
			at = next
		}
	}
	return found
}
