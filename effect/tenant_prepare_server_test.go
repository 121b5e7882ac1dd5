//go:build servers

package effect

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// rows of a database, by table and the row's id, or by key for parameters.
type rows map[string]map[string]any

func readRows(t testing.TB, s *servers.PostgresServer, database string) rows {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL(servers.PostgresSuperuser, database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	found, err := conn.Query(t.Context(), "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	got := rows{}
	for _, table := range tables {
		id := "coalesce(to_jsonb(t) ->> 'id', t::text)"
		if table == "ir_config_parameter" {
			id = "t.key"
		}
		var key string
		var row map[string]any
		found, err := conn.Query(t.Context(), fmt.Sprintf("SELECT %s, to_jsonb(t) FROM %s t", id, quote(table)))
		if err != nil {
			t.Fatal(err)
		}
		// A map of its own for each row: scanning into one would add to it.
		if _, err := pgx.ForEachRow(found, []any{&key, &row}, func() error {
			got[table+" "+key], row = row, nil
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// changes from one state of a database to another: "table id" that came or went,
// and "table id column" that differs.
func changes(before, after rows) []string {
	var got []string
	for key, was := range before {
		is, ok := after[key]
		if !ok {
			got = append(got, "- "+key)
			continue
		}
		for column := range was {
			if !reflect.DeepEqual(was[column], is[column]) {
				got = append(got, key+" "+column)
			}
		}
	}
	for key := range after {
		if _, ok := before[key]; !ok {
			got = append(got, "+ "+key)
		}
	}
	slices.Sort(got)
	return got
}

// everyVersion is what changes in the fixtures of every version.
var everyVersion = []string{
	"+ ir_config_parameter planaclient.tenant",
	"+ ir_config_parameter web.base.url.freeze",
	"- auth_totp_device 1",
	"- fetchmail_server 1",
	"- ir_config_parameter mail.web_push_vapid_private_key",
	"- ir_config_parameter mail.web_push_vapid_public_key",
	"- ir_mail_server 1",
	"- mail_mail 1",
	"- mail_mail 2",
	"- mail_message_schedule 1",
	"- res_users_apikeys 1",
	"- sms_sms 1",
	"- sms_sms 2",
	"- snailmail_letter 1",
	"iap_account 1 account_token",
	"ir_config_parameter database.create_date value",
	"ir_config_parameter database.create_date write_date",
	"ir_config_parameter database.create_date write_uid",
	"ir_config_parameter database.secret value",
	"ir_config_parameter database.secret write_date",
	"ir_config_parameter database.secret write_uid",
	"ir_config_parameter database.uuid value",
	"ir_config_parameter database.uuid write_date",
	"ir_config_parameter database.uuid write_uid",
	"ir_config_parameter web.base.url value",
	"ir_config_parameter web.base.url write_date",
	"ir_config_parameter web.base.url write_uid",
	"mail_mail 3 mail_server_id",
	"mail_mail 4 fetchmail_server_id",
	"res_company 3 email",
	"res_company 3 name",
	"res_company 3 write_date",
	"res_partner 1 commercial_company_name",
	"res_partner 1 complete_name",
	"res_partner 1 email",
	"res_partner 1 email_normalized",
	"res_partner 1 name",
	"res_partner 1 write_date",
	"res_partner 22 commercial_company_name",
	"res_partner 22 complete_name",
	"res_partner 22 email",
	"res_partner 22 email_normalized",
	"res_partner 22 name",
	"res_partner 22 write_date",
	"res_partner 23 commercial_company_name",
	"res_partner 23 complete_name",
	"res_users 12 login",
	"res_users 12 microsoft_calendar_rtoken",
	"res_users 12 microsoft_calendar_token",
	"res_users 12 oauth_access_token",
	"res_users 12 oauth_uid",
	"res_users 12 password",
	"res_users 12 signature",
	"res_users 12 totp_secret",
	"res_users 12 write_date",
	"res_users 13 microsoft_calendar_rtoken",
	"res_users 13 microsoft_calendar_token",
	"res_users 13 oauth_access_token",
	"res_users 13 oauth_uid",
	"res_users 13 totp_secret",
	"res_users_settings 1 google_calendar_rtoken",
	"res_users_settings 1 google_calendar_sync_token",
	"res_users_settings 1 google_calendar_token",
	"res_users_settings 1 microsoft_calendar_sync_token",
}

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// checkPrepared fails the test unless a database is acme's: admin, company and
// partners are numbers of rows.
func checkPrepared(t testing.TB, was, is rows, admin, company string, partners ...string) {
	t.Helper()
	value := func(r rows, key string) any { return r["ir_config_parameter "+key]["value"] }
	for _, key := range []string{"database.secret", "database.uuid"} {
		got, _ := value(is, key).(string)
		if !uuidPattern.MatchString(got) || got == value(was, key) {
			t.Errorf("%s: want a fresh one, got %q after %q", key, got, value(was, key))
		}
	}
	if value(is, "database.secret") == value(is, "database.uuid") {
		t.Error("the database's secret is its uuid, which isn't secret")
	}
	created, err := time.Parse(time.DateTime, fmt.Sprint(value(is, "database.create_date")))
	if age := time.Since(created); err != nil || age < -time.Minute || age > 10*time.Minute {
		t.Errorf("database.create_date: want now in UTC, got %v", value(is, "database.create_date"))
	}
	want := map[string]any{
		"web.base.url":        "https://acme.planapulse.app",
		"web.base.url.freeze": "True",
		markKey:               "acme/" + acme.UID,
		"user":                []any{acme.OwnerEmail, true},
		"company":             []any{acme.OwnerName, acme.OwnerEmail},
	}
	got := map[string]any{
		"user":    []any{is["res_users "+admin]["login"], is["res_users "+admin]["active"]},
		"company": []any{is["res_company "+company]["name"], is["res_company "+company]["email"]},
	}
	for _, key := range []string{"web.base.url", "web.base.url.freeze", markKey} {
		got[key] = value(is, key)
	}
	for _, p := range partners {
		want["partner "+p] = []any{acme.OwnerName, acme.OwnerEmail}
		got["partner "+p] = []any{is["res_partner "+p]["name"], is["res_partner "+p]["email"]}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}

	password := fmt.Sprint(is["res_users "+admin]["password"])
	if !regexp.MustCompile(`^\$pbkdf2-sha512\$600000\$[A-Za-z0-9./]{22}\$[A-Za-z0-9./]{86}$`).MatchString(password) {
		t.Errorf("the admin's password isn't a hash that Odoo would take: %q", password)
	}
}

// opens tells whether a password is the one behind a hash of passlib's.
func opens(t testing.TB, hash, password string) bool {
	t.Helper()
	parts := strings.Split(hash, "$")
	if len(parts) != 5 {
		t.Fatalf("not a hash: %q", hash)
	}
	salt, err := base64.RawStdEncoding.DecodeString(strings.ReplaceAll(parts[3], ".", "+"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := hashPassword(password, salt)
	if err != nil {
		t.Fatal(err)
	}
	return got == hash
}

func TestTenantPrepare(t *testing.T) {
	cases := map[string]struct {
		reason  string
		version string
		more    []string
	}{
		"17": {
			reason:  "Odoo 17 keeps reset tokens, and has its own names for browsers.",
			version: "17",
			more: []string{
				"- mail_notification_web_push 1", "- mail_partner_device 1",
				"res_partner 22 signup_expiration", "res_partner 22 signup_token", "res_partner 22 signup_type",
			},
		},
		"18": {
			reason:  "Odoo 18 has passkeys and a log of devices.",
			version: "18",
			more: []string{
				"- auth_passkey_key 1", "- mail_push 1", "- mail_push_device 1", "- mail_scheduled_message 1", "- res_device_log 1",
				"res_partner 22 signup_type",
			},
		},
		"19": {
			reason:  "Odoo 19 has mail servers that belong to users.",
			version: "19",
			more: []string{
				"- auth_passkey_key 1", "- mail_push 1", "- mail_push_device 1", "- mail_scheduled_message 1", "- res_device_log 1",
				"res_partner 22 signup_type", "res_users 12 outgoing_mail_server_id",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := servers.Postgres(t)
			templateOf(t, s, tc.version)
			clone(t, s)
			config := TenantPrepareConfig{Tenant: acme, Postgres: odooOf(s), Release: release}
			config.Version = tc.version
			before := readRows(t, s, template)

			if err := TenantPrepare(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			once := readRows(t, s, acme.Database)
			checkPrepared(t, before, once, "12", "3", "1", "22")
			if diff := cmp.Diff(slices.Sorted(slices.Values(slices.Concat(everyVersion, tc.more))), changes(before, once)); diff != "" {
				t.Errorf("%s\nchanges: -want, +got:\n%s", tc.reason, diff)
			}
			for id, want := range map[string]string{
				"1":  acme.OwnerName,
				"22": acme.OwnerName + ", " + acme.OwnerName,
				"23": acme.OwnerName + ", Clerk",
			} {
				if diff := cmp.Diff(want, once["res_partner "+id]["complete_name"]); diff != "" {
					t.Errorf("partner %s's complete name: -want, +got:\n%s", id, diff)
				}
			}

			if hash := fmt.Sprint(once["res_users 12"]["password"]); opens(t, hash, "admin") || opens(t, hash, "") {
				t.Error("the admin's password can be guessed")
			}

			if err := TenantPrepare(t.Context(), config); err != nil {
				t.Fatalf("second run: %v", err)
			}
			if diff := changes(once, readRows(t, s, acme.Database)); len(diff) > 0 {
				t.Errorf("the second run changed what the first one did: %s", diff)
			}
			if diff := changes(before, readRows(t, s, template)); len(diff) > 0 {
				t.Errorf("the template was changed: %s", diff)
			}
		})
	}
}

func TestTenantPrepareRealDatabase(t *testing.T) {
	s := servers.Postgres(t)
	restoreDump(t, s)
	clone(t, s)
	config := TenantPrepareConfig{Tenant: acme, Postgres: odooOf(s), Release: release}
	config.Version = "17"
	before := readRows(t, s, template)
	if hash := fmt.Sprint(before["res_users 2"]["password"]); !opens(t, hash, "admin") {
		t.Errorf("hashes are not made as Odoo makes them: %q must be that of the password of a fresh Odoo", hash)
	}

	if err := TenantPrepare(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	once := readRows(t, s, acme.Database)
	checkPrepared(t, before, once, "2", "1", "1", "3")
	want := []string{
		"+ ir_config_parameter planaclient.tenant",
		"+ ir_config_parameter web.base.url.freeze",
		"res_company 1 email", "res_company 1 name", "res_company 1 write_date",
		"res_partner 1 commercial_company_name", "res_partner 1 complete_name", "res_partner 1 email", "res_partner 1 name", "res_partner 1 write_date",
		"res_partner 3 complete_name", "res_partner 3 email", "res_partner 3 name", "res_partner 3 write_date",
		"res_users 2 login", "res_users 2 password", "res_users 2 signature", "res_users 2 write_date",
	}
	for _, key := range []string{"database.create_date", "database.secret", "database.uuid", "web.base.url"} {
		want = append(want, "ir_config_parameter "+key+" value", "ir_config_parameter "+key+" write_date")
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), changes(before, once)); diff != "" {
		t.Errorf("changes: -want, +got:\n%s", diff)
	}
	if err := TenantPrepare(t.Context(), config); err != nil {
		t.Fatalf("second run: %v", err)
	}
	if diff := changes(once, readRows(t, s, acme.Database)); len(diff) > 0 {
		t.Errorf("the second run changed what the first one did: %s", diff)
	}
}

func TestTenantPrepareAdopted(t *testing.T) {
	cases := map[string]struct {
		reason string
		mark   string
		want   []string
		fails  bool
	}{
		"Unmarked": {
			reason: "A database that was in service before there were PLANAClients is marked, and otherwise left as it is.",
			want:   []string{"+ ir_config_parameter planaclient.tenant"},
		},
		"EarlierTenant": {
			reason: "A database that an earlier PLANAClient of the name has left is taken over.",
			mark:   "acme/an-earlier-uid",
			want:   []string{"ir_config_parameter planaclient.tenant value", "ir_config_parameter planaclient.tenant write_date", "ir_config_parameter planaclient.tenant write_uid"},
		},
		"AnotherTenant": {
			reason: "Adopting doesn't make another tenant's database this one's.",
			mark:   "globex/some-uid",
			fails:  true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := servers.Postgres(t)
			templateOf(t, s, "18")
			clone(t, s)
			config := TenantPrepareConfig{Tenant: acme, Postgres: odooOf(s), Release: release, Adopted: true}
			config.Version = "18"
			one[int](t, s, acme.Database, `
				WITH u AS (UPDATE ir_config_parameter SET value = $1 WHERE key = 'web.base.url')
				SELECT 1`, config.url())
			if tc.mark != "" {
				one[string](t, s, acme.Database, "INSERT INTO ir_config_parameter (key, value) VALUES ($1, $2) RETURNING value", markKey, tc.mark)
			}
			before := readRows(t, s, acme.Database)

			err := TenantPrepare(t.Context(), config)
			if IsTerminal(err) != tc.fails || (err != nil) != tc.fails {
				t.Errorf("%s\nwant terminal: %t, got %v", tc.reason, tc.fails, err)
			}
			if diff := cmp.Diff(tc.want, changes(before, readRows(t, s, acme.Database))); diff != "" {
				t.Errorf("%s\nchanges: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTenantPrepareRefuses(t *testing.T) {
	s := servers.Postgres(t)
	templateOf(t, s, acme.Version)
	cases := map[string]struct {
		reason string
		sql    string
		want   string
		hope   bool
	}{
		"OtherTenant": {
			reason: "A database of another tenant is never written to.",
			sql:    "INSERT INTO ir_config_parameter (key, value) VALUES ('planaclient.tenant', 'beta/1234')",
			want:   `it belongs to tenant "beta/1234", and this one is "acme/` + acme.UID + `"`,
		},
		"EarlierTenant": {
			reason: "Nor is that of an earlier tenant of the same name.",
			sql:    "INSERT INTO ir_config_parameter (key, value) VALUES ('planaclient.tenant', 'acme/1234')",
			want:   `it belongs to tenant "acme/1234"`,
		},
		"InService": {
			reason: "A tenant that has deleted the mark must not be locked out.",
			sql:    "UPDATE ir_config_parameter SET value = 'https://acme.planapulse.app' WHERE key = 'web.base.url'",
			want:   "it is in service already",
		},
		"WrongVersion": {
			reason: "Workers of one Odoo version can't serve the database of another.",
			sql:    "UPDATE ir_module_module SET latest_version = '17.0.1.3' WHERE name = 'base'",
			want:   `it is of Odoo "17.0.1.3", but the tenant wants 18`,
		},
		"NotInstalled": {
			reason: "An Odoo that was never installed can't be handed over.",
			sql:    "UPDATE ir_module_module SET state = 'to install' WHERE name = 'base'",
			want:   `it is of Odoo "", but the tenant wants 18`,
		},
		"NoOdoo": {
			reason: "An empty template makes empty tenants.",
			sql:    "DROP TABLE ir_module_module, ir_model_data",
			want:   "it has no table ir_model_data, ir_module_module",
		},
		"NoAdmin": {
			reason: "Without the administrator there is nobody to make the owner's.",
			sql:    "DELETE FROM ir_model_data WHERE module = 'base' AND name = 'user_admin'",
			want:   "no user base.user_admin",
		},
		"LoginTaken": {
			reason: "Logins are unique.",
			sql:    "UPDATE res_users SET login = 'ceo+plana@acme.example' WHERE id = 13",
			want:   `another user whose login is "ceo+plana@acme.example"`,
		},
		"HiddenSecrets": {
			reason: "Secrets in a table that Odoo's role may not touch are not passed over.",
			sql:    "ALTER TABLE res_users_apikeys OWNER TO postgres",
			want:   "permission denied for table res_users_apikeys",
			hope:   true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			clone(t, s)
			s.Exec(t, servers.PostgresSuperuser, acme.Database, tc.sql)
			before := readRows(t, s, acme.Database)

			err := TenantPrepare(t.Context(), TenantPrepareConfig{Tenant: acme, Postgres: odooOf(s), Release: release})
			if err == nil || IsTerminal(err) == tc.hope || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nwant %q, hope %t; got terminal %t: %v", tc.reason, tc.want, tc.hope, IsTerminal(err), err)
			}
			if diff := changes(before, readRows(t, s, acme.Database)); len(diff) > 0 {
				t.Errorf("%s: it has written all the same: %s", tc.reason, diff)
			}
		})
	}

	t.Run("CompanyTaken", func(t *testing.T) {
		clone(t, s)
		conn := s.Connect(t, servers.PostgresOdoo, acme.Database)
		if _, err := conn.Exec(t.Context(), "UPDATE res_company SET name = $1 WHERE id = 4", acme.OwnerName); err != nil {
			t.Fatal(err)
		}
		err := TenantPrepare(t.Context(), TenantPrepareConfig{Tenant: acme, Postgres: odooOf(s), Release: release})
		if err == nil || !IsTerminal(err) || !strings.Contains(err.Error(), "another company named") {
			t.Errorf("company names are unique: %v", err)
		}
	})
}

func TestTenantPrepareTwiceAtOnce(t *testing.T) {
	s := servers.Postgres(t)
	templateOf(t, s, acme.Version)
	before := readRows(t, s, template)
	for range 5 {
		clone(t, s)
		// A later run would end in a right state too, but in one that those who
		// have seen the earlier one don't expect.
		s.Exec(t, servers.PostgresSuperuser, acme.Database, `
			CREATE TABLE marked (value text);
			CREATE FUNCTION note_mark() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN INSERT INTO public.marked VALUES (NEW.value); RETURN NULL; END';
			CREATE TRIGGER note_mark AFTER INSERT OR UPDATE ON ir_config_parameter FOR EACH ROW WHEN (NEW.key = 'planaclient.tenant') EXECUTE FUNCTION note_mark()`)
		atOnce(t, 4, func() error {
			return TenantPrepare(t.Context(), TenantPrepareConfig{Tenant: acme, Postgres: odooOf(s), Release: release})
		})
		checkPrepared(t, before, readRows(t, s, acme.Database), "12", "3", "1", "22")
		if got := one[int64](t, s, acme.Database, "SELECT count(*) FROM marked"); got != 1 {
			t.Errorf("the database was prepared %d times", got)
		}
	}
}

func TestTenantPrepareKilled(t *testing.T) {
	s := servers.Postgres(t)
	templateOf(t, s, acme.Version)
	before := readRows(t, s, template)
	after := map[bool]int{}
	var killed rows
	Kills{
		Effect:  "tenant-prepare",
		Environ: func(int) map[string]string { return acme.environ(s.Environ(servers.PostgresOdoo)) },
		Before: func(t *testing.T, _ int) {
			clone(t, s)
			killed = nil
		},
		Killed: func(t *testing.T, attempt int) {
			// The server may still be at it.
			settle(t, s)
			killed = readRows(t, s, acme.Database)
			diff := changes(before, killed)
			prepared := killed["ir_config_parameter "+markKey] != nil
			after[prepared]++
			if prepared {
				checkPrepared(t, before, killed, "12", "3", "1", "22")
			} else if len(diff) > 0 {
				t.Errorf("attempt %d: half of the transaction was done: %s", attempt, diff)
			}
		},
		After: func(t *testing.T, attempt int) {
			got := readRows(t, s, acme.Database)
			checkPrepared(t, before, got, "12", "3", "1", "22")
			if killed["ir_config_parameter "+markKey] != nil {
				if diff := changes(killed, got); len(diff) > 0 {
					t.Errorf("attempt %d: the database was prepared a second time: %s", attempt, diff)
				}
			}
		},
	}.survive(t)
	t.Logf("prepared %d times, untouched %d times", after[true], after[false])
}

// settle waits until a killed effect's session is gone from the server.
func settle(t testing.TB, s *servers.PostgresServer) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); one[int64](t, s, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND usename = $2", acme.Database, servers.PostgresOdoo) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("a killed effect's session is still there")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
