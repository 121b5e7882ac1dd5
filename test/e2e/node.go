package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
)

// nodeName is the cluster's one node.
const nodeName = "loopback"

// An image is what stands for a container image: programs of this machine.
type image struct {
	// programs by the name under which a container finds them in its PATH. A
	// container without a command runs entrypoint.
	programs   map[string]string
	entrypoint string

	// mounts are folders of the image, by their path in it.
	mounts map[string]string

	// args that are added to the container's own: all pods share one network,
	// so those that would listen at every address are told to take the pod's.
	args func(ip string, port func(int) int) []string
}

// A node runs pods as processes of this machine.
type node struct {
	client kubernetes.Interface
	dir    string
	logs   string

	// exports is the folder that holds what NFS servers export.
	exports string

	// server that pods reach the API server at.
	host, port string

	// kubelet is the port at which the API server asks for containers' logs.
	kubelet int

	images func(name string) (image, bool)
	hosts  *hosts
	free   func() int

	mu      sync.Mutex
	pods    map[types.UID]*pod
	ips     int
	stopped bool
	wg      sync.WaitGroup
}

// startNode registers the node and runs what is scheduled to it, until the end
// of the test.
func startNode(t testing.TB, n *node) {
	t.Helper()
	n.pods = map[types.UID]*pod{}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		n.stopAll()
	})

	if err := n.register(ctx); err != nil {
		t.Fatalf("cannot register the node: %v", err)
	}
	go n.heartbeat(ctx)

	factory := informers.NewSharedInformerFactoryWithOptions(n.client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", nodeName).String()
	}))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { of(o, n.see) },
		UpdateFunc: func(_, o any) { of(o, n.see) },
		DeleteFunc: func(o any) { of(o, n.forget) },
	})
	if err != nil {
		t.Fatalf("cannot watch pods: %v", err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
}

func (n *node) register(ctx context.Context) error {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("64"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourcePods:             resource.MustParse("500"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
	}
	created, err := n.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{
			corev1.LabelHostname: nodeName, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	now := metav1.Now()
	created.Status = corev1.NodeStatus{
		Capacity: capacity, Allocatable: capacity,
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeHostName, Address: nodeName}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(n.kubelet)}},
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
			LastHeartbeatTime: now, LastTransitionTime: now,
		}},
	}
	if _, err := n.client.CoreV1().Nodes().UpdateStatus(ctx, created, metav1.UpdateOptions{}); err != nil {
		return err
	}
	_, err = n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName, Namespace: corev1.NamespaceNodeLease},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To(nodeName), LeaseDurationSeconds: ptr.To[int32](40), RenewTime: ptr.To(metav1.NowMicro()),
		},
	}, metav1.CreateOptions{})
	return err
}

// serveLogs of containers, for kubectl logs.
func (n *node) serveLogs(t testing.TB, ca *authority) {
	t.Helper()
	cert, key := ca.certificate(t, "kubelet", "system:node:"+nodeName, "system:nodes", "127.0.0.1", nodeName)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		namespace, pod, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
		log, err := os.Open(filepath.Join(n.logs, "pods", filepath.Base(fmt.Sprintf("%s_%s_%s.log", namespace, pod, container))))
		if err != nil {
			http.Error(w, "there is no log of this container", http.StatusNotFound)
			return
		}
		defer log.Close() //nolint:errcheck // It is only read from.
		for more := r.FormValue("follow") == "true"; ; time.Sleep(100 * time.Millisecond) {
			more = more && r.Context().Err() == nil && n.runs(namespace, pod, container)
			_, _ = io.Copy(w, log)
			if !more {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("cannot listen for logs: %v", err)
	}
	n.kubelet = portOf(t, listener)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.ServeTLS(listener, cert, key) }()
}

// runs tells whether a container does, or will.
func (n *node) runs(namespace, name, container string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pods {
		if p.spec.GetNamespace() == namespace && p.spec.GetName() == name {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, c := range slices.Concat(p.status.InitContainerStatuses, p.status.ContainerStatuses) {
				if c.Name == container {
					return c.State.Terminated == nil
				}
			}
		}
	}
	return false
}

// heartbeat keeps the node from being taken for dead.
func (n *node) heartbeat(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Second):
		}
		renewed := fmt.Sprintf(`{"spec":{"renewTime":%q}}`, metav1.NowMicro().UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
		// A control plane that is down for a while is asked again.
		_, _ = n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Patch(ctx, nodeName, types.MergePatchType, []byte(renewed), metav1.PatchOptions{})
	}
}

