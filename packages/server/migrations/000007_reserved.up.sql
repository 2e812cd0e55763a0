-- Nothing: the number is taken on another branch, whose migration stands in this place once both are merged.
select 1;
