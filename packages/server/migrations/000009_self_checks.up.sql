-- Every process asks every few seconds, of all tenants together, which of them have a check that waits or was left behind. Nearly all rows are
-- finished: without an index of the others, the question reads all of them.
create index self_checks_open on countersign.self_checks (tenant_id) where finished_ms is null;

-- And when each tenant was checked last, by whatever process: whether the next check is due follows from it. The newest one of each kind.
create index self_checks_done on countersign.self_checks (tenant_id, kind, started_ms) where verdict ->> 'state' = 'done';

-- The same over all rows: nobody asks for the newest of a kind that did not end.
drop index countersign.self_checks_by_start;
