-- Code that doesn't end, and some that won't be told to.
CREATE FUNCTION public.hostile_slow() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF current_setting('application_name') <> 'planaclient' THEN
        RETURN true;
    END IF;
    LOOP
        BEGIN
            PERFORM pg_catalog.pg_sleep(3600);
        EXCEPTION WHEN query_canceled THEN
            NULL;
        END;
    END LOOP;
END $$;
CREATE FUNCTION public.hostile_endless() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    i bigint := 0;
BEGIN
    IF current_setting('application_name') <> 'planaclient' THEN
        RETURN true;
    END IF;
    LOOP
        i := i + 1;
    END LOOP;
END $$;
ALTER TABLE public.ir_attachment RENAME TO hostile_attachment;
CREATE VIEW public.ir_attachment AS SELECT * FROM public.hostile_attachment WHERE public.hostile_slow();
ALTER TABLE public.ir_config_parameter ADD CONSTRAINT hostile_check CHECK (public.hostile_endless());
ALTER TABLE public.ir_module_module RENAME TO hostile_modules;
CREATE VIEW public.ir_module_module AS SELECT * FROM public.hostile_modules WHERE public.hostile_slow();
