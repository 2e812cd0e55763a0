-- Governed rows are evidence: the runner refuses this once an entry records one of them.
drop table countersign.used_proofs;
drop table countersign.mode_requests;
drop table countersign.tenant_directory;
