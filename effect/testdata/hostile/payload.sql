-- What a hostile tenant's code does wherever it runs. As the tenant's own role it
-- does nothing, since that role may do it anyway. As anybody else it tries to
-- become more, and the server's log says what came of it.

CREATE FUNCTION public.hostile_try(attack text, statement text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    EXECUTE statement;
    RAISE LOG 'HOSTILE % DID %', attack, statement;
EXCEPTION WHEN OTHERS THEN
    NULL;
END $$;

CREATE FUNCTION public.hostile_volatile(attack text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    role text;
    statement text;
BEGIN
    IF session_user = '@ODOO@' OR current_setting('application_name') <> 'planaclient' THEN
        RETURN true;
    END IF;
    -- Once for each way in and session: it would run for every row.
    IF current_setting('hostile.r' || pg_catalog.md5(attack), true) = 'yes' THEN
        RETURN true;
    END IF;
    PERFORM pg_catalog.set_config('hostile.r' || pg_catalog.md5(attack), 'yes', false);
    RAISE LOG 'HOSTILE % RAN AS % SESSION %', attack, current_user, session_user;
    FOREACH statement IN ARRAY ARRAY[
        'SELECT pg_catalog.set_config(''role'', ''none'', false)',
        'SET ROLE plana', 'SET ROLE plana_backup', 'SET ROLE postgres'
    ] LOOP
        PERFORM public.hostile_try(attack, statement);
        FOREACH role IN ARRAY ARRAY[current_user::text, session_user::text, 'plana', 'plana_backup', 'plana_restore', 'postgres'] LOOP
            PERFORM public.hostile_try(attack, format('ALTER ROLE %I PASSWORD ''taken over''', role));
            PERFORM public.hostile_try(attack, format('ALTER ROLE %I SET search_path = public', role));
            PERFORM public.hostile_try(attack, format('GRANT %I TO @ODOO@', role));
            PERFORM public.hostile_try(attack, format('ALTER ROLE %I CREATEDB CREATEROLE SUPERUSER', role));
        END LOOP;
        FOREACH statement IN ARRAY ARRAY[
            'ALTER ROLE @ODOO@ CREATEDB CREATEROLE BYPASSRLS',
            'GRANT pg_read_all_data, pg_write_all_data, pg_execute_server_program, pg_read_server_files TO @ODOO@',
            'CREATE ROLE hostile LOGIN',
            'ALTER DATABASE "@NEIGHBOUR@" OWNER TO plana',
            'ALTER DATABASE "@NEIGHBOUR@" SET search_path = hostile',
            'ALTER DATABASE "@NEIGHBOUR@" CONNECTION LIMIT 0',
            'GRANT ALL ON DATABASE "@NEIGHBOUR@" TO PUBLIC',
            'COMMENT ON DATABASE "@NEIGHBOUR@" IS ''taken over''',
            'ALTER DATABASE "@TEMPLATE@" SET search_path = hostile',
            'ALTER DATABASE postgres SET search_path = hostile',
            'ALTER DATABASE template1 OWNER TO @ODOO@',
            'COPY (SELECT 1) TO PROGRAM ''touch @CANARY@/program''',
            'COPY (SELECT 1) TO ''@CANARY@/copied''',
            'SELECT pg_catalog.lo_export(4711, ''@CANARY@/exported'')',
            'SELECT pg_catalog.pg_read_file(''/etc/passwd'')',
            'SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = ''@NEIGHBOUR@''',
            'CREATE EXTENSION dblink',
            'CREATE EXTENSION postgres_fdw',
            'SELECT pg_catalog.pg_advisory_lock(1)'
        ] LOOP
            PERFORM public.hostile_try(attack, statement);
        END LOOP;
    END LOOP;
    RETURN true;
END $$;

-- Generated columns and indexes take an immutable function, at its word.
CREATE FUNCTION public.hostile(attack text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN public.hostile_volatile(attack);
END $$;

CREATE FUNCTION public.hostile_definer(attack text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RETURN public.hostile_volatile(attack);
END $$;

CREATE FUNCTION public.hostile_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.hostile_volatile(format('%s %s trigger on %s', TG_WHEN, TG_LEVEL, TG_TABLE_NAME));
    PERFORM public.hostile_definer('SECURITY DEFINER');
    IF TG_LEVEL = 'STATEMENT' THEN
        RETURN NULL;
    END IF;
    RETURN coalesce(NEW, OLD);
END $$;

CREATE TABLE IF NOT EXISTS public.ir_attachment (id serial PRIMARY KEY, name varchar, store_fname varchar);
SELECT pg_catalog.lo_from_bytea(4711, 'a large object');
REVOKE ALL ON LARGE OBJECT 4711 FROM PUBLIC;
REVOKE ALL ON LARGE OBJECT 4711 FROM @ODOO@;
