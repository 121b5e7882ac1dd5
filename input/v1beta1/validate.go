package v1beta1

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // The function's image has no zone database of its own.

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxNameLength of the longest <subdomain>.<domain>: PostgreSQL cuts an
// identifier off after 63 bytes, and a subdomain may have 30.
const maxNameLength = 63 - len(".") - 30

var (
	moduleName = regexp.MustCompile(`^[a-z0-9][a-z0-9_]*$`)
	matrixUser = regexp.MustCompile(`^@[a-z0-9._=/+-]+:[A-Za-z0-9.:-]+$`)
	repository = regexp.MustCompile(`^(s3:https?://[^/\s]+/[^\s]*[^/\s]|/[^\s]*[^/\s])$`)
	sslModes   = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
	clock      = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)
)

// mostRetries of an effect: after 20 the Job controller waits six minutes
// between attempts, and whatever is wrong wants a person.
const mostRetries = 20

// Validate a Platform whose defaults have been applied.
func (p *Platform) Validate() field.ErrorList {
	v := &validator{}

	v.subdomain(field.NewPath("domain"), p.Domain)
	if len(p.Domain) > maxNameLength {
		v.invalid(field.NewPath("domain"), p.Domain, fmt.Sprintf("must be %d characters at most, so that a database can be named after a host", maxNameLength))
	}
	for i, name := range p.ReservedSubdomains {
		v.label(field.NewPath("reservedSubdomains").Index(i), name)
	}

	p.Postgres.validate(v, field.NewPath("postgres"))
	p.Gateway.validate(v, field.NewPath("gateway"))

	f := field.NewPath("filestore")
	v.atLeast(f.Child("userID"), p.Filestore.UserID, 1, "pods never run as root")
	v.atLeast(f.Child("groupID"), p.Filestore.GroupID, 1, "pods never run as root")

	versions := field.NewPath("versions")
	p.Versions.V17.validate(v, versions.Child("17"), p.Postgres)
	p.Versions.V18.validate(v, versions.Child("18"), p.Postgres)
	p.Versions.V19.validate(v, versions.Child("19"), p.Postgres)

	tiers := field.NewPath("tiers")
	p.Tiers.Starter.validate(v, tiers.Child("starter"))
	p.Tiers.Pro.validate(v, tiers.Child("pro"))
	p.Tiers.Enterprise.validate(v, tiers.Child("enterprise"))

	p.Effects.validate(v, field.NewPath("effects"))
	p.Backup.validate(v, field.NewPath("backup"))
	p.Matrix.validate(v, field.NewPath("matrix"))

	account := field.NewPath("account")
	v.httpURL(account.Child("webhookURL"), p.Account.WebhookURL)
	v.secretKey(account.Child("signingSecret"), p.Account.SigningSecret)
	v.authorities(account.Child("caSecret"), p.Account.CASecret, strings.HasPrefix(p.Account.WebhookURL, "https:"), "webhookURL must be https, or nothing is verified by it")

	p.Events.validate(v, field.NewPath("events"))

	v.subdomain(field.NewPath("quota", "name"), p.Quota.Name)
	redirect := field.NewPath("suspension", "redirectURL")
	v.httpURL(redirect, p.Suspension.RedirectURL)
	if strings.ContainsAny(p.Suspension.RedirectURL, "?#") {
		v.invalid(redirect, p.Suspension.RedirectURL, "must have no query and no fragment: a route can't redirect to one")
	}

	deletion := field.NewPath("deletion")
	v.duration(deletion.Child("gracePeriod"), *p.Deletion.GracePeriod, 0, 30*24*time.Hour)
	v.oneOf(deletion.Child("finalBackup"), string(p.Deletion.FinalBackup), []string{string(FinalBackupRequired), string(FinalBackupSkip)})

	return v.errs
}