// see a pod that is new or has changed.
func (n *node) see(seen *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, known := n.pods[seen.GetUID()]
	if !known {
		if n.stopped {
			return
		}
		if seen.Status.Phase == corev1.PodSucceeded || seen.Status.Phase == corev1.PodFailed {
			if seen.GetDeletionTimestamp() == nil {
				return
			}
		}
		n.ips++
		p = newPod(n, seen, fmt.Sprintf("127.66.%d.%d", n.ips/250, n.ips%250+1))
		n.pods[seen.GetUID()] = p
		n.wg.Go(p.run)
	}
	if d := seen.GetDeletionTimestamp(); d != nil {
		p.terminate(time.Duration(ptr.Deref(seen.GetDeletionGracePeriodSeconds(), 30)) * time.Second)
	}
}

// forget a pod that is gone.
func (n *node) forget(gone *corev1.Pod) {
	n.mu.Lock()
	p := n.pods[gone.GetUID()]
	delete(n.pods, gone.GetUID())
	n.mu.Unlock()
	if p != nil {
		p.terminate(0)
	}
}

// stopAll pods, as when a machine is switched off.
func (n *node) stopAll() {
	n.mu.Lock()
	n.stopped = true
	for _, p := range n.pods {
		p.terminate(0)
	}
	n.mu.Unlock()
	n.wg.Wait()
}

// isStopped tells whether the machine is switched off.
func (n *node) isStopped() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stopped
}

// kill the processes of the pods that match, as a crash does, and return how
// many there were.
func (n *node) kill(match func(*corev1.Pod) bool) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	killed := 0
	for _, p := range n.pods {
		if match(p.spec) {
			killed += p.signal(syscall.SIGKILL)
		}
	}
	return killed
}

// ready returns the pods that are ready.
func (n *node) ready() []*pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ready []*pod
	for _, p := range n.pods {
		if p.isReady() {
			ready = append(ready, p)
		}
	}
	return ready
}

// A pod of this node.
type pod struct {
	node *node
	spec *corev1.Pod
	ip   string
	dir  string
	log  string

	// ports that stand for those that the pod would have to itself, if it had an
	// address to itself.
	ports map[int]int

	// done when the pod is to end, after the grace that it is then given.
	done   chan struct{}
	once   sync.Once
	graceM sync.Mutex
	grace  time.Duration

	mu        sync.Mutex
	processes map[string]int // by container
	status    corev1.PodStatus

	reporting sync.Mutex
	reported  []byte
}

func newPod(n *node, spec *corev1.Pod, ip string) *pod {
	p := &pod{
		node: n, spec: spec, ip: ip, done: make(chan struct{}), processes: map[string]int{}, ports: map[int]int{},
		dir: filepath.Join(n.dir, string(spec.GetUID())),
		log: filepath.Join(n.logs, "pods", spec.GetNamespace()+"_"+spec.GetName()),
	}
	now := metav1.Now()
	p.status = corev1.PodStatus{
		Phase: corev1.PodPending, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, HostIP: "127.0.0.1", StartTime: &now,
		QOSClass: spec.Status.QOSClass,
	}
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}
	for _, c := range spec.Spec.InitContainers {
		p.status.InitContainerStatuses = append(p.status.InitContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, State: waiting})
	}
	for _, c := range spec.Spec.Containers {
		p.status.ContainerStatuses = append(p.status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, State: waiting})
	}
	return p
}

// port that stands for a port of the pod.
func (p *pod) portOf(port int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if mapped, ok := p.ports[port]; ok {
		return mapped
	}
	return port
}

func (p *pod) mapPort(port int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.ports[port]; !ok {
		p.ports[port] = p.node.free()
	}
	return p.ports[port]
}

// terminate the pod, after a grace.
func (p *pod) terminate(grace time.Duration) {
	p.graceM.Lock()
	p.grace = grace
	p.graceM.Unlock()
	p.once.Do(func() { close(p.done) })
	if grace == 0 {
		p.signal(syscall.SIGKILL)
	}
}

// signal the pod's processes, and return how many there were.
func (p *pod) signal(s syscall.Signal) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pid := range p.processes {
		_ = syscall.Kill(pid, s)
	}
	return len(p.processes)
}

