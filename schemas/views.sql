-- The evidence of one root, for DuckDB 1.5 and later. `podwitness sql ROOT` prints this with the root filled in.
--
-- Over a root that has no evidence yet, DuckDB answers "No files found that match the pattern ...": nothing has been
-- exported yet, or the root is another one.

-- Every record as it was written. Columns that a later version added are null in older files. `date` and `hour` come from
-- the path: a filter on them, on `cluster` or on `namespace` skips whole folders.
CREATE OR REPLACE VIEW verdicts AS
SELECT *
FROM read_parquet(
    '@ROOT@/verdicts/**/*.parquet',
    union_by_name = true,
    hive_partitioning = true,
    hive_types = {'cluster': VARCHAR, 'namespace': VARCHAR, 'date': DATE, 'hour': INTEGER}
);

-- Who could talk to whom: each decision that let traffic through because policy allows it, once. A connection's first
-- packet gives a row (`event = 'open'`); so does a live connection that a later policy came to allow (`'change'`). Totals
-- of the same connections (`close`, `progress`) are left out, so that `sum("count")` counts decisions.
-- Between two pods of witnessed nodes there are two rows, one from each side: `direction` tells them apart.
CREATE OR REPLACE VIEW allowed AS
SELECT *
FROM verdicts
WHERE verdict = 'allow' AND event IN ('open', 'change');

-- Who tried: each decision against traffic, once, with `count` attempts. `passed` is true where the traffic went through
-- all the same, because the witness mode was audit (`verdict = 'audit'`). A live connection that a later policy came to
-- deny is here too (`event = 'change'`).
CREATE OR REPLACE VIEW denied AS
SELECT *, verdict = 'audit' AS passed
FROM verdicts
WHERE verdict IN ('deny', 'audit') AND event IN ('open', 'change', 'deny');

-- One side of a record for people: namespace/pod where it is known, else the address.
CREATE OR REPLACE MACRO side_text(namespace, pod, ip) AS coalesce(namespace || '/' || pod, ip);

-- `policies` for people: namespace/name[rule], namespace/name[rule]. The rule counts from 0, as in the policy's list.
CREATE OR REPLACE MACRO policies_text(policies) AS
    array_to_string([p.namespace || '/' || p.name || coalesce('[' || p.rule || ']', '') for p in policies], ', ');

-- FROM connections(): who talked or tried to talk to whom on which port, what was decided and by which policies; one row
-- for all that are alike.
CREATE OR REPLACE MACRO connections() AS TABLE
SELECT
    side_text(src_namespace, src_pod, src_ip) AS source,
    side_text(dst_namespace, dst_pod, dst_ip) AS destination,
    protocol,
    dst_port,
    direction,
    verdict,
    reason,
    policies_text(policies) AS policies,
    sum("count")::BIGINT AS "count",
    min("time") AS first_time,
    max(coalesce(last_time, "time")) AS last_time
FROM verdicts
WHERE event IN ('open', 'change', 'deny')
GROUP BY ALL
ORDER BY source, destination, protocol, dst_port, direction, verdict;