func (p *Postgres) validate(v *validator, path *field.Path) {
	v.label(path.Child("namespace"), p.Namespace)
	v.subdomain(path.Child("clusterProviderConfig"), p.ClusterProviderConfig)
	v.host(path.Child("host"), p.Host)
	v.port(path.Child("port"), p.Port)
	v.oneOf(path.Child("sslMode"), p.SSLMode, sslModes)
	v.role(path.Child("provisioningRole"), p.ProvisioningRole)
	v.subdomain(path.Child("credentialsSecret"), p.CredentialsSecret)
	v.authorities(path.Child("caSecret"), p.CASecret, strings.HasPrefix(p.SSLMode, "verify-"), "sslMode must be verify-full (or verify-ca), or nothing is verified by it")
	v.releaseRole(path.Child("odooRole"), p.OdooRole, *p)
	v.subdomain(path.Child("odooSecret"), p.OdooSecret)
	v.role(path.Child("backupRole"), p.BackupRole)
	v.subdomain(path.Child("backupSecret"), p.BackupSecret)
	if p.BackupRole == p.ProvisioningRole {
		v.invalid(path.Child("backupRole"), p.BackupRole, "must be another role than postgres.provisioningRole: a role that dumps a tenant's database may only read")
	}
}

func (g *Gateway) validate(v *validator, path *field.Path) {
	v.label(path.Child("namespace"), g.Namespace)
	v.subdomain(path.Child("name"), g.Name)
	if g.SectionName != "" {
		v.subdomain(path.Child("sectionName"), g.SectionName)
	}
	if !strings.Contains(g.ControllerName, "/") {
		v.invalid(path.Child("controllerName"), g.ControllerName, "must be a domain and a path, as in the GatewayClass' spec.controllerName")
	}
}

func (r *Version) validate(v *validator, path *field.Path, postgres Postgres) {
	v.label(path.Child("namespace"), r.Namespace)
	v.image(path.Child("image"), r.Image)
	v.label(path.Child("workerService"), r.WorkerService)
	v.port(path.Child("httpPort"), r.HTTPPort)
	v.port(path.Child("websocketPort"), r.WebsocketPort)
	v.subdomain(path.Child("filestoreClaim"), r.FilestoreClaim)
	v.subdomain(path.Child("backupFilestoreClaim"), r.BackupFilestoreClaim)
	v.subdomain(path.Child("databaseSecret"), r.DatabaseSecret)

	if r.DatabaseRole != postgres.OdooRole {
		v.releaseRole(path.Child("databaseRole"), r.DatabaseRole, postgres)
	}
}

func (t *Tier) validate(v *validator, path *field.Path) {
	v.label(path.Child("template"), t.Template)
	if t.RetentionDays < 1 || t.RetentionDays > 36500 {
		v.invalid(path.Child("retentionDays"), t.RetentionDays, "must be from 1 to 36500 days")
	}
	if len(t.Modules) == 0 {
		v.errs = append(v.errs, field.Required(path.Child("modules"), "name the modules that Odoo installs where there is no template, such as web"))
	}
	for i, m := range t.Modules {
		if !moduleName.MatchString(m) {
			v.invalid(path.Child("modules").Index(i), m, "must be an Odoo module's technical name: lower-case letters, digits and underscores")
		}
	}
}

func (e *Effects) validate(v *validator, path *field.Path) {
	v.label(path.Child("namespace"), e.Namespace)
	v.image(path.Child("image"), e.Image)
	for i, s := range e.ImagePullSecrets {
		v.subdomain(path.Child("imagePullSecrets").Index(i), s)
	}
	e.Resources.validate(v, path.Child("resources"))
	e.InstallResources.validate(v, path.Child("installResources"))
	v.duration(path.Child("deadline"), e.Deadline, time.Second, 24*time.Hour)
	v.duration(path.Child("installDeadline"), e.InstallDeadline, time.Second, 24*time.Hour)
	v.positive(path.Child("scratchLimit"), e.ScratchLimit)
	if *e.Retries < 0 || *e.Retries > mostRetries {
		v.invalid(path.Child("retries"), *e.Retries, fmt.Sprintf("must be from 0 to %d", mostRetries))
	}
}

