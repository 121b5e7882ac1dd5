-- Views in place of the tables that effects read and write.
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['ir_config_parameter', 'ir_module_module', 'res_users'] LOOP
        EXECUTE format('ALTER TABLE public.%I RENAME TO %I', t, 'hostile_' || t);
        EXECUTE format('CREATE VIEW public.%I AS SELECT * FROM public.%I WHERE public.hostile_volatile(''view of %s'')', t, 'hostile_' || t, t);
        EXECUTE format('CREATE TRIGGER hostile INSTEAD OF INSERT OR UPDATE OR DELETE ON public.%I FOR EACH ROW EXECUTE FUNCTION public.hostile_trigger()', t);
    END LOOP;
    ALTER TABLE public.res_company RENAME TO hostile_res_company;
    EXECUTE 'CREATE TABLE public.res_company AS SELECT * FROM public.hostile_res_company WITH NO DATA';
    -- A table becomes a view by this rule, where the version still has it do so.
    EXECUTE 'CREATE VIEW public.hostile_other AS SELECT * FROM public.hostile_res_company WHERE public.hostile_volatile(''rule of a view'')';
    EXECUTE 'CREATE RULE hostile AS ON UPDATE TO public.res_company DO INSTEAD SELECT public.hostile_volatile(''INSTEAD rule'')';
END $$;
