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

	// Remedies are what to do, in order, or one instead of another.
	Remedies []Remedy
}

// A Remedy is one thing to do about a trouble. Words in braces, such as {name},
// are filled in.
type Remedy struct {
	// Say what to do, or when.
	Say string

	// Command that does it. Empty where there is none to give.
	Command string
}

// annotationLook is for people to write to a Database object, so that provider-sql
// looks at it. What it says means nothing.
const annotationLook = ownPrefix + "look"

// Commands that more than one trouble calls for.
const (
	readJobLogs  = "kubectl -n {namespace} logs job/{job} --all-containers"
	deleteJob    = "kubectl -n {namespace} delete job {job}"
	adopt        = `kubectl patch planaclient {name} --type merge -p '{"spec":{"database":{"adopt":true}}}'`
	lookAtObject = "kubectl get {object} -o yaml"
	describeDB   = "kubectl -n {home} describe databases.postgresql.sql.m.crossplane.io "

	// It looks every ten minutes, unless it is set up otherwise, and whenever its
	// object is written to. Deleting that instead could hit the fresh one while a
	// database is created by it.
	askToLook = "kubectl -n {home} annotate databases.postgresql.sql.m.crossplane.io {name} --overwrite " + annotationLook + `="$(date)"`
)

// Troubles that a tenant can be in.
var (
	troubleNameCollision = Trouble{
		Reason: "NameCollision",
		Means:  "A database of the tenant's name existed on the server before the tenant did. It is left alone, and nothing more is done.",
		Remedies: []Remedy{
			{"If it belongs to somebody else, give this tenant another subdomain", "kubectl delete planaclient {name}"},
			{"If it is this tenant's, adopt it", adopt},
			{"If you drop or rename it instead, the tenant goes on by itself within ten minutes, or as soon as provider-sql is asked to look", askToLook},
		},
	}
	troubleObjectInTheWay = Trouble{
		Reason: "NameCollision",
		Means:  "A route, CronJob, Database or ClusterUsage of the name that the tenant's is to have is there, and this PLANAClient doesn't control it. It is left alone, and what needs it waits. Once the name is free the tenant goes on by itself.",
		Remedies: []Remedy{
			{"See whose it is", lookAtObject},
			{"If it belongs to somebody else, have them rename it; or, as long as this tenant isn't in service, give the tenant another subdomain", "kubectl delete planaclient {name}"},
			{"If an earlier tenant of the name left it behind, deleted with --cascade=orphan, hand it over to this one (a Database takes the break-glass group)", `kubectl patch {object} --type merge -p '{"metadata":{"ownerReferences":[{"apiVersion":"planapulse.com/v1alpha1","kind":"PLANAClient","name":"{name}","uid":"{uid}","controller":true}]}}'`},
		},
	}
	troubleJobInTheWay = Trouble{
		Reason: "NameCollision",
		Means:  "A Job of the name that one of the tenant's is to have is there, and this PLANAClient doesn't control it. It is left alone. Most often an earlier tenant of the name left it behind, deleted with --cascade=orphan. What that one did isn't done for this tenant, so it isn't handed over.",
		Remedies: []Remedy{
			{"See whose it is", lookAtObject},
			{"Unless it belongs to somebody else, who renames it, delete it. The tenant goes on by itself", "kubectl delete {object}"},
		},
	}
	troubleBareDatabase = Trouble{
		Reason: "BareDatabase",
		Means:  "A database of the tenant's name is there that was made for another tenant of the name, and when it was read it wasn't Odoo's role's, which gets it last. So it most likely has its template's rows and secrets, and nobody's data; but a suspended tenant's is like that too. It isn't adopted.",
		Remedies: []Remedy{
			{"See whose it is now, whether it is open, and who may connect", `psql -c "SELECT pg_get_userbyid(datdba), datallowconn, datacl FROM pg_database WHERE datname = '{database}'"`},
			{
				"If it is closed, or the last column isn't empty, it was a workspace that was taken out of service, and then left behind. Give it back to Odoo's role",
				`psql -c 'ALTER DATABASE "{database}" OWNER TO "{role}"' -c 'GRANT CONNECT, TEMPORARY ON DATABASE "{database}" TO PUBLIC' -c 'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true'`,
			},
			{
				"If neither is so, and neither Odoo's role nor somebody else has it, it is most likely bare. Rename it, and drop it once nobody has missed it",
				`psql -c 'ALTER DATABASE "{database}" RENAME TO "{database}-left-behind"'`,
			},
			{"Then, or to have it read anew, delete its object, which drops nothing", "kubectl -n {home} delete databases.postgresql.sql.m.crossplane.io {name}"},
		},
	}
	troubleDatabaseLost = Trouble{
		Reason: "DatabaseLost",
		Means:  "The database was in service and can't be found, or can't be told from another one of its name. Nothing is created in its place: that would hide the loss.",
		Remedies: []Remedy{
			{"Unless it is still on the server, restore it from its backup: see docs/how-to/restore-a-tenant.md", ""},
			{"Then take it back", adopt},
		},
	}
	troubleTemplateMissing = Trouble{
		Reason: "TemplateMissing",
		Means:  "The template database is declared, but isn't on the server.",
		Remedies: []Remedy{
			{"Make it on the server under the name {template}. It is tried again until it is there", ""},
			{"To have modules installed instead, delete its declaration and this attempt", "kubectl -n {home} delete databases.postgresql.sql.m.crossplane.io {declaration} {name}"},
		},
	}
	troubleTemplateInUse = Trouble{
		Reason: "TemplateInUse",
		Means:  "Somebody is connected to the template, so PostgreSQL doesn't clone it. It is tried again until it works.",
		Remedies: []Remedy{
			{"Keep everybody out of it", `psql -c 'ALTER DATABASE "{template}" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false'`},
		},
	}
	troubleTemplateNotReady = Trouble{
		Reason: "TemplateNotReady",
		Means:  "The template database is declared, but provider-sql doesn't see it.",
		Remedies: []Remedy{
			{"Find out why", describeDB + "{declaration}"},
			{"To have modules installed instead, take the declaration away", "kubectl -n {home} delete databases.postgresql.sql.m.crossplane.io {declaration}"},
		},
	}
	troubleTemplateExposed = Trouble{
		Reason: "TemplateExposed",
		Means:  "The template database belongs to the role that Odoo logs in as. Whoever runs SQL in a tenant's database could open the template, change it for all tenants to come, or drop it. Nothing is cloned from it.",
		Remedies: []Remedy{
			{"Give it to the role that clones it", `psql -c 'ALTER DATABASE "{template}" OWNER TO "{role}"'`},
			{"Then have it read anew", `kubectl -n {home} patch databases.postgresql.sql.m.crossplane.io {declaration} --type json -p '[{"op":"remove","path":"/spec/forProvider/owner"}]'`},
		},
	}
	troubleProviderDown = Trouble{
		Reason: "ProviderNotResponding",
		Means:  "provider-sql hasn't looked at the tenant's Database object.",
		Remedies: []Remedy{
			{"Look at the provider", "kubectl get providers.pkg.crossplane.io"},
			// A provider that came as a dependency has a name that the package manager
			// made up, so its pods are asked for by the label alone.
			{"Look at its pod", "kubectl -n {home} get pods --selector pkg.crossplane.io/provider"},
		},
	}
	troubleProviderFails = Trouble{
		Reason: "ProviderFails",
		Means:  "provider-sql can't do what is asked of it.",
		Remedies: []Remedy{
			{"Read more", describeDB + "{name}"},
			{"If it can't log in, check its credentials", "kubectl -n {home} describe secret {secret}"},
		},
	}
	troubleNotAllowed = Trouble{
		Reason: "NotAllowedByListeners",
		Means:  "No listener of the Gateway takes routes of this namespace or for this host name.",
		Remedies: []Remedy{
			{"Let them in, with the listener's allowedRoutes and hostname", "kubectl -n {gatewayNamespace} edit gateway {gateway}"},
		},
	}
	troubleNotAccepted = Trouble{
		Reason: "NotAccepted",
		Means:  "The Gateway's controller hasn't accepted the route.",
		Remedies: []Remedy{
			{"Look at the Gateway", "kubectl -n {gatewayNamespace} describe gateway {gateway}"},
			{"Look at the route", "kubectl -n {namespace} describe httproute {name}"},
		},
	}
	troubleJobFailed = Trouble{
		Reason: "JobFailed",
		Means:  "A Job that does one step has failed for good.",
		Remedies: []Remedy{
			{"Read why", readJobLogs},
			{"Then have it run again", deleteJob},
		},
	}
	troubleMatrixFailed = Trouble{
		Reason: "MatrixFailed",
		Means:  "The support room couldn't be made or retired. The tenant goes on without it.",
		Remedies: []Remedy{
			{"Read why", readJobLogs},
			{"Then have it run again", deleteJob},
		},
	}
	troublePortalFailed = Trouble{
		Reason: "PortalFailed",
		Means:  "The account portal didn't take the news of the tenant.",
		Remedies: []Remedy{
			{"Check that {url} answers, and read why", readJobLogs},
			{"Then have it run again", deleteJob},
		},
	}
	troubleFinalBackupFailed = Trouble{
		Reason: "FinalBackupFailed",
		Means:  "The last backup of a tenant that is to go has failed. Nothing more is taken away until it succeeds.",
		Remedies: []Remedy{
			{"Read why", readJobLogs},
			{"Then have it run again", deleteJob},
			{"To let the data go without a backup", "kubectl annotate planaclient {name} " + annotationSkipFinalBackup + "={waiver} --overwrite"},
		},
	}
	troublePodNotStarting = Trouble{
		Reason: "PodNotStarting",
		Means:  "A Job's pod doesn't start. Most often a Secret isn't in its namespace.",
		Remedies: []Remedy{
			{"See which", "kubectl -n {namespace} describe pods --selector job-name={job}"},
			{"Make the Secret that it lacks: docs/how-to/install.md says what is in each. The Job goes on by itself", ""},
			{"If it can't prepare a subPath, the tenant has no directory {database} in the filestore that the claim stands for: mount the right volume, or, if the tenant has no files, make the directory, empty, as Odoo's user", ""},
		},
	}
	troubleJobSuspended = Trouble{
		Reason: "JobSuspended",
		Means:  "A person, or a controller that queues Jobs, has suspended a Job.",
		Remedies: []Remedy{
			{"Resume it, unless it is resumed by what suspended it", `kubectl -n {namespace} patch job {job} --type merge -p '{"spec":{"suspend":false}}'`},
		},
	}
	troubleQuota = Trouble{
		Reason: "QuotaExceeded",
		Means:  "The namespace's quota has no room for a Job's pod. It goes on by itself as soon as there is.",
		Remedies: []Remedy{
			{"See what is used, and raise it if the demand is real", "kubectl -n {namespace} describe resourcequota {quota}"},
		},
	}
	troubleLastBackupFailed = Trouble{
		Reason: "LastBackupFailed",
		Means:  "The latest nightly backup has failed. The one before it is still there.",
		Remedies: []Remedy{
			{"Read why", "kubectl -n {namespace} logs --selector " + labelTenant + "={name},app.kubernetes.io/component=backup --tail=-1"},
			{"The next one runs tonight. Whoever may create Jobs there, an administrator, can back up now", "kubectl -n {namespace} create job --from=cronjob/backup-{name} backup-{name}-now"},
		},
	}
	troubleBackupsFail = Trouble{
		Reason:   "BackupsFail",
		Means:    "Backups have been failing for two nights or more. What was done since the last one would be lost.",
		Remedies: troubleLastBackupFailed.Remedies,
	}
)

