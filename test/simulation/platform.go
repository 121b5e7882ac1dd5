package simulation

import (
	"google.golang.org/protobuf/types/known/structpb"
)

// Names in the Platform's defaults.
const (
	domain        = "planapulse.app"
	nsSystem      = "crossplane-system"
	nsBackup      = "backup"
	odooRole      = "odoo"
	providerRole  = "plana"
	controller    = "gateway.envoyproxy.io/gatewayclass-controller"
	defaultGrace  = 300
	quotaName     = "plana-quota"
	secretsMarker = "hunter2-"

	defaultTablespace = "pg_default"

	// leastLimit of connections that limits nothing, and tells whose a database is.
	leastLimit = 1_000_000_000
)

// An installation is what the world outside of the function has to know of a Platform.
type installation struct {
	domain, system string
	// provider's role creates databases. Those that one of Odoo's roles owns are served.
	providerRole string
	odooRoles    []string
	controller   string
	// namespaces of the workers, by version.
	namespaces map[string]string
}

// theInstallation of every history is that of the Platform's defaults.
var theInstallation = installation{
	domain: domain, system: nsSystem, providerRole: providerRole, odooRoles: []string{odooRole}, controller: controller,
	namespaces: map[string]string{"17": versionNamespace("17"), "18": versionNamespace("18"), "19": versionNamespace("19")},
}

var versions = []string{"17", "18", "19"}

// versionNamespace is where a version's workers are.
func versionNamespace(version string) string {
	if version == "17" {
		return "plana-odoo"
	}
	return "plana-odoo-" + version
}

func quotaRef(version string) ref { return ref{kindQuota, versionNamespace(version), quotaName} }

func quotaHard() map[string]any {
	return map[string]any{"limits.cpu": "20", "limits.memory": "40Gi", "requests.cpu": "10", "requests.memory": "20Gi", "pods": "50"}
}

func quotaUsed(full bool) map[string]any {
	if full {
		return quotaHard()
	}
	return map[string]any{"limits.cpu": "1", "limits.memory": "1Gi", "requests.cpu": "1", "requests.memory": "1Gi", "pods": "1"}
}

// A platform is the function's input, and what the simulation has to know of it.
type platform struct {
	variant int
	input   *structpb.Struct
}

// A variant of the Platform.
type variant struct {
	name  string
	bad   bool
	grace int64
	skip  bool
	set   map[string]any
}

// variants of the Platform that a history can change to. The first is the
// default, and all that are good may follow one another in a cluster with
// tenants: an operator who changes them must not hurt anybody.
var variants = []variant{
	{name: "default"},
	{name: "other images", set: map[string]any{
		"effects":  map[string]any{"image": "plana-pulse/function-planaclient-effects:v0.2.0", "retries": 2.0},
		"versions": map[string]any{"18": map[string]any{"image": "plana-pulse/odoo:18.1"}},
	}},
	{name: "other resources", set: map[string]any{
		"effects": map[string]any{
			"deadline":  "20m",
			"resources": map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "32Mi"}, "limits": map[string]any{"cpu": "1", "memory": "512Mi"}},
		},
		"tiers": map[string]any{"starter": map[string]any{"retentionDays": 14.0}},
	}},
	{name: "other window and listener", set: map[string]any{
		"backup":  map[string]any{"window": map[string]any{"start": "02:30", "length": "1h", "timeZone": "Europe/Zurich"}},
		"gateway": map[string]any{"sectionName": "https"},
	}},
	{name: "other namespace for effects", set: map[string]any{"effects": map[string]any{"namespace": "plana-effects"}}},
	{name: "other secrets", set: map[string]any{
		"postgres": map[string]any{"credentialsSecret": "pg-creds-2"},
		"events":   map[string]any{"passwordSecret": map[string]any{"name": "redis-2", "key": "password"}},
	}},
	{name: "unknown field", bad: true, set: map[string]any{"retention": 3.0}},
	{name: "bad domain", bad: true, set: map[string]any{"domain": "Not A Domain"}},
	{name: "bad type", bad: true, set: map[string]any{"effects": map[string]any{"retries": "many"}}},
}

// lifecycleVariants exist once the Platform has the lifecycle's fields.
var lifecycleVariants = []variant{
	{name: "short grace", grace: 1, set: map[string]any{"deletion": map[string]any{"gracePeriod": "1s"}}},
	{name: "no final backup", skip: true, set: map[string]any{"deletion": map[string]any{"finalBackup": "Skip"}}},
	{name: "negative grace", bad: true, set: map[string]any{"deletion": map[string]any{"gracePeriod": "-5m"}}},
}

func init() { variants = append(variants, lifecycleVariants...) }

// current variant of the Platform.
func (p *platform) current() variant { return variants[p.variant] }

// graceSeconds that a delete waits.
func (p *platform) graceSeconds() int64 {
	if g := p.current().grace; g != 0 {
		return g
	}
	return defaultGrace
}

// wire form of the Platform.
func (p *platform) wire() *structpb.Struct {
	if p.input == nil {
		m := clone(p.current().set)
		if m == nil {
			m = map[string]any{}
		}
		m["apiVersion"], m["kind"] = "planaclient.fn.planapulse.com/v1beta1", "Platform"
		s, err := structpb.NewStruct(m)
		if err != nil {
			panic("simulation: variant " + p.current().name + ": " + err.Error())
		}
		p.input = s
	}
	return p.input
}

func (p *platform) change(to int) {
	p.variant, p.input = to, nil
}