// positive says that a quantity must be more than nothing.
func (v *validator) positive(path *field.Path, q *resource.Quantity) {
	if q.Sign() <= 0 {
		v.invalid(path, q.String(), "must be more than 0, such as 2Gi")
	}
}

func (r *Resources) validate(v *validator, path *field.Path) {
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		request := r.Requests[name]
		limit, ok := r.Limits[name]
		if ok && request.Cmp(limit) > 0 {
			v.invalid(path.Child("requests").Key(string(name)), request.String(), "must not exceed the limit, "+limit.String())
		}
		if request.Sign() < 0 {
			v.invalid(path.Child("requests").Key(string(name)), request.String(), "must not be negative")
		}
	}
	// The namespaces are under a ResourceQuota, which turns a pod away whose
	// containers don't say what they need.
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if q := r.Requests[name]; q.IsZero() {
			v.errs = append(v.errs, field.Required(path.Child("requests").Key(string(name)), "pods under a ResourceQuota need it"))
		}
		if q := r.Limits[name]; q.IsZero() {
			v.errs = append(v.errs, field.Required(path.Child("limits").Key(string(name)), "pods under a ResourceQuota need it"))
		}
	}
}

func (b *Backup) validate(v *validator, path *field.Path) {
	v.label(path.Child("namespace"), b.Namespace)
	if !repository.MatchString(b.Repository) {
		v.invalid(path.Child("repository"), b.Repository, "must be s3:https://<host>/<bucket> or an absolute folder, without a slash at its end")
	}
	window := path.Child("window")
	if !clock.MatchString(b.Window.Start) {
		v.invalid(window.Child("start"), b.Window.Start, "must be a time of day as HH:MM, such as 01:30")
	}
	v.duration(window.Child("length"), b.Window.Length, time.Minute, 24*time.Hour)
	if _, err := time.LoadLocation(b.Window.TimeZone); err != nil || b.Window.TimeZone == "Local" {
		v.invalid(window.Child("timeZone"), b.Window.TimeZone, "must be a name of the IANA time zone database, such as Europe/Sofia")
	}
	v.secretKey(path.Child("repositorySecret"), b.RepositorySecret)
	v.subdomain(path.Child("storageSecret"), b.StorageSecret)
	v.authorities(path.Child("caSecret"), b.CASecret, strings.HasPrefix(b.Repository, "s3:https:"), "repository must be s3:https://…, or nothing is verified by it")
	if b.ReadBackNights < 1 || b.ReadBackNights > 256 {
		v.invalid(path.Child("readBackNights"), b.ReadBackNights, "must be 1 to 256")
	}
	v.duration(path.Child("deadline"), b.Deadline, time.Second, 24*time.Hour)
	v.positive(path.Child("scratchLimit"), b.ScratchLimit)
	b.Resources.validate(v, path.Child("resources"))
}

func (m *Matrix) validate(v *validator, path *field.Path) {
	v.httpURL(path.Child("homeserver"), m.Homeserver)
	v.host(path.Child("serverName"), m.ServerName)
	v.secretKey(path.Child("tokenSecret"), m.TokenSecret)
	v.authorities(path.Child("caSecret"), m.CASecret, strings.HasPrefix(m.Homeserver, "https:"), "homeserver must be https, or nothing is verified by it")
	for i, user := range m.Invite {
		if !matrixUser.MatchString(user) {
			v.invalid(path.Child("invite").Index(i), user, "must be a Matrix user, such as @support:planapulse.com")
		}
	}
}

func (e *Events) validate(v *validator, path *field.Path) {
	host, port, err := net.SplitHostPort(e.Address)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || perr != nil || n == 0 {
		v.invalid(path.Child("address"), e.Address, "must be host:port, such as redis.planapulse.com:6379")
	}
	if strings.ContainsFunc(e.Username, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		v.invalid(path.Child("username"), e.Username, "must be the name of a Redis user, without spaces and control characters")
	}
	v.secretKey(path.Child("passwordSecret"), e.PasswordSecret)
	v.authorities(path.Child("caSecret"), e.CASecret, e.TLS, "tls must be true, or nothing is verified by it")
	if strings.ContainsFunc(e.Stream, func(r rune) bool { return r <= ' ' }) {
		v.invalid(path.Child("stream"), e.Stream, "must be the key of a Redis stream, without spaces")
	}
	if _, err := url.Parse(e.Source); err != nil {
		v.invalid(path.Child("source"), e.Source, "must be a URI reference")
	}
}

