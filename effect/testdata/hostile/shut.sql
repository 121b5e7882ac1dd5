-- An owner may keep everybody out of their database.
REVOKE ALL ON DATABASE "@DATABASE@" FROM PUBLIC, @ODOO@;
ALTER DATABASE "@DATABASE@" CONNECTION LIMIT 0;
