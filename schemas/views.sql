-- The evidence of one root, for DuckDB 1.5 and later. `podwitness sql ROOT` prints this with the root filled in.
--
-- Over a root that has no verdicts yet, DuckDB answers "No files found that match the pattern ...": nothing has been
-- exported yet, or the root is another one. `coverage` and `policies` are empty where the root has none: a copy may be of
-- one namespace's verdicts alone.

-- Every record as it was written. Columns that a later version added are null in older files. `date` and `hour` come from
-- the path: a filter on them, on `cluster` or on `namespace` skips whole folders. `began_before` is true where the
-- connection had begun before it was witnessed: its first packet seen had no SYN.
CREATE OR REPLACE VIEW verdicts AS
SELECT
    *,
    coalesce(event = 'open' AND protocol = 'TCP' AND (tcp_flags & 2) = 0, false) AS began_before
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

-- What is there is asked once, when these statements run.
SET VARIABLE podwitness_no_coverage = (SELECT count(*) = 0 FROM glob('@ROOT@/coverage/**/*.parquet'));
SET VARIABLE podwitness_no_policies = (SELECT count(*) = 0 FROM glob('@ROOT@/policies/**/*.parquet'));

-- From when to when each endpoint was enforced, and what was not and why: a row for each thing that began or ended.
-- `since` is when the state began that ends with the row.
CREATE OR REPLACE VIEW coverage AS
SELECT *
FROM query(if(
    getvariable('podwitness_no_coverage'),
    'SELECT @COVERAGE_COLUMNS@ LIMIT 0',
    'SELECT * FROM read_parquet(''@ROOT_IN_TEXT@/coverage/**/*.parquet'', union_by_name = true,
        hive_partitioning = true, hive_types = {''cluster'': VARCHAR, ''date'': DATE})'
));

-- Each version of each policy as it took effect and ended on each node, and statements of what is in force.
CREATE OR REPLACE VIEW policies AS
SELECT *
FROM query(if(
    getvariable('podwitness_no_policies'),
    'SELECT @POLICIES_COLUMNS@ LIMIT 0',
    'SELECT * FROM read_parquet(''@ROOT_IN_TEXT@/policies/**/*.parquet'', union_by_name = true,
        hive_partitioning = true, hive_types = {''cluster'': VARCHAR, ''date'': DATE})'
));

-- Each version of each policy with the revisions that have it on a node: `revision_to` and `effective_to` are null while
-- it is in force. A verdict joins to the text that was in force by cluster, node, boot, namespace, name and
--     policy_revision BETWEEN revision_from AND coalesce(revision_to, policy_revision).
-- What the rows say, and why this follows from them, is written with the columns of `policies`.
CREATE OR REPLACE VIEW policy_versions AS
WITH said AS (
    SELECT *, lag(policy_revision) OVER (PARTITION BY cluster, node, boot ORDER BY seq) AS revision_before
    FROM policies
),
ends AS (
    SELECT
        begun.*,
        CASE
            WHEN ended.seq < coalesce(stated.seq, ended.seq + 1) THEN ended.revision_to
            WHEN stated.seq IS NOT NULL THEN least(stated.policy_revision - 1, stated.revision_before)
        END AS last_revision,
        CASE WHEN ended.seq < coalesce(stated.seq, ended.seq + 1) THEN ended.effective_to ELSE stated."time" END AS until
    FROM (SELECT * FROM said WHERE event IN ('effective', 'in-force')) AS begun
    ASOF LEFT JOIN (SELECT * FROM said WHERE event = 'statement') AS stated
        ON begun.cluster = stated.cluster AND begun.node = stated.node AND begun.boot = stated.boot
        AND begun.seq < stated.seq
    ASOF LEFT JOIN (SELECT * FROM said WHERE event = 'ended') AS ended
        ON begun.cluster = ended.cluster AND begun.node = ended.node AND begun.boot = ended.boot
        AND begun.namespace = ended.namespace AND begun.name = ended.name
        AND begun.seq < ended.seq
)
SELECT
    cluster,
    node,
    boot,
    namespace,
    name,
    uid,
    text_sha256,
    revision_from,
    CASE WHEN count(last_revision) = count(*) THEN max(last_revision) END AS revision_to,
    min(effective_from) AS effective_from,
    CASE WHEN count(last_revision) = count(*) THEN max(until) END AS effective_to,
    any_value(understood) AS understood,
    any_value(faults) AS faults,
    any_value(text) AS text
FROM ends
WHERE last_revision IS NULL OR last_revision >= revision_from
GROUP BY ALL;
