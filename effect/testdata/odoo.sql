-- What tenant-prepare finds in a template of any Odoo version, in as few columns
-- as show what it changes and what it must leave alone. Every version adds its
-- own: see odoo-17.sql, odoo-18.sql, odoo-19.sql.

CREATE TABLE ir_config_parameter (
    id serial PRIMARY KEY,
    key varchar NOT NULL UNIQUE,
    value text NOT NULL,
    create_uid integer,
    write_uid integer,
    create_date timestamp,
    write_date timestamp
);
INSERT INTO ir_config_parameter (key, value) VALUES
    ('database.secret', 'the secret of the template'),
    ('database.uuid', '00000000-0000-0000-0000-000000000000'),
    ('database.create_date', '2020-02-02 20:20:20'),
    ('web.base.url', 'http://localhost:8069'),
    ('mail.web_push_vapid_private_key', 'the private key of the template'),
    ('mail.web_push_vapid_public_key', 'the public key of the template'),
    ('base.login_cooldown_after', '10');

CREATE TABLE ir_model_data (
    id serial PRIMARY KEY,
    module varchar NOT NULL,
    name varchar NOT NULL,
    model varchar NOT NULL,
    res_id integer,
    UNIQUE (module, name)
);
-- The same name in another module, and other records with the same number.
INSERT INTO ir_model_data (module, name, model, res_id) VALUES
    ('base', 'user_root', 'res.users', 1),
    ('base', 'user_admin', 'res.users', 12),
    ('elsewhere', 'user_admin', 'res.users', 13),
    ('base', 'main_company', 'res.company', 3);

CREATE TABLE ir_module_module (
    id serial PRIMARY KEY,
    name varchar NOT NULL UNIQUE,
    state varchar(16),
    latest_version varchar
);
INSERT INTO ir_module_module (name, state) VALUES
    ('base', 'installed'),
    ('web', 'installed'),
    ('sale', 'installed'),
    ('crm', 'to install'),
    ('website', 'uninstalled'),
    ('account_accountant', 'uninstallable');

CREATE TABLE res_partner (
    id serial PRIMARY KEY,
    name varchar,
    complete_name varchar,
    company_name varchar,
    commercial_company_name varchar,
    commercial_partner_id integer REFERENCES res_partner ON DELETE SET NULL,
    parent_id integer REFERENCES res_partner ON DELETE SET NULL,
    is_company boolean,
    email varchar,
    email_normalized varchar,
    type varchar DEFAULT 'contact',
    write_date timestamp,
    CHECK (type <> 'contact' OR name IS NOT NULL)
);
INSERT INTO res_partner (id, name, complete_name, commercial_partner_id, parent_id, is_company, commercial_company_name, email, email_normalized) VALUES
    (1, 'My Company', 'My Company', 1, NULL, true, 'My Company', 'info@template.example', 'info@template.example'),
    (2, 'OdooBot', 'OdooBot', 2, NULL, false, NULL, 'odoobot@example.com', 'odoobot@example.com'),
    (22, 'Mitchell', 'My Company, Mitchell', 1, 1, false, 'My Company', 'admin@template.example', 'admin@template.example'),
    (23, 'Clerk', 'My Company, Clerk', 1, 1, false, 'My Company', 'clerk@template.example', 'clerk@template.example'),
    (24, 'Customer', 'Customer', 24, NULL, true, 'Customer', 'customer@elsewhere.example', 'customer@elsewhere.example');

CREATE TABLE res_company (
    id serial PRIMARY KEY,
    name varchar NOT NULL UNIQUE,
    partner_id integer NOT NULL REFERENCES res_partner,
    email varchar,
    write_date timestamp
);
INSERT INTO res_company (id, name, partner_id, email) VALUES
    (4, 'Subsidiary', 24, 'customer@elsewhere.example'),
    (3, 'My Company', 1, 'info@template.example');

