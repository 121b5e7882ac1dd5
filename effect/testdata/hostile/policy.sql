-- Row-level security that holds for the owner too.
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['ir_attachment', 'ir_config_parameter', 'ir_model_data', 'ir_module_module', 'res_company', 'res_partner', 'res_users'] LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY hostile ON public.%I USING (public.hostile_volatile(''forced policy'')) WITH CHECK (public.hostile_volatile(''forced policy''))', t);
    END LOOP;
END $$;
