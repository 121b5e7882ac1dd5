package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// hosts is the cluster's DNS and its Services' load balancer. All pods have its
// file for their /etc/hosts; it is rewritten in place as things change.
type hosts struct {
	file string
	node *node

	mu        sync.Mutex
	services  map[string]*corev1.Service
	listeners map[string]net.Listener
	written   string
}

// startHosts serves the Services of the cluster until the end of the test.
func startHosts(t testing.TB, file string) *hosts {
	t.Helper()
	h := &hosts{file: file, services: map[string]*corev1.Service{}, listeners: map[string]net.Listener{}}
	if err := os.WriteFile(file, []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		t.Fatalf("cannot write %s: %v", file, err)
	}
	return h
}

// watch the Services of the cluster.
func (h *hosts) watch(t testing.TB, n *node) {
	t.Helper()
	h.node = n
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, l := range h.listeners {
			_ = l.Close()
		}
	})
	factory := informers.NewSharedInformerFactory(n.client, 0)
	_, err := factory.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { of(o, h.see) },
		UpdateFunc: func(_, o any) { of(o, h.see) },
		DeleteFunc: func(o any) { of(o, h.forget) },
	})
	if err != nil {
		t.Fatalf("cannot watch Services: %v", err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
}

// of gives an informer's object to who sees objects of its type.
func of[T any](o any, see func(T)) {
	if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = unknown.Obj
	}
	if seen, ok := o.(T); ok {
		see(seen)
	}
}

func (h *hosts) see(s *corev1.Service) {
	h.mu.Lock()
	h.services[s.GetNamespace()+"/"+s.GetName()] = s
	if s.Spec.ClusterIP != corev1.ClusterIPNone && len(s.Spec.Selector) > 0 {
		for _, port := range s.Spec.Ports {
			h.listen(s, port)
		}
	}
	h.mu.Unlock()
	h.refresh()
}

func (h *hosts) forget(s *corev1.Service) {
	h.mu.Lock()
	delete(h.services, s.GetNamespace()+"/"+s.GetName())
	for _, port := range s.Spec.Ports {
		at := net.JoinHostPort(s.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
		if l := h.listeners[at]; l != nil {
			_ = l.Close()
			delete(h.listeners, at)
		}
	}
	h.mu.Unlock()
	h.refresh()
}

// listen at a Service's address. The lock is held.
func (h *hosts) listen(s *corev1.Service, port corev1.ServicePort) {
	at := net.JoinHostPort(s.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
	if h.listeners[at] != nil {
		return
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return
	}
	h.listeners[at] = l
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go h.forward(conn, s, port)
		}
	}()
}

// forward a connection to a pod of the Service that is ready.
func (h *hosts) forward(conn net.Conn, s *corev1.Service, port corev1.ServicePort) {
	defer conn.Close() //nolint:errcheck // It is one of two.
	for _, p := range h.endpoints(s) {
		target := port.TargetPort.IntValue()
		for _, c := range p.spec.Spec.Containers {
			for _, named := range c.Ports {
				if named.Name == port.TargetPort.String() {
					target = int(named.ContainerPort)
				}
			}
		}
		if target == 0 {
			target = int(port.Port)
		}
		to, err := net.Dial("tcp", net.JoinHostPort(p.ip, strconv.Itoa(p.portOf(target))))
		if err != nil {
			continue
		}
		go func() {
			_, _ = io.Copy(to, conn)
			closeWrite(to)
		}()
		_, _ = io.Copy(conn, to)
		_ = to.Close()
		return
	}
}

// endpoints of a Service.
func (h *hosts) endpoints(s *corev1.Service) []*pod {
	selector := labels.SelectorFromSet(s.Spec.Selector)
	var found []*pod
	for _, p := range h.node.ready() {
		if p.spec.GetNamespace() == s.GetNamespace() && selector.Matches(labels.Set(p.spec.GetLabels())) {
			found = append(found, p)
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].ip < found[j].ip })
	return found
}

// refresh the file. Its inode stays: pods have it mounted.
func (h *hosts) refresh() {
	go h.write()
}

func (h *hosts) write() {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := []string{}
	for _, s := range h.services {
		name := s.GetName() + "." + s.GetNamespace()
		names := fmt.Sprintf("%[1]s %[1]s.svc %[1]s.svc.cluster.local", name)
		if s.Spec.ClusterIP != corev1.ClusterIPNone {
			lines = append(lines, s.Spec.ClusterIP+" "+names)
			continue
		}
		for _, p := range h.endpoints(s) {
			lines = append(lines, p.ip+" "+names)
		}
	}
	sort.Strings(lines)
	content := "127.0.0.1 localhost\n" + strings.Join(lines, "\n") + "\n"
	if content == h.written {
		return
	}
	if err := os.WriteFile(h.file, []byte(content), 0o644); err == nil {
		h.written = content
	}
}
