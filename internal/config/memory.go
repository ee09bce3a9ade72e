package config

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
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

const (
	// entryBytes is what one entry of the series table is reckoned at. Measured are 40 at most where series leave as they
	// came; one that rules change takes two, of 112 bytes together (see the tests of package series). A small table takes
	// 3 MiB more, and values_per_label ten bytes for each value and scope.
	entryBytes = 60
	// baseBytes is what the process takes besides what it is told to bound: code, pools of codecs, the keys of labels that
	// came before (34 MB), sketches of the guard. Changes that rules make differently for every series come on top, up to
	// 128 MiB.
	baseBytes = 96 << 20
)

// Memory is what the gateway may come to hold, and what it has.
type Memory struct {
	// Inflight is server.max_inflight_bytes, Series what server.max_series entries take, Base everything else.
	Inflight, Series, Base int64
	// Limit is the container's memory limit, 0 if there is none.
	Limit int64
}

// Sum of all bounds.
func (m Memory) Sum() int64 { return m.Inflight + m.Series + m.Base }

// Memory returns the bounds that c sets.
func (c *Config) Memory() Memory { return c.Server.memory(os.DirFS("/")) }

func (s *Server) memory(root fs.FS) Memory {
	m := Memory{Inflight: int64(s.MaxInflightBytes), Series: int64(s.MaxSeries) * entryBytes, Base: baseBytes}
	m.Limit, _ = memoryLimit(root)
	return m
}

// fits says what is wrong where the bounds are more than there is.
func (m Memory) fits() (fault string, ok bool) {
	if m.Limit == 0 || m.Sum() <= m.Limit {
		return "", true
	}
	return fmt.Sprintf("all bounds together are %d bytes, over the container's memory limit of %d: %d in flight, %d for server.max_series entries of %d bytes, "+
		"%d for the rest; lower server.max_inflight_bytes or server.max_series, or raise the container's limit",
		m.Sum(), m.Limit, m.Inflight, m.Series, entryBytes, m.Base), false
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
	if least >= 1<<60 {
		return 0, false
	}
	return least, true
}
