-- Names of PostgreSQL's own, before its own on the search path.
CREATE SCHEMA hostile;
CREATE VIEW public.pg_database AS SELECT *, public.hostile_volatile('pg_database') AS ran FROM pg_catalog.pg_database WHERE public.hostile_volatile('pg_database');
CREATE VIEW public.pg_class AS SELECT * FROM pg_catalog.pg_class WHERE public.hostile_volatile('pg_class');
CREATE VIEW public.pg_attribute AS SELECT attrelid, attname, attnum, attisdropped FROM pg_catalog.pg_attribute WHERE public.hostile_volatile('pg_attribute');
CREATE TABLE public.pg_roles (rolname name);
CREATE TABLE public.pg_stat_activity (pid int, usename name, datname name, usesysid oid);
CREATE FUNCTION public.current_database() RETURNS name LANGUAGE plpgsql AS $$ BEGIN PERFORM public.hostile_volatile('current_database'); RETURN pg_catalog.current_database(); END $$;
CREATE FUNCTION public.pg_advisory_xact_lock(bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM public.hostile_volatile('pg_advisory_xact_lock'); END $$;
CREATE FUNCTION public.pg_try_advisory_lock(bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN public.hostile_volatile('pg_try_advisory_lock'); END $$;
CREATE FUNCTION public.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS $$ BEGIN PERFORM public.hostile_volatile('to_regclass'); RETURN pg_catalog.to_regclass($1); END $$;
CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM public.hostile_volatile('set_config'); RETURN pg_catalog.set_config($1, $2, $3); END $$;
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM public.hostile_volatile('now'); RETURN pg_catalog.now(); END $$;

ALTER DATABASE "@DATABASE@" SET search_path = public, hostile, pg_catalog;