// Troubles returns all that a tenant can be in, for the reference page.
func Troubles() []Trouble {
	return []Trouble{
		troubleNameCollision, troubleObjectInTheWay, troubleJobInTheWay, troubleBareDatabase, troubleDatabaseLost,
		troubleTemplateMissing, troubleTemplateInUse, troubleTemplateNotReady, troubleTemplateExposed,
		troubleProviderDown, troubleProviderFails,
		troubleNotAllowed, troubleNotAccepted,
		troubleJobFailed, troublePodNotStarting, troubleJobSuspended, troubleQuota,
		troubleMatrixFailed, troublePortalFailed,
		troubleLastBackupFailed, troubleBackupsFail, troubleFinalBackupFailed,
	}
}

// outcome returns how a step stands that is in trouble: what was seen, and what
// to do about it.
func (x Trouble) outcome(at map[string]string, seen string, args ...any) outcome {
	message := fmt.Sprintf(seen, args...)
	for _, r := range x.Remedies {
		message += ". " + r.in(at)
	}
	return outcome{failed, x.Reason, message}
}

// in fills in where the trouble is.
func (r Remedy) in(at map[string]string) string {
	pairs := make([]string, 0, 2*len(at))
	for _, name := range sortedKeys(at) {
		pairs = append(pairs, "{"+name+"}", at[name])
	}
	text := r.Say
	if r.Command != "" {
		text += ": " + r.Command
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