func (p *pod) ending() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *pod) isReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// run the pod from beginning to end.
func (p *pod) run() {
	defer os.RemoveAll(p.dir) //nolint:errcheck // The folder that it is in is removed too.
	p.runContainers()
	<-p.done
	p.remove()
}

// remove the pod from the API, once its processes have ended. An API server that is
// away is asked again, unless the node goes as well.
func (p *pod) remove() {
	const patience = 2 * time.Minute
	for began := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := p.node.client.CoreV1().Pods(p.spec.GetNamespace()).Delete(ctx, p.spec.GetName(), metav1.DeleteOptions{
			GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: ptr.To(p.spec.GetUID())},
		})
		cancel()
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || p.node.isStopped() || time.Since(began) > patience {
			return
		}
	}
}

func (p *pod) runContainers() {
	p.report()
	if !p.prepare() {
		return
	}

	for i := range p.spec.Spec.InitContainers {
		c := &p.spec.Spec.InitContainers[i]
		state := &p.status.InitContainerStatuses[i]
		for {
			code := p.runContainer(c, state)
			if code == 0 {
				break
			}
			if p.spec.Spec.RestartPolicy == corev1.RestartPolicyNever || p.ending() {
				p.finish(corev1.PodFailed)
				return
			}
			p.pause(time.Second)
		}
	}

	var wg sync.WaitGroup
	codes := make([]int, len(p.spec.Spec.Containers))
	for i := range p.spec.Spec.Containers {
		wg.Go(func() {
			c := &p.spec.Spec.Containers[i]
			state := &p.status.ContainerStatuses[i]
			for {
				codes[i] = p.runContainer(c, state)
				again := p.spec.Spec.RestartPolicy == corev1.RestartPolicyAlways ||
					p.spec.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && codes[i] != 0
				if !again || p.ending() {
					return
				}
				p.update(func() {
					state.RestartCount++
					state.LastTerminationState = state.State
					state.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
				})
				p.pause(time.Second)
			}
		})
	}
	wg.Wait()

	phase := corev1.PodSucceeded
	for _, code := range codes {
		if code != 0 {
			phase = corev1.PodFailed
		}
	}
	p.finish(phase)
}

// pause, unless the pod is to end.
func (p *pod) pause(d time.Duration) {
	select {
	case <-p.done:
	case <-time.After(d):
	}
}

func (p *pod) finish(phase corev1.PodPhase) {
	p.update(func() { p.status.Phase = phase })
}

// update the status, and report it.
func (p *pod) update(change func()) {
	p.mu.Lock()
	change()
	p.mu.Unlock()
	p.report()
}

// report the status to the API server, until it takes it.
func (p *pod) report() {
	p.reporting.Lock()
	defer p.reporting.Unlock()

	patch, err := p.statusPatch()
	if err != nil || bytes.Equal(patch, p.reported) {
		return
	}
	for {
		_, err := p.node.client.CoreV1().Pods(p.spec.GetNamespace()).Patch(context.Background(), p.spec.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			break
		}
		if apierrors.IsInvalid(err) {
			_ = os.WriteFile(p.log+".status.log", []byte(err.Error()), 0o644)
			break
		}
		// A control plane that is down for a while is told later.
		if p.ending() {
			return
		}
		p.pause(200 * time.Millisecond)
	}
	p.reported = patch
	p.node.hosts.refresh()
}

// statusPatch brings the conditions up to date, and returns the status.
func (p *pod) statusPatch() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	finished := p.status.Phase == corev1.PodSucceeded || p.status.Phase == corev1.PodFailed
	initialized, ready := true, !finished
	for _, c := range p.status.InitContainerStatuses {
		initialized = initialized && c.State.Terminated != nil && c.State.Terminated.ExitCode == 0
	}
	for i := range p.status.ContainerStatuses {
		ready = ready && p.status.ContainerStatuses[i].Ready
	}
	reason := ""
	if p.status.Phase == corev1.PodSucceeded {
		reason = "PodCompleted"
	}
	p.condition(corev1.PodScheduled, true, "")
	p.condition(corev1.PodInitialized, initialized, reason)
	p.condition(corev1.ContainersReady, ready, reason)
	p.condition(corev1.PodReady, ready, reason)
	return json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.spec.GetUID()}, "status": p.status})
}

