-- Checkpoints and receipts are lost here; strangers keep their copies, and with them a ledger that publishes nothing looks rolled
-- back. Entries stay. The signer's memory, beside its key, still knows what was signed.
drop table countersign.self_checks;
drop table countersign.publisher_leases;
drop table countersign.anchor_states;
drop table countersign.anchor_receipts;
drop table countersign.tiles;
drop table countersign.checkpoints;
