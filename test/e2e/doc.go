// Package e2e runs this project on a real control plane, made of processes on
// loopback: Kubernetes' own, Crossplane's, provider-sql, Traefik as the Gateway,
// and the servers that a tenant is made of. Nothing needs a container engine.
//
// Deployments' and Jobs' pods are run by a node that is part of this package: it
// starts a pod's command as a process in a sandbox with the pod's own files, and
// reports its end as a kubelet would. What stands in for something else is the
// node, the account portal, and Odoo: its workers and its installer.
package e2e
