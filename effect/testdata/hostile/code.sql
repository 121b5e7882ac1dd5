-- Everywhere in a table of Odoo's where code can be.
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['ir_config_parameter', 'ir_model_data', 'ir_module_module', 'res_company', 'res_partner', 'res_users'] LOOP
        EXECUTE format('CREATE TRIGGER hostile_before BEFORE INSERT OR UPDATE OR DELETE ON public.%I FOR EACH ROW EXECUTE FUNCTION public.hostile_trigger()', t);
        EXECUTE format('CREATE TRIGGER hostile_after AFTER INSERT OR UPDATE OR DELETE ON public.%I FOR EACH ROW EXECUTE FUNCTION public.hostile_trigger()', t);
        EXECUTE format('CREATE TRIGGER hostile_statement BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.%I EXECUTE FUNCTION public.hostile_trigger()', t);
        EXECUTE format('CREATE CONSTRAINT TRIGGER hostile_deferred AFTER INSERT OR UPDATE OR DELETE ON public.%I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.hostile_trigger()', t);
        EXECUTE format('ALTER TABLE public.%I ADD CONSTRAINT hostile_check CHECK (public.hostile(''CHECK''))', t);
        EXECUTE format('ALTER TABLE public.%I ADD COLUMN hostile_default boolean DEFAULT public.hostile_volatile(''DEFAULT'')', t);
        EXECUTE format('ALTER TABLE public.%I ADD COLUMN hostile_generated boolean GENERATED ALWAYS AS (public.hostile(''generated column'')) STORED', t);
        EXECUTE format('CREATE INDEX ON public.%I ((public.hostile(''expression index'')))', t);
        EXECUTE format('CREATE INDEX ON public.%I (id) WHERE public.hostile(''partial index'')', t);
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY hostile ON public.%I USING (public.hostile_volatile(''policy''))', t);
    END LOOP;
END $$;

CREATE DOMAIN public.hostile_domain AS text CHECK (public.hostile('domain constraint'));
ALTER TABLE public.res_users ADD COLUMN hostile_domain public.hostile_domain DEFAULT 'x';

CREATE TABLE public.hostile_rows (ran boolean);
CREATE RULE hostile AS ON UPDATE TO public.res_partner DO ALSO INSERT INTO public.hostile_rows SELECT public.hostile_volatile('rule');

-- A type of the tenant's own, and how it is compared and cast.
CREATE TYPE public.hostile_type AS ENUM ('a', 'b');
CREATE FUNCTION public.hostile_cast(public.hostile_type) RETURNS varchar LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.hostile_volatile('cast');
    RETURN 'ab/abcdef';
END $$;
CREATE CAST (public.hostile_type AS varchar) WITH FUNCTION public.hostile_cast(public.hostile_type) AS IMPLICIT;

ALTER TABLE public.ir_attachment RENAME TO hostile_attachment;
CREATE VIEW public.ir_attachment AS SELECT id, name, coalesce(store_fname, 'a'::public.hostile_type::varchar) AS store_fname FROM public.hostile_attachment WHERE public.hostile_volatile('view');
CREATE MATERIALIZED VIEW public.hostile_matview AS SELECT public.hostile_volatile('materialised view') AS ran;
CREATE INDEX ON public.hostile_matview ((public.hostile('index of a materialised view')));

-- Nearer to what an effect says than PostgreSQL's own, which take another type.
CREATE FUNCTION public.hostile_equal(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.hostile_volatile('operator');
    RETURN $1::text OPERATOR(pg_catalog.=) $2::text;
END $$;
CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.hostile_equal);
CREATE FUNCTION public.hostile_step(bigint, varchar) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.hostile_volatile('aggregate');
    RETURN coalesce($1, 0) + 1;
END $$;
CREATE AGGREGATE public.count(varchar) (SFUNC = public.hostile_step, STYPE = bigint);
CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.hostile_volatile('function of a known name');
    RETURN pg_catalog.lower($1::text);
END $$;

COMMENT ON TABLE public.res_users IS E'\n\\! touch @CANARY@/comment\n';
CREATE TABLE public."x
\! touch @CANARY@/name
" (id int);
COMMENT ON DATABASE "@DATABASE@" IS E'restored from 20260101T000000Z-abcdef\n\\! touch @CANARY@/comment';
