package generate

import (
	"fmt"
	"strings"
)

// seriesOfPod is how many series one container has.
const seriesOfPod = 40

// metric is the name of one series of a container, what it is about, and the label that only it has.
type metric struct {
	name, help  string
	kind        uint64 // as in prometheus.MetricMetadata: 1 counter, 2 gauge
	extra, with string // a label more, if any
}

// DroppedMetric is what the drop rule of the scenarios is about: one series of seriesOfPod.
const DroppedMetric = "container_tasks_state"

// metrics are seriesOfPod series of a container.
func metrics() []metric {
	list := make([]metric, 0, seriesOfPod)
	for _, device := range []string{"eth0", "eth1"} {
		for _, what := range []string{"receive_bytes", "receive_packets", "receive_errors", "transmit_bytes", "transmit_packets", "transmit_errors"} {
			list = append(list, metric{"container_network_" + what + "_total", "Cumulative count of " + what, 1, "interface", device})
		}
	}
	for _, device := range []string{"/dev/nvme0n1", "/dev/nvme1n1"} {
		for _, what := range []string{"fs_reads", "fs_reads_bytes", "fs_writes", "fs_writes_bytes"} {
			list = append(list, metric{"container_" + what + "_total", "Cumulative count of " + what, 1, "device", device})
		}
	}
	for _, le := range []string{"0.005", "0.01", "0.05", "0.1", "0.5", "1", "+Inf"} {
		list = append(list, metric{"http_request_duration_seconds_bucket", "Time that requests took", 1, "le", le})
	}
	for _, what := range []string{
		"cpu_usage_seconds_total", "cpu_user_seconds_total", "cpu_system_seconds_total", "cpu_cfs_periods_total",
		"cpu_cfs_throttled_periods_total", "memory_usage_bytes", "memory_working_set_bytes", "memory_rss", "memory_cache",
		"processes", "threads", "sockets",
	} {
		kind := uint64(2)
		if strings.HasSuffix(what, "_total") {
			kind = 1
		}
		list = append(list, metric{"container_" + what, "Current " + what, kind, "", ""})
	}
	return append(list, metric{DroppedMetric, "Number of tasks in given state", 2, "state", "running"})
}

// labels are those of the m-th series of a pod. version is how often the pod has been replaced.
func labels(all []metric, pod uint64, m, version int) []Label {
	app := []string{"checkout", "payments", "catalog", "inventory", "frontend"}[pod%5]
	id := uint32((pod*0x9e3779b97f4a7c15 + uint64(version)*0xd1b54a32d192ed03) >> 29)
	node := pod & 0xffffffff / 30
	list := []Label{
		{"__name__", all[m].name},
		{"cluster", "prod-eu-1"},
		{"container", app},
	}
	if all[m].extra == "device" {
		list = append(list, Label{"device", all[m].with})
	}
	list = append(list,
		Label{"endpoint", "cadvisor"},
		Label{"id", fmt.Sprintf("/pod%08x", id)},
		Label{"image", "shop/" + app + ":v1"},
		Label{"instance", fmt.Sprintf("10.1.%d.%d:10250", node/250, node%250)},
	)
	if all[m].extra == "interface" {
		list = append(list, Label{"interface", all[m].with})
	}
	list = append(list, Label{"job", "kubelet"})
	if all[m].extra == "le" {
		list = append(list, Label{"le", all[m].with})
	}
	list = append(list,
		Label{"name", fmt.Sprintf("%08x", id)},
		Label{"namespace", "shop"},
		Label{"node", fmt.Sprintf("ip-10-1-%d-%d", node/250, node%250)},
		Label{"pod", fmt.Sprintf("%s-%08x", app, id)},
	)
	if m%2 == 0 {
		list = append(list, Label{"service", "kubelet"})
	}
	if all[m].extra == "state" {
		list = append(list, Label{"state", all[m].with})
	}
	if m%4 == 0 {
		list = append(list, Label{"zone", "eu-west-1a"})
	}
	return list
}
