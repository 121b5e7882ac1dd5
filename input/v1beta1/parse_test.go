package v1beta1

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// input reads YAML as a pipeline step's input.
func input(tb testing.TB, y string) *structpb.Struct {
	tb.Helper()
	o := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(y), &o); err != nil {
		tb.Fatalf("bad YAML: %v\n%s", err, y)
	}
	s, err := structpb.NewStruct(o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	defaults := func(change func(*Platform)) *Platform {
		p := &Platform{}
		p.Default()
		change(p)
		return p
	}
	cases := map[string]struct {
		reason string
		input  *structpb.Struct
		want   *Platform
	}{
		"Nothing": {
			reason: "No input is an empty Platform, which has a default for everything.",
			want:   defaults(func(*Platform) {}),
		},
		"Empty": {
			reason: "So is an empty object.",
			input:  input(t, `{}`),
			want:   defaults(func(*Platform) {}),
		},
		"Set": {
			reason: "What is set stays, and what isn't gets its default, also beside it.",
			input: input(t, `
kind: Platform
domain: example.org
reservedSubdomains: [api, mail]
postgres: {host: 10.0.0.5, port: 5433, sslMode: verify-full, odooRole: "plana odoo", provisioningRole: creator, odooSecret: odoo, backupRole: reader, backupSecret: reader, caSecret: {name: postgres-ca}}
gateway: {sectionName: https}
versions: {"17": {databaseRole: odoo17, databaseSecret: odoo17}, "18": {namespace: odoo, image: "localhost:5000/odoo@sha256:0123456789012345678901234567890123456789012345678901234567890123"}}
tiers: {enterprise: {template: big, retentionDays: 3650}}
effects: {retries: 0, resources: {limits: {cpu: "2", memory: 1Gi}}}
account: {webhookURL: "https://portal/hooks", caSecret: {kind: ConfigMap, name: authorities, key: bundle.pem}}
backup: {repository: /backup, window: {start: "23:59", timeZone: UTC}}
matrix: {invite: ["@support:planapulse.com"]}
events: {address: "[::1]:6379", tls: true, username: effects}
`),
			want: defaults(func(p *Platform) {
				p.Kind = "Platform"
				p.Domain = "example.org"
				p.ReservedSubdomains = []string{"api", "mail"}
				p.Postgres.Host, p.Postgres.Port, p.Postgres.SSLMode, p.Postgres.OdooRole = "10.0.0.5", 5433, "verify-full", "plana odoo"
				p.Postgres.ProvisioningRole, p.Postgres.OdooSecret = "creator", "odoo"
				p.Postgres.BackupRole, p.Postgres.BackupSecret = "reader", "reader"
				// What all versions have is what one has that says nothing.
				p.Versions.V17.DatabaseRole, p.Versions.V17.DatabaseSecret = "odoo17", "odoo17"
				p.Versions.V18.DatabaseRole, p.Versions.V18.DatabaseSecret = "plana odoo", "odoo"
				p.Versions.V19.DatabaseRole, p.Versions.V19.DatabaseSecret = "plana odoo", "odoo"
				p.Postgres.CASecret = &CABundle{Kind: CABundleSecret, Name: "postgres-ca", Key: "ca.crt"}
				p.Account.WebhookURL, p.Account.CASecret = "https://portal/hooks", &CABundle{Kind: CABundleConfigMap, Name: "authorities", Key: "bundle.pem"}
				p.Gateway.SectionName = "https"
				p.Versions.V18.Namespace = "odoo"
				p.Versions.V18.Image = "localhost:5000/odoo@sha256:0123456789012345678901234567890123456789012345678901234567890123"
				p.Tiers.Enterprise.Template, p.Tiers.Enterprise.RetentionDays = "big", 3650
				p.Effects.Retries = ptr.To[int32](0)
				p.Effects.Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("2"), "memory": resource.MustParse("1Gi")}
				p.Backup.Repository, p.Backup.Window.Start, p.Backup.Window.TimeZone = "/backup", "23:59", "UTC"
				p.Matrix.Invite = []string{"@support:planapulse.com"}
				p.Events.Address, p.Events.TLS, p.Events.Username = "[::1]:6379", true, "effects"
			}),
		},
		"LongestDomain": {
			reason: "With the longest subdomain, a database's name has 63 characters: PostgreSQL takes no more.",
			input:  input(t, `domain: a23456789012345678901234567.bg23`),
			want:   defaults(func(p *Platform) { p.Domain = "a23456789012345678901234567.bg23" }),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tc.input)
			if err != nil {
				t.Fatalf("%s\nParse(...): %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nParse(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		input  string
		want   []string
	}{
		"UnknownField":       {reason: "A typo is a setting that isn't in force.", input: `domian: example.org`, want: []string{`unknown field "domian"`}},
		"UnknownFieldWithin": {reason: "The path says where the typo is.", input: `tiers: {pro: {retention: 7}}`, want: []string{`unknown field "tiers.pro.retention"`}},
		"UnknownVersion":     {reason: "There are three versions of Odoo.", input: `versions: {"16": {namespace: old}}`, want: []string{`unknown field "versions.16"`}},
		"UnknownTier":        {reason: "There are three tiers.", input: `tiers: {gold: {retentionDays: 7}}`, want: []string{`unknown field "tiers.gold"`}},
		"OtherKind":          {reason: "Another function's input is no Platform.", input: `kind: Resources`, want: []string{"kind", "Platform", `"Resources"`}},
		"OtherType":          {reason: "A number isn't a host.", input: `postgres: {host: 5}`, want: []string{"postgres.host"}},
		"BadQuantity":        {reason: "Quantities have a form.", input: `effects: {resources: {requests: {cpu: lots}}}`, want: []string{"quantities"}},
		"BadDuration":        {reason: "Durations have units.", input: `effects: {deadline: "10"}`, want: []string{"duration"}},

		"Domain":             {reason: "Hosts and databases are named below it.", input: `domain: -planapulse.app`, want: []string{"domain: Invalid value"}},
		"LongDomain":         {reason: "A database's name is cut off after 63 bytes.", input: `domain: a234567890123456789012345678.bg23`, want: []string{"domain: Invalid value", "32"}},
		"ReservedSubdomain":  {reason: "One of a list.", input: `reservedSubdomains: [api, API]`, want: []string{"reservedSubdomains[1]: Invalid value"}},
		"PostgresNamespace":  {reason: "A namespace is a label.", input: `postgres: {namespace: a.b}`, want: []string{"postgres.namespace: Invalid value"}},
		"ClusterConfig":      {reason: "An object's name.", input: `postgres: {clusterProviderConfig: PG01}`, want: []string{"postgres.clusterProviderConfig: Invalid value"}},
		"Host":               {reason: "Neither a name nor an address.", input: `postgres: {host: "pg01:5432"}`, want: []string{"postgres.host: Invalid value"}},
		"Port":               {reason: "Ports end at 65535.", input: `postgres: {port: 65536}`, want: []string{"postgres.port: Invalid value"}},
		"NegativePort":       {reason: "Ports begin at 1.", input: `versions: {"19": {httpPort: -1}}`, want: []string{"versions.19.httpPort: Invalid value"}},
		"SSLMode":            {reason: "What libpq knows.", input: `postgres: {sslMode: maybe}`, want: []string{"postgres.sslMode: Unsupported value", "verify-full"}},
		"Credentials":        {reason: "A Secret's name.", input: `postgres: {credentialsSecret: "a b"}`, want: []string{"postgres.credentialsSecret: Invalid value"}},
		"LongRole":           {reason: "PostgreSQL cuts names off.", input: `postgres: {odooRole: ` + strings.Repeat("o", 64) + `}`, want: []string{"postgres.odooRole: Invalid value"}},
		"RoleOfTwoLines":     {reason: "No name has a line's end.", input: `postgres: {odooRole: "odoo\n"}`, want: []string{"postgres.odooRole: Invalid value"}},
		"OdooSecret":         {reason: "A Secret's name.", input: `postgres: {odooSecret: "a b"}`, want: []string{"postgres.odooSecret: Invalid value"}},
		"BackupSecret":       {reason: "A Secret's name.", input: `postgres: {backupSecret: "a b"}`, want: []string{"postgres.backupSecret: Invalid value"}},
		"DatabaseSecret":     {reason: "A Secret's name.", input: `versions: {"18": {databaseSecret: "a b"}}`, want: []string{"versions.18.databaseSecret: Invalid value"}},
		"ProvisioningRole":   {reason: "PostgreSQL cuts names off.", input: `postgres: {provisioningRole: ` + strings.Repeat("p", 64) + `}`, want: []string{"postgres.provisioningRole: Invalid value"}},
		"BackupRole":         {reason: "No name has a line's end.", input: `postgres: {backupRole: "b\n"}`, want: []string{"postgres.backupRole: Invalid value"}},
		"DatabaseRole":       {reason: "No name has a line's end.", input: `versions: {"17": {databaseRole: "o\n"}}`, want: []string{"versions.17.databaseRole: Invalid value"}},
		"OdooProvisions":     {reason: "A customer runs SQL as Odoo's role.", input: `postgres: {odooRole: plana}`, want: []string{"postgres.odooRole: Invalid value", "postgres.provisioningRole"}},
		"OdooReadsAll":       {reason: "A customer runs SQL as Odoo's role.", input: `versions: {"18": {databaseRole: plana_backup}}`, want: []string{"versions.18.databaseRole: Invalid value", "postgres.backupRole"}},
		"BackupProvisions":   {reason: "A role that may create databases never enters a tenant's.", input: `postgres: {backupRole: plana}`, want: []string{"postgres.backupRole: Invalid value", "postgres.provisioningRole"}},
		"GatewayNamespace":   {reason: "A namespace is a label.", input: `gateway: {namespace: -}`, want: []string{"gateway.namespace: Invalid value"}},
		"GatewayName":        {reason: "An object's name.", input: `gateway: {name: EG}`, want: []string{"gateway.name: Invalid value"}},
		"SectionName":        {reason: "A listener's name.", input: `gateway: {sectionName: "*"}`, want: []string{"gateway.sectionName: Invalid value"}},
		"ControllerName":     {reason: "A domain and a path.", input: `gateway: {controllerName: envoy}`, want: []string{"gateway.controllerName: Invalid value"}},
		"UserID":             {reason: "Pods never run as root, nor as less.", input: `filestore: {userID: -1}`, want: []string{"filestore.userID: Invalid value", "root"}},
		"GroupID":            {reason: "Pods never run as root, nor as less.", input: `filestore: {groupID: -1}`, want: []string{"filestore.groupID: Invalid value"}},
		"Image":              {reason: "A bad image keeps a pod from starting, much later.", input: `versions: {"17": {image: "Odoo:17"}}`, want: []string{"versions.17.image: Invalid value"}},
		"EffectsImage":       {reason: "A bad image keeps a pod from starting, much later.", input: `effects: {image: "effects::1"}`, want: []string{"effects.image: Invalid value"}},
		"VersionNamespace":   {reason: "A namespace is a label.", input: `versions: {"18": {namespace: plana_odoo}}`, want: []string{"versions.18.namespace: Invalid value"}},
		"WorkerService":      {reason: "A Service's name.", input: `versions: {"18": {workerService: w.o}}`, want: []string{"versions.18.workerService: Invalid value"}},
		"WebsocketPort":      {reason: "Ports end at 65535.", input: `versions: {"18": {websocketPort: 70000}}`, want: []string{"versions.18.websocketPort: Invalid value"}},
		"FilestoreClaim":     {reason: "A claim's name.", input: `versions: {"18": {filestoreClaim: _}}`, want: []string{"versions.18.filestoreClaim: Invalid value"}},
		"BackupClaim":        {reason: "A claim's name.", input: `versions: {"18": {backupFilestoreClaim: _}}`, want: []string{"versions.18.backupFilestoreClaim: Invalid value"}},
		"NegativeRetention":  {reason: "A retention of less than a day removes what was just backed up.", input: `tiers: {pro: {retentionDays: -1}}`, want: []string{"tiers.pro.retentionDays: Invalid value: -1", "1 to 36500"}},
		"Retention":          {reason: "A hundred years are enough.", input: `tiers: {starter: {retentionDays: 36501}}`, want: []string{"tiers.starter.retentionDays: Invalid value"}},
		"Template":           {reason: "Part of a name.", input: `tiers: {enterprise: {template: "big one"}}`, want: []string{"tiers.enterprise.template: Invalid value"}},
		"NoModules":          {reason: "Odoo installs something.", input: `tiers: {pro: {modules: []}}`, want: []string{"tiers.pro.modules: Required value"}},
		"Module":             {reason: "A module's name must not become an option.", input: `tiers: {pro: {modules: [web, "--addons-path=/tmp"]}}`, want: []string{"tiers.pro.modules[1]: Invalid value"}},
		"TwoModules":         {reason: "Nor two modules.", input: `tiers: {pro: {modules: ["web,crm"]}}`, want: []string{"tiers.pro.modules[0]: Invalid value"}},
		"EffectsNamespace":   {reason: "A namespace is a label.", input: `effects: {namespace: A}`, want: []string{"effects.namespace: Invalid value"}},
		"PullSecret":         {reason: "One of a list.", input: `effects: {imagePullSecrets: [ok, "not ok"]}`, want: []string{"effects.imagePullSecrets[1]: Invalid value"}},
		"RequestOverLimit":   {reason: "No pod starts so.", input: `effects: {resources: {requests: {cpu: "2", memory: 1Mi}}}`, want: []string{"effects.resources.requests[cpu]: Invalid value", "500m"}},
		"NegativeRequest":    {reason: "No pod starts so.", input: `effects: {installResources: {requests: {cpu: "-1", memory: 1Mi}}}`, want: []string{"effects.installResources.requests[cpu]: Invalid value"}},
		"NoMemoryRequest":    {reason: "A quota turns such pods away.", input: `backup: {resources: {requests: {cpu: 100m}}}`, want: []string{"backup.resources.requests[memory]: Required value"}},
		"NoLimits":           {reason: "A quota turns such pods away.", input: `backup: {resources: {limits: {}}}`, want: []string{"backup.resources.limits[cpu]: Required value", "backup.resources.limits[memory]: Required value"}},
		"Deadline":           {reason: "A Job ends.", input: `effects: {deadline: 25h}`, want: []string{"effects.deadline: Invalid value"}},
		"InstallDeadline":    {reason: "A Job takes some time.", input: `effects: {installDeadline: 1ms}`, want: []string{"effects.installDeadline: Invalid value"}},
		"Retries":            {reason: "Retries are bounded.", input: `effects: {retries: 21}`, want: []string{"effects.retries: Invalid value"}},
		"NegativeRetries":    {reason: "Retries are bounded.", input: `effects: {retries: -1}`, want: []string{"effects.retries: Invalid value"}},
		"BackupNamespace":    {reason: "A namespace is a label.", input: `backup: {namespace: A}`, want: []string{"backup.namespace: Invalid value"}},
		"Repository":         {reason: "A tenant's repository is below it.", input: `backup: {repository: "s3:https://example.org/bucket/"}`, want: []string{"backup.repository: Invalid value"}},
		"RepositoryWithin":   {reason: "A path that isn't absolute is somewhere in a pod.", input: `backup: {repository: backup}`, want: []string{"backup.repository: Invalid value"}},
		"WindowStart":        {reason: "A time of day.", input: `backup: {window: {start: "24:00"}}`, want: []string{"backup.window.start: Invalid value"}},
		"WindowLength":       {reason: "A part of a day.", input: `backup: {window: {length: 30s}}`, want: []string{"backup.window.length: Invalid value"}},
		"NegativeLength":     {reason: "A part of a day.", input: `backup: {window: {length: -1h}}`, want: []string{"backup.window.length: Invalid value"}},
		"TimeZone":           {reason: "A CronJob's time zone must exist.", input: `backup: {window: {timeZone: Europe/Plovdiv}}`, want: []string{"backup.window.timeZone: Invalid value"}},
		"LocalTime":          {reason: "Whose?", input: `backup: {window: {timeZone: Local}}`, want: []string{"backup.window.timeZone: Invalid value"}},
		"RepositorySecret":   {reason: "A name and a key.", input: `backup: {repositorySecret: {name: backup-restic}}`, want: []string{"backup.repositorySecret.key: Invalid value"}},
		"StorageSecret":      {reason: "A Secret's name.", input: `backup: {storageSecret: A}`, want: []string{"backup.storageSecret: Invalid value"}},
		"ReadBackNever":      {reason: "What is never read back isn't known to be there.", input: `backup: {readBackNights: -1}`, want: []string{"backup.readBackNights: Invalid value"}},
		"ReadBackRarely":     {reason: "restic can't divide a repository into more parts.", input: `backup: {readBackNights: 257}`, want: []string{"backup.readBackNights: Invalid value"}},
		"BackupDeadline":     {reason: "The next backup comes tomorrow.", input: `backup: {deadline: 48h}`, want: []string{"backup.deadline: Invalid value"}},
		"Homeserver":         {reason: "An URL.", input: `matrix: {homeserver: synapse}`, want: []string{"matrix.homeserver: Invalid value"}},
		"ServerName":         {reason: "What stands behind the colon.", input: `matrix: {serverName: "@planapulse.com"}`, want: []string{"matrix.serverName: Invalid value"}},
		"TokenSecret":        {reason: "A name and a key.", input: `matrix: {tokenSecret: {key: token}}`, want: []string{"matrix.tokenSecret.name: Invalid value"}},
		"Invite":             {reason: "A Matrix user.", input: `matrix: {invite: [support]}`, want: []string{"matrix.invite[0]: Invalid value"}},
		"WebhookURL":         {reason: "Over HTTP.", input: `account: {webhookURL: "ftp://portal"}`, want: []string{"account.webhookURL: Invalid value"}},
		"WebhookCredentials": {reason: "A password in an URL would be in every Job.", input: `account: {webhookURL: "https://me:hunter2@portal/"}`, want: []string{"account.webhookURL: Invalid value", "Secret"}},
		"SigningSecret":      {reason: "A name and a key.", input: `account: {signingSecret: {name: a, key: "b/c"}}`, want: []string{"account.signingSecret.key: Invalid value"}},
		"EventsAddress":      {reason: "A host and a port.", input: `events: {address: redis}`, want: []string{"events.address: Invalid value"}},
		"EventsPort":         {reason: "A port is a number.", input: `events: {address: "redis:http"}`, want: []string{"events.address: Invalid value"}},
		"PasswordSecret":     {reason: "A name and a key.", input: `events: {passwordSecret: {name: "-", key: "-"}}`, want: []string{"events.passwordSecret.name: Invalid value"}},
		"RedisUser":          {reason: "One word.", input: `events: {username: "effects on"}`, want: []string{"events.username: Invalid value"}},
		"CAKind":             {reason: "Certificates are in a Secret or in a ConfigMap.", input: `{postgres: {sslMode: verify-full, caSecret: {kind: File, name: ca}}}`, want: []string{"postgres.caSecret.kind: Unsupported value"}},
		"CAName":             {reason: "An object has a name.", input: `{postgres: {sslMode: verify-full, caSecret: {key: ca.crt}}}`, want: []string{"postgres.caSecret.name: Invalid value"}},
		"CAKey":              {reason: "A key has no slash.", input: `{postgres: {sslMode: verify-full, caSecret: {name: ca, key: ../ca}}}`, want: []string{"postgres.caSecret.key: Invalid value"}},
		"CAOfPostgres":       {reason: "With require nothing is verified.", input: `postgres: {caSecret: {name: ca}}`, want: []string{"postgres.caSecret: Invalid value", "verify-full"}},
		"CAOfEvents":         {reason: "Without TLS nothing is verified.", input: `events: {caSecret: {name: ca}}`, want: []string{"events.caSecret: Invalid value", "tls must be true"}},
		"CAOfAccount":        {reason: "Without TLS nothing is verified.", input: `account: {caSecret: {name: ca}}`, want: []string{"account.caSecret: Invalid value", "must be https"}},
		"CAOfMatrix":         {reason: "Without TLS nothing is verified.", input: `matrix: {caSecret: {name: ca}}`, want: []string{"matrix.caSecret: Invalid value", "must be https"}},
		"CAOfStorage":        {reason: "A folder has no certificate.", input: `backup: {repository: /backup, caSecret: {name: ca}}`, want: []string{"backup.caSecret: Invalid value", "s3:https"}},
		"Stream":             {reason: "One word.", input: `events: {stream: "PLANA events"}`, want: []string{"events.stream: Invalid value"}},
		"Source":             {reason: "An URI reference.", input: `events: {source: "%zz"}`, want: []string{"events.source: Invalid value"}},
		"Quota":              {reason: "An object's name.", input: `quota: {name: A}`, want: []string{"quota.name: Invalid value"}},
		"RedirectURL":        {reason: "Visitors are sent there.", input: `suspension: {redirectURL: /suspended}`, want: []string{"suspension.redirectURL: Invalid value"}},
		"GracePeriod":        {reason: "Time doesn't run backwards.", input: `deletion: {gracePeriod: -1s}`, want: []string{"deletion.gracePeriod: Invalid value"}},
		"FinalBackup":        {reason: "A misspelt word must not skip a backup.", input: `deletion: {finalBackup: skip}`, want: []string{"deletion.finalBackup: Unsupported value", "Required", "Skip"}},
		"Everything": {
			reason: "All that is wrong is said at once.",
			input:  `{domain: _, gateway: {name: _}, tiers: {pro: {retentionDays: -1}}}`,
			want:   []string{"domain: Invalid value", "gateway.name: Invalid value", "tiers.pro.retentionDays: Invalid value"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := Parse(input(t, tc.input))
			if err == nil {
				t.Fatalf("%s\nParse(...): want an error, got %v", tc.reason, p)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s\nParse(...): %q isn't in %q", tc.reason, want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s\nParse(...): the error tells a password: %v", tc.reason, err)
			}
		})
	}

	t.Run("NotANumber", func(t *testing.T) {
		s := &structpb.Struct{Fields: map[string]*structpb.Value{"postgres": structpb.NewNumberValue(math.NaN())}}
		if p, err := Parse(s); err == nil {
			t.Errorf("Parse(...): want an error for what JSON can't express, got %v", p)
		}
	})
}

// TestDefaultsAreDocumented compares the defaults with those of the CRD, from
// which the reference page is made. A pipeline's input never meets that CRD.
func TestDefaultsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../package/input/planaclient.fn.planapulse.com_platforms.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}{}
	if err := yaml.Unmarshal(b, &crd); err != nil {
		t.Fatal(err)
	}

	// What is nil unless it is set has defaults as well, once it is.
	p := &Platform{}
	p.Postgres.CASecret, p.Backup.CASecret = &CABundle{}, &CABundle{}
	p.Matrix.CASecret, p.Account.CASecret, p.Events.CASecret = &CABundle{}, &CABundle{}, &CABundle{}
	p.Default()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var defaults any
	if err := json.Unmarshal(raw, &defaults); err != nil {
		t.Fatal(err)
	}
	documented := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.compare(t, "", defaults)
	if documented < 30 {
		t.Errorf("only %d defaults are documented in the CRD", documented)
	}
}