// A validator gathers what is wrong with a Platform.
type validator struct {
	errs field.ErrorList
}

func (v *validator) invalid(path *field.Path, value any, detail string) {
	v.errs = append(v.errs, field.Invalid(path, value, detail))
}

func (v *validator) label(path *field.Path, value string) {
	for _, msg := range validation.IsDNS1123Label(value) {
		v.invalid(path, value, msg)
	}
}

func (v *validator) subdomain(path *field.Path, value string) {
	for _, msg := range validation.IsDNS1123Subdomain(value) {
		v.invalid(path, value, msg)
	}
}

func (v *validator) role(path *field.Path, value string) {
	if len(value) > 63 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
		v.invalid(path, value, "must be the name of a PostgreSQL role: 63 bytes at most, without control characters")
	}
}

// releaseRole is one that a customer runs any SQL as that they like.
func (v *validator) releaseRole(path *field.Path, value string, postgres Postgres) {
	v.role(path, value)
	switch value {
	case postgres.ProvisioningRole:
		v.invalid(path, value, "must be another role than postgres.provisioningRole, which may create databases")
	case postgres.BackupRole:
		v.invalid(path, value, "must be another role than postgres.backupRole, which may read every database")
	}
}

func (v *validator) host(path *field.Path, value string) {
	if net.ParseIP(value) != nil {
		return
	}
	if len(validation.IsDNS1123Subdomain(strings.ToLower(value))) > 0 {
		v.invalid(path, value, "must be a host name or an address")
	}
}

func (v *validator) port(path *field.Path, value int32) {
	for _, msg := range validation.IsValidPortNum(int(value)) {
		v.invalid(path, value, msg)
	}
}

func (v *validator) oneOf(path *field.Path, value string, allowed []string) {
	if !slices.Contains(allowed, value) {
		v.errs = append(v.errs, field.NotSupported(path, value, allowed))
	}
}

func (v *validator) atLeast(path *field.Path, value, least int64, why string) {
	if value < least {
		v.invalid(path, value, fmt.Sprintf("must be %d or more: %s", least, why))
	}
}

func (v *validator) image(path *field.Path, value string) {
	if _, err := reference.ParseNormalizedNamed(value); err != nil {
		v.invalid(path, value, "must be an image, such as example/odoo:18.0: "+err.Error())
	}
}

func (v *validator) httpURL(path *field.Path, value string) {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		v.invalid(path, value, "must be an http or https URL")
		return
	}
	if u.User != nil {
		v.invalid(path, u.Redacted(), "must not hold credentials: they belong in a Secret")
	}
}

func (v *validator) secretKey(path *field.Path, value SecretKey) {
	v.subdomain(path.Child("name"), value.Name)
	for _, msg := range validation.IsConfigMapKey(value.Key) {
		v.invalid(path.Child("key"), value.Key, msg)
	}
}

// authorities that a server is verified by. Where there is no TLS they would make
// people believe that there is.
func (v *validator) authorities(path *field.Path, value *CABundle, verified bool, otherwise string) {
	if value == nil {
		return
	}
	v.oneOf(path.Child("kind"), string(value.Kind), []string{string(CABundleSecret), string(CABundleConfigMap)})
	v.subdomain(path.Child("name"), value.Name)
	for _, msg := range validation.IsConfigMapKey(value.Key) {
		v.invalid(path.Child("key"), value.Key, msg)
	}
	if !verified {
		v.invalid(path, value.Name, otherwise)
	}
}

func (v *validator) duration(path *field.Path, value metav1.Duration, least, most time.Duration) {
	if value.Duration < least || value.Duration > most {
		v.invalid(path, value.Duration.String(), fmt.Sprintf("must be from %s to %s", least, most))
	}
}