// condition of the status. The lock is held.
func (p *pod) condition(typ corev1.PodConditionType, holds bool, reason string) {
	status := corev1.ConditionFalse
	if holds {
		status = corev1.ConditionTrue
	}
	for i := range p.status.Conditions {
		c := &p.status.Conditions[i]
		if c.Type == typ {
			if c.Status != status {
				c.Status, c.LastTransitionTime = status, metav1.Now()
			}
			c.Reason = reason
			return
		}
	}
	p.status.Conditions = append(p.status.Conditions, corev1.PodCondition{Type: typ, Status: status, Reason: reason, LastTransitionTime: metav1.Now()})
}

// complain in every container's status and as an event: why the pod can't start.
func (p *pod) complain(reason, message string) {
	said := false
	p.update(func() {
		for i := range p.status.ContainerStatuses {
			s := &p.status.ContainerStatuses[i].State
			said = s.Waiting != nil && s.Waiting.Message == message
			*s = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
		}
	})
	if said {
		return
	}
	now := metav1.Now()
	_, _ = p.node.client.CoreV1().Events(p.spec.GetNamespace()).Create(context.Background(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: p.spec.GetName() + ".", Namespace: p.spec.GetNamespace()},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.spec.GetNamespace(), Name: p.spec.GetName(), UID: p.spec.GetUID()},
		Reason:         reason, Message: message, Type: corev1.EventTypeWarning, Source: corev1.EventSource{Component: "node", Host: nodeName},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, metav1.CreateOptions{})
}

// A mounted volume is a folder of this machine.
type mounted struct {
	folder   string
	readOnly bool
}

// prepare the pod's volumes: what is missing is waited for. It returns false if
// the pod is to end before it could begin.
func (p *pod) prepare() bool {
	for !p.ending() {
		_, err := p.volumes()
		if err == nil {
			return true
		}
		p.complain("FailedMount", err.Error())
		p.pause(500 * time.Millisecond)
	}
	p.finish(corev1.PodFailed)
	return false
}

func (p *pod) volumes() (map[string]mounted, error) {
	ctx := context.Background()
	core := p.node.client.CoreV1()
	ns := p.spec.GetNamespace()
	mounts := map[string]mounted{}

	for i := range p.spec.Spec.Volumes {
		v := &p.spec.Spec.Volumes[i]
		folder := filepath.Join(p.dir, "volumes", v.Name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
		m := mounted{folder: folder}
		var err error
		switch {
		case v.EmptyDir != nil:
		case v.Secret != nil:
			m.readOnly = true
			err = p.secretFiles(ctx, folder, v.Secret.SecretName, v.Secret.Items, ptr.Deref(v.Secret.Optional, false))
		case v.ConfigMap != nil:
			m.readOnly = true
			err = p.configFiles(ctx, folder, v.ConfigMap.Name, v.ConfigMap.Items)
		case v.Projected != nil:
			m.readOnly = true
			for j := range v.Projected.Sources {
				if err = p.project(ctx, folder, &v.Projected.Sources[j]); err != nil {
					break
				}
			}
		case v.PersistentVolumeClaim != nil:
			m.readOnly = v.PersistentVolumeClaim.ReadOnly
			var claim *corev1.PersistentVolumeClaim
			if claim, err = core.PersistentVolumeClaims(ns).Get(ctx, v.PersistentVolumeClaim.ClaimName, metav1.GetOptions{}); err != nil {
				break
			}
			if claim.Status.Phase != corev1.ClaimBound {
				err = fmt.Errorf("claim %s isn't bound", claim.GetName())
				break
			}
			var volume *corev1.PersistentVolume
			if volume, err = core.PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{}); err != nil {
				break
			}
			if volume.Spec.NFS == nil {
				err = fmt.Errorf("volume %s isn't on NFS", volume.GetName())
				break
			}
			m.folder = filepath.Join(p.node.exports, volume.Spec.NFS.Path)
			_, err = os.Stat(m.folder)
		default:
			err = fmt.Errorf("volume %s is of a kind that this node doesn't know", v.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("MountVolume.SetUp failed for volume %q: %w", v.Name, err)
		}
		mounts[v.Name] = m
	}
	return mounts, nil
}

func (p *pod) project(ctx context.Context, folder string, s *corev1.VolumeProjection) error {
	switch {
	case s.ServiceAccountToken != nil:
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: ptr.To[int64](24 * 3600),
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.spec.GetName(), UID: p.spec.GetUID()},
		}}
		token, err := p.node.client.CoreV1().ServiceAccounts(p.spec.GetNamespace()).CreateToken(ctx, p.spec.Spec.ServiceAccountName, request, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, s.ServiceAccountToken.Path), []byte(token.Status.Token), 0o600)
	case s.ConfigMap != nil:
		return p.configFiles(ctx, folder, s.ConfigMap.Name, s.ConfigMap.Items)
	case s.Secret != nil:
		return p.secretFiles(ctx, folder, s.Secret.Name, s.Secret.Items, ptr.Deref(s.Secret.Optional, false))
	case s.DownwardAPI != nil:
		for _, item := range s.DownwardAPI.Items {
			if item.FieldRef == nil {
				return errors.New("only fields are projected")
			}
			value, err := p.field(item.FieldRef.FieldPath)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(folder, item.Path), []byte(value), 0o644); err != nil {
				return err
			}
		}
		return nil
	default:
		return errors.New("a projected source is of a kind that this node doesn't know")
	}
}

