-- What the owner of a database may set for every session in it.
ALTER DATABASE "@DATABASE@" SET role = '@ODOO@';
ALTER DATABASE "@DATABASE@" SET search_path = hostile, public, pg_catalog;
ALTER DATABASE "@DATABASE@" SET default_transaction_read_only = on;
ALTER DATABASE "@DATABASE@" SET default_transaction_isolation = 'serializable';
ALTER DATABASE "@DATABASE@" SET statement_timeout = 1;
ALTER DATABASE "@DATABASE@" SET lock_timeout = 1;
ALTER DATABASE "@DATABASE@" SET idle_in_transaction_session_timeout = 1;
ALTER DATABASE "@DATABASE@" SET row_security = off;
ALTER DATABASE "@DATABASE@" SET standard_conforming_strings = off;
ALTER DATABASE "@DATABASE@" SET datestyle = 'German';
ALTER DATABASE "@DATABASE@" SET bytea_output = 'escape';
ALTER DATABASE "@DATABASE@" SET client_encoding = 'LATIN1';
ALTER DATABASE "@DATABASE@" SET local_preload_libraries = 'hostile';