CREATE TABLE res_users (
    id serial PRIMARY KEY,
    login varchar NOT NULL UNIQUE,
    password varchar,
    active boolean DEFAULT true,
    partner_id integer NOT NULL REFERENCES res_partner,
    signature text,
    totp_secret varchar,
    oauth_uid varchar,
    oauth_access_token varchar,
    microsoft_calendar_rtoken varchar,
    microsoft_calendar_token varchar,
    write_date timestamp
);
INSERT INTO res_users (id, login, password, active, partner_id, signature, totp_secret, oauth_uid, oauth_access_token, microsoft_calendar_rtoken, microsoft_calendar_token) VALUES
    (1, '__system__', NULL, false, 2, 'System', NULL, NULL, NULL, NULL, NULL),
    (12, 'admin', 'known to too many', true, 22, 'Mitchell', 'JBSWY3DPEHPK3PXP', 'template', 'template', 'template', 'template'),
    (13, 'clerk', '', true, 23, 'Clerk', 'JBSWY3DPEHPK3PXQ', 'clerk', 'clerk', 'clerk', 'clerk');

CREATE TABLE res_users_settings (
    id serial PRIMARY KEY,
    user_id integer REFERENCES res_users ON DELETE CASCADE,
    google_calendar_rtoken varchar,
    google_calendar_token varchar,
    google_calendar_sync_token varchar,
    microsoft_calendar_sync_token varchar,
    homemenu_config jsonb
);
INSERT INTO res_users_settings (user_id, google_calendar_rtoken, google_calendar_token, google_calendar_sync_token, microsoft_calendar_sync_token, homemenu_config) VALUES
    (12, 'template', 'template', 'template', 'template', '{"kept": true}');

CREATE TABLE res_users_apikeys (
    id serial PRIMARY KEY,
    name varchar NOT NULL,
    user_id integer NOT NULL REFERENCES res_users ON DELETE CASCADE,
    scope varchar,
    index varchar(8),
    key varchar
);
INSERT INTO res_users_apikeys (name, user_id, scope, index, key) VALUES ('template', 12, 'rpc', '01234567', 'template');

CREATE TABLE auth_totp_device (
    id serial PRIMARY KEY,
    name varchar NOT NULL,
    user_id integer NOT NULL REFERENCES res_users ON DELETE CASCADE,
    scope varchar,
    index varchar(8),
    key varchar
);
INSERT INTO auth_totp_device (name, user_id, scope, index, key) VALUES ('template', 12, 'browser', '01234567', 'template');

CREATE TABLE iap_account (id serial PRIMARY KEY, name varchar, account_token varchar(43));
INSERT INTO iap_account (name, account_token) VALUES ('sms', 'template');

CREATE TABLE ir_mail_server (id serial PRIMARY KEY, name varchar NOT NULL, smtp_host varchar, smtp_pass varchar);
INSERT INTO ir_mail_server (name, smtp_host, smtp_pass) VALUES ('template', 'smtp.template.example', 'template');

CREATE TABLE fetchmail_server (id serial PRIMARY KEY, name varchar NOT NULL, server varchar, password varchar);
INSERT INTO fetchmail_server (name, server, password) VALUES ('template', 'imap.template.example', 'template');

CREATE TABLE mail_mail (
    id serial PRIMARY KEY,
    state varchar,
    mail_server_id integer REFERENCES ir_mail_server ON DELETE SET NULL,
    fetchmail_server_id integer REFERENCES fetchmail_server ON DELETE SET NULL
);
INSERT INTO mail_mail (state, mail_server_id, fetchmail_server_id) VALUES ('outgoing', 1, NULL), ('exception', 1, NULL), ('sent', 1, NULL), ('received', NULL, 1);

CREATE TABLE mail_message_schedule (id serial PRIMARY KEY, scheduled_datetime timestamp);
INSERT INTO mail_message_schedule (scheduled_datetime) VALUES (now());

CREATE TABLE sms_sms (id serial PRIMARY KEY, state varchar);
INSERT INTO sms_sms (state) VALUES ('outgoing'), ('error'), ('sent');

CREATE TABLE snailmail_letter (id serial PRIMARY KEY, state varchar);
INSERT INTO snailmail_letter (state) VALUES ('pending'), ('sent');

-- A module's own, none of anybody's business.
CREATE TABLE sale_order (id serial PRIMARY KEY, name varchar, partner_id integer REFERENCES res_partner);
INSERT INTO sale_order (name, partner_id) VALUES ('S00001', 24);