func (p *pod) secretFiles(ctx context.Context, folder, name string, items []corev1.KeyToPath, optional bool) error {
	secret, err := p.node.client.CoreV1().Secrets(p.spec.GetNamespace()).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional {
		return nil
	}
	if err != nil {
		return err
	}
	return writeFiles(folder, secret.Data, items)
}

func (p *pod) configFiles(ctx context.Context, folder, name string, items []corev1.KeyToPath) error {
	config, err := p.node.client.CoreV1().ConfigMaps(p.spec.GetNamespace()).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	data := map[string][]byte{}
	for k, v := range config.Data {
		data[k] = []byte(v)
	}
	return writeFiles(folder, data, items)
}

func writeFiles(folder string, data map[string][]byte, items []corev1.KeyToPath) error {
	if len(items) == 0 {
		for k := range data {
			items = append(items, corev1.KeyToPath{Key: k, Path: k})
		}
	}
	for _, item := range items {
		content, ok := data[item.Key]
		if !ok {
			return fmt.Errorf("references non-existent key: %s", item.Key)
		}
		if err := os.WriteFile(filepath.Join(folder, item.Path), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// runContainer once, and return its exit code.
func (p *pod) runContainer(c *corev1.Container, state *corev1.ContainerStatus) int {
	var cmd *exec.Cmd
	for {
		if p.ending() {
			p.terminated(state, 137, "Error", "the pod was deleted before the container could start", metav1.Now())
			return 137
		}
		img, ok := p.node.images(c.Image)
		if !ok {
			p.complain("ErrImagePull", "there is no image "+c.Image)
			p.pause(time.Second)
			continue
		}
		env, err := p.environ(c)
		if err != nil {
			p.complain("CreateContainerConfigError", err.Error())
			p.pause(500 * time.Millisecond)
			continue
		}
		// A kubelet keeps Secrets' files up to date. Here they are when a
		// container starts.
		mounts, err := p.volumes()
		if err != nil {
			p.complain("FailedMount", err.Error())
			p.pause(500 * time.Millisecond)
			continue
		}
		cmd = p.sandbox(c, img, env, mounts)
		break
	}

	log, err := os.OpenFile(p.log+"_"+c.Name+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		p.terminated(state, 128, "StartError", err.Error(), metav1.Now())
		return 128
	}
	defer log.Close() //nolint:errcheck // The process has its own handle.
	cmd.Stdout, cmd.Stderr = log, log

	// The sandbox says which process is the container's.
	read, write, err := os.Pipe()
	if err != nil {
		p.terminated(state, 128, "StartError", err.Error(), metav1.Now())
		return 128
	}
	cmd.ExtraFiles = []*os.File{write}
	started := metav1.Now()
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		_ = read.Close()
		p.terminated(state, 128, "StartError", err.Error(), started)
		return 128
	}
	var info struct {
		Pid int `json:"child-pid"`
	}
	_ = json.NewDecoder(read).Decode(&info)
	_ = read.Close()

	p.mu.Lock()
	if info.Pid != 0 {
		p.processes[c.Name] = info.Pid
	}
	p.mu.Unlock()

	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()

	p.update(func() {
		p.status.Phase = p.phaseNow()
		state.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}
		state.Started = ptr.To(true)
	})
	go p.probe(c, state, exited)

	select {
	case <-exited:
	case <-p.done:
		p.graceM.Lock()
		grace := p.grace
		p.graceM.Unlock()
		if info.Pid != 0 {
			_ = syscall.Kill(info.Pid, syscall.SIGTERM)
		}
		select {
		case <-exited:
		case <-time.After(grace):
			if info.Pid != 0 {
				_ = syscall.Kill(info.Pid, syscall.SIGKILL)
			}
			_ = cmd.Process.Kill()
			<-exited
		}
	}

	p.mu.Lock()
	delete(p.processes, c.Name)
	p.mu.Unlock()
	code := cmd.ProcessState.ExitCode()
	if code < 0 {
		code = 137
	}
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	p.terminated(state, code, reason, "", started)
	return code
}

// phaseNow while containers run: init containers don't make a pod Running.
func (p *pod) phaseNow() corev1.PodPhase {
	for _, c := range p.status.InitContainerStatuses {
		if c.State.Terminated == nil || c.State.Terminated.ExitCode != 0 {
			return corev1.PodPending
		}
	}
	return corev1.PodRunning
}

func (p *pod) terminated(state *corev1.ContainerStatus, code int, reason, message string, started metav1.Time) {
	p.update(func() {
		state.Ready = false
		state.Started = ptr.To(false)
		state.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: int32(code), Reason: reason, Message: message, StartedAt: started, FinishedAt: metav1.Now(),
		}}
		// The last word of a pod that isn't started again is its phase: said in
		// one breath with this.
		if p.spec.Spec.RestartPolicy == corev1.RestartPolicyNever && code != 0 {
			p.status.Phase = corev1.PodFailed
		}
	})
}

