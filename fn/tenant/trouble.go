package tenant

import "github.com/plana-pulse/function-planaclient/fn/plan"

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
	troubleNameCollision = plan.Trouble{
		Reason: "NameCollision",
		Means:  "A database of the tenant's name existed on the server before the tenant did. It is left alone, and nothing more is done.",
		Remedies: []plan.Remedy{
			{Say: "If it belongs to somebody else, give this tenant another subdomain", Command: "kubectl delete planaclient {name}"},
			{Say: "If it is this tenant's, adopt it", Command: adopt},
			{Say: "If you drop or rename it instead, the tenant goes on by itself within ten minutes, or as soon as provider-sql is asked to look", Command: askToLook},
		},
	}
	troubleObjectInTheWay = plan.Trouble{
		Reason: "NameCollision",
		Means:  "A route, CronJob, Database or ClusterUsage of the name that the tenant's is to have is there, and this PLANAClient doesn't control it. It is left alone, and what needs it waits. Once the name is free the tenant goes on by itself.",
		Remedies: []plan.Remedy{
			{Say: "See whose it is", Command: lookAtObject},
			{Say: "If it belongs to somebody else, have them rename it; or, as long as this tenant isn't in service, give the tenant another subdomain", Command: "kubectl delete planaclient {name}"},
			{Say: "If an earlier tenant of the name left it behind, deleted with --cascade=orphan, hand it over to this one (a Database takes the break-glass group)", Command: `kubectl patch {object} --type merge -p '{"metadata":{"ownerReferences":[{"apiVersion":"planapulse.com/v1alpha1","kind":"PLANAClient","name":"{name}","uid":"{uid}","controller":true}]}}'`},
		},
	}
	troubleJobInTheWay = plan.Trouble{
		Reason: "NameCollision",
		Means:  "A Job of the name that one of the tenant's is to have is there, and this PLANAClient doesn't control it. It is left alone. Most often an earlier tenant of the name left it behind, deleted with --cascade=orphan. What that one did isn't done for this tenant, so it isn't handed over.",
		Remedies: []plan.Remedy{
			{Say: "See whose it is", Command: lookAtObject},
			{Say: "Unless it belongs to somebody else, who renames it, delete it. The tenant goes on by itself", Command: "kubectl delete {object}"},
		},
	}
	troubleBareDatabase = plan.Trouble{
		Reason: "BareDatabase",
		Means:  "A database of the tenant's name is there that was made for another tenant of the name, and when it was read it wasn't Odoo's role's, which gets it last. So it most likely has its template's rows and secrets, and nobody's data; but a suspended tenant's is like that too. It isn't adopted.",
		Remedies: []plan.Remedy{
			{Say: "See whose it is now, whether it is open, and who may connect", Command: `psql -c "SELECT pg_get_userbyid(datdba), datallowconn, datacl FROM pg_database WHERE datname = '{database}'"`},
			{
				Say:     "If it is closed, or the last column isn't empty, it was a workspace that was taken out of service, and then left behind. Give it back to Odoo's role",
				Command: `psql -c 'ALTER DATABASE "{database}" OWNER TO "{role}"' -c 'GRANT CONNECT, TEMPORARY ON DATABASE "{database}" TO PUBLIC' -c 'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true'`,
			},
			{
				Say:     "If neither is so, and neither Odoo's role nor somebody else has it, it is most likely bare. Rename it, and drop it once nobody has missed it",
				Command: `psql -c 'ALTER DATABASE "{database}" RENAME TO "{database}-left-behind"'`,
			},
			{Say: "Then, or to have it read anew, delete its object, which drops nothing", Command: "kubectl -n {home} delete databases.postgresql.sql.m.crossplane.io {name}"},
		},
	}
	troubleDatabaseLost = plan.Trouble{
		Reason: "DatabaseLost",
		Means:  "The database was in service and can't be found, or can't be told from another one of its name. Nothing is created in its place: that would hide the loss.",
		Remedies: []plan.Remedy{
			{Say: "Unless it is still on the server, restore it from its backup: see docs/how-to/restore-a-tenant.md", Command: ""},
			{Say: "Then take it back", Command: adopt},
		},
	}
	troubleTemplateMissing = plan.Trouble{
		Reason: "TemplateMissing",
		Means:  "The template database is declared, but isn't on the server.",
		Remedies: []plan.Remedy{
			{Say: "Make it on the server under the name {template}. It is tried again until it is there", Command: ""},
			{Say: "To have modules installed instead, delete its declaration and this attempt", Command: "kubectl -n {home} delete databases.postgresql.sql.m.crossplane.io {declaration} {name}"},
		},
	}
	troubleTemplateInUse = plan.Trouble{
		Reason: "TemplateInUse",
		Means:  "Somebody is connected to the template, so PostgreSQL doesn't clone it. It is tried again until it works.",
		Remedies: []plan.Remedy{
			{Say: "Keep everybody out of it", Command: `psql -c 'ALTER DATABASE "{template}" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false'`},
		},
	}
	troubleTemplateNotReady = plan.Trouble{
		Reason: "TemplateNotReady",
		Means:  "The template database is declared, but provider-sql doesn't see it.",
		Remedies: []plan.Remedy{
			{Say: "Find out why", Command: describeDB + "{declaration}"},
			{Say: "To have modules installed instead, take the declaration away", Command: "kubectl -n {home} delete databases.postgresql.sql.m.crossplane.io {declaration}"},
		},
	}
	troubleTemplateExposed = plan.Trouble{
		Reason: "TemplateExposed",
		Means:  "The template database belongs to the role that Odoo logs in as. Whoever runs SQL in a tenant's database could open the template, change it for all tenants to come, or drop it. Nothing is cloned from it.",
		Remedies: []plan.Remedy{
			{Say: "Give it to the role that clones it", Command: `psql -c 'ALTER DATABASE "{template}" OWNER TO "{role}"'`},
			{Say: "Then have it read anew", Command: `kubectl -n {home} patch databases.postgresql.sql.m.crossplane.io {declaration} --type json -p '[{"op":"remove","path":"/spec/forProvider/owner"}]'`},
		},
	}
	troubleProviderDown = plan.Trouble{
		Reason: "ProviderNotResponding",
		Means:  "provider-sql hasn't looked at the tenant's Database object.",
		Remedies: []plan.Remedy{
			{Say: "Look at the provider", Command: "kubectl get providers.pkg.crossplane.io"},
			// A provider that came as a dependency has a name that the package manager
			// made up, so its pods are asked for by the label alone.
			{Say: "Look at its pod", Command: "kubectl -n {home} get pods --selector pkg.crossplane.io/provider"},
		},
	}
	troubleProviderFails = plan.Trouble{
		Reason: "ProviderFails",
		Means:  "provider-sql can't do what is asked of it.",
		Remedies: []plan.Remedy{
			{Say: "Read more", Command: describeDB + "{name}"},
			{Say: "If it can't log in, check its credentials", Command: "kubectl -n {home} describe secret {secret}"},
		},
	}
	troubleNotAllowed = plan.Trouble{
		Reason: "NotAllowedByListeners",
		Means:  "No listener of the Gateway takes routes of this namespace or for this host name.",
		Remedies: []plan.Remedy{
			{Say: "Let them in, with the listener's allowedRoutes and hostname", Command: "kubectl -n {gatewayNamespace} edit gateway {gateway}"},
		},
	}
	troubleNotAccepted = plan.Trouble{
		Reason: "NotAccepted",
		Means:  "The Gateway's controller hasn't accepted the route.",
		Remedies: []plan.Remedy{
			{Say: "Look at the Gateway", Command: "kubectl -n {gatewayNamespace} describe gateway {gateway}"},
			{Say: "Look at the route", Command: "kubectl -n {namespace} describe httproute {name}"},
		},
	}
	troubleJobFailed = plan.Trouble{
		Reason: "JobFailed",
		Means:  "A Job that does one step has failed for good.",
		Remedies: []plan.Remedy{
			{Say: "Read why", Command: readJobLogs},
			{Say: "Then have it run again", Command: deleteJob},
		},
	}
	troubleMatrixFailed = plan.Trouble{
		Reason: "MatrixFailed",
		Means:  "The support room couldn't be made or retired. The tenant goes on without it.",
		Remedies: []plan.Remedy{
			{Say: "Read why", Command: readJobLogs},
			{Say: "Then have it run again", Command: deleteJob},
		},
	}
	troublePortalFailed = plan.Trouble{
		Reason: "PortalFailed",
		Means:  "The account portal didn't take the news of the tenant.",
		Remedies: []plan.Remedy{
			{Say: "Check that {url} answers, and read why", Command: readJobLogs},
			{Say: "Then have it run again", Command: deleteJob},
		},
	}
	troubleFinalBackupFailed = plan.Trouble{
		Reason: "FinalBackupFailed",
		Means:  "The last backup of a tenant that is to go has failed. Nothing more is taken away until it succeeds.",
		Remedies: []plan.Remedy{
			{Say: "Read why", Command: readJobLogs},
			{Say: "Then have it run again", Command: deleteJob},
			{Say: "To let the data go without a backup", Command: "kubectl annotate planaclient {name} " + annotationSkipFinalBackup + "={waiver} --overwrite"},
		},
	}
	troublePodNotStarting = plan.Trouble{
		Reason: "PodNotStarting",
		Means:  "A Job's pod doesn't start. Most often a Secret isn't in its namespace.",
		Remedies: []plan.Remedy{
			{Say: "See which", Command: "kubectl -n {namespace} describe pods --selector job-name={job}"},
			{Say: "Make the Secret that it lacks: docs/how-to/install.md says what is in each. The Job goes on by itself", Command: ""},
			{Say: "If it can't prepare a subPath, the tenant has no directory {database} in the filestore that the claim stands for: mount the right volume, or, if the tenant has no files, make the directory, empty, as Odoo's user", Command: ""},
		},
	}
	troubleJobSuspended = plan.Trouble{
		Reason: "JobSuspended",
		Means:  "A person, or a controller that queues Jobs, has suspended a Job.",
		Remedies: []plan.Remedy{
			{Say: "Resume it, unless it is resumed by what suspended it", Command: `kubectl -n {namespace} patch job {job} --type merge -p '{"spec":{"suspend":false}}'`},
		},
	}
	troubleQuota = plan.Trouble{
		Reason: "QuotaExceeded",
		Means:  "The namespace's quota has no room for a Job's pod. It goes on by itself as soon as there is.",
		Remedies: []plan.Remedy{
			{Say: "See what is used, and raise it if the demand is real", Command: "kubectl -n {namespace} describe resourcequota {quota}"},
		},
	}
	troubleLastBackupFailed = plan.Trouble{
		Reason: "LastBackupFailed",
		Means:  "The latest nightly backup has failed. The one before it is still there.",
		Remedies: []plan.Remedy{
			{Say: "Read why", Command: "kubectl -n {namespace} logs --selector " + labelTenant + "={name},app.kubernetes.io/component=backup --tail=-1"},
			{Say: "The next one runs tonight. Whoever may create Jobs there, an administrator, can back up now", Command: "kubectl -n {namespace} create job --from=cronjob/backup-{name} backup-{name}-now"},
		},
	}
	troubleBackupsFail = plan.Trouble{
		Reason:   "BackupsFail",
		Means:    "Backups have been failing for two nights or more. What was done since the last one would be lost.",
		Remedies: troubleLastBackupFailed.Remedies,
	}
)

// Troubles returns all that a tenant can be in, for the reference page.
func Troubles() []plan.Trouble {
	return []plan.Trouble{
		troubleNameCollision, troubleObjectInTheWay, troubleJobInTheWay, troubleBareDatabase, troubleDatabaseLost,
		troubleTemplateMissing, troubleTemplateInUse, troubleTemplateNotReady, troubleTemplateExposed,
		troubleProviderDown, troubleProviderFails,
		troubleNotAllowed, troubleNotAccepted,
		troubleJobFailed, troublePodNotStarting, troubleJobSuspended, troubleQuota,
		troubleMatrixFailed, troublePortalFailed,
		troubleLastBackupFailed, troubleBackupsFail, troubleFinalBackupFailed,
	}
}
