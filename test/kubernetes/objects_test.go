//go:build kubernetes

package kubernetes_test

// Of Kubernetes' objects, what the test looks at.

type metadata struct {
	Name, UID, ResourceVersion string
	Generation                 int
	DeletionTimestamp          string
	Labels, Annotations        map[string]string
}

func (m metadata) id() (uid, version string) { return m.UID, m.ResourceVersion }

type node struct {
	metadata `json:"metadata"`
	Status   struct{ Conditions []condition }
}

type condition struct{ Type, Status, Reason, Message string }

type container struct {
	Image        string
	Ports        []port
	VolumeMounts []struct{ Name, MountPath string }
}

type port struct {
	Name          string
	ContainerPort int // of a container
	Port          int // of a Service or its endpoints
}

type pod struct {
	metadata `json:"metadata"`
	Spec     struct {
		NodeName   string
		Containers []container
		Volumes    []struct {
			Name      string
			Secret    *struct{ SecretName string }
			ConfigMap *struct{ Name string }
			Projected *struct{}
		}
	}
	Status struct {
		Phase, PodIP string
		Conditions   []condition
	}
}

// serves says whether senders reach a pod: it is ready, and nobody has asked it to leave.
func (p pod) serves() bool {
	return p.DeletionTimestamp == "" && is(p.Status.Conditions, "Ready", "True")
}

func is(conditions []condition, kind, status string) bool {
	for _, c := range conditions {
		if c.Type == kind {
			return c.Status == status
		}
	}
	return false
}

type deployment struct {
	metadata `json:"metadata"`
	Spec     struct{ Replicas int }
	Status   struct {
		ObservedGeneration                                                               int
		Replicas, UpdatedReplicas, ReadyReplicas, AvailableReplicas, TerminatingReplicas int
	}
}

type service struct {
	metadata `json:"metadata"`
	Spec     struct{ Ports []port }
}

type endpointSlice struct {
	metadata  `json:"metadata"`
	Ports     []port
	Endpoints []struct {
		Addresses  []string
		Conditions struct{ Ready bool }
	}
}

type networkPolicy struct {
	metadata `json:"metadata"`
	Spec     struct {
		PodSelector struct{ MatchLabels map[string]string }
		Ingress     []struct {
			Ports []struct{ Port any } // a name or a number
		}
	}
}

type disruptionBudget struct {
	metadata `json:"metadata"`
	Status   struct{ CurrentHealthy, DisruptionsAllowed, ExpectedPods int }
}

type autoscaler struct {
	metadata `json:"metadata"`
	Status   struct {
		DesiredReplicas int
		Conditions      []condition
	}
}

type serviceMonitor struct {
	metadata `json:"metadata"`
	Spec     struct {
		Selector  struct{ MatchLabels map[string]string }
		Endpoints []struct{ Port string }
	}
}

// configMap has the form of a Secret too.
type configMap struct {
	metadata `json:"metadata"`
	Data     map[string]string
}
