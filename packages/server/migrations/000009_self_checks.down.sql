-- Nothing is lost: the questions are answered as before, by reading more.
create index self_checks_by_start on countersign.self_checks (tenant_id, kind, started_ms);
drop index countersign.self_checks_done;
drop index countersign.self_checks_open;
