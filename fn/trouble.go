package fn

import (
	"fmt"
	"strings"
)

// A Trouble is something that keeps a tenant from being as it should, and that
// only a person can end. Conditions and the reference page are made of these.
type Trouble struct {
	// Reason of the condition.
	Reason string

	// Means says what the trouble is.
	Means string

	// Fix says what to do. Words in braces are filled in.
	Fix string
}

// Troubles that a tenant can be in.
var (
	troubleNameCollision = Trouble{
		Reason: "NameCollision",
		Means:  "A database of the tenant's name existed before the tenant did. It is left alone, and nothing more is done.",
		Fix: "If it belongs to somebody else, give this tenant another subdomain: kubectl delete planaclient {name}. " +
			"If it is this tenant's, adopt it: kubectl patch planaclient {name} --type merge -p '{\"spec\":{\"database\":{\"adopt\":true}}}'",
	}
	troubleDatabaseLost = Trouble{
		Reason: "DatabaseLost",
		Means:  "The database was in service and can't be found. Nothing is created in its place: that would hide the loss.",
		Fix: "Restore it from its backup unless it is still there, then take it back: " +
			"kubectl patch planaclient {name} --type merge -p '{\"spec\":{\"database\":{\"adopt\":true}}}'",
	}
	troubleTemplateMissing = Trouble{
		Reason: "TemplateMissing",
		Means:  "The template database is declared, but isn't on the server.",
		Fix: "Make it: createdb {template}. Or have modules installed instead, by deleting its declaration and this attempt: " +
			"kubectl -n {home} delete databases.postgresql.sql.m.crossplane.io {declaration} {name}",
	}
	troubleTemplateInUse = Trouble{
		Reason: "TemplateInUse",
		Means:  "Somebody is connected to the template, so PostgreSQL doesn't clone it. It is tried again until it works.",
		Fix:    "Keep everybody out of it: psql -c 'ALTER DATABASE \"{template}\" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false'",
	}
	troubleTemplateNotReady = Trouble{
		Reason: "TemplateNotReady",
		Means:  "The template database is declared, but provider-sql doesn't see it.",
		Fix: "Find out why: kubectl -n {home} describe databases.postgresql.sql.m.crossplane.io {declaration}. " +
			"To have modules installed instead, delete that object",
	}
	troubleProviderDown = Trouble{
		Reason: "ProviderNotResponding",
		Means:  "provider-sql hasn't looked at the tenant's Database object.",
		Fix:    "Look at the provider: kubectl get providers.pkg.crossplane.io; kubectl -n {home} get pods --selector pkg.crossplane.io/provider=provider-sql",
	}
	troubleProviderFails = Trouble{
		Reason: "ProviderFails",
		Means:  "provider-sql can't do what is asked of it.",
		Fix:    "Read more: kubectl -n {home} describe databases.postgresql.sql.m.crossplane.io {name}. Its credentials are in Secret {secret}",
	}
	troubleNotAllowed = Trouble{
		Reason: "NotAllowedByListeners",
		Means:  "No listener of the Gateway takes routes of this namespace or for this host name.",
		Fix:    "Let them in, with spec.listeners[].allowedRoutes and hostname: kubectl -n {gatewayNamespace} edit gateway {gateway}",
	}
	troubleNotAccepted = Trouble{
		Reason: "NotAccepted",
		Means:  "The Gateway's controller hasn't accepted the route.",
		Fix:    "Look at both: kubectl -n {gatewayNamespace} describe gateway {gateway}; kubectl -n {namespace} describe httproute {name}",
	}
	troubleJobFailed = Trouble{
		Reason: "JobFailed",
		Means:  "A Job that does one step has failed for good.",
		Fix: "Read why: kubectl -n {namespace} logs job/{job} --all-containers. " +
			"Then have it run again: kubectl -n {namespace} delete job {job}",
	}
	troubleMatrixFailed = Trouble{
		Reason: "MatrixFailed",
		Means:  "The support room couldn't be made or retired. The tenant goes on without it.",
		Fix: "Read why: kubectl -n {namespace} logs job/{job}. " +
			"Then have it run again: kubectl -n {namespace} delete job {job}",
	}
	troublePortalFailed = Trouble{
		Reason: "PortalFailed",
		Means:  "The account portal didn't take the news of the tenant.",
		Fix: "Check that {url} answers, and read why: kubectl -n {namespace} logs job/{job}. " +
			"Then have it run again: kubectl -n {namespace} delete job {job}",
	}
	troubleFinalBackupFailed = Trouble{
		Reason: "FinalBackupFailed",
		Means:  "The last backup of a tenant that is to go has failed. Nothing more is taken away until it succeeds.",
		Fix: "Read why: kubectl -n {namespace} logs job/{job}. Then have it run again: kubectl -n {namespace} delete job {job}. " +
			"To let the data go without a backup: kubectl annotate planaclient {name} " + annotationSkipFinalBackup + "={name}",
	}
	troublePodNotStarting = Trouble{
		Reason: "PodNotStarting",
		Means:  "A Job's pod doesn't start. Most often a Secret isn't in its namespace.",
		Fix: "See which: kubectl -n {namespace} describe pods --selector job-name={job}. The one for PostgreSQL is copied so: " +
			"kubectl -n {home} get secret {secret} -o yaml | yq 'del(.metadata.namespace, .metadata.resourceVersion, .metadata.uid)' | kubectl -n {namespace} apply -f -",
	}
	troubleQuota = Trouble{
		Reason: "QuotaExceeded",
		Means:  "The namespace's quota has no room for a Job's pod. It goes on by itself as soon as there is.",
		Fix:    "See what is used: kubectl -n {namespace} describe resourcequota {quota}. Raise it if the demand is real, or wait",
	}
	troubleLastBackupFailed = Trouble{
		Reason: "LastBackupFailed",
		Means:  "The latest nightly backup has failed. The one before it is still there.",
		Fix: "Read why: kubectl -n {namespace} logs --selector " + labelTenant + "={name},app.kubernetes.io/component=backup --tail=-1. " +
			"Then back up now: kubectl -n {namespace} create job --from=cronjob/backup-{name} backup-{name}-now",
	}
	troubleBackupsFail = Trouble{
		Reason: "BackupsFail",
		Means:  "Backups have been failing for two nights or more. What was done since the last one would be lost.",
		Fix:    troubleLastBackupFailed.Fix,
	}
)

// Troubles returns all that a tenant can be in, for the reference page.
func Troubles() []Trouble {
	return []Trouble{
		troubleNameCollision, troubleDatabaseLost,
		troubleTemplateMissing, troubleTemplateInUse, troubleTemplateNotReady,
		troubleProviderDown, troubleProviderFails,
		troubleNotAllowed, troubleNotAccepted,
		troubleJobFailed, troublePodNotStarting, troubleQuota,
		troubleMatrixFailed, troublePortalFailed,
		troubleLastBackupFailed, troubleBackupsFail, troubleFinalBackupFailed,
	}
}

// outcome returns how a step stands that is in trouble: what was seen, and what
// to do about it.
func (x Trouble) outcome(at map[string]string, seen string, args ...any) outcome {
	return outcome{failed, x.Reason, fmt.Sprintf(seen, args...) + ". " + x.fix(at)}
}

// fix fills in where the trouble is.
func (x Trouble) fix(at map[string]string) string {
	pairs := make([]string, 0, 2*len(at))
	for _, name := range sortedKeys(at) {
		pairs = append(pairs, "{"+name+"}", at[name])
	}
	return strings.NewReplacer(pairs...).Replace(x.Fix)
}