// probe a container until it is ready.
func (p *pod) probe(c *corev1.Container, state *corev1.ContainerStatus, exited <-chan struct{}) {
	for _, check := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe} {
		for check != nil && !p.passes(c, check) {
			select {
			case <-exited:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	select {
	case <-exited:
	default:
		p.update(func() {
			if state.State.Running != nil {
				state.Ready = true
			}
		})
	}
}

func (p *pod) passes(c *corev1.Container, check *corev1.Probe) bool {
	at := func(port intstr.IntOrString) string {
		number := port.IntValue()
		for _, named := range c.Ports {
			if named.Name == port.String() {
				number = int(named.ContainerPort)
			}
		}
		return net.JoinHostPort(p.ip, strconv.Itoa(p.portOf(number)))
	}
	switch {
	case check.HTTPGet != nil:
		client := &http.Client{Timeout: time.Second}
		return httpReady(client, "http://"+at(check.HTTPGet.Port)+check.HTTPGet.Path)() == nil
	case check.TCPSocket != nil:
		conn, err := net.DialTimeout("tcp", at(check.TCPSocket.Port), time.Second)
		if err != nil {
			return false
		}
		_ = conn.Close()
	}
	return true
}

// sandbox returns the command of a container: its process sees its image's
// programs, its volumes, and nothing else that it could write to.
func (p *pod) sandbox(c *corev1.Container, img image, env map[string]string, mounts map[string]mounted) *exec.Cmd {
	user, group := int64(65532), int64(65532)
	if s := p.spec.Spec.SecurityContext; s != nil {
		user, group = ptr.Deref(s.RunAsUser, user), ptr.Deref(s.RunAsGroup, group)
	}
	readOnlyRoot := false
	if s := c.SecurityContext; s != nil {
		user, group = ptr.Deref(s.RunAsUser, user), ptr.Deref(s.RunAsGroup, group)
		readOnlyRoot = ptr.Deref(s.ReadOnlyRootFilesystem, false)
	}

	args := []string{
		"--die-with-parent", "--new-session", "--unshare-user", "--unshare-ipc", "--uid", fmt.Sprint(user), "--gid", fmt.Sprint(group),
		"--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
		"--ro-bind-try", "/etc/ssl", "/etc/ssl", "--ro-bind-try", "/etc/alternatives", "/etc/alternatives", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache",
		"--ro-bind", p.node.hosts.file, "/etc/hosts",
		"--proc", "/proc", "--dev", "/dev",
		"--info-fd", "3",
	}
	for name, program := range img.programs {
		args = append(args, "--ro-bind", program, "/image/"+name)
	}
	for at, folder := range img.mounts {
		args = append(args, "--ro-bind", folder, at)
	}
	if !readOnlyRoot {
		args = append(args, "--tmpfs", "/tmp")
	}
	for _, m := range c.VolumeMounts {
		v, ok := mounts[m.Name]
		if !ok {
			continue
		}
		how := "--bind"
		if v.readOnly || m.ReadOnly {
			how = "--ro-bind"
		}
		args = append(args, how, filepath.Join(v.folder, m.SubPath), m.MountPath)
	}
	if readOnlyRoot {
		args = append(args, "--remount-ro", "/")
	}
	args = append(args, "--chdir", "/", "--")

	command := c.Command
	if len(command) == 0 {
		command = []string{"/image/" + img.entrypoint}
	}
	for _, word := range append(append([]string{}, command...), c.Args...) {
		args = append(args, expand(word, env))
	}
	if img.args != nil {
		args = append(args, img.args(p.ip, p.mapPort)...)
	}

	cmd := exec.Command("bwrap", args...)
	cmd.Env = []string{}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd
}

// environ of a container, by the rules of a kubelet.
func (p *pod) environ(c *corev1.Container) (map[string]string, error) {
	env := map[string]string{
		"PATH":                    "/image:" + postgresBin() + ":/usr/bin:/bin",
		"HOME":                    "/",
		"HOSTNAME":                p.spec.GetName(),
		"KUBERNETES_SERVICE_HOST": p.node.host,
		"KUBERNETES_SERVICE_PORT": p.node.port,
	}
	ctx := context.Background()
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			env[e.Name] = expand(e.Value, env)
			continue
		}
		switch from := e.ValueFrom; {
		case from.SecretKeyRef != nil:
			secret, err := p.node.client.CoreV1().Secrets(p.spec.GetNamespace()).Get(ctx, from.SecretKeyRef.Name, metav1.GetOptions{})
			if err != nil {
				if apierrors.IsNotFound(err) && ptr.Deref(from.SecretKeyRef.Optional, false) {
					continue
				}
				return nil, err
			}
			value, ok := secret.Data[from.SecretKeyRef.Key]
			if !ok {
				if ptr.Deref(from.SecretKeyRef.Optional, false) {
					continue
				}
				return nil, fmt.Errorf("couldn't find key %s in Secret %s/%s", from.SecretKeyRef.Key, secret.GetNamespace(), secret.GetName())
			}
			env[e.Name] = string(value)
		case from.FieldRef != nil:
			value, err := p.field(from.FieldRef.FieldPath)
			if err != nil {
				return nil, err
			}
			env[e.Name] = value
		case from.ResourceFieldRef != nil:
			limit := c.Resources.Limits[corev1.ResourceName(strings.TrimPrefix(from.ResourceFieldRef.Resource, "limits."))]
			env[e.Name] = strconv.FormatInt(limit.Value(), 10)
		default:
			return nil, fmt.Errorf("this node doesn't know where %s comes from", e.Name)
		}
	}
	return env, nil
}

