// Package e2e runs this project on a real control plane, made of processes on
// loopback: Kubernetes' own, Crossplane's, provider-sql, and the servers that a
// tenant is made of. Nothing needs a container engine.
//
// Deployments' and Jobs' pods are run by a node that is part of this package: it
// starts a pod's command as a process in a sandbox with the pod's own files, and
// reports its end as a kubelet would.
package e2e
