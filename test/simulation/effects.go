package simulation

import (
	"fmt"
	"slices"
	"strings"
)

// This file is the Job controller, and what the effects do to the world. They
// know only what their pod's environment says.

// An attempt is how a pod of a Job may come out.
type attempt int

const (
	// attemptSucceeds.
	attemptSucceeds attempt = iota
	// attemptFails before it has done anything.
	attemptFails
	// attemptBreaks: it fails after it has done everything.
	attemptBreaks
	// attemptTerminal ends the Job at once.
	attemptTerminal
)

// environment of a Job's own container.
func environment(pod map[string]any) (program string, env map[string]string) {
	env = map[string]string{}
	for _, c := range list(pod, "containers") {
		c, ok := c.(map[string]any)
		if !ok {
			continue
		}
		if args := list(c, "args"); len(args) == 2 {
			program, _ = args[1].(string)
		}
		for _, e := range list(c, "env") {
			if e, ok := e.(map[string]any); ok {
				env[text(e, "name")] = text(e, "value")
			}
		}
	}
	return program, env
}

func podOf(o *object) map[string]any {
	path := []string{"spec", "template", "spec"}
	if o.kind == kindCronJob {
		path = []string{"spec", "jobTemplate", "spec", "template", "spec"}
	}
	pod, _ := dig(o.body, path...).(map[string]any)
	return pod
}

func completed(o *object) bool { return conditionTrue(o.body, "Complete") }
func jobFailed(o *object) bool { return conditionTrue(o.body, "Failed") }

// startJob makes a Job's pod run. A full quota leaves no room for it.
func (w *World) startJob(o *object) bool {
	if o.pod || completed(o) || jobFailed(o) || o.deleting() || w.quotaFull(o.namespace) {
		return false
	}
	o.pod = true
	if program, env := environment(podOf(o)); strings.HasSuffix(program, "backup") {
		// What is written while it is dumped isn't in the dump.
		o.dumps, o.dumpsFiles = 0, 0
		if db := w.databases[env["TENANT_DATABASE"]]; db != nil {
			o.dumps, o.dumpsFiles = db.content, w.filesContent(db.name)
		}
	}
	put(o.body, 1.0, "status", "active")
	put(o.body, w.timestamp(), "status", "startTime")
	w.changed(o)
	return true
}

