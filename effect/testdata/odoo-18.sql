-- What Odoo 18 has beside odoo.sql.

UPDATE ir_module_module SET latest_version = '18.0.1.3' WHERE state = 'installed';

ALTER TABLE res_users_apikeys ADD COLUMN expiration_date timestamp;

CREATE TABLE iap_service (id serial PRIMARY KEY, technical_name varchar NOT NULL);
INSERT INTO iap_service (technical_name) VALUES ('sms');
ALTER TABLE iap_account ADD COLUMN service_id integer REFERENCES iap_service;
UPDATE iap_account SET service_id = 1;

ALTER TABLE res_partner ADD COLUMN signup_type varchar;
UPDATE res_partner SET signup_type = 'reset' WHERE id = 22;

CREATE TABLE res_device_log (id serial PRIMARY KEY, session_identifier varchar NOT NULL, user_id integer, ip_address varchar);
INSERT INTO res_device_log (session_identifier, user_id, ip_address) VALUES ('template', 12, '192.0.2.1');

CREATE TABLE auth_passkey_key (id serial PRIMARY KEY, name varchar NOT NULL, create_uid integer REFERENCES res_users, credential_identifier varchar NOT NULL UNIQUE, public_key varchar);
INSERT INTO auth_passkey_key (name, create_uid, credential_identifier, public_key) VALUES ('template', 12, 'template', 'template');

CREATE TABLE mail_push_device (id serial PRIMARY KEY, partner_id integer NOT NULL REFERENCES res_partner, endpoint varchar NOT NULL UNIQUE, keys varchar NOT NULL);
CREATE TABLE mail_push (id serial PRIMARY KEY, mail_push_device_id integer NOT NULL REFERENCES mail_push_device ON DELETE CASCADE, payload text);
INSERT INTO mail_push_device (partner_id, endpoint, keys) VALUES (22, 'https://push.template.example', 'template');
INSERT INTO mail_push (mail_push_device_id, payload) VALUES (1, 'template');

CREATE TABLE mail_scheduled_message (id serial PRIMARY KEY, scheduled_date timestamp, body text);
INSERT INTO mail_scheduled_message (scheduled_date, body) VALUES (now(), 'template');
