-- What Odoo 17 has beside odoo.sql.

UPDATE ir_module_module SET latest_version = '17.0.1.3' WHERE state = 'installed';

ALTER TABLE iap_account ADD COLUMN service_name varchar;

ALTER TABLE res_partner ADD COLUMN signup_token varchar, ADD COLUMN signup_type varchar, ADD COLUMN signup_expiration timestamp;
UPDATE res_partner SET signup_token = 'template', signup_type = 'reset', signup_expiration = now() WHERE id = 22;

CREATE TABLE mail_partner_device (id serial PRIMARY KEY, partner_id integer NOT NULL REFERENCES res_partner, endpoint varchar NOT NULL, keys varchar NOT NULL);
CREATE TABLE mail_notification_web_push (id serial PRIMARY KEY, user_device integer NOT NULL REFERENCES mail_partner_device ON DELETE CASCADE, payload varchar);
INSERT INTO mail_partner_device (partner_id, endpoint, keys) VALUES (22, 'https://push.template.example', 'template');
INSERT INTO mail_notification_web_push (user_device, payload) VALUES (1, 'template');