// finishJob ends a running pod.
func (w *World) finishJob(o *object, how attempt) bool {
	if !o.pod {
		return false
	}
	var err error
	if how == attemptSucceeds || how == attemptBreaks {
		err = w.effect(o)
	}
	if o.deleting() {
		// The pod was told to stop and has made it. Nobody will know.
		o.pod = false
		w.unfinalize(o, finalizerForeground)
		return true
	}
	o.pod = false
	put(o.body, 0.0, "status", "active")
	failed, _ := dig(o.body, "status", "failed").(float64)
	limit, _ := dig(o.body, "spec", "backoffLimit").(float64)
	switch {
	case how == attemptSucceeds && err == nil:
		put(o.body, 1.0, "status", "succeeded")
		put(o.body, w.timestamp(), "status", "completionTime")
		setCondition(o.body, w.timestamp(), map[string]any{"type": "SuccessCriteriaMet", "status": "True", "reason": "CompletionsReached"})
		setCondition(o.body, w.timestamp(), map[string]any{"type": "Complete", "status": "True", "reason": "CompletionsReached"})
		w.jobCompleted(o)
	case how == attemptTerminal || failed >= limit:
		put(o.body, failed+1, "status", "failed")
		setCondition(o.body, w.timestamp(), map[string]any{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"})
	default:
		put(o.body, failed+1, "status", "failed")
	}
	if err != nil {
		w.trace("  %s fails: %v", o.ref, err)
	}
	w.changed(o)
	return true
}

// killPod takes the pods of a terminating Job away. A last effect may have got
// through, if one was running.
func (w *World) killPod(o *object, lastGasp bool) bool {
	if !o.deleting() || o.kind != kindJob {
		return false
	}
	if lastGasp && o.pod {
		_ = w.effect(o) // Nobody is there any more to be told of an error.
	}
	o.pod = false
	w.unfinalize(o, finalizerForeground)
	return true
}

// quotaFull tells whether a namespace has no room for another pod.
func (w *World) quotaFull(namespace string) bool {
	q := w.objects[ref{kindQuota, namespace, quotaName}]
	return q != nil && text(q.body, "status", "used", "pods") == text(q.body, "status", "hard", "pods")
}

// effect runs what a Job's pod says.
func (w *World) effect(o *object) error {
	program, env := environment(podOf(o))
	name, uid := env["TENANT_DATABASE"], env["TENANT_UID"]
	db := w.databases[name]
	w.trace("  effect %s of %s", program, o.ref)
	w.checkEffect(o, program, env)

	writable := func() error {
		switch {
		case db == nil:
			return fmt.Errorf("database %s does not exist (3D000)", name)
		case !db.allowConnections:
			return fmt.Errorf("database %s is not currently accepting connections", name)
		case db.fenced:
			return fmt.Errorf("permission denied for database %s (42501)", name)
		}
		// A Job of a tenant that is let go of ends what it began in that tenant's database.
		if l := w.lives[uid]; db.foreign && db.madeFor != uid && (l == nil || !l.adopted) {
			w.violate(invariantForeign, "%s wrote to %s, which is somebody else's", o.ref, name)
		}
		return nil
	}

	switch program {
	case "filestore-clone":
		return w.cloneFiles(o.namespace, name, env["TEMPLATE_DATABASE"], uid)

	case "module-verify":
		// Its init containers have had Odoo install the modules.
		if err := writable(); err != nil {
			return err
		}
		db.initialised = true

	case "tenant-prepare":
		if err := writable(); err != nil {
			return err
		}
		switch {
		case !db.initialised:
			return fmt.Errorf("%s isn't an Odoo database", name)
		case db.preparedFor == "":
			db.preparedFor = uid
			db.shares = db.shares && env["TENANT_ADOPTED"] == "true"
		case db.preparedFor != uid:
			return fmt.Errorf("%s is marked as another tenant's", name)
		}

	case "smoke-test":
		if !w.served(name) || db.fenced {
			return fmt.Errorf("no login form for %s", name)
		}

	case "matrix-room-create":
		if w.rooms[env["MATRIX_ROOM"]] == nil {
			w.rooms[env["MATRIX_ROOM"]] = &room{uid: uid}
		}

	case "matrix-room-retire":
		delete(w.rooms, env["MATRIX_ROOM"])

	case "account-webhook":
		n := notice{uid, env["ACCOUNT_EVENT"]}
		if !slices.Contains(w.portal, n) {
			w.portal = append(w.portal, n)
		}

	case "client-provisioned", "client-deprovisioned":
		// SET NX and XADD in one script: an event is in the stream once.
		n := notice{uid, program}
		if !w.streamed[n] {
			w.streamed[n] = true
			w.stream = append(w.stream, n)
		}

	case "backup", "final-backup":
		return w.backUp(env, program == "final-backup", o.dumps, o.dumpsFiles)

	case "fence":
		if db == nil {
			return nil
		}
		if db.owner != w.providerRole {
			return fmt.Errorf("database %s belongs to %s", name, db.owner)
		}
		db.fenced, db.sessions = true, 0

	case "unfence":
		if db != nil {
			db.fenced = false
		}

	case "backup-tombstone":
		// A tenant that was never backed up gets no repository.
		if r := repositoryOf(env); slices.ContainsFunc(w.snapshots[r], func(s snapshot) bool { return s.uid == uid }) {
			w.tombs[r] = append(w.tombs[r], tomb{uid, env["BACKUP_OCCASION"]})
			w.checkTomb(o)
		}

	case "connections-drain":
		if db == nil {
			return nil
		}
		if db.allowConnections {
			return fmt.Errorf("database %s still accepts connections", name)
		}
		db.sessions = 0

	case "filestore-wipe":
		path := o.namespace + "/" + name
		if d := w.files[path]; d != nil {
			if d.uid != "" && d.uid != uid && env["TENANT_ADOPTED"] != "true" {
				// It bears another tenant's mark.
				return nil
			}
			w.checkWipe(o, name, d)
			delete(w.files, path)
		}

	default:
		w.violate(invariantCore, "%s runs %q, which is no effect", o.ref, program)
	}
	return nil
}

// cloneFiles gives a tenant its template's files.
func (w *World) cloneFiles(namespace, name, template, uid string) error {
	path := namespace + "/" + name
	if d := w.files[path]; d != nil {
		if d.uid != uid {
			return fmt.Errorf("%s is there and somebody else's", path)
		}
		return nil
	}
	if w.files[namespace+"/"+template] == nil {
		return fmt.Errorf("the template %s has no files", template)
	}
	w.files[path] = &directory{uid: uid}
	return nil
}

// backUp makes a snapshot of what was there when it began, and reads it back.
func (w *World) backUp(env map[string]string, final bool, content, files int) error {
	name := env["TENANT_DATABASE"]
	db := w.databases[name]
	repository := repositoryOf(env)
	if db == nil {
		return fmt.Errorf("database %s does not exist (3D000)", name)
	}
	if !db.allowConnections {
		// A last backup needs no second one once there is one of the same teardown.
		if all := w.snapshots[repository]; final && len(all) > 0 {
			if last := all[len(all)-1]; last.uid == env["TENANT_UID"] && last.occasion != "" && last.occasion == env["BACKUP_OCCASION"] {
				return nil
			}
		}
		return fmt.Errorf("database %s is not currently accepting connections", name)
	}
	w.snapshots[repository] = append(w.snapshots[repository], snapshot{
		database: name, uid: env["TENANT_UID"], content: content, files: files, verified: true,
		occasion: env["BACKUP_OCCASION"],
	})
	return nil
}

// filesContent is what a tenant's directory holds.
func (w *World) filesContent(name string) int {
	content := 0
	for _, version := range versions {
		if d := w.files[w.namespaces[version]+"/"+name]; d != nil {
			content = max(content, d.content)
		}
	}
	return content
}
