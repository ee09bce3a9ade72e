package config

import (
	"bytes"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

const (
	// inflightShare is the part of the container's memory that all pushes together may hold.
	inflightShare = 0.4
	// inflightElse is used where memory is not limited.
	inflightElse Bytes = 512 << 20
)

// defaultInflight is the default of server.max_inflight_bytes on the machine whose root directory is root.
func defaultInflight(root fs.FS) Bytes {
	limit, ok := memoryLimit(root)
	if !ok {
		return inflightElse
	}
	return max(1, Bytes(float64(limit)*inflightShare))
}

// memoryLimit is the least limit on the way from this process's cgroup up to the root one, version 2 or 1. In a container
// the cgroup that /proc names is often not visible; the root one that is visible is then the container's.
//
// Source: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
func memoryLimit(root fs.FS) (bytesLimit int64, ok bool) {
	list, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	least := int64(math.MaxInt64)
	for line := range bytes.Lines(list) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		dir, file := "", ""
		switch {
		case parts[0] == "0" && parts[1] == "":
			dir, file = "sys/fs/cgroup", "memory.max"
		case strings.Contains(","+parts[1]+",", ",memory,"):
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for group := path.Clean("/" + parts[2]); ; group = path.Dir(group) {
			if content, err := fs.ReadFile(root, path.Join(dir, group, file)); err == nil {
				// "max" is no number and means no limit.
				if n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64); err == nil && n > 0 {
					least = min(least, n)
				}
			}
			if group == "/" {
				break
			}
		}
	}
	// Version 1 says "no limit" with the largest number of whole pages.
	return least, least < 1<<60
}
