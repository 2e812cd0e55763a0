-- Jobs that wait are lost, and are found due again by what they are due by; followers begin as they do in a ledger they have not seen.
drop table countersign.follower_cursors;
drop table countersign.job_states;
drop schema countersign_jobs cascade;