// field of the pod, as the downward API names it.
func (p *pod) field(name string) (string, error) {
	switch name {
	case "metadata.name":
		return p.spec.GetName(), nil
	case "metadata.namespace":
		return p.spec.GetNamespace(), nil
	case "metadata.uid":
		return string(p.spec.GetUID()), nil
	case "spec.serviceAccountName":
		return p.spec.Spec.ServiceAccountName, nil
	case "spec.nodeName":
		return nodeName, nil
	case "status.podIP":
		return p.ip, nil
	}
	if key, ok := strings.CutPrefix(name, "metadata.labels['"); ok {
		return p.spec.GetLabels()[strings.TrimSuffix(key, "']")], nil
	}
	return "", fmt.Errorf("this node doesn't know field %s", name)
}

// expand $(NAME) in a word, by the rules of a kubelet: what isn't known stays,
// and $$ is a dollar sign.
func expand(word string, env map[string]string) string {
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] != '$' || i+1 == len(word) {
			b.WriteByte(word[i])
			continue
		}
		switch word[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(word[i:], ')')
			if end < 0 {
				b.WriteByte('$')
				continue
			}
			name := word[i+2 : i+end]
			if value, ok := env[name]; ok {
				b.WriteString(value)
			} else {
				b.WriteString(word[i : i+end+1])
			}
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}

// postgresBin is the folder with the newest of Debian's PostgreSQL clients.
var postgresBin = sync.OnceValue(func() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump")
	if len(found) == 0 {
		return "/usr/bin"
	}
	return path.Dir(found[len(found)-1])
})