// A schema is the part of a CRD's that tells of defaults.
type schema struct {
	Default    any               `json:"default,omitempty"`
	Properties map[string]schema `json:"properties,omitempty"`
}

func (s schema) compare(t *testing.T, path string, actual any) int {
	t.Helper()
	documented := 0
	if s.Default != nil {
		documented++
		// A duration may be written in more than one way.
		same := map[any]any{"10m": "10m0s", "1h": "1h0m0s", "4h": "4h0m0s", "5m": "5m0s"}
		want := s.Default
		if d, ok := want.(string); ok && same[d] != nil {
			want = same[d]
		}
		if actual == nil && want == false {
			actual = false // Left out when it is empty.
		}
		if diff := cmp.Diff(want, actual); diff != "" {
			t.Errorf("default of %s: -documented, +actual:\n%s", path, diff)
		}
	}
	below, _ := actual.(map[string]any)
	for name, p := range s.Properties {
		documented += p.compare(t, strings.TrimPrefix(path+"."+name, "."), below[name])
	}
	return documented
}

func TestPick(t *testing.T) {
	p, err := Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	for version, namespace := range map[v1alpha1.OdooVersion]string{"17": "plana-odoo", "18": "plana-odoo-18", "19": "plana-odoo-19"} {
		got, err := p.Version(version)
		if err != nil || got.Namespace != namespace {
			t.Errorf("Version(%q): namespace: want %s, got %v, %v", version, namespace, got, err)
		}
	}
	for tier, days := range map[v1alpha1.Tier]int32{"starter": 30, "pro": 90, "enterprise": 365} {
		got, err := p.Tier(tier)
		if err != nil || got.RetentionDays != days {
			t.Errorf("Tier(%q): retention: want %d, got %v, %v", tier, days, got, err)
		}
	}
	for _, unknown := range []string{"", "16", "20", "gold"} {
		if got, err := p.Version(v1alpha1.OdooVersion(unknown)); err == nil || got != nil {
			t.Errorf("Version(%q): want an error, got %v", unknown, got)
		}
		if got, err := p.Tier(v1alpha1.Tier(unknown)); err == nil || got != nil {
			t.Errorf("Tier(%q): want an error, got %v", unknown, got)
		}
	}
}
